"""Thousands of requests that are nearly right: none is the server's failure, and the log stays short."""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections import Counter

import pytest

from gluon_resnet.serving.limits import Limits
from gluon_resnet.serving.log import LINE_LENGTH, LINES, bounded_log
from tests.support.http_requests import HOST, Asked, post, started, status_of
from tests.support.serve_clients import shade
from tests.support.served import FakeNetwork, make_parts

IMAGE = shade(3, side=8)
B64 = base64.b64encode(IMAGE)
FORM = b'--B\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'


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
