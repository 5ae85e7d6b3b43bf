"""The paper's figures: the rows that are looked up, and sums that a slip of the pen would break."""

from __future__ import annotations

import pytest

from gluon_resnet.analysis import paper
from gluon_resnet.models import model_names
from gluon_resnet.models.registry import describe


@pytest.mark.parametrize(
    ("network", "shortcut", "variant", "protocol", "expected"),
    [
        ("plain18", None, "v1", "10-crop", (2, 27.94, None)),
        ("resnet18", "A", "v1", "10-crop", (2, 27.88, None)),
        ("plain34", None, "v1", "10-crop", (3, 28.54, 10.02)),
        ("resnet34", "A", "v1", "10-crop", (3, 25.03, 7.76)),
        ("resnet34", "B", "v1", "10-crop", (3, 24.52, 7.46)),
        ("resnet152", "B", "v1", "10-crop", (3, 21.43, 5.71)),
        ("resnet34", "C", "v1", "multi-scale", (4, 21.53, 5.60)),
        ("resnet152", "B", "v1", "multi-scale", (4, 19.38, 4.49)),
        ("googlenet", None, "v1", "multi-scale", (4, None, 7.89)),
        ("vgg16", None, "v1", "10-crop", (3, 28.07, 9.33)),
        ("resnet152", "B", "v1", "ensemble", (5, None, 3.57)),
        ("resnet110", "A", "v1", "cifar10", (6, 6.43, None)),
        ("resnet1202", "A", "v1", "cifar10", (6, 7.93, None)),
        ("resnet50", None, "v1", "10-crop", (3, 22.85, 6.71)),
        ("resnet20", None, "v1", "cifar10", (6, 8.75, None)),
        ("resnet18", None, "v1", "10-crop", None),
        ("resnet18", "B", "v1", "10-crop", None),
        ("resnet50", "B", "v1b", "10-crop", None),
        ("resnet50", "B", "v1", "1-crop", None),
        ("resnet34", "A", "v1", "multi-scale", None),
        ("resnet20", "B", "v1", "cifar10", None),
        ("plain20", None, "v1", "cifar10", None),
    ],
)
def test_the_row_beside_a_network(network, shortcut, variant, protocol, expected):
    row = paper.reference(network, shortcut, variant, protocol)
    assert (row and (row.table, row.top1_error, row.top5_error)) == expected
    if row:
        assert row.protocol == protocol
        assert row.citation == f"He et al. 2015, Table {expected[0]}"


def test_residual_rows_name_networks_that_exist():
    tables = (paper.TABLE_2, paper.TABLE_3, paper.TABLE_4, paper.TABLE_5, paper.TABLE_6)
    assert [len(table) for table in tables] == [4, 10, 10, 6, 12]
    for row in sum(tables, ()):
        assert row.protocol in paper.PROTOCOLS
        assert row.top1_error or row.top5_error
        if row.network and row.network.startswith(("resnet", "plain")):
            assert row.network in model_names()
            assert describe(row.network, row.shortcut, "v1")[1] == row.shortcut


def test_what_the_text_says_of_the_tables():
    rows = {row.method: row for row in paper.TABLE_2 + paper.TABLE_3}
    # §4.1: "the 34-layer ResNet is better than the 18-layer ResNet (by 2.8%)"
    gained = rows["ResNet, 18 layers"].top1_error - rows["ResNet, 34 layers"].top1_error
    assert paper.rounds_to(gained, "2.8")
    # §4.1: "Compared to its plain counterpart, the 34-layer ResNet reduces the top-1 error by 3.5%"
    assert f"{rows['plain, 34 layers'].top1_error - rows['ResNet, 34 layers'].top1_error:.1f}" == "3.5"
    assert rows["plain-34"].top1_error == rows["plain, 34 layers"].top1_error
    assert rows["ResNet-34 A"].top1_error == rows["ResNet, 34 layers"].top1_error
    # Table 1: names of depths are numbers of weighted layers.
    for index, depth in enumerate(paper.TABLE_1_DEPTHS):
        weighted = 2  # conv1 and fc
        for row in paper.TABLE_1:
            if row.cells[index].startswith("["):
                unit, repeats = row.cells[index].split("] x ")
                weighted += len(unit.split(";")) * int(repeats)
        assert weighted == depth


@pytest.mark.parametrize(
    ("count", "printed", "expected"),
    [
        (3.858, "3.8", True),
        (7.57, "7.6", True),
        (1.751, "1.8", True),
        (1.749, "1.8", False),
        (3.9, "3.8", False),
        (11.2, "11.3", False),
        (19.632, "19.6", True),
        (0.4642, "0.46", True),
        (0.4701, "0.46", False),
    ],
)
def test_printed_digits_are_rounded_or_cut_off(count, printed, expected):
    assert paper.rounds_to(count, printed) == expected
