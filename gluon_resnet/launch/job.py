"""One attempt of a run: starts all its processes and ends them, leaving none behind."""

from __future__ import annotations

import functools
import os
import pathlib
import secrets
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, Optional

from gluon_resnet.launch.agent import GRACE
from gluon_resnet.launch.console import Console
from gluon_resnet.launch.member import Member, number
from gluon_resnet.launch.messages import Introduction, Line
from gluon_resnet.launch.strangers import Strangers, check_descriptors
from gluon_resnet.launch.tracker import Tracker
from gluon_resnet.listener import AuthenticatedListener
from gluon_resnet.signals import Stops

_START = 120.0  # seconds for all agents to connect
_SAVE = 120.0  # seconds for the workers to save their states after a signal,
_REST = 30.0  # and for the rest of them once one has finished
_SERVERS = 10.0  # seconds for servers and scheduler to end after the workers
_ROOT = pathlib.Path(__file__).resolve().parents[2]
# Named as text, since this package does not import training; not with -m, which would not work in a checkout.
_SERVE = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from gluon_resnet.training.distributed.parameter_server import serve; serve()"
)


class Plan(NamedTuple):
    """What is to run, and where.

    Attributes:
        launcher: how agents are started: ``local``, ``ssh``, ``mpi`` or ``slurm``.
        workers: the number of workers.
        servers: the number of parameter servers.
        command: the command of each worker.
        address: this machine's address for the others.
        hosts: the path of a host file, or None.
        nodes: the number of machines that Slurm has allocated.
        environment: variables to add to the agents' environment.
    """

    launcher: str
    workers: int
    servers: int
    command: Sequence[str]
    address: str
    hosts: Optional[str] = None
    nodes: int = 1
    environment: Sequence[tuple[str, str]] = ()


class Outcome(NamedTuple):
    """How an attempt ended.

    Attributes:
        status: the launcher's exit status.
        sentence: what happened to the process that failed first, if any.
        lines: the last lines of that process's output.
        started: whether all processes had connected.
        lost: whether a process out of our reach may still run, for up to 25 s.
    """

    status: int
    sentence: str = ""
    lines: Sequence[str] = ()
    started: bool = True
    lost: bool = False


