"""MXNet's own im2rec.py, run in this process: the reference for lists and records."""

from __future__ import annotations

import gc
import pathlib
import sys
from unittest import mock

from gluon_resnet._mxnet import mx


def run(*arguments: object) -> None:
    """As its command line; with one thread, since it starts processes for more."""
    path = pathlib.Path(mx.__file__).parent / "tools" / "im2rec.py"
    source = path.read_text()
    code = compile(source, str(path), "exec")
    with mock.patch.object(sys, "argv", [str(path), *map(str, arguments)]):
        exec(code, {"__name__": "__main__", "__file__": str(path)})
    gc.collect()  # it leaves the closing of its files to that
