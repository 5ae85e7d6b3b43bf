"""Packing what cannot be packed: bad pictures are named, errors of anything else end it."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gluon_resnet.data import RecordFile, decode
from gluon_resnet.data.packing.pack import BadImagesError, PackOptions, pack
from gluon_resnet.data.packing.sources import FilePart, Picture
from gluon_resnet.errors import DataError, ImageError, UsageError
from gluon_resnet.terminal import printable
from tests.support.collections_of_pictures import Pictures, jpegs, packed
from tests.support.pictures import encode, picture, to_bytes


def bad_pictures(folder: pathlib.Path) -> dict[str, tuple[object, str]]:
    """Contents that cannot be packed, and what is said about them."""
    whole, png = encode(picture(50, 50)), encode(picture(50, 50), ".png")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "short").write_bytes(whole)
    return {
        "cut JPEG": (whole[:-300], "bad JPEG"),
        "cut PNG": (png[:-300], "cut short"),
        "corrupt PNG": (png[:500] + bytes(50) + png[550:], "bad PNG"),
        "empty": (b"", "the file is empty"),
        "text": (b"not an image at all", "unknown, starting with the bytes 6e 6f 74"),
        "GIF": (b"GIF89a" + bytes(100), " is GIF"),
        "missing": (FilePart(str(folder / "none")), "cannot open: No such file or directory"),
        "NUL": (FilePart(str(folder / "short\0")), "cannot open: No such file or directory"),
        "folder": (FilePart(str(folder / "folder")), "expected a regular file"),
        "pipe": (FilePart(str(folder / "pipe")), "expected a regular file"),
        "cut archive": (FilePart(str(folder / "short"), 0, 10**6), "expected 1000000 bytes, found"),
        "huge": (FilePart(str(folder / "short"), 0, 1 << 40), "a record holds at most 536870911"),
        "\x1b[31mred\t\n": (b"", "the file is empty"),
        "none": (ImageError("there is no such member"), "there is no such member"),
    }


@pytest.mark.parametrize("pass_through", [False, True])
def test_bad_pictures_are_named(tmp_path: pathlib.Path, pass_through: bool) -> None:
    bad = bad_pictures(tmp_path)
    items: list[object] = [
        Picture(i, (0.0,), name, content) for i, (name, (content, _)) in enumerate(bad.items())
    ]
    items[3:3] = [Picture(100, (1.0,), "good", encode(picture(9, 9)))]
    prefix = str(tmp_path / "p")
    options = {"pass_through": pass_through, "threads": 3}
    (tmp_path / "p.rec").write_bytes(b"what was there before")

    with pytest.raises(BadImagesError) as caught:
        pack(Pictures(*items), prefix, PackOptions(**options))
    assert "14 of 15 pictures cannot be packed, so nothing was written" in str(caught.value)
    assert (tmp_path / "p.rec").read_bytes() == b"what was there before"
    assert not list(tmp_path.glob("*.partial"))

    report = pack(Pictures(*items), prefix, PackOptions(on_error="skip", **options))
    assert report.failures == caught.value.failures
    assert [failure.name for failure in report.failures] == list(bad)
    for (name, reason), (_, expected) in zip(report.failures, bad.values()):
        assert expected in reason, name
    lines = pathlib.Path(report.errors_path or "").read_text().splitlines()
    assert lines == ["\t".join(map(printable, failure)) for failure in report.failures]
    assert sum(line.startswith("\\u001b[31mred\\t\\n\t") for line in lines) == 1
    assert [record.header.id for record in RecordFile(prefix + ".rec")] == [100]

    pack(Pictures(items[3]), prefix, PackOptions(**options))
    assert not (tmp_path / "p.errors.txt").exists()


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["baseline", "progressive", "restarts", "gray", "4:4:4"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=3),
    st.floats(0.5, 1),
)
def test_verification_finds_the_damage_that_a_decode_finds(
    tmp_path_factory: pytest.TempPathFactory, kind: str, changes: list, kept: float
) -> None:
    """Bytes are changed and the end is cut off, anywhere: passing through refuses what decode() refuses."""
    image = Image.fromarray(picture(90, 130)).convert("L" if kind == "gray" else "RGB")
    options = {"progressive": {"progressive": True}, "4:4:4": {"subsampling": 0}}.get(kind, {})
    data = bytearray(to_bytes(image, format="JPEG", quality=90, **options))
    if kind == "restarts":
        data = bytearray(encode(picture(90, 130), ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 5))
    for place, value in changes:
        data[3 + int(place * (len(data) - 3))] = value
    data = data[: max(3, int(kept * len(data)))]
    try:
        decode(bytes(data), "source")
        expected = None
    except ImageError as error:
        expected = str(error)
    prefix = str(tmp_path_factory.mktemp("damaged") / "p")
    found = None
    try:
        pack(Pictures(bytes(data)), prefix, PackOptions(pass_through=True))
    except BadImagesError as error:
        (found,) = (failure.reason for failure in error.failures)
    assert found == expected


def test_all_bad_or_none_at_all(tmp_path: pathlib.Path) -> None:
    with pytest.raises(BadImagesError, match="2 of 2 pictures cannot be packed"):
        pack(Pictures(b"", b"x"), str(tmp_path / "p"), PackOptions(on_error="skip"))
    with pytest.raises(DataError, match="no pictures to pack"):
        pack(Pictures(), str(tmp_path / "p"))
    assert os.listdir(tmp_path) == ["p.errors.txt"]


def test_too_large_a_target_is_the_pictures_fault(tmp_path: pathlib.Path) -> None:
    with pytest.raises(BadImagesError, match="when resized, it would have 2000000x20000 pixels"):
        packed(tmp_path, encode(picture(1, 100)), resize=20000)


@pytest.mark.parametrize(
    "wrong",
    [{"resize": 0}, {"color": "bgr"}, {"encoding": "gif"}, {"quality": 0}, {"quality": 101}, {"threads": 0},
     {"on_error": "ask"}],
)  # fmt: skip
def test_bad_options(wrong: dict) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(wrong))}: expected"):
        PackOptions(**wrong)


def test_an_error_of_the_source_ends_it(tmp_path: pathlib.Path) -> None:
    class Broken(Pictures):
        def __iter__(self) -> Iterator[Picture]:
            yield from self.items
            raise DataError("the archive is broken")

    with pytest.raises(DataError, match="the archive is broken"):
        pack(Broken(*jpegs(100)), str(tmp_path / "p"))
    assert os.listdir(tmp_path) == []


def test_an_error_of_conversion_is_told(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such codec here")

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(BadImagesError, match="cannot decode this format, which is BMP: no such codec here"):
        packed(tmp_path, encode(picture(3, 3), ".bmp"))
