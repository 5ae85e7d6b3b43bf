"""tools/launch.py as a process, and every process that comes of it, found by a mark in its environment."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence

import psutil

from tests.support.paths import ROOT

TOOL = str(ROOT / "tools" / "launch.py")
TRAIN = str(ROOT / "tools" / "train.py")
AGENT = str(ROOT / "gluon_resnet" / "launch" / "agent.py")
PATIENCE = 60.0  # seconds; the aim is half of it, on a machine that has nothing else to do
_MARK = "LAUNCH_TEST_MARK"


class Launched:
    """A launcher that runs, in `folder`."""

    def __init__(
        self, arguments: Sequence[str], folder: pathlib.Path, environment: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self._mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [sys.executable, TOOL, *arguments],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment, _MARK: self._mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def processes(self) -> list[psutil.Process]:
        """All that live, the launcher among them."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(_MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def agents(self, role: str) -> list[psutil.Process]:
        """Those of `role` whose commands run, by rank."""
        return [agent for agent, _ in self._pairs(role)]

    def commands(self, role: str) -> list[psutil.Process]:
        """What the agents of `role` run, by rank."""
        return [command for _, command in self._pairs(role)]

    def _pairs(self, role: str) -> list[tuple[psutil.Process, psutil.Process]]:
        found = {}
        for command in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                agent = command.parent()
                if agent and agent.cmdline()[-1:] == [AGENT] and command.cmdline()[-1:] != [AGENT]:
                    environment = command.environ()
                    if environment["DMLC_ROLE"] == role:
                        found[int(environment["PORT"])] = (agent, command)
        return [found[port] for port in sorted(found)]

    def wait_for(self, name: str, size: int = 0) -> None:
        """Until the file `name` is longer than `size` bytes."""
        end = time.monotonic() + 2 * PATIENCE
        path = self.folder / name
        while not (path.exists() and path.stat().st_size > size):
            assert time.monotonic() < end, f"{name} does not grow"
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.05)

    def end(self, seconds: float = PATIENCE) -> tuple[int, str, str]:
        """Status, standard output and standard error of a launcher that ends by itself, with all that came of it."""
        output, error = self.process.communicate(timeout=seconds)
        self.wait_for_nobody()
        return self.process.returncode, output, error

    def wait_for_nobody(self) -> None:
        end = time.monotonic() + PATIENCE
        while left := self.processes():
            assert time.monotonic() < end, f"{left} are left behind"
            time.sleep(0.1)


@contextlib.contextmanager
def launched(
    arguments: Sequence[str], folder: pathlib.Path, environment: Mapping[str, str] | None = None
) -> Iterator[Launched]:
    """A launcher with `arguments`; at the end all that still runs is killed."""
    launch = Launched(arguments, folder, environment or {})
    try:
        yield launch
    finally:
        for process in launch.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        launch.process.communicate()
