"""A process of a run as its launcher sees it: what it is, where it runs, what it has said and how it ended."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any, Optional

from gluon_resnet.launch.agent import keep_alive
from gluon_resnet.launch.messages import ROLES, Introduction, Message, read_message

_LAST_LINES = 20
_LONGEST = 2**20  # bytes of a message; JSON turns one byte into up to six


class Member:
    """An agent, whose connection has presented the token.

    Attributes:
        role: one of ROLES; empty until the agent has introduced itself.
        rank: the rank within the role, counted from 0, as ps-lite will assign it.
        status: the command's returncode, as in subprocess; None while it runs.
        lost: whether the connection broke before the command's end was known.
        lines: the last lines that the command wrote.
    """

    def __init__(self, connection: socket.socket, address: str) -> None:
        connection.settimeout(10)  # for sending: messages are short, and agents always read
        keep_alive(connection)
        self.connection = connection
        self.address = address
        self.role, self.host, self.port, self.rank = "", "", 0, -1
        self.status: Optional[int] = None
        self.lost = False
        self.lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._received = b""

    @property
    def name(self) -> str:
        return self.role if self.role == "scheduler" else f"{self.role} {self.rank}"

    @property
    def running(self) -> bool:
        return self.status is None and not self.lost

    @property
    def exit_status(self) -> int:
        """The exit status as in a shell: 128 plus the number of the signal that killed the command; 1 if lost."""
        if self.status is None:
            return 1
        return self.status if self.status >= 0 else 128 - self.status

    @property
    def end(self) -> str:
        """What has happened to it, to be said after its name."""
        if self.status is None:
            return "was lost: its agent was killed, or its machine does not answer"
        if self.status < 0:
            return f"was killed by {_signal_name(-self.status)}"
        return f"ended with status {self.status}"

    def introduce(self, introduction: Introduction) -> None:
        """Store the agent's introduction."""
        self.role, self.host, self.port = introduction

    def receive(self) -> list[Message]:
        """The messages that have arrived; OSError if the connection is broken, EOFError if it was closed.

        ValueError for anything that no agent would send.
        """
        data = self.connection.recv(2**16)
        if not data:
            raise EOFError
        *lines, self._received = (self._received + data).split(b"\n")
        if max(map(len, (self._received, *lines))) > _LONGEST:
            raise ValueError("a message does not end")
        return [read_message(line) for line in lines]

    def send(self, **message: Any) -> None:
        """Send a message to the agent; whether it is gone is noticed by `receive`."""
        if not self.running:
            return
        with contextlib.suppress(OSError):
            self.connection.sendall(json.dumps(message).encode() + b"\n")


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):  # real-time signals have no names
        return signal.Signals(number).name
    return f"signal {number}"


def number(members: Sequence[Member]) -> None:
    """Assign ranks as ps-lite does: by addresses as text, in descending order, and then by ports (Van, ADD_NODE)."""
    for role in ROLES:
        same = [member for member in members if member.role == role]
        same.sort(key=lambda member: member.port)
        same.sort(key=lambda member: member.address, reverse=True)
        for rank, member in enumerate(same):
            member.rank = rank
