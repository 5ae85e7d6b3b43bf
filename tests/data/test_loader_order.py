"""The order of an epoch: shuffled over all files, shared by ranks, and kept in no list."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluon_resnet.data import EvalTransform, Loader
from gluon_resnet.errors import UsageError
from tests.support.paths import ROOT
from tests.support.pictures import encode, picture, write_records

TINY = EvalTransform(None, 2)


def labels(loader: Loader) -> list[list[int]]:
    """The labels of the real rows of each batch of one epoch."""
    return [batch.label[: len(batch) - batch.pad].astype(int).tolist() for batch in loader]


def write_numbered(folder: pathlib.Path, sizes: list[int]) -> list[str]:
    """Record files of so many records; all records together have the labels 0, 1, 2, ..."""
    payload, files = encode(picture(2, 2), ".png"), []
    for number, size in enumerate(sizes):
        first = sum(sizes[:number])
        name = folder / f"{number}.rec"
        files.append(write_records(name, [payload] * size, list(range(first, first + size))))
    return files


def test_epochs_are_shuffled_globally_over_files(tmp_path: pathlib.Path) -> None:
    files = write_numbered(tmp_path, [5, 40, 1])
    loader = Loader(files, 10, TINY, shuffle=True, seed=9, last_batch="keep")
    assert loader.num_records == 46
    epochs = [sum(labels(loader), []) for _ in range(3)]
    assert all(sorted(epoch) == list(range(46)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert epochs[0] != list(range(46))
    loader.set_epoch(1)
    assert sum(labels(loader), []) == epochs[1]
    (tmp_path / "one").mkdir()
    in_one = write_numbered(tmp_path / "one", [46])  # how the records are divided into files does not matter
    assert sum(labels(Loader(in_one, 7, TINY, shuffle=True, seed=9)), []) == epochs[0]


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    batch_size=st.integers(1, 9),
    world_size=st.integers(1, 5),
    last_batch=st.sampled_from(["pad", "keep", "discard"]),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**64 - 1),
)
def test_ranks_share_an_epoch(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    batch_size: int,
    world_size: int,
    last_batch: str,
    shuffle: bool,
    seed: int,
) -> None:
    files, records = write_numbered(tmp_path_factory.mktemp("ranks"), sizes), sum(sizes)
    options = {"shuffle": shuffle, "seed": seed, "last_batch": last_batch, "threads": 2}
    whole_batch = batch_size * world_size
    if last_batch == "discard" and records < whole_batch:
        with pytest.raises(UsageError, match=f"{records} records do not fill one batch of {batch_size}"):
            Loader(files, batch_size, TINY, world_size=world_size, **options)
        return
    ranks = []
    for rank in range(world_size):
        loader = Loader(files, batch_size, TINY, rank=rank, world_size=world_size, **options)
        ranks.append(labels(loader))
        assert len(ranks[-1]) == len(loader)
    assert len({len(batches) for batches in ranks}) == 1  # every rank has as many batches
    joined = [[label for batch in step for label in batch] for step in zip(*ranks)]
    assert joined == labels(Loader(files, whole_batch, TINY, **options))  # in the order of one process
    seen = sorted(label for step in joined for label in step)
    if last_batch == "discard":
        assert len(seen) == len(set(seen)) == records // whole_batch * whole_batch
    else:
        assert seen == list(range(records))
    if not shuffle:
        assert sum(joined, []) == list(range(len(seen)))


def test_every_position_is_equally_likely(tmp_path: pathlib.Path) -> None:
    """The keyed permutation is a fair shuffle: chi-squared of (record, position) over 3,000 epochs."""
    loader = Loader(write_numbered(tmp_path, [7]), 7, TINY, shuffle=True, threads=1)
    counts = np.zeros((7, 7))
    for _ in range(3000):
        (batch,) = loader
        counts[np.arange(7), batch.ids.astype(int)] += 1
    expected = 3000 / 7
    assert ((counts - expected) ** 2 / expected).sum() < 73  # 36 degrees of freedom: p = 0.0003


def test_the_order_of_up_to_2_to_the_40_records_in_64_mib(tmp_path: pathlib.Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no g++")
    program = tmp_path / "permutation"
    command = [compiler, "-std=c++17", "-O2", f"-I{ROOT / 'csrc'}", str(ROOT / "tests/native/permutation.cc")]
    subprocess.run([*command, "-o", str(program)], check=True)
    done = subprocess.run([str(program)], stdout=subprocess.PIPE, text=True, timeout=600)
    assert done.returncode == 0, f"no permutation, after {done.stdout}"
    lines = done.stdout.splitlines()
    assert len(lines) == 7
    for line in lines:
        _, high, low, near, same = map(float, line.split())
        # Of 100,000 neighbours: both halves of their bits are even (63 degrees of freedom: p = 1e-5), 2 % are
        # within 1 % of each other, and an epoch's order has nothing of the one before.
        assert max(high, low) < 125, line
        assert 1800 < near < 2180, line
        assert same < 3, line
