"""Parses an agent's messages to its launcher, from lines of bytes to values: agent.py describes the protocol."""

from __future__ import annotations

import json
import signal
from typing import Any, NamedTuple, Union

ROLES = ("worker", "server", "scheduler")
_LONGEST_HOST = 255  # characters of a machine's name
_MOST_DIGITS = 20  # of a number, since older versions of Python parse long ones in quadratic time


class Introduction(NamedTuple):
    """An agent's introduction: one of ROLES, the machine's name, and a port that is free there."""

    role: str
    host: str
    port: int


class Line(NamedTuple):
    """A line that the command has written to standard output (`stream` 1) or standard error (2)."""

    text: str
    stream: int


class End(NamedTuple):
    """The end of the command, with its returncode as in subprocess."""

    status: int


Message = Union[Introduction, Line, End]


def read_message(line: bytes) -> Message:
    """The message in a line; ValueError if it is not one."""
    try:
        content: Any = json.loads(line.decode(), parse_int=_integer)
    except RecursionError:
        raise ValueError("a message is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("a message is not a JSON object")
    if "line" in content:
        text, stream = content["line"], content.get("stream", 0)
        _require(isinstance(text, str) and type(stream) is int and stream in (1, 2))
        text.encode()  # a lone surrogate, which JSON can express, is a ValueError
        return Line(text, stream)
    if "ended" in content:
        status = content["ended"]
        _require(type(status) is int and -max(signal.valid_signals()) <= status <= 255)
        return End(status)
    role, host, port = (content.get(name, "") for name in ("role", "host", "port"))
    _require(role in ROLES and isinstance(host, str) and type(port) is int and 0 < port < 65536)
    _require(host.isprintable() and 0 < len(host) <= _LONGEST_HOST)
    return Introduction(role, host, port)


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError("a message is not one that agents send")


def _integer(digits: str) -> int:
    _require(len(digits) <= _MOST_DIGITS)
    return int(digits)
