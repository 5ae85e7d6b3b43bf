"""Packing into record files: the bytes written, and what happens to the pixels, as MXNet has it."""

from __future__ import annotations

import os
import pathlib
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gluon_resnet._mxnet import mx
from gluon_resnet.data import RecordFile, decode
from gluon_resnet.data.packing.image_list import Entry
from gluon_resnet.data.packing.pack import BadImagesError, PackOptions, PackReport, pack
from gluon_resnet.data.packing.sources import FilePart, Folder, Picture
from tests.support import oracle
from tests.support.collections_of_pictures import Pictures, jpegs, packed
from tests.support.lossless_jpeg import lossless_jpeg
from tests.support.pictures import encode, picture, tiff, to_bytes

MAGIC = struct.pack("<I", oracle.MAGIC)


def test_what_is_written(tmp_path: pathlib.Path) -> None:
    images = jpegs(5)
    (tmp_path / "a.jpg").write_bytes(images[1])
    (tmp_path / "archive").write_bytes(b"before" + images[2] + b"behind")
    source = Pictures(
        images[0],
        FilePart(str(tmp_path / "a.jpg")),
        FilePart(str(tmp_path / "archive"), 6, len(images[2])),
        Picture(900, (1.5, 2.5), "several labels", images[3]),
        Picture((1 << 62) + 1, (-1.0,), "a large key", images[4]),
        classes=("cat", "d\udcffg"),
    )
    listing = [Entry(0, (0.0,), "a")]
    progress: list[tuple[int, int]] = []
    report = pack(
        source,
        str(tmp_path / "p"),
        PackOptions(pass_through=True, pack_label=True),
        listing=listing,
        progress=lambda *done: progress.append(done),
    )

    size = os.path.getsize(tmp_path / "p.rec")
    assert report == PackReport(str(tmp_path / "p.rec"), 5, size, report.seconds, (), None)
    assert progress[-1] == (5, size)
    assert (tmp_path / "p.lst").read_text() == "0\t0.000000\ta\n"
    assert (tmp_path / "p.classes").read_bytes() == b"cat\nd\xffg\n"
    file = RecordFile(tmp_path / "p.rec")
    file.check()
    assert [file.key(i) for i in range(5)] == [0, 1, 2, 900, (1 << 62) + 1]
    assert [record.header.id for record in file] == [file.key(i) for i in range(5)]
    assert [record.header.label.tolist() for record in file] == [[0], [1], [2], [1.5, 2.5], [-1]]
    assert [record.payload for record in file] == images
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("a.jpg", "archive", "p.classes", "p.idx", "p.lst", "p.rec"),
    ]


def test_only_the_first_label_without_pack_label(tmp_path: pathlib.Path) -> None:
    pack(Pictures(Picture(0, (1.5, 2.5), "x", jpegs(1)[0])), str(tmp_path / "p"))
    assert RecordFile(tmp_path / "p.rec")[0].header.label.tolist() == [1.5]


@pytest.mark.parametrize("options", [{}, {"pass_through": True}, {"resize": 16, "encoding": "png"}])
def test_the_bytes_do_not_depend_on_the_threads(tmp_path: pathlib.Path, options: dict) -> None:
    items: list = jpegs(150)
    items[40:40] = [encode(picture(400, 500))]  # the others overtake it
    items[70] = b"bad"
    items[90] = picture(8, 9)
    written = []
    for threads in (1, 8, 8):
        options = {"on_error": "skip", "threads": threads, **options}
        report = pack(Pictures(*items), str(tmp_path / "p"), PackOptions(**options))
        assert report.records == 150
        written.append([(tmp_path / f"p{suffix}").read_bytes() for suffix in (".rec", ".idx", ".errors.txt")])
        options.pop("threads")
    assert written[0] == written[1] == written[2]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([b"abcd", b"e", MAGIC, MAGIC[:2], b""]), max_size=6).map(b"".join),
            st.lists(
                st.one_of(
                    st.floats(width=32, allow_nan=False),
                    st.just(struct.unpack("<f", MAGIC)[0]),
                ),
                min_size=1,
                max_size=4,
            ),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_mxnet_reads_any_record(tmp_path_factory: pytest.TempPathFactory, records: list) -> None:
    """The magic may stand anywhere in payload and labels; where it is aligned the record is cut."""
    prefix = str(tmp_path_factory.mktemp("any") / "p")
    items = [Picture(i, tuple(labels), "x", payload) for i, (payload, labels) in enumerate(records)]
    pack(Pictures(*items), prefix, PackOptions(pass_through=True, verify=False, pack_label=True))
    RecordFile(prefix + ".rec").check()
    theirs = mx.recordio.MXIndexedRecordIO(prefix + ".idx", prefix + ".rec", "r")
    for i, (payload, labels) in enumerate(records):
        header, data = mx.recordio.unpack(theirs.read_idx(i))
        assert (header.id, header.id2, data) == (i, 0, payload)
        np.testing.assert_array_equal(np.atleast_1d(header.label), np.float32(labels))
        ours = RecordFile(prefix + ".rec")[i]
        assert ours.payload == payload
        np.testing.assert_array_equal(ours.header.label, np.float32(labels))
    theirs.close()


