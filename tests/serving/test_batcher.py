"""How images of several requests become batches, and what becomes of those that nobody waits for."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from gluon_resnet.errors import ImageError
from gluon_resnet.serving.refusal import Refusal
from gluon_resnet.serving.turns import Owner
from tests.support.batched import GatedNetwork, ask, labels, run, running
from tests.support.serve_clients import shade
from tests.support.served import FakeNetwork

ME = Owner("me", 0)


def test_images_of_many_requests_go_through_the_network_together() -> None:
    network = GatedNetwork()
    network.decoder.set()

    async def test() -> None:
        async with running(network, batch_size=8, threads=2) as batcher:
            first = asyncio.create_task(ask(batcher, ME, [shade(1)]))
            await network.arrivals(2)  # its decoding, its batch
            others = [asyncio.create_task(ask(batcher, ME, [shade(k), shade(11 - k)])) for k in range(10)]
            await network.arrivals(20)
            network.door.set()
            assert labels(await first) == [1]
            for k, task in enumerate(others):
                assert labels(await task) == [k, 11 - k]

    run(test)
    assert network.batches[0] == 1
    assert sum(network.batches) == 21
    assert network.batches[1:3] == [8, 8]


def test_an_image_waits_for_those_that_are_being_decoded_and_no_longer_than_its_delay() -> None:
    def batches_of(max_delay: float) -> list[int]:
        network = FakeNetwork()
        slow = threading.Event()
        preprocess = network.preprocess

        def decode(image: bytes) -> np.ndarray:
            if image == shade(2):
                assert slow.wait(600)
            return preprocess(image)

        network.preprocess = decode  # type: ignore[method-assign]

        async def test() -> None:
            async with running(network, threads=2, max_delay=max_delay) as batcher:
                second = asyncio.create_task(ask(batcher, ME, [shade(2)]))
                await asyncio.sleep(0)
                first = asyncio.create_task(ask(batcher, ME, [shade(1)]))
                if max_delay > 1:
                    await asyncio.sleep(0.3)
                    assert not first.done()
                    slow.set()
                assert labels(await first) == [1]  # by itself, where the delay is short
                slow.set()
                assert labels(await second) == [2]

        run(test)
        return network.batches

    assert batches_of(1000) == [2]
    assert batches_of(0.001) == [1, 1]


def test_an_image_that_is_alone_does_not_wait_for_others() -> None:
    network = FakeNetwork()

    async def test() -> None:
        async with running(network, max_delay=1000) as batcher:
            assert labels(await ask(batcher, ME, [shade(6)])) == [6]
            bad, good = await ask(batcher, ME, [b"x", shade(3)])  # nor for one that turns out to be broken
            assert isinstance(bad, ImageError)
            assert labels([good]) == [3]

    run(test)


def test_what_was_not_begun_is_dropped_when_its_client_goes_away() -> None:
    network = GatedNetwork()

    async def test() -> None:
        async with running(network, batch_size=1, threads=1) as batcher:
            network.decoder.set()
            running_one = asyncio.create_task(ask(batcher, ME, [shade(1)]))
            await network.arrivals(2)
            waiting = asyncio.create_task(ask(batcher, ME, [shade(2)]))  # decoded
            while network.decoded < 2:
                await asyncio.sleep(0.001)
            await network.arrivals(1)
            network.decoder.clear()
            decoding = asyncio.create_task(
                ask(batcher, ME, [shade(3), *[shade(4)] * 20])
            )  # one of them begun
            await network.arrivals(1)
            for task in (running_one, waiting, decoding):
                task.cancel()
            await asyncio.wait([running_one, waiting, decoding])
            batcher.require_room(ME.client, 100)
            network.decoder.set()
            network.door.set()
            assert labels(await ask(batcher, ME, [shade(5)])) == [5]

    run(test)
    assert network.decoded == 4
    assert sum(network.batches) == 2  # the one that ran, and the last


def test_a_full_queue_refuses_at_once_and_has_room_again_later() -> None:
    network = GatedNetwork()

    async def test() -> None:
        async with running(network, images=3) as batcher:
            taken = asyncio.create_task(ask(batcher, ME, [shade(1), shade(2)]))
            await network.arrivals(1)
            batcher.require_room(ME.client, 1)
            with pytest.raises(Refusal) as refusal:
                await ask(batcher, ME, [shade(3), shade(4)])
            assert refusal.value.status == 503
            assert refusal.value.headers == {"Retry-After": "1"}
            network.decoder.set()
            network.door.set()
            assert labels(await taken) == [1, 2]
            assert labels(await ask(batcher, ME, [shade(3), shade(4)])) == [3, 4]

    run(test)


def test_a_failure_of_the_network_is_told_to_all_of_its_batch_and_ends_nothing() -> None:
    network = FakeNetwork()
    network.error = RuntimeError("out of memory")

    async def test() -> None:
        async with running(network, batch_size=2) as batcher:
            results = await asyncio.gather(
                *(ask(batcher, ME, [shade(k)]) for k in range(4)), return_exceptions=True
            )
            assert all(isinstance(result, RuntimeError) for result in results)
            network.error = None
            assert labels(await ask(batcher, ME, [shade(7)])) == [7]

    run(test)
