"""Changes JSON within its grammar, which a fuzzer's own changes of bytes mostly break."""

from __future__ import annotations

import json
import random
import struct
from typing import Any, Callable

VALUES: list[Any] = [
    None,
    True,
    *(0, -1, 1, 77, 2**31, -(2**31), 2**63, 2**64, 10**400),
    *(0.5, 1e308, 1e-320, float("nan"), float("inf")),
    *(
        "",
        "0",
        "-1",
        "None",
        "True",
        "()",
        "(1, 1)",
        "(0, 0, 0, 0)",
        "(1000000000, 1)",
        "[2]",
        "1e400",
        "x" * 300,
    ),
    *("\x1b[2J", "\n", "\0", "\ud800", "\u202e", "../a", "/dev/zero"),
    *([], [[]], [0, 0, 0], {}, {"a": 1}),
]

Mutator = Callable[[bytes, random.Random], bytes]


def of_text(data: bytes, draw: random.Random) -> bytes:
    """The whole of `data` is JSON; ValueError where it is not."""
    value = json.loads(data)
    for _ in range(draw.randint(1, 3)):
        value = _changed(value, draw)
    return json.dumps(value, allow_nan=True).encode()


def of_a_line(data: bytes, draw: random.Random) -> bytes:
    lines = data.split(b"\n")
    at = draw.randrange(len(lines))
    lines[at] = of_text(lines[at], draw)
    return b"\n".join(lines)


def behind_a_length(data: bytes, draw: random.Random) -> bytes:
    """As the header of .safetensors stands, behind 8 bytes with its length."""
    (length,) = struct.unpack("<Q", data[:8].ljust(8, b"\0"))
    if length > len(data):
        raise ValueError("a header that is not there")
    header = of_text(data[8 : 8 + length], draw)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def _changed(value: Any, draw: random.Random) -> Any:
    """`value`, changed in one place."""
    places = [(None, None, value)]
    for _, _, inner in places:  # grows meanwhile
        if isinstance(inner, dict):
            places += [(inner, key, part) for key, part in inner.items()]
        elif isinstance(inner, list):
            places += [(inner, index, part) for index, part in enumerate(inner)]
        if len(places) > 5000:
            break
    owner, key, old = draw.choice(places)
    if owner is None:
        return draw.choice(VALUES) if draw.random() < 0.05 else value
    kind = draw.randrange(6)
    if kind == 0:
        del owner[key]
    elif kind == 1:
        owner[key] = draw.choice(places[1:])[2]  # of another place
    elif kind == 2 and isinstance(owner, list):
        owner.insert(key, old)
    elif kind == 2:
        owner[draw.choice(list(owner)) + "x"] = old
    elif kind == 3 and isinstance(old, int) and not isinstance(old, bool):
        owner[key] = old + draw.choice((-1, 1, 2**16))
    elif kind == 4:
        owner[key] = [old] * draw.choice((1, 2, 40))
    else:
        owner[key] = draw.choice(VALUES)
    # A place may stand within itself now, by way of another.
    try:
        json.dumps(value)
    except (ValueError, RecursionError):
        owner[key] = None
    return value
