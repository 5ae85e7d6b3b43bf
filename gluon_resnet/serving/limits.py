"""Limits of what clients may cost the server."""

from __future__ import annotations

from dataclasses import dataclass

from gluon_resnet.errors import UsageError

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """The limits; UsageError unless all of them are positive."""

    body: int = 16 * MIB  # bytes of one request's body
    bodies: int = 512 * MIB  # bytes of the bodies of all requests in progress
    pixels: int = 50_000_000  # of an image; each needs up to 12 bytes during decoding
    request_pixels: int = 200_000_000  # of all images of a request
    images: int = 256  # that have been accepted but not answered
    timeout: float = 20.0  # seconds for the headers, for the body, and for reading the answer
    deadline: float = 30.0  # seconds from a request's body to its answer
    connections: int = 900  # most systems allow a process 1024 files

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise UsageError(f"{name}: expected more than 0, found {value}")
