"""Nobody waits for another client's pile: turns in decoding, in batches and in the queue; pixels, deadlines."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from gluon_resnet.serving.clients import UNKNOWN, client_of
from gluon_resnet.serving.limits import Limits
from gluon_resnet.serving.refusal import Refusal
from gluon_resnet.serving.turns import Owner, Turns
from tests.support.batched import GatedNetwork, ask, run, running
from tests.support.batched import labels as labels_of
from tests.support.hostile_clients import one_bit
from tests.support.serve_clients import form, labels, shade
from tests.support.served import FakeNetwork, make_parts

HOG, GOOD = Owner("hog", 1), Owner("good", 2)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_between_two_turns_of_a_request_all_others_have_one(pushed: list[tuple[int, int]]) -> None:
    turns: Turns[tuple[int, int, int]] = Turns()
    for number, (client, request) in enumerate(pushed):
        turns.push(Owner(str(client), request), (client, request, number))
    assert sorted(turns) == sorted(
        (client, request, number) for number, (client, request) in enumerate(pushed)
    )
    popped = [turns.pop() for _ in range(len(turns))]
    assert len(turns) == 0
    for owner in set(pushed):
        mine = [number for *of, number in popped if tuple(of) == owner]
        assert mine == sorted(mine)
    # While several clients have something left, none has two turns running.
    for at in range(1, len(popped)):
        if popped[at][0] == popped[at - 1][0]:
            assert all(item[0] == popped[at][0] for item in popped[at:])
    with pytest.raises(KeyError):
        turns.pop()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=20), st.data())
def test_what_was_removed_has_no_turn(pushed: list[tuple[int, int]], data: st.DataObject) -> None:
    turns: Turns[int] = Turns()
    for number, (client, request) in enumerate(pushed):
        turns.push(Owner(str(client), request), number)
    removed = data.draw(st.sets(st.sampled_from(range(len(pushed))))) if pushed else set()
    for number in [*removed, *removed]:
        turns.remove(Owner(str(pushed[number][0]), pushed[number][1]), number)
    left = {turns.pop() for _ in range(len(turns))}
    assert left == set(range(len(pushed))) - removed


def test_a_client_with_one_image_waits_for_no_pile_of_another_one() -> None:
    network, order = GatedNetwork(), []
    preprocess = network.preprocess

    def decode(image: bytes) -> np.ndarray:
        order.append(image)
        return preprocess(image)

    network.preprocess = decode  # type: ignore[method-assign]
    network.door.set()

    async def test() -> None:
        async with running(network, threads=1) as batcher:
            pile = asyncio.create_task(ask(batcher, HOG, [shade(1)] * 40))
            await network.arrivals(1)
            good = asyncio.create_task(ask(batcher, GOOD, [shade(7)]))
            await asyncio.sleep(0)
            network.decoder.set()
            assert labels_of(await good) == [7]
            assert labels_of(await pile) == [1] * 40

    run(test)
    # Behind what was begun, and a few while the loop came round to it: not behind all 40.
    assert order.index(shade(7)) < 10


def test_images_that_wait_for_the_network_take_turns_too() -> None:
    network = GatedNetwork()
    network.decoder.set()

    async def test() -> None:
        async with running(network, batch_size=4, threads=2) as batcher:
            pile = asyncio.create_task(ask(batcher, HOG, [shade(1)] * 60))
            await network.arrivals(61)  # all decoded, and a first batch
            good = asyncio.create_task(ask(batcher, GOOD, [shade(7)]))
            while network.decoded < 61:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.05)
            network.door.set()
            assert labels_of(await good) == [7]
            assert len(network.batches) <= 4  # of 16
            assert labels_of(await pile) == [1] * 60

    run(test)


@pytest.mark.parametrize("threads", [1, 8])
def test_large_images_keep_nobody_waiting(threads: int) -> None:
    network, door = FakeNetwork(), threading.Event()
    bomb = one_bit(2001)  # 4 million pixels
    preprocess = network.preprocess

    def decode(image: bytes) -> np.ndarray:
        assert image != bomb or door.wait(600)
        return preprocess(image)

    network.preprocess = decode  # type: ignore[method-assign]

    async def test() -> None:
        async with running(network, threads=threads) as batcher:
            bombs = [asyncio.create_task(ask(batcher, HOG, [bomb] * 10)) for _ in range(2)]
            for level in range(12):
                assert labels_of(await ask(batcher, GOOD, [shade(level)])) == [level]
            assert network.decoded == 12
            door.set()
            for task in bombs:
                assert labels_of(await task) == [0] * 10

    run(test)


def test_where_the_queue_is_full_the_greediest_client_gives_way() -> None:
    network = GatedNetwork()

    async def test() -> None:
        async with running(network, images=10, threads=1) as batcher:
            first = asyncio.create_task(ask(batcher, Owner("hog", 1), [shade(1)] * 3))
            latest = asyncio.create_task(ask(batcher, Owner("hog", 2), [shade(2)] * 7))
            await network.arrivals(1)
            with pytest.raises(Refusal, match="10 images are waiting, of at most 10"):
                await ask(batcher, Owner("hog", 3), [shade(3)])
            with pytest.raises(Refusal, match="10 images are waiting"):
                batcher.require_room("hog")
            batcher.require_room("good")
            good = asyncio.create_task(ask(batcher, GOOD, [shade(4)]))
            with pytest.raises(
                Refusal, match="the queue is full, and most of the waiting images are from your"
            ) as refusal:
                await latest
            assert (refusal.value.status, refusal.value.headers) == (503, {"Retry-After": "1"})
            network.decoder.set()
            network.door.set()
            assert labels_of(await good) == [4]
            assert labels_of(await first) == [1] * 3
            batcher.require_room("hog", 10)

    run(test)
    assert network.decoded <= 5  # and two of the seven at most


def test_a_failure_in_decoding_leaves_nothing_behind() -> None:
    network, fail = FakeNetwork(), [True]
    preprocess = network.preprocess

    def decode(image: bytes) -> np.ndarray:
        if fail[0] and image == shade(3):
            raise RuntimeError("no memory")
        return preprocess(image)

    network.preprocess = decode  # type: ignore[method-assign]

    async def test() -> None:
        async with running(network, threads=1, max_delay=1000) as batcher:
            with pytest.raises(RuntimeError, match="no memory"):
                await ask(batcher, HOG, [shade(1), shade(3), *[shade(2)] * 20])
            fail[0] = False
            assert labels_of(await ask(batcher, GOOD, [shade(3)])) == [3]  # it waits for nothing that is gone

    run(test)


def test_the_pixels_of_a_request_are_limited_before_any_is_decoded() -> None:
    network = FakeNetwork()
    app, _, _ = make_parts(network, Limits(pixels=10_000, request_pixels=30_000))
    with TestClient(app) as client:
        answer = client.post("/predict", **form(*[one_bit(100)] * 4))
        assert answer.status_code == 413
        expected = "the 4 images have 40000 pixels together; at most 30000 are accepted"
        assert answer.json() == {"error": expected}
        assert network.decoded == 0
        # What is not decoded costs nothing.
        answer = client.post("/predict", **form(*[one_bit(100)] * 3, one_bit(101), b"x"))
        assert labels(answer) == [0, 0, 0, None, None]


def test_a_request_has_a_deadline_and_what_was_not_begun_is_dropped() -> None:
    network = GatedNetwork()
    app, _, _ = make_parts(network, Limits(deadline=0.2), threads=1)
    with TestClient(app) as client:
        answer = client.post("/predict", **form(*[shade(1)] * 9))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        expected = "the answer was not ready after 0.2 seconds; work that had not begun was dropped"
        assert answer.json() == {"error": expected}
        network.decoder.set()
        network.door.set()
        retry: Any = client.post("/predict", **form(shade(5)))
        while retry.status_code == 503:  # a crowded machine
            retry = client.post("/predict", **form(shade(5)))
        assert labels(retry) == [5]
        assert 'gluon_resnet_errors_total{reason="late"}' in client.get("/metrics").text
    assert network.decoded < 9


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        (("192.0.2.7", 4711), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::", 1), "2001:db8:1:2::/64"),
        (("::ffff:192.0.2.7", 1), "192.0.2.7"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (("a\x1b[2Jb" * 9, 0), UNKNOWN),  # a proxy's word
        (("", 0), UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_a_client_is_an_address_or_a_subscribers_network(peer: object, client: str) -> None:
    assert client_of({"client": peer}) == client


def test_an_item_that_is_not_there_is_removed_without_a_word_of_it() -> None:
    class Item:
        def __repr__(self) -> str:
            raise AssertionError("it may be a body of 16 MiB")

    turns: Turns[Item] = Turns()
    owner = Owner("a", 1)
    turns.push(owner, Item())
    turns.remove(owner, Item())
    turns.remove(Owner("b", 1), Item())
    assert len(turns) == 1
