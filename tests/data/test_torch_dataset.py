"""A record file as PyTorch's dataset: the batches of a Loader, whatever processes a DataLoader makes them in."""

from __future__ import annotations

import copy
import itertools
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from gluon_resnet.data import Loader, torch_dataset
from gluon_resnet.errors import DataError, EnvironmentProblem, ImageError, UsageError
from tests.support.batches import EVAL, TRAIN, contents
from tests.support.pictures import encode, picture, write_records

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader  # noqa: E402

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings(
        "ignore:This DataLoader will create"
    ),  # more workers than there are processors
]

OPTIONS: dict[str, Any] = {"shuffle": True, "seed": 3, "last_batch": "keep"}  # 23 records: 6 batches of 4


def plain(batches: Iterable[Any]) -> list[tuple[bytes, list[int]]]:
    return [(images.numpy().tobytes(), labels.tolist()) for images, labels in batches]


def epochs(path: str, count: int, **options: Any) -> list[list[tuple[bytes, list[int]]]]:
    """What a Loader gives."""
    loader = Loader(path, 4, TRAIN, **{**OPTIONS, **options})
    return [[(pixels, labels) for pixels, labels, _, _ in contents(loader)] for _ in range(count)]


@pytest.mark.parametrize(
    ("workers", "options"),
    [
        (0, {}),
        (2, {"multiprocessing_context": "fork"}),
        (3, {"multiprocessing_context": "fork", "persistent_workers": True}),
        (8, {"multiprocessing_context": "fork", "persistent_workers": True}),  # more than batches
        (2, {"multiprocessing_context": "spawn", "persistent_workers": True}),
        pytest.param(2, {"multiprocessing_context": "spawn"}, marks=pytest.mark.slow),
    ],
)
def test_every_loop_is_the_next_epoch_of_a_loader(
    record_path: str, workers: int, options: dict[str, Any]
) -> None:
    dataset = torch_dataset(record_path, 4, TRAIN, threads=1, **OPTIONS)
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, **options)
    assert len(loader) == 6
    expected = epochs(record_path, 9)
    assert plain(loader) == expected[0]
    assert plain(loader) == expected[1]
    dataset.set_epoch(7)  # persistent workers hear of it, too
    assert plain(loader) == expected[7]
    for _ in loader:  # whose workers are ahead
        break
    dataset.set_epoch(0)
    assert plain(loader) == expected[0]
    assert len({str(epoch) for epoch in expected}) == 9


def test_ranks_have_the_batches_of_loaders_ranks(record_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        dataset = torch_dataset(record_path, 4, TRAIN, threads=1, **OPTIONS)
        loader = DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context="fork")
        assert [plain(loader), plain(loader)] == epochs(record_path, 2, rank=rank, world_size=2)
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(UsageError, match="RANK and WORLD_SIZE: expected whole numbers"):
        torch_dataset(record_path, 4, TRAIN)
    with pytest.raises(UsageError, match="rank and world_size go together"):
        torch_dataset(record_path, 4, TRAIN, rank=1)


DISTRIBUTED = """
import sys, torch
from torch import distributed
from torch.utils.data import DataLoader
from gluon_resnet.data import EvalTransform, torch_dataset

distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=int(sys.argv[3]), world_size=2)
net = torch.nn.Sequential(torch.nn.AvgPool2d(16), torch.nn.Flatten(), torch.nn.Linear(12, 23))
model = torch.nn.parallel.DistributedDataParallel(net)
dataset = torch_dataset(sys.argv[1], 4, EvalTransform(40, 32), shuffle=True, last_batch="discard")
loader = DataLoader(dataset, batch_size=None, num_workers=1)
for epoch in range(2):
    for images, labels in loader:
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        print(epoch, *labels.tolist())
del model
distributed.destroy_process_group()
"""


def test_ranks_of_distributed_data_parallel_share_the_records(
    tmp_path: pathlib.Path, record_path: str
) -> None:
    command = [sys.executable, "-W", "ignore", "-c", DISTRIBUTED, record_path, str(tmp_path / "meeting")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen([*command, rank], stdout=subprocess.PIPE, env=environment, text=True)
        for rank in "01"
    ]
    try:
        printed = [rank.communicate(timeout=600)[0] for rank in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [0, 0]
    lines = [list(map(int, line.split())) for rank in printed for line in rank.splitlines()]
    for epoch in (0, 1):
        records = [record for number, *records in lines if number == epoch for record in records]
        assert len(records) == len(set(records)) == 16  # two steps of two ranks with four each


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("taken", [0, 3, 6])
def test_a_state_in_the_middle_of_an_epoch(record_path: str, workers: int, taken: int) -> None:
    def data(workers: int) -> tuple[Any, DataLoader]:
        dataset = torch_dataset(record_path, 4, TRAIN, threads=1, **OPTIONS)
        options = {"multiprocessing_context": "fork", "persistent_workers": True} if workers else {}
        return dataset, DataLoader(dataset, batch_size=None, num_workers=workers, **options)

    expected = epochs(record_path, 3)
    dataset, loader = data(workers)
    assert plain(loader) == expected[0]
    rest = iter(loader)
    assert plain(next(rest) for _ in range(taken)) == expected[1][:taken]
    state = json.loads(json.dumps(dataset.state_dict(taken)))

    after = expected[1][taken:] or expected[2]  # its end is the next epoch's beginning
    for other in (0, 3):  # workers
        resumed, resumed_loader = data(other)
        resumed.load_state_dict(state)
        assert plain(resumed_loader) == after
        if taken < 6:
            assert resumed.state_dict(6 - taken) == torch_state(record_path, 2, 0)
            assert plain(resumed_loader) == expected[2]
    ours = Loader(record_path, 4, TRAIN, **OPTIONS)
    ours.load_state_dict(state)
    assert [(pixels, labels) for pixels, labels, _, _ in contents(ours)] == after
    with pytest.raises(UsageError, match="batches: expected a whole number from 0 to 6, found 7"):
        dataset.state_dict(7)
    with pytest.raises(UsageError, match="a different loader: seed"):
        torch_dataset(record_path, 4, TRAIN, shuffle=True).load_state_dict(state)


def torch_state(path: str, epoch: int, batches: int) -> dict[str, Any]:
    return Loader(path, 4, TRAIN, **OPTIONS).state_behind(epoch, batches)


def test_a_loop_whose_epoch_is_not_clear_is_refused(record_path: str) -> None:
    """Nothing is read twice in silence: here one process had the first loop, and two have the second."""
    dataset = torch_dataset(record_path, 4, TRAIN, **OPTIONS)
    assert len(plain(DataLoader(dataset, batch_size=None))) == 6
    two = DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context="fork")
    with pytest.raises(
        UsageError, match=r"not clear which epoch this loop is.*call the dataset's set_epoch\(\)"
    ):
        plain(two)
    dataset.set_epoch(1)
    assert plain(two) == epochs(record_path, 2)[1]


