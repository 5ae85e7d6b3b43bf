"""For tests of PyTorch's files: written by torch.save, in both of its formats, and refused."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from gluon_resnet.convert.torch_file import read_torch
from gluon_resnet.errors import ModelError

torch = pytest.importorskip("torch")

FORMATS = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])


def save(value: Any, path: pathlib.Path, is_zip: bool = True, **options: Any) -> str:
    torch.save(value, path, _use_new_zipfile_serialization=is_zip, **options)
    return str(path)


def refused(path: pathlib.Path, data: bytes) -> str:
    """The reason why a file with these bytes is refused."""
    path.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        read_torch(path)
    assert caught.value.path == str(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)[len(str(path)) + 2 :]
