"""The mean image and tools/mean.py: against NumPy, and files that are damaged."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import cv2
import numpy as np
import pytest

from gluon_resnet.cli import mean
from gluon_resnet.data import EvalTransform, RecordFile
from gluon_resnet.data.statistics import PixelStatistics, pixel_statistics
from gluon_resnet.errors import DataError, ImageError, UsageError
from tests.support.paths import ROOT
from tests.support.pictures import encode, picture, write_records

TOOL = ROOT / "tools" / "mean.py"


@pytest.fixture
def records(tmp_path: pathlib.Path) -> tuple[str, np.ndarray]:
    """300 PNG images of 8x8, more than a batch, and their pixels, (300, 3, 8, 8)."""
    pixels = [picture(8, 8, seed) for seed in range(300)]
    path = write_records(tmp_path / "small.rec", [encode(image, ".png") for image in pixels])
    return path, np.stack(pixels).transpose(0, 3, 1, 2).astype(np.float64)


@pytest.mark.parametrize("threads", [1, 8])
def test_the_statistics_are_numpys(records: tuple[str, np.ndarray], threads: int) -> None:
    path, pixels = records
    found = pixel_statistics(path, EvalTransform(None, 8), threads)
    assert found.images == 300
    np.testing.assert_array_equal(found.mean_image, pixels.mean(axis=0).astype(np.float32))
    np.testing.assert_allclose(found.mean, pixels.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std(axis=(0, 2, 3)), rtol=1e-9)


def test_images_are_scaled_and_cut_as_for_evaluation(record_path: str) -> None:
    transform = EvalTransform(resize=40, size=32)
    pixels = np.stack([transform(r.payload, dtype="uint8") for r in RecordFile(record_path)]).astype(float)
    found = pixel_statistics(record_path, transform)
    np.testing.assert_array_equal(found.mean_image, pixels.mean(axis=0).astype(np.float32))
    np.testing.assert_allclose(found.std, pixels.std(axis=(0, 2, 3)), rtol=1e-9)


def test_several_files_count_as_one(tmp_path: pathlib.Path) -> None:
    colors = [(10, 20, 30), (40, 60, 80), (100, 130, 160)]
    images = [encode(np.full((4, 4, 3), color, np.uint8), ".png") for color in colors]
    paths = [write_records(tmp_path / "a.rec", images[:1]), write_records(tmp_path / "b.rec", images[1:])]
    found = pixel_statistics(paths, EvalTransform(None, 4))
    assert (found.mean, found.images) == ((50, 70, 90), 3)
    np.testing.assert_allclose(found.std, np.std(colors, axis=0))


def test_one_color_has_no_deviation(tmp_path: pathlib.Path) -> None:
    path = write_records(tmp_path / "a.rec", [encode(np.full((4, 4, 3), 201, np.uint8), ".png")] * 7)
    assert pixel_statistics(path, EvalTransform(None, 4)).std == (0, 0, 0)


def test_a_broken_image_is_named(tmp_path: pathlib.Path) -> None:
    good = encode(picture(8, 8))
    path = write_records(tmp_path / "a.rec", [good, good[:100], good])
    with pytest.raises(ImageError, match=r"a\.rec: record with key 1 "):
        pixel_statistics(path, EvalTransform(None, 8))


def test_what_is_saved_is_read_back(tmp_path: pathlib.Path) -> None:
    image = np.random.default_rng(0).uniform(0, 255, (3, 5, 5)).astype(np.float32)
    saved = PixelStatistics(image, (1.5, 2.5, 3.5), (4.0, 5.0, 6.0), 7)
    saved.save(tmp_path / "mean.npz")
    loaded = PixelStatistics.load(tmp_path / "mean.npz")
    np.testing.assert_array_equal(loaded.mean_image, image)
    assert loaded.mean_image.dtype == np.float32
    assert (loaded.mean, loaded.std, loaded.images) == (saved.mean, saved.std, saved.images)
    assert [file.name for file in tmp_path.iterdir()] == ["mean.npz"]


GOOD: dict[str, Any] = {"mean_image": np.ones((3, 4, 4)), "mean": np.ones(3), "std": np.ones(3), "images": 5}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean_image": np.ones((3, 4, 5))}, r"found shapes \(3, 4, 5\), \(3,\)"),
        ({"mean_image": np.ones((1, 4, 4))}, "found shapes"),
        ({"mean_image": np.float32(1)}, "found shapes"),
        ({"mean": np.ones(4)}, "found shapes"),
        ({"images": np.ones(1)}, "found shapes"),
        ({"mean": np.array(["a", "b", "c"])}, "expected a mean image"),
        (
            {"mean_image": np.full((3, 4, 4), np.nan)},
            "expected finite values and positive standard deviations",
        ),
        ({"std": np.array([1, 0, 1])}, "positive standard deviations"),
        ({"std": np.array([1, np.nan, 1])}, "positive standard deviations"),
        ({"mean": np.array([{}, 1, 2], dtype=object)}, "not a file of tools/mean.py"),
        ({"mean": None}, "not a file of tools/mean.py"),
    ],
)
def test_a_file_of_other_arrays_is_refused(tmp_path: pathlib.Path, changes: dict, message: str) -> None:
    arrays = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    np.savez(tmp_path / "mean.npz", **arrays)
    with pytest.raises(DataError, match=rf"mean\.npz: .*{message}"):
        PixelStatistics.load(tmp_path / "mean.npz")


def test_a_damaged_file_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "mean.npz"
    PixelStatistics(np.ones((3, 4, 4), np.float32), (1, 1, 1), (1, 1, 1), 1).save(path)
    content = path.read_bytes()
    np.save(tmp_path / "array.npy", np.ones(3))
    one_array = (tmp_path / "array.npy").read_bytes()
    for data in (b"", b"hello", one_array, *(content[:size] for size in range(1, len(content), 97))):
        path.write_bytes(data)
        with pytest.raises(DataError, match="not a file of tools/mean.py"):
            PixelStatistics.load(path)


def test_the_tool(tmp_path: pathlib.Path, record_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "mean.npz"
    assert (
        mean.main([record_path, "--image-shape", "3,32,32", "--resize", "40", "--output", str(output)])
        is None
    )
    found = PixelStatistics.load(output)
    assert capsys.readouterr().out == (
        "--rgb-mean {:.3f},{:.3f},{:.3f}\n".format(*found.mean)
        + "--rgb-std {:.3f},{:.3f},{:.3f}\n".format(*found.std)
        + f"saved the mean of 23 images in {output}\n"
    )
    assert cv2.norm(found.mean_image - pixel_statistics(record_path, EvalTransform(40, 32)).mean_image) == 0
    mean.main([record_path, "--output", str(output)])
    assert PixelStatistics.load(output).mean_image.shape == (3, 224, 224)


def test_errors_of_the_tool(tmp_path: pathlib.Path, record_path: str) -> None:
    def fails(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, str(TOOL), *arguments], capture_output=True, text=True, check=False, timeout=600
        )
        return done.returncode, done.stderr.splitlines()[-1]

    output = str(tmp_path / "mean.npz")
    assert fails(record_path, "--image-shape", "3,0,0", "--output", output)[0] == 2
    assert fails(record_path, "--image-shape", "3,64,64", "--resize", "32", "--output", output)[0] == 2
    assert fails(record_path)[0] == 2
    status, message = fails(str(tmp_path / "none.rec"), "--output", output)
    assert (status, message) == (1, f"mean.py: error: {tmp_path / 'none.rec'}: No such file or directory")
    status, message = fails(record_path, record_path, "--output", output)
    assert (status, message.split(" hold ")[1]) == (
        2,
        "the same records, which would count twice: leave one of them out",
    )
    assert not (tmp_path / "mean.npz").exists()
    # Not looked at before the folder, which is the first mistake.
    broken = write_records(tmp_path / "broken.rec", [b"what?"])
    before = sorted(tmp_path.iterdir())
    nowhere = tmp_path / "nowhere" / "mean.npz"
    for path, reason in ((nowhere, "No such file or directory"), (tmp_path, "Is a directory")):
        assert fails(broken, "--output", str(path)) == (1, f"mean.py: error: {path}: {reason}")
    assert fails(broken, "--output", output)[0] == 1
    assert sorted(tmp_path.iterdir()) == before


def test_no_records_is_an_error() -> None:
    with pytest.raises(UsageError, match="at least one record file"):
        pixel_statistics([], EvalTransform(None, 8))