class Job:
    """Runs `plan` once. A signal in `stops` ends the workers in an orderly way, a second one immediately."""

    def __init__(self, plan: Plan, console: Console, stops: Stops) -> None:
        self._plan = plan
        self._console = console
        self._stops = stops
        self._connections: set[socket.socket] = (
            set()
        )  # of agents, including those that have not introduced themselves
        self._members: list[Member] = []  # agents that have introduced themselves
        self._failure: Optional[Outcome] = None
        self._ordered = self._ending = False

    def run(self) -> Outcome:
        plan, token = self._plan, secrets.token_hex(16)
        check_descriptors(plan.workers + plan.servers + 1)
        with (
            AuthenticatedListener(plan.address, token.encode()) as listener,
            selectors.DefaultSelector() as selector,
        ):
            self._selector, self._listener = selector, listener
            self._strangers = Strangers(listener, self._console.say)
            address, port = listener.name
            tracker = Tracker(
                plan.launcher, plan.workers, plan.servers, f"{address}:{port}", token, plan.hosts, plan.nodes
            )
            try:
                self._register(listener, lambda: None)  # the listener is read in each turn
                self._register(self._stops.bell, self._stops.hush)
                self._register(tracker.reports, functools.partial(self._hear_report, tracker.reports))
                self._register(tracker.noise, functools.partial(self._hear_noise, tracker.noise))
                self._gather()
                if not self._failure and not self._stopped:
                    self._order()
                    self._watch()
                self._end()
                self._strangers.tell(last=True)
            finally:
                for connection in self._connections:
                    connection.close()  # which makes the agent end its command
                tracker.close()
        return self._outcome()

    @property
    def _stopped(self) -> bool:
        return bool(self._stops.received) or self._console.gone

    def _register(self, source: Any, heard: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, heard)

    def _turn_while(self, condition: Callable[[], object], seconds: float) -> None:
        """Handle events while `condition()` is true, for at most `seconds`."""
        end = time.monotonic() + seconds
        while condition() and time.monotonic() < end:
            for key, _ in self._selector.select(min(0.5, max(0, end - time.monotonic()))):
                key.data()
            self._admit()

    def _running(self, *roles: str) -> list[Member]:
        return [member for member in self._members if member.running and member.role in roles]

    # Events.

    def _admit(self) -> None:
        for connection, address in self._listener.admit():
            self._connections.add(connection)
            self._register(connection, functools.partial(self._hear, Member(connection, address)))
        self._strangers.tell()

    def _hear(self, member: Member) -> None:
        try:
            for message in member.receive():
                if isinstance(message, Introduction):
                    self._introduce(member, message)
                elif not member.role:
                    raise ValueError("an agent has not introduced itself")
                elif isinstance(message, Line):
                    member.lines.append(message.text)
                    self._console.line(f"[{member.name}] {message.text}", message.stream)
                else:
                    self._forget(member)
                    member.status = message.status
                    if member.status:
                        self._fail(member)
                    return
        except (OSError, EOFError, ValueError):  # the connection is broken, or this is not an agent
            self._forget(member)
            if member.role:
                member.lost = True
                self._fail(member)

    def _introduce(self, member: Member, introduction: Introduction) -> None:
        if member.role:
            raise ValueError("an agent has introduced itself twice")
        member.introduce(introduction)
        self._members.append(member)

    def _forget(self, member: Member) -> None:
        self._selector.unregister(member.connection)
        self._connections.remove(member.connection)
        member.connection.close()

    def _fail(self, member: Member) -> None:
        if self._failure or self._ending:
            return
        what = (
            f"{member.name} on {member.host} {member.end}"
            if self._ordered
            else f"a {member.role} {member.end}"
        )
        lines = [f"[{member.name}] {line}" for line in member.lines]
        if member.status == 0:
            what += " before the workers did"
        self._failure = Outcome(member.exit_status or 1, what, lines, self._ordered, member.lost)

    def _hear_report(self, reports: Any) -> None:
        data = os.read(reports.fileno(), 2**16).decode("utf-8", "replace")
        if not data:
            self._selector.unregister(reports)
        if not self._failure and not self._ordered:
            sentence = data.splitlines()[0] if data else "the tracker has ended"
            self._failure = Outcome(1, f"not all processes could be started: {sentence}", started=False)

    def _hear_noise(self, noise: Any) -> None:
        data = os.read(noise.fileno(), 2**16)
        if not data:
            self._selector.unregister(noise)
        for line in data.decode("utf-8", "replace").splitlines():
            self._console.line(f"[tracker] {line}")

    # The phases, in this order.

    def _gather(self) -> None:
        """Wait until all agents have connected."""
        wanted = self._plan.workers + self._plan.servers + 1
        self._turn_while(
            lambda: len(self._members) < wanted and not self._failure and not self._stopped, _START
        )
        if len(self._members) < wanted and not self._failure and not self._stopped:
            self._failure = Outcome(
                1,
                f"{wanted - len(self._members)} of {wanted} processes have not connected to "
                f"{self._plan.address} within {_START:.0f} s: is there a firewall between the machines?",
                started=False,
            )

    def _order(self) -> None:
        """Tell every agent what to run."""
        number(self._members)
        (scheduler,) = (member for member in self._members if member.role == "scheduler")
        self._members.sort(key=lambda member: (member.role != "worker", member.role, member.rank))
        for member in self._members:
            serve = [sys.executable, "-c", _SERVE, str(_ROOT)]
            member.send(
                command=list(self._plan.command) if member.role == "worker" else serve,
                folder=os.getcwd(),
                environment={
                    **dict(self._plan.environment),
                    "PYTHONUNBUFFERED": "1",  # so that lines arrive as they are written
                    "DMLC_ROLE": member.role,
                    "DMLC_NUM_WORKER": str(self._plan.workers),
                    "DMLC_NUM_SERVER": str(self._plan.servers),
                    "DMLC_PS_ROOT_URI": scheduler.address,
                    "DMLC_PS_ROOT_PORT": str(scheduler.port),
                    "DMLC_NODE_HOST": member.address,
                    "PORT": str(member.port),  # read by ps-lite, so that ranks are known
                },
            )
        self._ordered = True
        self._console.say(", ".join(f"{member.name} on {member.host}" for member in self._members))

    def _watch(self) -> None:
        """Wait until a process fails, all workers are done, or a signal arrives."""
        patience = early = float("inf")
        while self._running("worker") and not self._failure and not self._stopped:
            self._turn_while(lambda: self._running("worker") and not self._failure and not self._stopped, 1)
            quiet = [member for member in self._members if member.role != "worker" and not member.running]
            if quiet:  # these end with status 0 a moment before the workers, which must then follow
                patience = min(patience, time.monotonic() + _REST)
            if time.monotonic() > patience and self._running("worker"):
                self._fail(quiet[0])
            done = [member for member in self._members if member.role == "worker" and not member.running]
            if done and early == float("inf"):
                early = time.monotonic() + _REST
            if 0 < early < time.monotonic():
                early = -1.0  # to be said only once
                names = ", ".join(member.name for member in done)
                self._console.say(
                    f"{names} ended {_REST:.0f} s ago with status 0; the other workers are still running"
                )
        if self._failure:
            return
        if self._stopped and self._running("worker"):
            self._stop_workers()
        if all(
            (member.status or 0) >= 0 for member in self._members
        ):  # otherwise they would wait for the one that was killed
            rest = functools.partial(self._running, "server", "scheduler")
            self._turn_while(lambda: rest() and len(self._stops.received) < 2, _SERVERS)

    def _stop_workers(self) -> None:
        """Stop the workers after letting them save their states."""
        self._ending = True
        reason = self._reason()
        self._console.say(
            f"{reason}: the workers will save their states and end; another signal ends them immediately"
        )
        for member in self._running("worker"):
            member.send(signal=signal.SIGTERM)
        workers = len(self._running("worker"))
        waiting = lambda: self._running("worker") and len(self._stops.received) < 2  # noqa: E731
        self._turn_while(lambda: waiting() and len(self._running("worker")) == workers, _SAVE)
        self._turn_while(waiting, _REST)

    def _end(self) -> None:
        """End all processes that are still running."""
        self._ending = True
        running = functools.partial(self._running, "worker", "server", "scheduler")
        for member in running():
            member.send(signal=signal.SIGTERM)
        self._turn_while(lambda: running() and len(self._stops.received) < 2, GRACE)
        for member in running():
            member.send(signal=signal.SIGKILL)
        self._turn_while(running, GRACE)

    def _reason(self) -> str:
        stops = self._stops.received
        return signal.Signals(stops[0]).name if stops else "nobody reads the output"

    def _outcome(self) -> Outcome:
        if self._failure:
            return self._failure
        workers = [member for member in self._members if member.role == "worker"]
        if self._ordered and all(member.status == 0 for member in workers):
            return Outcome(0)
        return Outcome(128 + self._stops.received[0] if self._stops.received else 1)
