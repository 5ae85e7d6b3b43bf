"""The exceptions of this package: each is caused by a user or a file, and explains itself."""

from __future__ import annotations

import signal
from typing import Optional


class GluonResnetError(Exception):
    """Base class. ``str(error)`` is a message for the user: what is wrong, where, and what to do."""


class UsageError(GluonResnetError, ValueError):
    """An argument or a combination of arguments that cannot work (commands exit with status 2)."""


class DataError(GluonResnetError):
    """A file does not contain what is expected.

    Attributes:
        path: the path of the file, or ``None`` for bytes in memory.
        offset: the offset in the file, in bytes, or ``None`` if it has no meaning.
        key: the key of the record in its record file, or ``None``.
    """

    def __init__(
        self,
        message: str,
        path: Optional[str] = None,
        offset: Optional[int] = None,
        key: Optional[int] = None,
    ) -> None:
        super().__init__(message)
        self.path = path
        self.offset = offset
        self.key = key


class RecordError(DataError):
    """A ``.rec`` or ``.idx`` file is truncated or corrupt, or has no such record."""


class ImageError(DataError):
    """An image is broken or truncated, or its format cannot be decoded."""


class ModelError(DataError):
    """A network, a checkpoint or an exported model does not fit its description."""


class EnvironmentProblem(GluonResnetError):
    """Something outside the program is missing: MXNet, a GPU that it has kernels for, a library."""


def exit_status(error: BaseException) -> int:
    """The exit status of a command that ends with `error`: 2 for bad arguments, 130 for Ctrl-C, 1 otherwise."""
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    return 2 if isinstance(error, UsageError) else 1
