"""Layer responses as a file, and as the paper's Figure 7."""

from __future__ import annotations

import json
import math
import os
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import cv2
import pytest

from gluon_resnet.analysis.response_figure import draw_responses, responses_svg
from gluon_resnet.analysis.responses import LayerResponse, Responses
from gluon_resnet.errors import DataError, UsageError

COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c")  # of the first lines, matplotlib's own


def responses(network: str, layers: int = 19, kernel: int = 3) -> Responses:
    """Waves over the layers."""
    stds = [1 + 0.5 * math.sin(1.0 + index) + index / 100 for index in range(layers)]
    return Responses(
        network=network,
        parameters=f"runs/{network}-0008.params",
        epoch=8,
        data=("test.rec", "more.rec"),
        images=10_000,
        layers=tuple(LayerResponse(f"conv{index}", kernel, std) for index, std in enumerate(stds)),
        command="python tools/responses.py --data-val test.rec 'more.rec'",
    )


def test_a_file_holds_what_was_measured(tmp_path):
    measured = replace(responses("resnet20"), parameters="läufe/resnet20-0008.params")
    measured.save(tmp_path / "r.json")
    assert Responses.load(tmp_path / "r.json") == measured
    assert json.loads((tmp_path / "r.json").read_text())["format"] == "gluon-resnet layer responses 1"
    assert os.listdir(tmp_path) == ["r.json"]


def test_the_figure_is_of_the_3x3_layers():
    layers = [("conv0", 7, 9.0), ("a", 1, 8.0), ("b", 3, 0.5), ("c", 3, 0.75), ("d", 3, 0.25)]
    bottlenecks = replace(responses("resnet50"), layers=tuple(LayerResponse(*layer) for layer in layers))
    assert bottlenecks.stds == (0.5, 0.75, 0.25)
    assert bottlenecks.ranked == (0.75, 0.5, 0.25)
    assert responses("vgg16", kernel=1).ranked == ()


def changed(**changes) -> str:
    return json.dumps({**json.loads(responses("resnet20", 2).to_json()), **changes})


def layer(**changes) -> str:
    return changed(layers=[{"name": "conv0", "kernel": 3, "std": 1.0, **changes}])


DAMAGED = {
    "nothing": "",
    "no object": "[]",
    "deep": "[" * 100_000,
    "zero bytes": "\0\0",
    "no format": "{}",
    "another format": changed(format="gluon-resnet run card 1"),
    "cut off": changed()[:-20],
    "a key too many": changed(more=1),
    "no layers": changed(layers=[]),
    "layers are text": changed(layers="conv0"),
    "a layer is a number": changed(layers=[3]),
    "a layer with a key too many": layer(more=1),
    "NaN": layer(std=float("nan")),
    "infinity": layer(std=float("inf")),
    "1e999": layer(std=0.125).replace("0.125", "1e999"),
    "a number of many digits": layer(std=0.125).replace("0.125", "9" * 400),
    "a negative std": layer(std=-1.0),
    "std is text": layer(std="1"),
    "std is true": layer(std=True),
    "kernel 0": layer(kernel=0),
    "kernel 3.0": layer(kernel=3.0),
    "a name that is none": layer(name=None),
    "half a surrogate pair": layer(name="\ud800"),
    "no images": changed(images=0),
    "an epoch below 0": changed(epoch=-1),
    "data is text": changed(data="test.rec"),
    "data of numbers": changed(data=[1]),
    "network is a list": changed(network=["resnet20"]),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_another_file_is_refused(tmp_path, damage):
    path = tmp_path / "r.json"
    path.write_text(DAMAGED[damage])
    with pytest.raises(DataError, match=r"r\.json is not a file of layer responses: ") as caught:
        Responses.load(path)
    assert caught.value.path == str(path)
    assert len(str(caught.value)) < 400 + len(str(path))


def test_values_that_cannot_be_are_refused_before_they_are_written():
    with pytest.raises(UsageError, match="std: expected a number from 0, found nan"):
        LayerResponse("conv0", 3, math.nan)
    with pytest.raises(UsageError, match="images: expected a number from 1, found 0"):
        replace(responses("resnet20"), images=0)


def test_a_missing_file_is_told_as_the_system_does(tmp_path):
    with pytest.raises(FileNotFoundError):
        Responses.load(tmp_path / "r.json")


def lines(svg: str, color: str) -> list[list[tuple[float, float]]]:
    """The points of each line of this color that has more than the three of a legend."""
    found = []
    for path in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path"):
        if color in path.get("style", ""):
            numbers = list(map(float, re.findall(r"[-\d.]+", path.get("d", ""))))
            found.append(list(zip(numbers[::2], numbers[1::2])))
    return [points for points in found if len(points) > 3]


def test_the_figure_has_each_layer_in_both_orders():
    nets = [responses("plain20"), responses("resnet20"), responses("resnet56", 55)]
    svg = responses_svg(nets)
    for net, color in zip(nets, COLORS):
        original, ranked = lines(svg, color)
        assert len(original) == len(ranked) == len(net.stds)
        for points in (original, ranked):
            across = [x for x, _ in points]
            steps = [b - a for a, b in zip(across, across[1:])]
            assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-3)
        down = [y for _, y in ranked]
        assert down == sorted(down)  # downwards in the picture
        heights = {std: y for std, (_, y) in zip(net.stds, original)}
        assert sorted(heights, reverse=True) == sorted(heights, key=heights.__getitem__)


def test_plain_networks_are_dashed_and_all_have_names():
    nets = [responses("plain20"), responses("resnet20")]
    svg = responses_svg(nets)
    plain, residual = (
        [style for style in re.findall(r'style="([^"]*)"', svg) if color in style] for color in COLORS[:2]
    )
    assert all("stroke-dasharray" in style for style in plain)
    assert not any("stroke-dasharray" in style for style in residual)
    words = " ".join(ElementTree.fromstring(svg).itertext())
    for text in ("plain20", "resnet20", "layer index (original)", "layer index (sorted by magnitude)", "std"):
        assert text in words
    assert "params" not in words


def test_networks_of_one_name_are_told_apart_by_their_files():
    nets = [replace(responses("resnet34"), parameters=f"runs/_{x}$-0090.params") for x in "AB"]
    words = " ".join(ElementTree.fromstring(responses_svg(nets)).itertext())
    assert all(f"runs/_{x}$-0090.params" in words for x in "AB")


def test_a_figure_is_written_whole_by_its_ending(tmp_path):
    nets = [responses("plain20"), responses("resnet20")]
    draw_responses(str(tmp_path / "f.PNG"), nets)
    draw_responses(str(tmp_path / "f.svg"), nets)
    image = cv2.imread(str(tmp_path / "f.PNG"))
    assert image.shape == (720, 1080, 3)
    root = ElementTree.parse(tmp_path / "f.svg").getroot()
    assert (root.tag[-3:], root.get("role"), root[0].tag[-5:]) == ("svg", "img", "title")
    assert root[0].text == "Standard deviations of layer responses, by layer and by size"
    with pytest.raises(UsageError, match=r"f\.pdf: a figure is a \.png or \.svg file"):
        draw_responses(str(tmp_path / "f.pdf"), nets)
    assert sorted(os.listdir(tmp_path)) == ["f.PNG", "f.svg"]


@pytest.mark.parametrize(
    "nets",
    [[], [responses("resnet20", 1)], [responses("vgg16", kernel=1)], [responses(str(n)) for n in range(23)]],
    ids=["none", "one layer", "no 3x3 layer", "many"],
)
def test_any_number_of_networks_and_layers_is_a_figure(nets):
    ElementTree.fromstring(responses_svg(nets))
