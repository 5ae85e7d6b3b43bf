"""scripts/keep_study.sh: what a study needs to be gone on with is copied, and nothing else is touched."""

from __future__ import annotations

import os
import pathlib
import subprocess

from tests.support.paths import ROOT

SCRIPT = ROOT / "scripts" / "keep_study.sh"


def keep(*folders: pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *folders], check=False, capture_output=True, text=True)


def write_study(folder: pathlib.Path, iterations: tuple[int, ...]) -> None:
    """A network with a state after so many iterations each, and parameters of as many epochs, the first the best."""
    folder.mkdir(exist_ok=True)
    for name in (
        "study.json",
        "net-log.jsonl",
        "net-1-crop.json",
        "net-mean.npz",
        "net-report.html",
        "report.html",
        ".lock",
        ".net-log.jsonl.x.tmp",
    ):
        (folder / name).write_text(name)
    (folder / "net-tensorboard").mkdir(exist_ok=True)
    (folder / "net-tensorboard" / "events").write_text("events")
    for epoch, iteration in enumerate(iterations, 1):
        for name in (
            f"net-resume-{iteration:08d}.json",
            f"net-resume-{iteration:08d}.params",
            f"net-{epoch:04d}.params",
        ):
            (folder / name).write_text(name)
    targets = {
        "net-resume.json": f"net-resume-{iterations[-1]:08d}.json",
        "net-last.params": f"net-{len(iterations):04d}.params",
        "net-best.params": "net-0001.params",
    }
    for link, target in targets.items():
        (folder / link).unlink(missing_ok=True)
        (folder / link).symlink_to(target)


def test_a_copy_has_the_last_state_and_is_brought_up_to_date(tmp_path):
    study, kept = tmp_path / "study", tmp_path / "results" / "kept"
    always = [
        "net-1-crop.json",
        "net-best.params",
        "net-last.params",
        "net-log.jsonl",
        "net-mean.npz",
        "net-resume.json",
    ]
    for iterations, networks in (
        ((10,), ["net-0001.params"]),
        ((10, 20, 30), ["net-0001.params", "net-0003.params"]),
    ):
        write_study(study, iterations)
        assert keep(study, kept).returncode == 0
        state = [f"net-resume-{iterations[-1]:08d}{ending}" for ending in (".json", ".params")]
        expected = {*always, *networks, *state, "net-tensorboard", "study.json"}
        assert {*os.listdir(kept)} == expected | ({"README.md"} if len(iterations) > 1 else set())
        (kept / "README.md").write_text("ours")
        assert (kept / "net-resume.json").read_text() == state[0]
        assert (kept / "net-tensorboard" / "events").read_text() == "events"
    assert (kept / "README.md").read_text() == "ours"
    assert (study / "net-0002.params").exists()


def test_other_folders_are_left_alone(tmp_path):
    study, other = tmp_path / "study", tmp_path / "other"
    write_study(study, (10,))
    other.mkdir()
    (other / "precious").write_text("")
    for arguments, told in (
        ((study, other), "something else"),
        ((other, study), "usage"),
        ((study,), "usage"),
    ):
        found = keep(*arguments)
        assert (found.returncode, told in found.stderr) == (2, True)
    assert os.listdir(other) == ["precious"]
