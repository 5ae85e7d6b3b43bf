"""Text for a terminal: one line for each sentence, with nothing in it that a terminal would obey."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Optional, TextIO

MOST = 4096  # no path is longer
MOST_OF_A_NAME = 80  # in a sentence, for a name from a file
MOST_OF_A_REASON = 4 * MOST_OF_A_NAME  # for a reason, which may quote what a file contains

# Controls (C0, DEL, C1), line separators, and characters with no shape of their own that move or hide others: Unicode
# 15's categories Cc, Cf, Cs, Zl and Zp, and the blocks with room for more. The same are in csrc/base/printable.cc.
_OBEYED = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ud800-\udfff\ufeff\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e00ff]"
)
_SHORT = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_CUT = "..."
_ELEMENTS = 8
_DEPTH = 2
_BITS = 256


def printable(text: str, most: Optional[int] = MOST) -> str:
    r"""`text` as one line: what a terminal would obey or not show is escaped as in JSON, as '\n' or '\u001b'.

    A text that is JSON stays the same JSON. Bytes of a file name that are not UTF-8 become '\udc80' to '\udcff'.

    Args:
        text: a text from any source.
        most: the number of letters shown; longer texts lose their middle. None for all.
    """
    if most is not None and len(text) > 2 * most:  # so that what is cut anyway is not escaped first
        text = text[:most] + text[-most:]
    escaped = _OBEYED.sub(_escape, text)
    if most is None or len(escaped) <= most:
        return escaped
    first = (most - len(_CUT) + 1) // 2
    return escaped[:first] + _CUT + escaped[len(escaped) - (most - len(_CUT) - first) :]


def printable_name(name: str) -> str:
    """A name from a file, for a sentence."""
    return printable(name, MOST_OF_A_NAME)


def reason_of(error: BaseException) -> str:
    """What an error says about a file, for a sentence about that file."""
    return printable(str(error) or type(error).__name__, MOST_OF_A_REASON)


def shown(value: Any) -> str:
    """A value from a file, for a sentence, in Python's notation but short: a small file can describe a large value."""
    return printable_name(_shown(value, _DEPTH))


def say(sentence: str) -> None:
    """Print a line on standard output."""
    _print(sentence, sys.stdout)


def tell(sentence: str) -> None:
    """Print a line on standard error."""
    _print(sentence, sys.stderr)


def note(sentence: str) -> None:
    """Tell the user something that is not an error."""
    tell(f"note: {sentence}")


def warn(sentence: str) -> None:
    """Tell the user about a probable mistake."""
    tell(f"warning: {sentence}")


def printable_cells(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """The rows of a table, with all text in them printable."""
    return [[printable(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]


def _print(sentence: str, stream: Optional[TextIO]) -> None:
    text = printable(sentence)
    try:
        print(text, file=stream, flush=True)
    except UnicodeEncodeError:  # a terminal that lacks the letters of a name
        encoding = getattr(stream, "encoding", None) or "ascii"
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def _escape(match: re.Match[str]) -> str:
    letter = match[0]
    code = ord(letter)
    if letter in _SHORT:
        return _SHORT[letter]
    if code < 1 << 16:
        return f"\\u{code:04x}"
    code -= 1 << 16
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def _shown(value: Any, depth: int) -> str:
    if isinstance(value, str):
        cut = value[:MOST_OF_A_NAME]
        return repr(cut) if len(cut) == len(value) else f"{cut!r}{_CUT}"
    if isinstance(value, int) and abs(value).bit_length() > _BITS:  # decimal digits take quadratic time
        return f"a number of {abs(value).bit_length()} bits"
    if value is None or isinstance(value, (bool, int, float, complex)):
        return repr(value)
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value)} bytes"
    if type(value) not in (tuple, list, dict):
        return f"a value of the type {type(value).__name__}"
    if type(value) is dict:
        start, end, inner = (
            "{",
            "}",
            [
                f"{_shown(k, depth - 1)}: {_shown(v, depth - 1)}"
                for k, v in islice(value.items(), _ELEMENTS if depth else 0)
            ],
        )
    else:
        start, end = ("(", ")") if type(value) is tuple else ("[", "]")
        inner = [_shown(element, depth - 1) for element in islice(value, _ELEMENTS if depth else 0)]
    inner += [_CUT] if len(inner) < len(value) else []
    comma = "," if type(value) is tuple and len(value) == 1 else ""
    return f"{start}{', '.join(inner)}{comma}{end}"
