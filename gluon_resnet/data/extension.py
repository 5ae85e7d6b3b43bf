"""The C++ extension, or what to type where it is not built or cannot be loaded."""

from __future__ import annotations

import importlib
import os
import sys

from gluon_resnet.errors import EnvironmentProblem

_NAME = "gluon_resnet.data._native"


class ExtensionMissing(EnvironmentProblem, ImportError):
    """The C++ extension is not built, or cannot be loaded here."""


def _load() -> None:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    # What is here is a checkout, or lies among the packages of an environment.
    build = (
        f"'make setup' in {root}"
        if os.path.exists(os.path.join(root, "setup.py"))
        else "'pip install .' again"
    )
    try:
        importlib.import_module(_NAME)
    except ModuleNotFoundError as error:
        if error.name != _NAME:
            raise
        python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
        raise ExtensionMissing(
            f"the C++ extension of gluon-resnet is not built for this {python}: type {build}"
        ) from None
    except ImportError as error:
        raise ExtensionMissing(
            f"the C++ extension of gluon-resnet cannot be loaded ({error}): build it anew by {build}"
        ) from None


_load()
