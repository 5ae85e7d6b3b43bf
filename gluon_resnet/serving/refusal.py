"""A request that is answered with an error: its status, and what is said to the client."""

from __future__ import annotations

from typing import Any, Optional


class Refusal(Exception):
    """Ends a request.

    Attributes:
        status: of HTTP, 4xx or 503.
        reason: for the metrics, one of `metrics.REASONS`; None where it was counted before.
        headers: of the answer, besides the usual ones.
        content: of the answer's JSON, besides "error", which is the message.
    """

    def __init__(
        self,
        status: int,
        reason: Optional[str],
        message: str,
        headers: Optional[dict[str, str]] = None,
        content: Optional[dict[str, Any]] = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.headers = headers
        self.content = {"error": message, **(content or {})}


def busy(message: str) -> Refusal:
    """There is no room now; a moment later there may be."""
    return Refusal(503, "busy", message, headers={"Retry-After": "1"})


def too_late(seconds: float) -> Refusal:
    """The deadline passed, and what was not begun is dropped."""
    message = f"the answer was not ready after {seconds:g} seconds; what was not begun is dropped"
    return Refusal(503, "late", message, headers={"Retry-After": "10"})
