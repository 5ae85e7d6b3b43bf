"""Commands that build on each other, each run until done: finished ones are not repeated, and a stop loses nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Callable, Optional

from gluon_resnet.errors import GluonResnetError, UsageError
from gluon_resnet.files import own_file
from gluon_resnet.signals import Stops


@dataclass(frozen=True)
class Step:
    """A command, and a way to see whether it has done its work."""

    name: str  # 'train resnet56'
    command: Callable[[], Sequence[str]]  # called when it starts: a tool's name and its arguments
    output: str  # the file to which what it prints is appended
    done: Callable[[], bool]
    needs: tuple[str, ...] = ()  # the names of the steps whose work it uses
    cost: float = (
        0.0  # if several run at once, the most expensive start first, so that none runs alone at the end
    )


@dataclass
class Outcome:
    """The results of the steps."""

    failed: dict[str, str] = field(default_factory=dict)  # what happened, by the step's name
    skipped: list[str] = field(default_factory=list)  # those that need one that failed
    signal: int = 0  # the one that stopped everything


@contextlib.contextmanager
def sole_user(folder: str) -> Iterator[int]:
    """A locked file of `folder`, kept locked by processes that inherit it; UsageError if another process has locked it.

    A training survives the death of its starter: nobody may start a second one under the same prefix.
    """
    os.makedirs(folder, exist_ok=True)
    descriptor = own_file(os.path.join(folder, ".lock"), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError:
        raise UsageError(
            f"another reproduction, or a training that one left behind, is at work in {folder}: wait for it, or end it"
        ) from None
    finally:
        os.close(descriptor)


def run_steps(
    steps: Sequence[Step],
    start: Callable[[Sequence[str]], list[str]],
    *,
    jobs: int = 1,
    variables: Optional[Mapping[str, str]] = None,
    lock: int,
    say: Callable[[str], None] = lambda line: print(line, flush=True),
    after: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run the unfinished steps, each once those that it needs are done, up to `jobs` at once; return the outcome.

    A failed step ends those that need it, and no others. The first signal (Ctrl-C, SIGTERM), like any later one, is
    passed on to the commands, which save what they have, and no more steps are started.

    Args:
        steps: the steps, in the order in which they run if only one runs at a time and it can start.
        start: a function that turns a step's command into that of a process.
        jobs: the number of processes at once.
        variables: variables added to the environment of the commands.
        lock: the descriptor from `sole_user`, which the commands inherit.
        say: a function that takes lines: what the commands print, and how they end.
        after: a function called whenever a step is done.
    """
    outcome = Outcome()
    waiting = [step for step in steps if not step.done()]
    count, begun, handed = len(waiting), 0, 0
    running: list[_Running] = []
    with Stops() as stops, selectors.DefaultSelector() as selector:
        selector.register(stops.bell, selectors.EVENT_READ)
        try:
            while True:
                for number in stops.received[handed:]:
                    handed += 1
                    for process in running:
                        process.stop(number)
                _drop_lost(waiting, outcome)
                ready = [] if stops.received else _ready(waiting, running, jobs)
                for step in ready:
                    waiting.remove(step)
                    if step.done():  # the steps that it needs were repeated, with the same result
                        continue
                    begun += 1
                    command = start(step.command())
                    say(f"[{begun}/{count}] {step.name}: {shlex.join(command)}")
                    prefix = f"{step.name}: " if jobs > 1 else "  "
                    running.append(_Running(step, command, variables or {}, lock, partial(_say, say, prefix)))
                    selector.register(running[-1].pipe, selectors.EVENT_READ, running[-1])
                if not running:
                    if ready:
                        continue
                    break
                for key, _ in selector.select():
                    if key.data is None:
                        stops.hush()  # of any signal; `received` has those meant for us
                    elif not key.data.read():
                        selector.unregister(key.fileobj)
                        running.remove(key.data)
                        _settle(key.data, outcome, stops, after, say)
        finally:  # whatever happened here, even if nobody reads our output any more
            for process in running:
                process.stop(signal.SIGTERM)
            for process in running:
                process.silence()
                process.end()
        outcome.signal = stops.received[0] if stops.received else 0
    return outcome


def _ready(waiting: Sequence[Step], running: Sequence[_Running], jobs: int) -> list[Step]:
    """The steps that start now."""
    open_ = {step.name for step in waiting} | {process.step.name for process in running}
    ready = [step for step in waiting if not open_ & {*step.needs}]
    if jobs > 1:
        ready.sort(key=lambda step: -step.cost)
    return ready[: jobs - len(running)]


def _drop_lost(waiting: list[Step], outcome: Outcome) -> None:
    """Remove the steps that need a failed one, and those that need these."""
    while lost := [step for step in waiting if {*outcome.failed, *outcome.skipped} & {*step.needs}]:
        for step in lost:
            waiting.remove(step)
            outcome.skipped.append(step.name)


def _settle(
    ended: _Running, outcome: Outcome, stops: Stops, after: Callable[[], None], say: Callable[[str], None]
) -> None:
    """Handle the end of a process whose output has ended."""
    status, step = ended.end(), ended.step
    if stops.received and status:
        return
    if status == 0 and step.done():
        after()
        return
    why = (
        f"exit status {status}"
        if status > 0
        else f"ended by {signal.Signals(-status).name}"
        if status
        else ""
    )
    outcome.failed[step.name] = f"{why or 'exit status 0, but its result is missing'}: see {step.output}"
    say(f"{step.name} failed: {outcome.failed[step.name]}")


def _say(say: Callable[[str], None], prefix: str, line: str) -> None:
    say(prefix + line)


class _Running:
    """A running process, whose output goes to a file and line by line to `say`."""

    def __init__(
        self,
        step: Step,
        command: list[str],
        variables: Mapping[str, str],
        lock: int,
        say: Callable[[str], None],
    ) -> None:
        self.step = step
        self._say = say
        self._line = b""
        os.makedirs(os.path.dirname(step.output) or ".", exist_ok=True)
        self._file: IO[bytes] = open(step.output, "ab", opener=own_file)  # noqa: SIM115  # closed in end()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **variables},
                pass_fds=[lock],
                start_new_session=True,  # so that Ctrl-C reaches only us: a second one would end a command at once
            )
        except OSError as error:
            self._file.close()
            raise GluonResnetError(f"{command[0]} cannot be started: {error.strerror}") from None
        assert self._process.stdout is not None
        self.pipe = self._process.stdout

    def read(self) -> bool:
        """Take what it has written; return False at the end."""
        data = os.read(self.pipe.fileno(), 1 << 16)
        self._file.write(data)
        self._file.flush()
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines + ([] if data or not self._line else [self._line]):
            self._say(line.decode(errors="replace"))
        return bool(data)

    def stop(self, number: int) -> None:
        """Pass a signal on to the command; train.py saves on two of the three that we take."""
        self._process.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)

    def silence(self) -> None:
        """Send what it still writes only to the file: a full pipe would keep it from ending."""
        self._say = lambda line: None
        while self.read():
            pass

    def end(self) -> int:
        """Wait for the process; return its status."""
        status = self._process.wait()
        self.pipe.close()
        self._file.close()
        return status
