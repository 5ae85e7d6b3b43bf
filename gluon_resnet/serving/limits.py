"""What a client may cost."""

from __future__ import annotations

from dataclasses import dataclass

from gluon_resnet.errors import UsageError

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """UsageError for a value that cannot be."""

    body: int = 16 * MIB  # bytes of one request's body
    bodies: int = 512 * MIB  # bytes of the bodies of all requests that are being answered
    pixels: int = 50_000_000  # of an image; each takes up to 12 bytes while it is decoded
    request_pixels: int = 200_000_000  # of all images of a request
    images: int = 256  # that were taken and not answered
    timeout: float = 20.0  # seconds for the headers, for the body, and for taking the answer
    deadline: float = 30.0  # seconds from a request's body to its answer
    connections: int = 900  # most systems give a process 1024 files

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise UsageError(f"{name}: expected more than 0, found {value}")
