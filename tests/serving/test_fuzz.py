"""Thousands of requests that are nearly right: none is the server's failure, and the log stays short."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from gluon_resnet.serving.limits import Limits
from gluon_resnet.serving.log import LINE_LENGTH, LINES, bounded_log
from tests.support.serve_clients import shade
from tests.support.served import FakeNetwork, make_parts


class Asked(NamedTuple):
    """What uvicorn makes of a request."""

    method: bytes
    path: bytes
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


IMAGE = shade(3, side=8)
B64 = base64.b64encode(IMAGE)
HOST = (b"host", b"localhost:8080")
FORM = b'--B\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'


def post(kind: bytes, body: bytes) -> Asked:
    return Asked(b"POST", b"/predict", b"topk=3", (HOST, (b"content-type", kind)), body)


SEEDS = (
    post(b"image/png", IMAGE),
    post(b"multipart/form-data; boundary=B", FORM + IMAGE + b"\r\n" + FORM + IMAGE + b"\r\n--B--\r\n"),
    post(b"application/json", b'{"instances": [{"b64": "%s"}, {"b64": "%s"}]}' % (B64, B64)),
    *(
        Asked(b"GET", path, b"", (HOST, (b"accept", b"*/*")), b"")
        for path in (b"/", b"/model", b"/metrics", b"/health")
    ),
    Asked(b"OPTIONS", b"/nothing", b"a=b", (HOST, (b"origin", b"http://localhost:8080")), b""),
)
NASTY = (
    *(b"", b"[", b"]", b"[::1", b"\0", b"\x1b[2J", b"\r\n", b"\xff\xfe", b"\xed\xa0\x80", b'"', b";", b"%", b"%00"),
    *(b"9" * 5000, b"-1", b"0" * 30, b"1e999", b"NaN", b"Infinity", b"-", b"null", b"{}", b"\\ud800", b"\\u0000"),
    *(b";" * 60_000, b"[" * 3000, b'{"a":' * 2000, b"," * 3000, b"a=b&" * 900, b"x" * 70_000, b"x" * 200_000),
    *(b"*=idna''%FF", b"*=undefined''a", b"*=punycode''%FF", b"*0*=utf-9''%", b"*" + b"9" * 5000 + b"*=x"),
    *(b"; filename*=x", b"evil.example", b"http://[", b"//", b"/../", b"@", b":", b":99999", b"multipart/form-data"),
    *(b"boundary=", b"Content-Length: 1", b"--B", b"\r\n--B--\r\n", b"\r\n\r\n", b'"instances"', b'"b64": 3'),
    *(b'"b64": "*"', b"\xef\xbb\xbf", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"),
)  # fmt: skip
NAMES = (
    *(b"host", b"content-type", b"content-length", b"origin", b"sec-fetch-site", b"expect", b"transfer-encoding"),
    *(b"cookie", b"range", b"x-forwarded-for", b"access-control-request-method", b"accept", b"connection"),
)  # fmt: skip


def changed(text: bytes, chance: random.Random) -> bytes:
    """Some bytes replaced, removed, repeated, or something nasty put in."""
    at = chance.randint(0, len(text))
    end = min(len(text), at + chance.choice((0, 1, 2, 8, 100)))
    put = chance.choice((b"", text[at:end] * 2, chance.choice(NASTY), bytes([chance.randrange(256)])))
    return text[:at] + put + text[end:]


def mutated(asked: Asked, chance: random.Random) -> Asked:
    headers = list(asked.headers)
    for _ in range(chance.choice((1, 1, 2, 4))):
        part = chance.randrange(7)
        at = chance.randrange(len(headers)) if headers else None
        if part == 0:
            asked = asked._replace(body=changed(asked.body, chance))
        elif part == 1:
            asked = asked._replace(query=changed(asked.query, chance))
        elif part == 2:
            asked = asked._replace(path=changed(asked.path, chance))
        elif part == 3 and at is not None:
            headers[at] = (headers[at][0], changed(headers[at][1], chance))
        elif part == 4:
            value = chance.choice((chance.choice(NASTY), chance.choice(headers or [HOST])[1]))
            headers.append((chance.choice(NAMES), value))
        elif part == 5 and at is not None:
            del headers[at]
        else:
            asked = asked._replace(
                method=chance.choice((b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"x" * 99))
            )
    return asked._replace(headers=tuple(headers))


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


@pytest.mark.parametrize("count", [3000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_no_request_is_the_servers_failure(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(15)

    async def test() -> Counter[int]:
        app, _, _ = make_parts(FakeNetwork(), Limits(body=200_000, images=12, pixels=10_000), threads=2)
        statuses: Counter[int] = Counter()
        async with started(app):
            for seed in SEEDS:
                assert await status_of(app, seed) == (404 if seed.path == b"/nothing" else 200)
            for _ in range(count):
                asked = mutated(chance.choice(SEEDS), chance)
                status = await status_of(app, asked)
                assert status < 500 or status == 503, asked
                statuses[status] += 1
        return statuses

    begin = time.monotonic()
    with bounded_log():
        statuses = asyncio.run(test())
    seconds = time.monotonic() - begin
    assert {200, 400, 403, 404, 405, 414, 415, 421, 422, 431} <= set(statuses)
    log = capsys.readouterr().err
    assert "Traceback" not in log
    assert len(log.encode()) <= (seconds + 2) * (LINES + 1) * (LINE_LENGTH * 4 + 21)
