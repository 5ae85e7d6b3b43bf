"""For tests of serving without sockets: requests as uvicorn makes them, and what is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

HOST = (b"host", b"localhost:8080")


class Asked(NamedTuple):
    """What uvicorn makes of a request."""

    method: bytes
    path: bytes
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def post(kind: bytes, body: bytes) -> Asked:
    return Asked(b"POST", b"/predict", b"top_k=3", (HOST, (b"content-type", kind)), body)


async def status_of(app: Any, asked: Asked) -> int:
    """What is answered, which is whole, and JSON where it says so."""
    sent, bodies = [], [{"type": "http.request", "body": asked.body, "more_body": False}]

    async def receive() -> Any:
        return bodies.pop() if bodies else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": asked.method.decode("latin-1"),
        "scheme": "http",
        "path": asked.path.decode("utf-8", "replace"),
        "raw_path": asked.path,
        "query_string": asked.query,
        "root_path": "",
        "headers": list(asked.headers),
        "client": ("192.0.2.1", 4711),
        "server": ("127.0.0.1", 8080),
    }
    await app(scope, receive, send)
    assert sent[0]["type"] == "http.response.start"
    assert not sent[-1].get("more_body", False)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    if dict(sent[0]["headers"])[b"content-type"] == b"application/json" and asked.method != b"HEAD":
        assert json.loads(body)
    status: int = sent[0]["status"]
    return status


@asynccontextmanager
async def started(app: Any) -> AsyncIterator[None]:
    """While this lasts, the application runs, as under a server."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    told: asyncio.Queue[Any] = asyncio.Queue()

    async def receive() -> dict[str, str]:
        return {"type": await heard.get()}

    running = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, told.put))
    for event in ("startup", "shutdown"):
        heard.put_nowait(f"lifespan.{event}")
        assert (await told.get())["type"] == f"lifespan.{event}.complete"
        if event == "startup":
            yield
    await running
