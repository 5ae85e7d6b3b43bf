"""What a loader says of arguments that cannot be, and of itself: one sentence, which says what to give."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from gluon_resnet.data import Loader, RecordFile, TrainTransform, decode
from gluon_resnet.errors import RecordError, UsageError
from tests.support.batches import EVAL
from tests.support.pictures import encode, picture, write_records

BEYOND = (0, -1, 2.0, "2", True, None, [2], float("nan"))


@pytest.mark.parametrize("name", ["batch_size", "threads", "world_size", "prefetch", "cache_size"])
@pytest.mark.parametrize("value", BEYOND)
def test_numbers_are_whole_numbers(record_path: str, name: str, value: object) -> None:
    if value is None and name in ("threads", "cache_size"):
        return  # which have a default
    options = {"batch_size": 4, "transform": EVAL, "cache": "decoded", name: value}
    with pytest.raises(UsageError, match=f"^{name}: expected a whole number from 1 to .*, found "):
        Loader(record_path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, 2.0, "2", True, None, 1 << 64])
def test_seeds_and_epochs_are_whole_numbers(record_path: str, value: object) -> None:
    with pytest.raises(UsageError, match="^seed: expected a whole number from 0 to"):
        Loader(record_path, 4, EVAL, seed=value)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="^epoch: expected a whole number from 0 to"):
        Loader(record_path, 4, EVAL).set_epoch(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("transform", [None, abs, TrainTransform, 224, "train"])
def test_a_transform_is_one_of_ours(record_path: str, transform: Any) -> None:
    with pytest.raises(
        UsageError, match=r"^transform: expected a TrainTransform or an EvalTransform, such as Train"
    ):
        Loader(record_path, 4, transform)


@pytest.mark.parametrize("records", [None, 5, [], [5], [None], ()])
def test_records_are_files(records: Any) -> None:
    with pytest.raises(UsageError, match=r"expected (at least one|the path of a) record file \(\.rec\)"):
        Loader(records, 4, EVAL)


def test_paths_of_any_kind_and_paths_of_none(tmp_path: pathlib.Path, record_path: str) -> None:
    for path in (record_path, pathlib.Path(record_path), record_path.encode(), iter([record_path])):
        assert Loader(path, 4, EVAL).num_records == 23  # type: ignore[arg-type]
    with pytest.raises(RecordError, match=rf"^{tmp_path}: expected a record file \(\.rec\), found a folder$"):
        Loader(tmp_path, 4, EVAL)
    with pytest.raises(UsageError, match="path: expected"):  # not the file of that name up to the zero
        Loader(record_path + "\0.rec", 4, EVAL)


@pytest.mark.parametrize("name", ["shuffle", "fast"])
def test_flags_are_true_or_false(record_path: str, name: str) -> None:
    for value in ("no", None, 2):
        with pytest.raises(UsageError, match=f"^{name}: expected True or False"):
            Loader(record_path, 4, EVAL, **{name: value})  # type: ignore[arg-type]
    assert Loader(record_path, 4, EVAL, **{name: np.bool_(True)}).num_records == 23  # type: ignore[arg-type]


def test_a_loader_is_iterated_and_says_so(record_path: str) -> None:
    with pytest.raises(UsageError, match=r"'for batch in loader'.*RecordFile\(path\)\[i\].*torch_dataset"):
        _ = Loader(record_path, 4, EVAL)[0]


def test_what_they_are_called(record_path: str) -> None:
    loader = Loader(record_path, 4, EVAL, shuffle=True, seed=7)
    start = "Loader(23 records in 1 file(s), 6 batches of 4, EvalTransform(resize=40, size=32"
    assert repr(loader).startswith(start)
    assert repr(loader).endswith("shuffle=True, seed=7; epoch 0, batch 0)")
    batch = next(iter(loader))
    assert repr(loader).endswith("; epoch 0, batch 1)")
    assert repr(batch) == "Batch(data=float32 (4, 3, 32, 32), label=float32 (4,), pad=0)"
    batch.release()
    assert repr(batch) == "Batch(released)"
    records = RecordFile(record_path)
    assert repr(records) == f"RecordFile({record_path!r}, 23 records)"
    payload = len(records[3].payload)
    assert (
        repr(records[3]) == f"Record(Header(label=array([3.], dtype=float32), id=3, id2=0), {payload} bytes)"
    )


def test_more_files_than_may_be_open(tmp_path: pathlib.Path) -> None:
    """The sentence says how many there are, how many may be open, and what to type."""
    paths = [write_records(tmp_path / f"{i}.rec", [encode(picture(8, 8, i))]) for i in range(40)]
    program = (
        "import resource, sys\nfrom gluon_resnet.data import EvalTransform, Loader\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (30, hard))\n"
        "try:\n    Loader(sys.argv[1:], 4, EvalTransform(None, 8))\n"
        "except ValueError as error:\n    print(error)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 400), hard))\n"
        "print(sum(len(batch) for batch in Loader(sys.argv[1:], 4, EvalTransform(None, 8))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *paths], capture_output=True, text=True, timeout=600
    )
    refused, records = done.stdout.splitlines()
    assert refused == (
        "records: a loader keeps its 40 record files open, and this process may have 30 files open: "
        "allow more by 'ulimit -n 296', or pack fewer, larger files"
    )
    assert records == "40"


def test_an_image_is_given_by_its_bytes(record_path: str) -> None:
    for wrong in (record_path, pathlib.Path(record_path), None, 7):
        with pytest.raises(
            UsageError, match="expected the bytes of a JPEG or PNG file, found .*read the file"
        ):
            decode(wrong)  # type: ignore[arg-type]
