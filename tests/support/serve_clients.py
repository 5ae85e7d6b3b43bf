"""What tests of serving send, and how they read what comes back."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any, Optional

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from tests.support.pictures import encode
from tests.support.served import Server


def shade(label: int, extension: str = ".png", side: int = 70) -> bytes:
    """An image that the fake network takes for class `label`."""
    return encode(np.full((side, side, 3), 20 * label, np.uint8), extension)


def form(*images: bytes) -> dict[str, Any]:
    return {"files": [("image", (f"{i}.png", image)) for i, image in enumerate(images)]}


def labels(answer: Any) -> list[Optional[int]]:
    """The best label of each image, None for an error."""
    return [p["classes"][0]["label"] if "classes" in p else None for p in answer.json()["predictions"]]


HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"


@contextlib.contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(server.address, timeout=600) as client:
        yield client


def read_answer(client: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON; all of the answer, before the server closes the connection."""
    stream = client.makefile("rb")
    status = int(stream.readline().split()[1])
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(": ")
        headers[name.lower()] = value
    body = stream.read(int(headers["content-length"]))
    return status, headers, json.loads(body)


def closed(client: socket.socket) -> bool:
    """Whether the server closes the connection, waiting for it."""
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def metric(server: Server, name: str, **wanted: str) -> float:
    families = text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text)
    samples = (s for family in families for s in family.samples)
    return sum(s.value for s in samples if s.name == f"gluon_resnet_{name}" and s.labels == wanted)


def wait_for(server: Server, value: float, name: str, **labels: str) -> None:
    deadline = time.monotonic() + 60
    while metric(server, name, **labels) != value:
        assert time.monotonic() < deadline, f"{name} {labels}: {metric(server, name, **labels)}, not {value}"
        time.sleep(0.02)
