"""A request that was answered leaves no body behind for the collector of circles, which comes late."""

from __future__ import annotations

import asyncio
import gc
import types
from typing import Any

import pytest

from gluon_resnet.serving.limits import Limits
from tests.support.hostile_clients import one_bit
from tests.support.http_requests import Asked, post, started, status_of
from tests.support.served import FakeNetwork, make_parts

SIZE = 200_000
FORM = "multipart/form-data; boundary=B"
PART = b'--B\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n%b\r\n'
LARGE = one_bit(100) + bytes(SIZE)


def held() -> int:
    """How many large pieces of bytes only a circle holds."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    large = 0
    for thing in gc.garbage:  # also of other tests: a weak proxy cannot even be asked for its class
        known = thing.f_locals.values() if type(thing) is types.FrameType else gc.get_referents(thing)
        large += sum(type(value) in (bytes, bytearray) and len(value) >= SIZE for value in known)
    gc.garbage.clear()
    gc.collect()  # what was only looked at is still there, and would count again
    return large


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("image/png", LARGE, 200),
        ("image/png", bytes(SIZE), 422),
        ("image/png", one_bit(101) + bytes(SIZE), 422),  # too many pixels
        ("image/png", one_bit(100)[:-30] + bytes(SIZE), 422),  # found out in decoding
        (FORM, PART % LARGE + PART % bytes(SIZE) + b"--B--\r\n", 200),
        (FORM, PART % LARGE * 4 + b"--B--\r\n", 413),
        (FORM, PART % LARGE, 400),
        (FORM.replace("=B", "=C"), PART % LARGE, 400),
        ("application/json", b'{"instances": [{"b64": "' + b"A" * 2 * SIZE + b'"}]}', 422),
        ("application/json", b'{"instances": [{"b64": "' + b"*" * SIZE + b'"}]}', 400),
        ("application/json", b'{"instances": [{"b64": "' + b"A" * SIZE, 400),
        ("application/json", b"9" * SIZE, 400),
    ],
    ids=[
        "image",
        "none",
        "pixels",
        "damaged",
        "form",
        "together",
        "cut",
        "other",
        "instances",
        "letters",
        "open",
        "digits",
    ],
)
def test_a_body_is_gone_with_its_answer(kind: str, body: bytes, status: int) -> None:
    app, _, _ = make_parts(FakeNetwork(), Limits(pixels=10_000, request_pixels=30_000, images=12))
    asked: Asked = post(kind.encode(), body)

    async def test() -> Any:
        async with started(app):
            assert await status_of(app, asked) == status
            held()
            gc.disable()
            try:
                for _ in range(5):
                    assert await status_of(app, asked) == status
                await asyncio.sleep(0.02)  # until threads are back
                assert held() == 0
            finally:
                gc.enable()

    asyncio.run(test())
