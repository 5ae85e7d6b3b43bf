"""An error that a request is answered with: its status, and what the client is told."""

from __future__ import annotations

from typing import Any, Optional


class Refusal(Exception):
    """Ends a request with an error.

    Attributes:
        status: the HTTP status, 4xx or 503.
        reason: the reason for the metrics, one of `metrics.REASONS`; None if it has already been counted.
        headers: headers of the answer, besides the usual ones.
        content: the content of the answer's JSON, including "error", the message.
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
    """The refusal when there is no room now, but may be a moment later."""
    return Refusal(503, "busy", message, headers={"Retry-After": "1"})


def too_late(seconds: float) -> Refusal:
    """The refusal when the deadline has passed, and work that had not begun is dropped."""
    message = f"the answer was not ready after {seconds:g} seconds; work that had not begun was dropped"
    return Refusal(503, "late", message, headers={"Retry-After": "10"})
