"""What an agent tells its launcher, from a line of bytes to a value: agent.py has the protocol."""

from __future__ import annotations

import signal
from typing import Any, NamedTuple, Union

from gluon_resnet.json_values import is_integer, is_text, parse_json

ROLES = ("worker", "server", "scheduler")
_LONGEST_HOST = 255  # letters of a machine's name


class Introduction(NamedTuple):
    """Who the agent is: one of ROLES, the machine's name, and a port that is free there."""

    role: str
    host: str
    port: int


class Line(NamedTuple):
    """What the command has written, to standard output (`stream` 1) or standard error (2)."""

    text: str
    stream: int


class End(NamedTuple):
    """How the command ended, as subprocess has it."""

    status: int


Message = Union[Introduction, Line, End]


def read_message(line: bytes) -> Message:
    """The message that a line is; ValueError for anything else."""
    try:
        content: Any = parse_json(line)
    except RecursionError:
        raise ValueError("a message of too many levels") from None
    if not isinstance(content, dict):
        raise ValueError("a message that is no object")
    if "line" in content:
        _require(is_text(content["line"]) and is_integer(content.get("stream"), 1, 2))
        return Line(content["line"], content["stream"])
    if "ended" in content:
        _require(is_integer(content["ended"], -max(signal.valid_signals()), 255))
        return End(content["ended"])
    role, host, port = (content.get(name, "") for name in ("role", "host", "port"))
    _require(role in ROLES and is_text(host) and is_integer(port, 1, 65535))
    _require(host.isprintable() and 0 < len(host) <= _LONGEST_HOST)
    return Introduction(role, host, port)


def _require(condition: Any) -> None:
    if not condition:
        raise ValueError("a message that no agent sends")
