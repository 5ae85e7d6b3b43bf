"""Loads the C++ extension, or says what to type if it has not been built or cannot be loaded."""

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
    # This is either a checkout or an installed package.
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
            f"the C++ extension of gluon-resnet cannot be loaded ({error}): to rebuild it, type {build}"
        ) from None


_load()
