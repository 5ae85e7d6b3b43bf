"""States that a loader refuses: of other records, another seed or order, damaged, or no state at all."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

import pytest

from gluon_resnet.data import Loader
from gluon_resnet.errors import UsageError
from tests.support.batches import EVAL
from tests.support.pictures import write_records


def test_a_state_of_another_loader_is_refused(record_path: str) -> None:
    state = Loader(record_path, 4, EVAL, seed=1, shuffle=True).state_dict()
    with pytest.raises(UsageError, match="belongs to a different loader: seed: expected 2, found 1"):
        Loader(record_path, 4, EVAL, seed=2, shuffle=True).load_state_dict(state)
    with pytest.raises(
        UsageError, match="belongs to a different loader: shuffle: expected False, found True"
    ):
        Loader(record_path, 4, EVAL, seed=1).load_state_dict(state)
    with pytest.raises(UsageError, match="belongs to a different loader: records: expected 46, found 23"):
        Loader([record_path] * 2, 4, EVAL, seed=1, shuffle=True).load_state_dict(state)


def test_a_refused_state_changes_nothing(record_path: str) -> None:
    loader = Loader(record_path, 4, EVAL)
    epoch = iter(loader)
    next(epoch)
    with pytest.raises(UsageError):
        loader.load_state_dict({**loader.state_dict(), "seed": 1})
    assert loader.state_dict()["position"] == 4
    assert next(epoch).ids.tolist() == [4, 5, 6, 7]


def test_the_fingerprint_is_of_the_records_and_not_of_their_names(
    tmp_path: pathlib.Path, photographs: list[bytes]
) -> None:
    def fingerprint(*files: object) -> str:
        return Loader(list(files), 4, EVAL).state_dict()["fingerprint"]  # type: ignore[arg-type]

    path = write_records(tmp_path / "a.rec", photographs)
    ours = fingerprint(path)
    shutil.copy(path, tmp_path / "b.rec")
    assert fingerprint(tmp_path / "b.rec") == ours  # a copy, without an index
    index = (tmp_path / "a.idx").read_text().splitlines(keepends=True)
    (tmp_path / "b.idx").write_text("".join(f"7{line}" for line in index))
    assert fingerprint(tmp_path / "b.rec") == ours  # other keys, in the same order

    (tmp_path / "b.idx").write_text("".join([index[1], index[0], *index[2:]]))
    others = [fingerprint(tmp_path / "b.rec")]  # another order
    (tmp_path / "b.idx").write_text("".join(index[:-1]))
    others.append(fingerprint(tmp_path / "b.rec"))  # fewer
    changed = [*photographs[:9], photographs[9][:60] + b"?" + photographs[9][61:], *photographs[10:]]
    others.append(fingerprint(write_records(tmp_path / "c.rec", changed)))  # another image of the same size
    labels = [*range(22), 99.0]
    others.append(fingerprint(write_records(tmp_path / "d.rec", photographs, labels)))
    others.append(fingerprint(write_records(tmp_path / "e.rec", photographs[::-1])))
    others += [fingerprint(path, tmp_path / "e.rec"), fingerprint(tmp_path / "e.rec", path)]
    assert len({ours, *others}) == 8

    state = Loader(path, 4, EVAL).state_dict()
    with pytest.raises(UsageError, match=f"fingerprint: expected {others[3]}, found {ours}"):
        Loader(tmp_path / "d.rec", 4, EVAL).load_state_dict(state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version: expected 1, found 2"),
        ({"version": True}, "version: expected 1, found True"),
        ({"version": None}, "version: expected a value, found none"),
        ({"epoch": None}, "epoch: expected a value, found none"),
        ({"fingerprint": None}, "fingerprint: expected a value, found none"),
        ({"epoch": 1.0}, "epoch: expected a whole number from 0 to .*, found 1.0"),
        ({"epoch": "1"}, "epoch: expected a whole number from 0 to .*, found '1'"),
        ({"epoch": 2**63}, "epoch: expected a whole number"),
        ({"position": -4}, "position: expected a whole number from 0 .*, found -4"),
        ({"position": True}, "position: expected a whole number from 0 .*, found True"),
        ({"position": [4]}, r"position: expected a whole number from 0 .*, found \[4\]"),
        ({"position": 24}, "position: expected less than the 23 records, found 24"),
        ({"position": 10**30}, "position: expected a whole number"),
        ({"seed": float("nan")}, "seed: expected a whole number from 0 to 18446744073709551615, found nan"),
        ({"records": 0}, "records: expected a whole number from 1"),
        ({"shuffle": 1}, "shuffle: expected true or false, found 1"),
        ({"fingerprint": 17}, "fingerprint: expected 16 hexadecimal digits, found 17"),
        ({"fingerprint": "0" * 17}, "fingerprint: expected 16 hexadecimal digits"),
        (
            {"fingerprint": "0" * 16},
            "belongs to a different loader: fingerprint: expected [0-9a-f]{16}, found 0{16}",
        ),
    ],
)
def test_a_damaged_state_is_refused(record_path: str, change: dict[str, Any], words: str) -> None:
    loader = Loader(record_path, 4, EVAL)
    state = {**loader.state_dict(), **change}
    with pytest.raises(UsageError, match=words):
        loader.load_state_dict({name: value for name, value in state.items() if value is not None})


@pytest.mark.parametrize("state", [None, [], "state", 3])
def test_what_is_no_state(record_path: str, state: Any) -> None:
    with pytest.raises(UsageError, match="not the state of a loader: expected a dict, found"):
        Loader(record_path, 4, EVAL).load_state_dict(state)
