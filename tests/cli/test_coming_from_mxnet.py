"""docs/coming_from_mxnet.md: its tables are the code's, and lack nothing that MXNet itself documents."""

from __future__ import annotations

import inspect
import pathlib
import re
import shlex
from collections.abc import Sequence

import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.cli.im2rec import options as im2rec_options
from gluon_resnet.cli.train import options as train_options
from gluon_resnet.cli.train.foreign import translated
from gluon_resnet.cli.train.foreign_flags import DATA, FIT, GLUONCV, Flag
from gluon_resnet.data import ColorJitter, EvalTransform, Loader, TrainTransform
from tests.support.documents import commands
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "coming_from_mxnet.md"


def rows(heading: str) -> dict[str, str]:
    """The table below `heading`: what stands in the second column for each name of the first."""
    text = PAGE.read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(r"^\| `([^|]+)` \| ([^|]+) \|$", section, re.MULTILINE)
    assert len(dict(found)) == len(found)
    return dict(found)


def place(flag: Flag) -> str:
    """What the page says of a flag of the code's table."""
    parts = []
    if flag.option is not None:
        parts.append("the same" if flag.option == flag.name else flag.option)
    if flag.why:
        parts.append(f"left out: {flag.why}" if flag.left_out else flag.why)
    values = ", ".join(f"`{value}`" if value else "nothing" for value in flag.same)
    text = re.sub(r"(?<![\w-])--[a-z][a-z0-9_-]*", r"`\g<0>`", "; ".join(parts))
    return f"{text} (taken: {values})" if values else text


@pytest.mark.parametrize(
    ("heading", "flags"),
    [
        ("fit.py: training", FIT),
        ("data.py: images", DATA),
        ("GluonCV's train_imagenet.py", GLUONCV),
    ],
)
def test_the_tables_of_flags_are_the_codes(heading: str, flags: Sequence[Flag]) -> None:
    assert rows(heading) == {flag.name: place(flag) for flag in flags}


def test_every_parameter_of_image_record_iter_has_its_place() -> None:
    documented = re.findall(r"^(\w+) : ", mx.io.ImageRecordIter.__doc__, re.MULTILINE)
    found = rows("ImageRecordIter")
    assert sorted(found) == sorted(set(documented) - {"iter", "name"})
    ours = {
        name
        for kind in (Loader, TrainTransform, EvalTransform, ColorJitter)
        for name in inspect.signature(kind).parameters
    }
    for text in found.values():
        for name in re.findall(r"`(\w+)=", text):
            assert name in ours, text


def test_every_flag_of_im2rec_has_its_place() -> None:
    source = (pathlib.Path(mx.__file__).parent / "tools" / "im2rec.py").read_text()
    theirs = re.findall(r"add_argument\(\s*'(-[^']+|\w+)'", source)
    assert sorted(rows("im2rec.py")) == sorted(theirs)


def test_every_option_that_the_page_names_is_there() -> None:
    parsers = (train_options.parser(), im2rec_options._parser())
    ours = {option for parser in parsers for action in parser._actions for option in action.option_strings}
    for heading in ("ImageRecordIter", "im2rec.py", "fit.py: training", "data.py: images"):
        for text in rows(heading).values():
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text)) <= ours, text


def test_the_command_of_the_page_is_one_of_ours() -> None:
    (command,) = commands(PAGE.read_text(encoding="utf-8"))
    args = train_options.parser().parse_args(translated(shlex.split(command)[2:]))
    assert (args.network, args.gpus, args.mom, args.lr_step_epochs) == ("resnet50_v1b", (0,), 0.9, (30, 60))
    assert args.model_prefix == "runs/resnet50_v1b"
