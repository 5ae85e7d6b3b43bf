"""Commands that build on each other: order, what is left alone, failures, signals, and who else is at work."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from gluon_resnet.errors import UsageError
from gluon_resnet.reproduction.steps import Step, run_steps, sole_user
from tests.support.paths import ROOT


def shell(folder, name, script=None, needs=(), cost=0.0, done=None):
    """A step that makes the file `name`, unless `script` says otherwise."""
    file = folder / name
    script = script or f"echo working; touch {file}"
    return Step(name, lambda: ("sh", "-c", script), str(folder / "out"), done or file.exists, needs, cost)


def run(folder, steps, **options):
    lines = []
    with sole_user(str(folder / "study")) as lock:
        outcome = run_steps(steps, list, lock=lock, say=lines.append, **options)
    return outcome, lines


def started(lines):
    return [line.split("] ")[1].split(":")[0] for line in lines if line.startswith("[")]


def test_each_runs_after_what_it_needs_and_only_once(tmp_path):
    steps = [shell(tmp_path, "c", needs=("a", "b")), shell(tmp_path, "a", needs=("b",)), shell(tmp_path, "b")]
    outcome, lines = run(tmp_path, steps)
    assert (outcome.failed, outcome.skipped, outcome.signal) == ({}, [], 0)
    assert started(lines) == ["b", "a", "c"]
    assert lines[0].startswith("[1/3] b: sh -c ")
    assert lines[1] == "  working"
    assert (tmp_path / "out").read_text() == "working\n" * 3
    assert run(tmp_path, steps) == (outcome, [])


def test_a_step_whose_work_is_there_once_others_are_done_is_left_alone(tmp_path):
    first, last = tmp_path / "first", tmp_path / "last"
    last.touch()
    steps = [
        shell(tmp_path, "last", needs=("first",), done=lambda: first.exists() and last.exists()),
        shell(tmp_path, "first"),
    ]
    assert started(run(tmp_path, steps)[1]) == ["first"]


def test_one_at_a_time_keeps_the_order_and_several_begin_with_the_dearest(tmp_path):
    def steps(folder):
        folder.mkdir()
        return [shell(folder, name, cost=cost) for name, cost in (("a", 1), ("b", 3), ("c", 2))]

    assert started(run(tmp_path, steps(tmp_path / "one"))[1]) == ["a", "b", "c"]
    lines = run(tmp_path, steps(tmp_path / "two"), jobs=2)[1]
    assert started(lines) == ["b", "c", "a"]
    assert "b: working" in lines  # with several at once a line says whose it is


def test_two_run_at_once_and_no_more(tmp_path):
    # Each waits until the other has begun: one after the other they would never end.
    meet = "touch {0}/{1}-began; while [ ! -e {0}/{2}-began ]; do sleep 0.05; done; touch {0}/{1}"
    steps = [shell(tmp_path, a, meet.format(tmp_path, a, b)) for a, b in (("a", "b"), ("b", "a"))]
    assert run(tmp_path, steps, jobs=2)[0].failed == {}
    alone = "cd {0}; test ! -e busy && touch busy && sleep 0.2 && rm busy && touch {1}"
    steps = [shell(tmp_path, name, alone.format(tmp_path, name)) for name in "xyz"]
    assert run(tmp_path, steps)[0].failed == {}


def test_a_failure_ends_what_needs_it_and_nothing_else(tmp_path):
    steps = [
        shell(tmp_path, "bad", "echo no such data >&2; exit 3"),
        shell(tmp_path, "lost", needs=("bad",)),
        shell(tmp_path, "lost too", needs=("lost",)),
        shell(tmp_path, "good"),
        shell(tmp_path, "killed", "kill -9 $$"),
        shell(tmp_path, "idle", "true"),
    ]
    outcome, lines = run(tmp_path, steps)
    out = tmp_path / "out"
    assert outcome.failed == {
        "bad": f"exit status 3: see {out}",
        "killed": f"ended by SIGKILL: see {out}",
        "idle": f"exit status 0, but its result is missing: see {out}",
    }
    assert outcome.skipped == ["lost", "lost too"]
    assert (tmp_path / "good").exists()
    assert "  no such data" in lines
    assert f"bad failed: exit status 3: see {out}" in lines


def test_a_program_that_is_not_there_is_told(tmp_path):
    step = Step("a", lambda: ("/no/such/program",), str(tmp_path / "out"), lambda: False)
    with pytest.raises(Exception, match="/no/such/program cannot be started: No such file"):
        run(tmp_path, [step])


def test_what_is_called_after_each_step_sees_its_work(tmp_path):
    seen = []
    steps = [shell(tmp_path, name) for name in "ab"]
    run(tmp_path, steps, after=lambda: seen.append(sorted(p.name for p in tmp_path.glob("?"))))
    assert seen == [["a"], ["a", "b"]]


def test_signals_of_other_kinds_are_no_stop(tmp_path):
    before = signal.signal(
        signal.SIGCHLD, lambda number, frame: None
    )  # as asyncio's; each command's end sends one
    try:
        outcome, _ = run(tmp_path, [shell(tmp_path, name) for name in "abc"], jobs=2)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert (outcome.failed, outcome.signal) == ({}, 0)
    assert (tmp_path / "c").exists()


def test_variables_reach_the_commands(tmp_path):
    step = shell(tmp_path, "a", f"echo $OMP_NUM_THREADS > {tmp_path}/a")
    run(tmp_path, [step], variables={"OMP_NUM_THREADS": "7"})
    assert (tmp_path / "a").read_text() == "7\n"


def test_a_second_user_of_a_folder_is_refused_while_a_command_of_the_first_lives(tmp_path):
    folder = str(tmp_path / "study")
    with sole_user(folder) as lock:
        with pytest.raises(UsageError, match="is at work in"), sole_user(folder):
            pass
        orphan = subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    try:
        with (
            pytest.raises(UsageError, match="a training that one left behind, is at work"),
            sole_user(folder),
        ):
            pass
    finally:
        orphan.kill()
        orphan.wait()
    with sole_user(folder):
        pass


PROGRAM = '''
    import sys
    from gluon_resnet.reproduction.steps import Step, run_steps, sole_user
    folder = sys.argv[1]
    saves = f"""
        trap 'sleep 0.3; echo saved; touch {folder}/saved; exit 143' TERM INT
        touch {folder}/began
        while :; do sleep 0.05; done
    """
    steps = [
        Step("a", lambda: ("sh", "-c", saves), folder + "/out", lambda: False),
        Step("b", lambda: ("touch", folder + "/b"), folder + "/out", lambda: False),
    ]
    with sole_user(folder) as lock:
        outcome = run_steps(steps, list, lock=lock)
    print(outcome.signal, outcome.failed)
'''


def start(tmp_path, **options):
    program = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=ROOT, **options)
    deadline = time.monotonic() + 60
    while not (tmp_path / "began").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_the_command_save_and_starts_nothing_more(tmp_path, number):
    # A test run in the background may have it ignored (nohup), which a program inherits.
    process = start(tmp_path, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    process.send_signal(number)
    out, _ = process.communicate(timeout=600)
    assert out.splitlines()[-1] == f"{int(number)} {{}}"
    assert (tmp_path / "saved").exists()
    assert not (tmp_path / "b").exists()


def test_when_nobody_reads_its_output_the_command_is_stopped_and_saves(tmp_path):
    process = start(tmp_path, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.close()
    (command,) = psutil.Process(process.pid).children()
    command.send_signal(signal.SIGTERM)
    process.wait(timeout=600)
    assert "saved" in (tmp_path / "out").read_text()
    assert not (tmp_path / "b").exists()
