"""The environment made by `make setup` in a checkout, for commands that are started without activating it."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_FOLDER = os.path.join(_ROOT, ".venv")


def use_environment(module: bool = False) -> None:
    """Restart the command in the checkout's .venv if this interpreter lacks something that commands need.

    Does nothing in that .venv itself, without one, or if nothing is missing: NumPy, OpenCV and the native core, and
    MXNet except in virtual environments, which somebody has chosen.

    Args:
        module: whether the command is ``python -m gluon_resnet`` rather than a file of tools/.
    """
    python = os.path.join(_FOLDER, "bin", "python")
    if is_checkouts_own() or not os.access(python, os.X_OK) or _suffices():
        return
    started = ["-m", "gluon_resnet"] if module else sys.argv[:1]
    os.execv(python, [python, *started, *sys.argv[1:]])


def is_checkouts_own() -> bool:
    """Whether this interpreter belongs to the checkout's .venv."""
    return os.path.realpath(sys.prefix) == os.path.realpath(_FOLDER)


def _suffices() -> bool:
    names = ["numpy", "cv2"] if sys.prefix != sys.base_prefix else ["numpy", "cv2", "mxnet"]
    core = importlib.machinery.PathFinder.find_spec("_native", [os.path.join(_ROOT, "gluon_resnet", "data")])
    return core is not None and all(importlib.util.find_spec(name) for name in names)