@pytest.mark.parametrize("payload", [MAGIC, MAGIC + b"end", b"12345678" + MAGIC + b"x", b"abc" + MAGIC * 3])
def test_we_read_mxnets_cut_records(tmp_path: pathlib.Path, payload: bytes) -> None:
    writer = mx.recordio.MXIndexedRecordIO(str(tmp_path / "p.idx"), str(tmp_path / "p.rec"), "w")
    for i in range(3):
        writer.write_idx(i, mx.recordio.pack(mx.recordio.IRHeader(0, float(i), i, 0), payload * i))
    writer.close()
    file = RecordFile(tmp_path / "p.rec")
    file.check()
    assert [record.payload for record in file] == [payload * i for i in range(3)]

    pack(
        Pictures(*(payload * i for i in range(3))),
        str(tmp_path / "q"),
        PackOptions(pass_through=True, verify=False),
    )
    assert (tmp_path / "q.rec").read_bytes() == (tmp_path / "p.rec").read_bytes()
    assert (tmp_path / "q.idx").read_bytes() == (tmp_path / "p.idx").read_bytes()


@pytest.mark.parametrize("size", [(40, 60), (61, 40), (33, 33), (1, 90)])
@pytest.mark.parametrize("resize", [None, 16, 48])
@pytest.mark.parametrize("crop", [False, True])
def test_crop_and_resize_are_mxnets(tmp_path: pathlib.Path, size: tuple, resize: int, crop: bool) -> None:
    image = picture(*size)
    options = {"resize": resize, "center_crop": crop, "encoding": "png"}
    encoded, pixels = packed(tmp_path, encode(image, ".png"), image, **options)
    height, width = size
    if crop:
        side = min(size)
        top, left = (height - side) // 2, (width - side) // 2
        image = np.ascontiguousarray(image[top : top + side, left : left + side])
    if resize:
        image = oracle.resize_short(image, resize)
    np.testing.assert_array_equal(encoded, image)
    np.testing.assert_array_equal(pixels, image)


def test_encoding_is_opencvs(tmp_path: pathlib.Path) -> None:
    image = picture(37, 53)
    prefix = str(tmp_path / "p")
    for quality in (1, 60, 95, 100):
        pack(Pictures(image), prefix, PackOptions(quality=quality))
        expected = encode(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality)
        np.testing.assert_array_equal(decode(RecordFile(prefix + ".rec")[0].payload), decode(expected))
    sizes = []
    for quality in (0, 1, 9, 95):
        pack(Pictures(image), prefix, PackOptions(quality=quality, encoding="png"))
        payload = RecordFile(prefix + ".rec")[0].payload
        np.testing.assert_array_equal(decode(payload), image)
        sizes.append(len(payload))
    assert sizes[0] > sizes[1] > sizes[2] == sizes[3]


@pytest.mark.parametrize("extension", [".bmp", ".tiff", ".webp", ".ppm"])
def test_other_formats_are_converted(tmp_path: pathlib.Path, extension: str) -> None:
    image = picture(24, 36)
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if extension == ".webp" else []
    data = encode(image, extension, *options)
    color, gray = (packed(tmp_path, data, color=c, encoding="png")[0] for c in ("rgb", "gray"))
    np.testing.assert_array_equal(color, image)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(gray[:, :, 0], expected)
    with pytest.raises(BadImagesError, match="other formats are converted only without --pass-through"):
        packed(tmp_path, data, pass_through=True)
    pack(Pictures(data), str(tmp_path / "p"), PackOptions(pass_through=True, verify=False))
    assert RecordFile(tmp_path / "p.rec")[0].payload == data


