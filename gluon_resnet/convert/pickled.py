"""The value that a pickle describes, without running anything: only PyTorch's operations and known names are accepted.

`pickle` itself is not used, for two reasons: it calls whatever a file names, and five bytes (LONG_BINPUT with a
high index) make it allocate 64 GiB. The standard library's `pickletools` splits a pickle into operations.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator, Mapping
from typing import IO, Any, Callable

_VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
    *("SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"),  # the last two: Python 2
    *("BINBYTES", "SHORT_BINBYTES"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_GETS = ("BINGET", "LONG_BINGET")
_PUTS = ("BINPUT", "LONG_BINPUT")
_IGNORED = ("PROTO", "FRAME")
_LONGEST = 500_000  # operations: each may take 64 bytes of memory. ResNet-152's weights need 31,199


class Inert:
    """Stands for an object that plays no part in the weights: nothing is made from it, called on it or kept of it."""

    def __call__(self, *_: Any) -> Inert:
        return self


INERT = Inert()


def evaluate(
    stream: IO[bytes], known: Mapping[str, Any], persistent: Callable[[Any], Any] = lambda identity: identity
) -> Any:
    """Read one pickle from `stream`, which is left at its end.

    Args:
        stream: a stream in memory, so that no more than its length is ever asked for.
        known: what each "module.name" stands for; a callable may be called with a tuple's elements. INERT takes
            whatever the pickle puts into it, and stays INERT.
        persistent: a function that returns what a persistent id stands for.

    Returns:
        A value of None, bool, int, float, str, tuple, list or dict, or something that `known` or `persistent` gave.

        Raises:
            ValueError: the pickle is damaged, or names anything else.
    """
    try:
        return _evaluate(stream, known, persistent)
    except (IndexError, KeyError):
        raise ValueError("the pickle is damaged") from None


def _evaluate(stream: IO[bytes], known: Mapping[str, Any], persistent: Callable[[Any], Any]) -> Any:
    stack: list[Any] = []
    below: list[list[Any]] = []  # the stacks under each mark
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        nonlocal stack
        items, stack = stack, below.pop()
        return items

    operations: Iterator[tuple[Any, Any, Any]] = pickletools.genops(stream)
    for count, (operation, argument, _) in enumerate(operations):
        name = operation.name
        if count >= _LONGEST:
            raise ValueError(f"the pickle has more than {_LONGEST} operations")
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _PUTS:
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in _GETS:
            stack.append(memo[argument])
        elif name == "MARK":
            below.append(stack)
            stack = []
        elif name in _TUPLES:
            items = [stack.pop() for _ in range(_TUPLES[name])]
            stack.append(tuple(reversed(items)))
        elif name == "TUPLE":
            items = since_mark()
            stack.append(tuple(items))
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else since_mark()
            if stack[-1] is not INERT:
                _expect(stack[-1], list).extend(items)
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else since_mark()
            if stack[-1] is not INERT:
                _expect(stack[-1], dict).update(_pairs(items[::2], items[1::2]))
        elif name == "EMPTY_SET":
            stack.append(INERT)
        elif name == "ADDITEMS":
            since_mark()
            _expect(stack[-1], Inert)
        elif name == "GLOBAL":
            stack.append(_lookup(known, *argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_lookup(known, _expect(module, str), _expect(attribute, str)))
        elif name == "REDUCE":
            arguments, function = _expect(stack.pop(), tuple), stack.pop()
            if not callable(function):
                raise ValueError("it calls something that is not a function")
            try:
                stack.append(function(*arguments))
            except TypeError:  # a wrong number of arguments
                raise ValueError("the pickle is damaged: a call has the wrong arguments") from None
        elif name == "NEWOBJ":  # an object of a class that is known to accompany weights
            arguments, made = stack.pop(), stack.pop()
            _expect(arguments, tuple)
            stack.append(_expect(made, Inert))
        elif name == "BUILD":  # attributes, such as the _metadata of a state_dict
            stack.pop()
            _expect(stack[-1], (dict, Inert))
        elif name == "BINPERSID":
            stack.append(persistent(stack.pop()))
        elif name == "STOP":
            return stack.pop()
        elif name not in _IGNORED:
            raise ValueError(f"the pickle has {name}, which weights do not need")
    raise ValueError("the pickle has no end")


def ordered_dict(items: Any = ()) -> dict[Any, Any]:
    """The stand-in for collections.OrderedDict(items); Python 2 wrote the items as a list of lists of two."""
    pairs = [_expect(pair, (list, tuple)) for pair in _expect(items, (list, tuple))]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("the pickle is damaged")
    return _pairs([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def default_dict(*arguments: Any) -> dict[Any, Any]:
    """The stand-in for collections.defaultdict(factory, ...); a pickle adds the items later."""
    if len(arguments) > 1:
        raise ValueError("the pickle is damaged: a defaultdict has its items in the wrong place")
    return {}


def _lookup(known: Mapping[str, Any], module: str, attribute: str) -> Any:
    name = f"{module}.{attribute}"
    if name not in known:
        raise ValueError(f"this file would run code: {name[:80]}; save its state_dict() instead")
    return known[name]


def _expect(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"the pickle is damaged: unexpected {type(value).__name__}")
    return value


def _pairs(keys: list[Any], values: list[Any]) -> dict[Any, Any]:
    # Other keys are refused: hashing a tuple of tuples of tuples can take for ever.
    if len(keys) != len(values) or not all(isinstance(key, (str, int)) for key in keys):
        raise ValueError("the pickle is damaged: the keys of a dict must be strings or numbers")
    return dict(zip(keys, values))
