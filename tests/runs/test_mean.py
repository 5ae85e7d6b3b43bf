"""tools/train.py and the mean of each pixel: measured, read, resumed, and inside what is exported."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from gluon_resnet.card import ModelCard
from gluon_resnet.cli import export, mean
from gluon_resnet.cli.train import main
from gluon_resnet.data import EvalTransform, PixelStatistics, RecordFile, pixel_statistics
from gluon_resnet.deploy import Predictor
from gluon_resnet.errors import DataError, UsageError
from gluon_resnet.models.parameters import read_arrays
from tests.support.small_training import pack, training_options

TRANSFORM = EvalTransform(None, 16)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [*training_options(tmp_path_factory.mktemp("records")), "--num-epochs", "1"]


def train_path(data: list[str]) -> str:
    return data[data.index("--data-train") + 1]


def test_the_mean_of_the_training_images_is_inside_the_network(data, tmp_path, capsys):
    prefix = tmp_path / "runs" / "a"
    assert main([*data, "--model-prefix", str(prefix)]) is None
    said = capsys.readouterr().out.splitlines()[0]
    assert said == f"the mean of 132 images is subtracted, and saved in {prefix}-mean.npz"
    expected = pixel_statistics(train_path(data), TRANSFORM)
    kept = PixelStatistics.load(f"{prefix}-mean.npz")
    np.testing.assert_array_equal(kept.mean_image, expected.mean_image)
    card = ModelCard.load(f"{prefix}-model.json")
    assert (card.per_pixel_mean, card.mean, card.std) == (True, expected.mean, (1, 1, 1))
    np.testing.assert_array_equal(read_arrays(f"{prefix}-0001.params")["0.mean"], expected.mean_image)

    export.main(["--model-prefix", str(prefix), "--output", str(tmp_path / "out")])
    record = RecordFile(train_path(data))[0].payload
    exported = read_arrays(tmp_path / "out-0000.params")
    np.testing.assert_array_equal(exported["arg:normalize_mean"], expected.mean_image)
    assert np.isfinite(Predictor(tmp_path / "out").logits([record])).all()


def test_a_mean_image_of_the_users(data, tmp_path):
    mean.main(
        [pack(tmp_path / "other.rec", 40, 7), "--image-shape", "3,16,16", "--output", str(tmp_path / "m.npz")]
    )
    options = [*data, "--model-prefix", str(tmp_path / "a"), "--mean-image", str(tmp_path / "m.npz")]
    assert main(options) is None
    expected = PixelStatistics.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(read_arrays(tmp_path / "a-0001.params")["0.mean"], expected.mean_image)
    np.testing.assert_array_equal(
        PixelStatistics.load(tmp_path / "a-mean.npz").mean_image, expected.mean_image
    )


def test_a_mean_per_channel_measures_nothing(data, tmp_path):
    assert main([*data, "--model-prefix", str(tmp_path / "a"), "--rgb-mean", "1,2,3"]) is None
    assert not (tmp_path / "a-mean.npz").exists()
    assert json.loads((tmp_path / "a-model.json").read_text())["preprocessing"]["per_pixel_mean"] is False
    assert read_arrays(tmp_path / "a-0001.params")["0.mean"].ravel().tolist() == [1, 2, 3]


def test_records_held_out_are_not_in_it(data, tmp_path):
    options = [*data[: data.index("--data-val")], "--num-epochs", "1", "--holdout", "30"]
    assert main([*options, "--model-prefix", str(tmp_path / "a")]) is None
    rest = RecordFile(train_path(data), tmp_path / "a-train.idx")
    assert len(rest) == 102
    expected = pixel_statistics(rest, TRANSFORM)
    kept = PixelStatistics.load(tmp_path / "a-mean.npz")
    assert kept.images == 102
    np.testing.assert_array_equal(kept.mean_image, expected.mean_image)


def test_a_run_goes_on_with_its_mean(data, tmp_path):
    two = [*data, "--num-epochs", "2"]
    assert main([*two, "--model-prefix", str(tmp_path / "a")]) is None
    assert main([*data, "--model-prefix", str(tmp_path / "b")]) is None
    assert main([*two, "--model-prefix", str(tmp_path / "b"), "--resume"]) is None
    ends = [(tmp_path / f"{name}-0002.params").read_bytes() for name in "ab"]
    assert ends[0] == ends[1]
    (tmp_path / "b-mean.npz").unlink()  # it is measured again, and the same
    assert main([*data, "--num-epochs", "3", "--model-prefix", str(tmp_path / "b"), "--resume"]) is None
    assert (
        PixelStatistics.load(tmp_path / "b-mean.npz").mean
        == PixelStatistics.load(tmp_path / "a-mean.npz").mean
    )


def test_the_mean_of_an_earlier_run_is_not_that_of_one_that_begins_anew(data, tmp_path):
    """--resume may be given from the start: what was killed before its first state leaves a mean all the same."""
    PixelStatistics(np.ones((3, 16, 16), np.float32), (1, 1, 1), (1, 1, 1), 1).save(tmp_path / "a-mean.npz")
    assert main([*data, "--model-prefix", str(tmp_path / "a"), "--resume"]) is None
    expected = pixel_statistics(train_path(data), TRANSFORM)
    np.testing.assert_array_equal(read_arrays(tmp_path / "a-0001.params")["0.mean"], expected.mean_image)


def test_a_mean_image_that_does_not_fit(data, tmp_path):
    def run(path: pathlib.Path) -> None:
        main([*data, "--model-prefix", str(tmp_path / "out" / "a"), "--mean-image", str(path)])

    PixelStatistics(np.ones((3, 24, 24), np.float32), (1, 1, 1), (1, 1, 1), 1).save(tmp_path / "m.npz")
    with pytest.raises(
        UsageError, match=r"images of 24x24, but the network sees 16x16: .* --image-shape 3,16,16"
    ):
        run(tmp_path / "m.npz")
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"bad\.npz: not a file of tools/mean\.py"):
        run(tmp_path / "bad.npz")
    with pytest.raises(FileNotFoundError):
        run(tmp_path / "none.npz")
    assert not (tmp_path / "out").exists()