@pytest.mark.parametrize("extension", [".jpg", ".png", ".bmp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_color(tmp_path: pathlib.Path, extension: str, channels: int) -> None:
    data = encode(picture(20, 30)[:, :, :channels], extension)
    flags = {"rgb": cv2.IMREAD_COLOR, "gray": cv2.IMREAD_GRAYSCALE, "source": cv2.IMREAD_UNCHANGED}
    for color, flag in flags.items():
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
        expected = expected[:, :, None] if expected.ndim == 2 else expected[:, :, ::-1]
        found = packed(tmp_path, data, color=color, encoding="png")[0]
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected).max() <= (1 if extension == ".jpg" else 0)


def test_color_of_pixels(tmp_path: pathlib.Path) -> None:
    image = picture(20, 30)
    for color in ("rgb", "source"):
        np.testing.assert_array_equal(packed(tmp_path, image, color=color, encoding="png")[0], image)
    gray = packed(tmp_path, image, color="gray", encoding="png")[0]
    np.testing.assert_array_equal(gray[:, :, 0], cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def test_alpha_is_kept_where_it_can_be(tmp_path: pathlib.Path) -> None:
    image = np.concatenate([picture(10, 12), picture(10, 12, 1)[:, :, :1]], axis=2)
    for data in (encode(image, ".png"), encode(image.astype(np.uint16) << 8 | 7, ".png")):
        options = PackOptions(color="source", encoding="png", center_crop=True)
        pack(Pictures(data), str(tmp_path / "p"), options)
        payload = np.frombuffer(RecordFile(tmp_path / "p.rec")[0].payload, np.uint8)
        found = cv2.imdecode(payload, cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(found[:, :, [2, 1, 0, 3]], image[:, 1:11])
        for color, encoding in [("rgb", "png"), ("source", "jpeg")]:
            assert packed(tmp_path, data, color=color, encoding=encoding)[0].shape == (10, 12, 3)


def test_real_pictures(tmp_path: pathlib.Path, imagenet_images: list) -> None:
    """Every real ImageNet file passes, and keeps its bytes or its size."""
    for name, data in imagenet_images:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    names = [name for name, _ in imagenet_images]
    entries = [Entry(i, (float(i),), name) for i, name in enumerate(names)]
    source = Folder(str(tmp_path / "in")).source(entries)
    assert pack(source, str(tmp_path / "p"), PackOptions(pass_through=True)).records == 691
    assert [record.payload for record in RecordFile(tmp_path / "p.rec")] == [
        data for _, data in imagenet_images
    ]


@pytest.mark.parametrize("color", ["rgb", "gray", "source"])
@pytest.mark.parametrize("gray", [False, True])
def test_a_lossless_jpeg_is_converted(tmp_path: pathlib.Path, color: str, gray: bool) -> None:
    """It has the pixels and the orientation of a PNG of the same picture."""
    image = cv2.cvtColor(picture(20, 30), cv2.COLOR_RGB2GRAY) if gray else picture(20, 30)
    exif = b"Exif\0\0" + tiff(6)
    app1 = struct.pack(">BBH", 0xFF, 0xE1, len(exif) + 2) + exif
    pictures = [lossless_jpeg(image), lossless_jpeg(image, app1), encode(image, ".png")]
    stored, turned, expected = packed(tmp_path, *pictures, color=color, encoding="png", quality=1)
    assert np.abs(stored.astype(int) - expected).max() <= (
        color == "gray" and not gray
    )  # libpng rounds otherwise
    np.testing.assert_array_equal(turned, np.rot90(stored, -1))


def test_a_lossless_jpeg_is_not_passed_through(tmp_path: pathlib.Path) -> None:
    with pytest.raises(
        BadImagesError, match="lossless JPEG; other formats are converted only without --pass-through"
    ):
        pack(Pictures(lossless_jpeg(picture(9, 9))), str(tmp_path / "p"), PackOptions(pass_through=True))


@pytest.mark.parametrize("color", ["rgb", "gray", "source"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("extension", ["WebP", "PNG"])
def test_orientation_does_not_depend_on_the_version_of_opencv(
    tmp_path: pathlib.Path, extension: str, orientation: int, color: str
) -> None:
    """Some turn a WebP and some do not; with "as in the source" none turns anything."""
    image = Image.fromarray(picture(20, 30))
    options = {"format": extension, "lossless": True} if extension == "WebP" else {"format": extension}
    exif = Image.Exif()
    exif[0x0112] = orientation
    payloads = to_bytes(image, **options), to_bytes(image, exif=exif.tobytes(), **options)
    flat, turned = packed(tmp_path, *payloads, color=color, encoding="png", quality=1)
    turns = {1: 0, 3: 2, 6: -1, 8: 1}[orientation]
    np.testing.assert_array_equal(turned, np.rot90(flat, turns))
