"""Command lines of MXNet's and GluonCV's training scripts, translated to those of tools/train.py."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Callable, Optional

from gluon_resnet.cli.train.foreign_flags import FOREIGN, Flag, Given
from gluon_resnet.errors import UsageError


def translated(argv: Sequence[str], tell: Callable[[str], None] = lambda sentence: None) -> list[str]:
    """`argv` with our options in place of other scripts' flags.

    Args:
        argv: the arguments, of both kinds.
        tell: a function that gets sentences on which flags were translated to what, and which were ignored.

    Raises:
        UsageError: a flag asks for something that does not exist here; the message says what does.
    """
    given, result, taken, left = _values(argv), [], [], []
    index = 0
    while index < len(argv):
        name, value = _parts(argv[index])
        index += 1
        flag = FOREIGN.get(name)
        if flag is None:
            result.append(argv[index - 1])
            continue
        if value is None and _takes_next(flag, argv[index : index + 1]):
            value = argv[index]
            index += 1
        if value is None and flag.takes_value and name != "--benchmark":
            raise UsageError(f"{name}: expected a value after it")
        ours = _ours(flag, value or "", given)
        if ours != [name, *([] if value is None else [value])]:
            taken += ours
        if flag.left_out:
            left.append(f"{name} ({flag.why})")
        result += ours
    if taken:
        tell(f"flags of other scripts are taken as {shlex.join(taken)}")
    if left:
        tell(f"left out, as it plays no part: {', '.join(left)}")
    return result


def _ours(flag: Flag, value: str, given: Given) -> list[str]:
    if flag.left_out or value in flag.same:
        return []
    if flag.change is not None:
        return flag.change(value, given)
    if flag.option is None:
        raise UsageError(f"{flag.name} {value}".rstrip() + f" is not taken: {flag.why}")
    return [flag.option, value] if flag.takes_value else [flag.option]


def _parts(argument: str) -> tuple[str, Optional[str]]:
    """'--lr=1' becomes ('--lr', '1') and '-j4' ('-j', '4'); anything else becomes itself and None."""
    match = re.fullmatch(r"(--[^=]+)=(.*)|(-j)(\d+)", argument, re.DOTALL)
    if match is None:
        return argument, None
    return (match[1], match[2]) if match[1] else (match[3], match[4])


def _takes_next(flag: Flag, following: Sequence[str]) -> bool:
    if not following or not flag.takes_value:
        return False
    # Ours stands alone, and MXNet's is followed by a number.
    return following[0] in ("0", "1") if flag.name == "--benchmark" else not following[0].startswith("--")


def _values(argv: Sequence[str]) -> dict[str, str]:
    result = {}
    for argument, following in zip(argv, [*argv[1:], ""]):
        name, value = _parts(argument)
        if name.startswith("-"):
            result[name] = value if value is not None else "" if following.startswith("--") else following
    return result
