"""The files of a run that a stranger wrote: names in them stay in the folder, and each is refused in a sentence."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any, Callable

import pytest

from gluon_resnet.analysis.responses import Responses
from gluon_resnet.card import ModelCard
from gluon_resnet.convert.weights_file import read_weights
from gluon_resnet.data.class_names import read_class_names
from gluon_resnet.errors import DataError, ModelError, UsageError
from gluon_resnet.evaluation.predictions import Predictions
from gluon_resnet.files import beside, own_file, sha256
from gluon_resnet.json_values import is_json, parse_json
from gluon_resnet.launch.hosts import read_hosts
from gluon_resnet.models.parameters import read_arrays, write_arrays
from gluon_resnet.reproduction.results import read_evaluation
from gluon_resnet.runs.anomaly_file import AnomalyFile
from gluon_resnet.runs.files.history import StepLog, read_epochs, read_steps
from gluon_resnet.runs.files.run_card import RunCard
from gluon_resnet.terminal import MOST
from gluon_resnet.training.checkpoints.states import States
from gluon_resnet.training.position import Position

NO_NAMES = [
    *("/dev/zero", "../a.params", "a/b", "/etc/passwd", "", ".", "..", "a\0b", "\ud800", "/" * 99999),
    *(None, 3, [], {"a": 1}),
]


def written(folder: pathlib.Path) -> tuple[States, pathlib.Path, dict[str, Any]]:
    """States with one of them, its file, and what it holds."""
    states = States(str(folder / "run"))
    states.write({"network": "resnet20"}, Position(iteration=3), {})
    path = folder / "run-resume-00000003.json"
    return states, path, json.loads(path.read_text())


def changed(content: Any, place: str, value: Any) -> str:
    """As JSON, with another value at a place like 'arrays.name'."""
    content = json.loads(json.dumps(content))
    *parents, last = place.split(".")
    inner = content
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return json.dumps(content)


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_leads_nowhere_else(tmp_path: pathlib.Path, name: Any) -> None:
    with pytest.raises(UsageError, match="expected the name of a file in the same folder, found ") as caught:
        beside("/somewhere/file", name)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()
    states, path, content = written(tmp_path)
    path.write_text(changed(content, "arrays.name", name))
    with pytest.raises(
        ModelError, match=r"00000003\.json cannot be resumed from: expected the name of a file in"
    ):
        states.last()


def test_settings_of_an_earlier_version_have_the_names_of_today(tmp_path: pathlib.Path) -> None:
    states, path, content = written(tmp_path)
    path.write_text(changed(content, "settings", {"lr": 0.1, "colour_jitter": 0.4}))
    state = states.last()
    assert state is not None
    assert state.settings == {"lr": 0.1, "color_jitter": 0.4}
    RunCard("train", 3, {"colour_jitter": 0.4}).save(str(tmp_path / "run-run.json"))
    assert RunCard.load(str(tmp_path / "run-run.json")).settings == {"color_jitter": 0.4}


def test_a_plain_name_is_followed(tmp_path: pathlib.Path) -> None:
    assert beside("/somewhere/file", "a.params") == "/somewhere/a.params"
    assert os.fsencode(beside("file", "\udcff é.params")) == b"\xff \xc3\xa9.params"
    states = written(tmp_path)[0]
    state = states.last()
    assert state is not None
    assert states.arrays(state) == {}


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder"])
def test_arrays_are_a_regular_file(tmp_path: pathlib.Path, kind: str) -> None:
    states = written(tmp_path)[0]
    state = states.last()
    assert state is not None
    arrays = pathlib.Path(state.arrays_path)
    arrays.unlink()
    nothing(arrays, kind)
    reason = (
        r"it cannot be read \(Is a dir" if kind == "a folder" else f"expected a regular file, found {kind}"
    )
    with pytest.raises(ModelError, match=rf"00000003\.params cannot be resumed from: {reason}"):
        states.arrays(state)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *[
            ("arrays.crc32", value)
            for value in (float("inf"), float("nan"), -1, 1 << 32, "1", True, None, 1.0)
        ],
        *[("position.epoch", value) for value in (float("inf"), -1, 10**400, "3", None, 1.5)],
        *[("position.seconds", value) for value in ("a", None, [], 10**400)],
        *[("position.trained", value) for value in ("a", 1, None)],
        *[("position.loader", value) for value in ("a", [3])],
        *[
            ("position.sums", value)
            for value in ("a", [3], {"loss": "a"}, {"unknown": 3}, {"\x1b" * 9999: 3})
        ],
        *[("position.best", value) for value in ("a", {"epochs": "a", "error": 3}, {"epochs": 1})],
        *[("position.observed", value) for value in ("a", {"reductions": "a"}, {"best_error": float("nan")})],
        *[("settings", value) for value in ("a", [["a", 1]], None, 3)],
        *[("arrays", value) for value in ("a", [], None)],
        *[("data", value) for value in ("a", {"classes": 3, "training": None, "validation": None})],
        *[("format", value) for value in ("a" * 99999, None, {}, "\x1b[31m\u202e")],
    ],
)
def test_a_state_of_impossible_values(tmp_path: pathlib.Path, place: str, value: Any) -> None:
    states, path, content = written(tmp_path)
    path.write_text(changed(content, place, value))
    with pytest.raises(ModelError, match=r"cannot be resumed from: ") as caught:
        states.last()
    assert len(str(caught.value)) < 1000


def nothing(path: pathlib.Path, kind: str) -> str:
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    return str(path)


READERS: list[Callable[[str], Any]] = [
    *(ModelCard.load, RunCard.load, AnomalyFile.load, Responses.load, read_evaluation, Predictions.load),
    *(read_epochs, read_steps, read_arrays, read_weights, read_class_names, read_hosts, sha256),
]


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
@pytest.mark.parametrize("read", READERS)
def test_every_reader_takes_regular_files_alone(
    tmp_path: pathlib.Path, kind: str, read: Callable[[str], Any]
) -> None:
    path = nothing(tmp_path / "file", kind)
    with pytest.raises(DataError, match=f"{path}: expected a regular file, found {kind}"):
        read(path)


HOSTILE = [
    *("", "[", "null", "3", "{}", "[]", '"a"', "Infinity", "NaN", "\ud800".encode(errors="surrogatepass")),
    *(
        "[" * 200_000,
        '{"a":' * 200_000,
        "9" * 100_000,
        '{"a": 1e999}',
        b"\xff\xfe",
        b"\0" * 1000,
        "\x1b[31m\n\r",
    ),
    *('{"\\ud800": "\\u0000"}', '{"format": "' + "\\u001b" * 9999 + '"}', '{"epoch": ' + "9" * 999 + "}"),
    " " * ((1 << 24) + 1) + "{}",
]


@pytest.mark.parametrize("read", READERS[:8])
def test_what_is_no_file_of_ours(tmp_path: pathlib.Path, read: Callable[[str], Any]) -> None:
    path = tmp_path / "file"
    for content in HOSTILE:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        if read in (read_epochs, read_steps) and not path.read_bytes().strip():
            continue
        if read is read_steps and not path.read_bytes().endswith(b"\n"):
            path.write_bytes(path.read_bytes() + b"\n")
        with pytest.raises(DataError, match=f"^{path}") as caught:
            read(str(path))
        assert len(str(caught.value)) < MOST


def test_parts_of_a_run_card_are_checked(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "run.json"
    event = {"time": "now", "iteration": 3, "text": "x"}
    worst = {"name": "cat", "images": 3, "wrong": 1, "taken_for": [["dog", 1]]}
    RunCard("train", 3).save(str(path))
    content = {**json.loads(path.read_text()), "events": [event], "worst_classes": [worst]}
    path.write_text(json.dumps(content))
    assert RunCard.load(str(path)).events[0].iteration == 3
    for place, value in [
        *[("epochs", value) for value in (float("inf"), "3", None, -1, 10**400)],
        *[("command", 3), ("data", {"a": 3}), ("environment", {"a": []}), ("settings", [])],
        *[("events", value) for value in (3, [3], [{**event, "iteration": "a"}], [{**event, "text": 3}])],
        *[("worst_classes", value) for value in (3, [3], [{**worst, "images": "a"}])],
        *[
            ("worst_classes", [{**worst, "taken_for": value}])
            for value in (3, [3], [["a"]], [[1, 1]], ["ab"])
        ],
    ]:
        path.write_text(changed(content, place, value))
        with pytest.raises(DataError, match="is not a run card: "):
            RunCard.load(str(path))


def test_parts_of_a_log_are_checked(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "log.jsonl"
    good = {
        "iteration": 1,
        "epoch": 1,
        "lr": 0.1,
        "loss": float("nan"),
        "top1_error": 1,
        "images_per_second": 3.5,
    }
    path.write_text(json.dumps(good) + "\n")
    assert len(read_steps(str(path))) == 1
    for place in good:
        for value in ("a", None, [], 10**400, {"a": 1}, True, "\x1b[31m" * 9999):
            path.write_text(changed(good, place, value) + "\n")
            with pytest.raises(DataError, match="line 1 is not a step's record: ") as caught:
                read_steps(str(path))
            assert len(str(caught.value)) < 1000


def test_evaluations_name_predictions_beside_them(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "e.json"
    content: dict[str, Any] = {
        "networks": [{"parameters": "a-0001.params", "epoch": 1}],
        **{"images": 10, "top_k": 5, "top1_wrong": 3, "topk_wrong": 1, "protocol": "1-crop", "scales": None},
        **{"command": "evaluate", "predictions": None},
    }
    path.write_text(json.dumps(content))
    assert read_evaluation(str(path)).predictions is None
    earlier = {("top5_wrong" if name == "topk_wrong" else name): value for name, value in content.items()}
    path.write_text(json.dumps(earlier))
    assert read_evaluation(str(path)).topk_wrong == 1
    (tmp_path / "p.npz").write_bytes(b"x")
    kept = {"file": "p.npz", "sha256": sha256(tmp_path / "p.npz")}
    path.write_text(changed(content, "predictions", kept))
    assert read_evaluation(str(path)).predictions == str(tmp_path / "p.npz")
    for name in NO_NAMES:
        path.write_text(changed(content, "predictions", {**kept, "file": name}))
        with pytest.raises(DataError, match="is not what evaluate.py writes"):
            read_evaluation(str(path))
    for place in ("images", "top_k", "top1_wrong", "topk_wrong"):
        for value in (float("inf"), "3", None, True, -1, 10**400):
            path.write_text(changed(content, place, value))
            with pytest.raises(DataError, match="is not what evaluate.py writes"):
                read_evaluation(str(path))


def test_nested_json_is_bounded() -> None:
    deep: Any = 3
    for _ in range(100):
        deep = [deep]
    assert is_json(deep)
    assert is_json({"a": [1, 0.5, None, True, {"b": "c"}]})
    for wrong in ([deep], {"a": deep}, [(1,)], {1: 2}, [float("nan")], ["\ud800"], {"\ud800": 1}):
        assert not is_json(wrong)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 200_000)


def test_a_log_is_not_written_through_a_link(tmp_path: pathlib.Path) -> None:
    (tmp_path / "precious").write_text("stays")
    (tmp_path / "steps.jsonl").symlink_to(tmp_path / "precious")
    with pytest.raises(DataError, match=r"steps\.jsonl: expected a regular file, found a symbolic link"):
        StepLog(str(tmp_path / "steps.jsonl"), 0)
    (tmp_path / "dangling").symlink_to(tmp_path / "new")
    with pytest.raises(DataError), open(tmp_path / "dangling", "ab", opener=own_file):
        pass
    assert sorted(os.listdir(tmp_path)) == ["dangling", "precious", "steps.jsonl"]
    assert (tmp_path / "precious").read_text() == "stays"


def test_impossible_arrays_are_refused(tmp_path: pathlib.Path) -> None:
    import struct

    for shape in ((0, 2**62, 2**62), (0,) + (2**40,) * 30, (-1, -4), (2**40,), (2**62, 2**62), (0,) * 33):
        array = struct.pack(f"<Iii{len(shape)}q3i", 0xF993FAC9, 0, len(shape), *shape, 1, 0, 0)
        path = tmp_path / "a.params"
        path.write_bytes(struct.pack("<3Q", 0x112, 0, 1) + array + struct.pack("<QQ", 1, 1) + b"a")
        with pytest.raises(ModelError, match=f"^{path}: ") as caught:
            read_arrays(path)
        assert len(str(caught.value)) < 500 + len(str(path))
    write_arrays(path, {})
    assert read_arrays(path) == {}