class Worker:
    """A process of a DataLoader's iterator, as its loops see it."""

    def __init__(self, loops: Any, number: int, iterator: int) -> None:
        self.loops, self.number, self.iterator = copy.copy(loops), number, iterator
        self.loops._process = 0  # its parent's

    def begin(self) -> int:
        """The epoch of its next loop."""
        return self.loops.begin(self.number, 2, self.iterator)[0]


def test_workers_that_start_late_are_never_in_two_minds() -> None:
    """Whatever the order in which workers of several iterators begin: one epoch for all of a loop, or an exception."""
    loader_dataset = pytest.importorskip("gluon_resnet.data.loader_dataset")
    for order in itertools.permutations([(0, 0), (0, 1), (1, 0), (1, 1)]):  # (iterator, worker)
        for chosen in range(5):  # set() is called when so many have begun
            loops = loader_dataset._Loops()
            workers = {0: [Worker(loops, number, 71) for number in (0, 1)]}
            epochs: dict[tuple[int, int], Any] = {}
            for step, (iterator, number) in enumerate(order):
                if step == chosen:
                    loops.set(5, 0)
                if iterator not in workers:
                    workers[iterator] = [Worker(loops, other, 72) for other in (0, 1)]
                try:
                    epochs[iterator, number] = workers[iterator][number].begin()
                except UsageError:
                    epochs[iterator, number] = "unclear"
            for iterator in (0, 1):
                found = {epochs[iterator, 0], epochs[iterator, 1]}
                assert len(found) == 1 or "unclear" in found, (order, chosen, epochs)
            if sorted(order[:2]) == [(0, 0), (0, 1)]:  # one loop after the other, as it should be
                expected = {2: [0, 0, 5, 5], 4: [0, 0, 1, 1]}.get(chosen)
                assert expected in (None, [epochs[key] for key in sorted(epochs)]), (order, chosen, epochs)


def test_labels(tmp_path: pathlib.Path) -> None:
    payloads = [encode(picture(8, 8, i)) for i in range(4)]
    whole = write_records(tmp_path / "whole.rec", payloads, [0, 1, 2, 3])
    halves = write_records(tmp_path / "halves.rec", payloads, [0, 1, 2.5, 3])
    several = write_records(tmp_path / "several.rec", payloads, [[0.5, 1]] * 4)
    ((images, labels),) = torch_dataset(whole, 4, EVAL)
    assert (labels.dtype, labels.tolist()) == (torch.int64, [0, 1, 2, 3])
    torch.nn.functional.cross_entropy(images.mean((2, 3)) @ torch.ones(3, 4), labels)
    with pytest.raises(DataError, match="found 2.5; labels='float32' keeps them"):
        list(torch_dataset(halves, 4, EVAL))
    ((_, labels),) = torch_dataset(halves, 4, EVAL, labels="float32")
    assert (labels.dtype, labels.tolist()) == (torch.float32, [0, 1, 2.5, 3])
    ((_, labels),) = torch_dataset(several, 4, EVAL)
    assert (labels.dtype, labels.shape) == (torch.float32, (4, 2))


def test_bad_records_raise_or_are_told(tmp_path: pathlib.Path) -> None:
    path = write_records(tmp_path / "a.rec", [encode(picture(8, 8)), b"bad", encode(picture(8, 9))])
    one = {"batch_size": None, "num_workers": 1, "multiprocessing_context": "fork"}
    with pytest.raises(ImageError, match="record with key 1"):
        list(DataLoader(torch_dataset(path, 1, EVAL), **one))
    with pytest.warns(UserWarning, match=r"1 record\(s\) skipped; the first: .*record with key 1"):
        found = list(torch_dataset(path, 3, EVAL, on_error="skip"))
    assert [labels.tolist() for _, labels in found] == [[0, 2]]


def test_padding_has_no_place_in_it(record_path: str) -> None:
    with pytest.raises(UsageError, match="last_batch: expected one of keep, discard, found 'pad'"):
        torch_dataset(record_path, 4, EVAL, last_batch="pad")


def test_without_pytorch_it_says_what_to_install(record_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gluon_resnet.data.loader_dataset", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(EnvironmentProblem, match="pip install torch"):
        torch_dataset(record_path, 4, EVAL)
