"""The messages of an ONNX file, as far as `export` writes them; needs neither onnx nor protobuf.

The file is protobuf: fields, each with a number, a type and a value, where later ones may replace earlier ones and
unknown ones are ignored. Here each must be known and occur once, so that onnxruntime reads exactly what was checked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Union

from gluon_resnet.errors import ModelError
from gluon_resnet.terminal import printable_name

_MOST_FIELDS = 1_000_000  # in a file; ResNet-1202 has 200,000
_MOST_NUMBERS = 64  # in a list
_VARINT, _BYTES, _FIXED32 = 0, 2, 5

Value = Union[int, memoryview]

# The name of each field, and how it is read; with a star it may occur several times.
_MESSAGES: dict[str, dict[int, tuple[str, str]]] = {
    "model": {
        1: ("ir_version", "int"),
        2: ("producer_name", "text"),
        3: ("producer_version", "text"),
        4: ("domain", "text"),
        5: ("model_version", "int"),
        6: ("doc_string", "text"),
        7: ("graph", "graph"),
        8: ("opset_import", "opset*"),
        14: ("metadata_props", "property*"),
    },
    "opset": {1: ("domain", "text"), 2: ("version", "int")},
    "property": {1: ("key", "text"), 2: ("value", "text")},
    "graph": {
        1: ("node", "node*"),
        2: ("name", "text"),
        5: ("initializer", "tensor*"),
        10: ("doc_string", "text"),
        11: ("input", "value*"),
        12: ("output", "value*"),
        13: ("value_info", "value*"),
    },
    "node": {
        1: ("input", "text*"),
        2: ("output", "text*"),
        3: ("name", "text"),
        4: ("op_type", "text"),
        5: ("attribute", "attribute*"),
        6: ("doc_string", "text"),
        7: ("domain", "text"),
    },
    "attribute": {
        1: ("name", "text"),
        2: ("f", "float"),
        3: ("i", "int"),
        4: ("s", "text"),
        8: ("ints", "int*"),
        13: ("doc_string", "text"),
        20: ("type", "int"),
    },
    "tensor": {
        1: ("dims", "int*"),
        2: ("data_type", "int"),
        8: ("name", "text"),
        9: ("raw_data", "bytes"),
        12: ("doc_string", "text"),
        13: ("external_data", "property*"),  # refused because of its name
        14: ("data_location", "int"),
    },
    "value": {1: ("name", "text"), 2: ("type", "type"), 3: ("doc_string", "text")},
    "type": {1: ("tensor_type", "tensor_type")},
    "tensor_type": {1: ("elem_type", "int"), 2: ("shape", "shape")},
    "shape": {1: ("dim", "dimension*")},
    "dimension": {1: ("dim_value", "int"), 2: ("dim_param", "text")},
}


def read_model(content: bytes) -> dict[str, Any]:
    """A file's fields by name, repeated ones as lists; ModelError, without a path, for anything else."""
    return _Reader().message("model", memoryview(content))


class _Reader:
    """Reads messages and counts the fields of the whole file."""

    def __init__(self) -> None:
        self._fields = 0

    def message(self, kind: str, content: memoryview) -> dict[str, Any]:
        known = _MESSAGES[kind]
        found: dict[str, Any] = {name: [] for name, how in known.values() if how.endswith("*")}
        for number, wire, value in self._split(content):
            if number not in known:
                raise ModelError(f"a {kind} has the unknown field {number}, which export.py does not write")
            name, how = known[number]
            if how.endswith("*"):
                found[name] += self._several(how[:-1], wire, value)
            elif name in found:
                raise ModelError(f"a {kind} has two values of {name}")
            else:
                found[name] = self._value(how, wire, value)
        return found

    def _split(self, content: memoryview) -> Iterator[tuple[int, int, Value]]:
        offset = 0
        while offset < len(content):
            self._fields += 1
            if self._fields > _MOST_FIELDS:
                raise ModelError(f"more than {_MOST_FIELDS} fields")
            key, offset = _varint(content, offset)
            number, wire = key >> 3, key & 7
            value: Value
            if wire == _VARINT:
                value, offset = _varint(content, offset)
            elif wire in (_BYTES, _FIXED32):
                size = 4
                if wire == _BYTES:
                    size, offset = _varint(content, offset)
                if size > len(content) - offset:
                    raise ModelError("this is not an ONNX file, or not a whole one")
                value, offset = content[offset : offset + size], offset + size
            else:
                raise ModelError("this is not an ONNX file, or not a whole one")
            yield number, wire, value

    def _several(self, how: str, wire: int, value: Value) -> list[Any]:
        if how != "int" or wire == _VARINT:
            return [self._value(how, wire, value)]
        numbers, offset = [], 0  # one after the other
        packed = self._bytes(wire, value)
        while offset < len(packed):
            number, offset = _varint(packed, offset)
            numbers.append(_signed(number))
            if len(numbers) > _MOST_NUMBERS:
                raise ModelError(f"a list of more than {_MOST_NUMBERS} numbers")
        return numbers

    def _value(self, how: str, wire: int, value: Value) -> Any:
        if how == "int":
            if wire != _VARINT or not isinstance(value, int):
                raise ModelError("this is not an ONNX file: a number is malformed")
            return _signed(value)
        if how == "float":
            if wire != _FIXED32 or isinstance(value, int):
                raise ModelError("this is not an ONNX file: a number is malformed")
            return struct.unpack("<f", value)[0]
        content = self._bytes(wire, value)
        if how == "bytes":
            return content
        if how != "text":
            return self.message(how, content)
        try:
            return bytes(content).decode()
        except UnicodeDecodeError:
            raise ModelError(f"not in UTF-8: {printable_name(str(bytes(content[:40])))}") from None

    @staticmethod
    def _bytes(wire: int, value: Value) -> memoryview:
        if wire != _BYTES or isinstance(value, int):
            raise ModelError("this is not an ONNX file: a field has the wrong type")
        return value


def _varint(content: memoryview, offset: int) -> tuple[int, int]:
    """A number with 7 bits in each byte, the lowest first, and the offset after it."""
    value = 0
    for shift in range(0, 70, 7):
        if offset == len(content):
            break
        byte = content[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, offset
    raise ModelError("this is not an ONNX file, or not a whole one")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
