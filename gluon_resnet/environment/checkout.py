"""The environment that `make setup` has made in a checkout, for whoever starts a command without activating it."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_FOLDER = os.path.join(_ROOT, ".venv")


def use_environment(module: bool = False) -> None:
    """Go on as the same command in the checkout's .venv, where this interpreter lacks what commands need.

    Nothing where it is the .venv's own, where there is none, or where this one has all: NumPy, OpenCV and the native
    core, and outside of virtual environments, which somebody has chosen, MXNet.

    Args:
        module: whether the command is ``python -m gluon_resnet``, not a file of tools/.
    """
    python = os.path.join(_FOLDER, "bin", "python")
    if is_checkouts_own() or not os.access(python, os.X_OK) or _suffices():
        return
    started = ["-m", "gluon_resnet"] if module else sys.argv[:1]
    os.execv(python, [python, *started, *sys.argv[1:]])


def is_checkouts_own() -> bool:
    """Whether this interpreter is that of the checkout's .venv."""
    return os.path.realpath(sys.prefix) == os.path.realpath(_FOLDER)


def _suffices() -> bool:
    names = ["numpy", "cv2"] if sys.prefix != sys.base_prefix else ["numpy", "cv2", "mxnet"]
    core = importlib.machinery.PathFinder.find_spec("_native", [os.path.join(_ROOT, "gluon_resnet", "data")])
    return core is not None and all(importlib.util.find_spec(name) for name in names)
