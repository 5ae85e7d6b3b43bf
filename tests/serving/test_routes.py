"""What tools/serve.py answers, and what it refuses; without sockets."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from gluon_resnet.serving.limits import Limits
from tests.support.serve_clients import form, labels, shade
from tests.support.served import CLASSES, FakeNetwork, make_parts

LIMITS = Limits(body=100_000, images=12, pixels=10_000)
PNG = {"Content-Type": "image/png"}


def bomb(width: int, height: int) -> bytes:
    """A PNG's header and nothing else."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


@pytest.fixture
def client(network: FakeNetwork) -> Iterator[TestClient]:
    app, _, _ = make_parts(network, LIMITS, threads=2, batch_size=4)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def counted(client: TestClient) -> dict[str, float]:
    """The metrics' values; a label's value is part of the name."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        "".join([s.name.removeprefix("gluon_resnet_"), *(f" {v}" for v in s.labels.values())]): s.value
        for family in families
        for s in family.samples
    }


@pytest.mark.parametrize(
    ("kind", "extension"),
    [
        ("image/jpeg", ".jpg"),
        ("image/png", ".png"),
        ("application/octet-stream", ".png"),
        ("IMAGE/JPEG; charset=x", ".jpg"),
    ],
)
def test_an_image_as_the_body_is_named(client: TestClient, kind: str, extension: str) -> None:
    answer = client.post("/predict", content=shade(7, extension), headers={"Content-Type": kind})
    assert answer.status_code == 200
    content = answer.json()
    assert content["model"] == "fake"
    (prediction,) = content["predictions"]
    assert [c["label"] for c in prediction["classes"]] in ([7, 6, 8, 5, 9], [7, 8, 6, 9, 5])
    assert all(c["name"] == CLASSES[c["label"]] for c in prediction["classes"])
    probabilities = [c["probability"] for c in prediction["classes"]]
    softmax = np.exp(-np.array([0.0, 1, 1, 4, 4]))
    everything = np.exp(-((np.arange(12) - 7.0) ** 2)).sum()
    np.testing.assert_allclose(probabilities, softmax / everything, atol=0.02)


@pytest.mark.parametrize(("topk", "count"), [("1", 1), ("0000000001", 1), ("12", 12), ("9" * 20, 12)])
def test_topk_is_how_many_classes_are_answered(client: TestClient, topk: str, count: int) -> None:
    answer = client.post(f"/predict?top_k={topk}", content=shade(3), headers=PNG)
    earlier = client.post(f"/predict?topk={topk}", content=shade(3), headers=PNG)  # version 0.1's word
    assert earlier.json() == answer.json()
    classes = answer.json()["predictions"][0]["classes"]
    assert len(classes) == count
    if count == 12:
        assert sum(c["probability"] for c in classes) == pytest.approx(1)


@pytest.mark.parametrize("topk", ["0", "-1", "x", "", "1.5", "²", "1_0", "0" * 20, "1" * 21, "9" * 999])
def test_a_topk_that_is_no_number_is_refused(client: TestClient, topk: str) -> None:
    answer = client.post("/predict", params={"top_k": topk}, content=shade(3), headers=PNG)
    assert answer.status_code == 400
    found = repr(topk) if len(topk) < 21 else f"{len(topk)} characters"
    expected = f"top_k: expected a number of at least 1, with at most 20 digits, found {found}"
    assert answer.json() == {"error": expected}


def instances(*images: bytes) -> dict[str, Any]:
    return {"json": {"instances": [{"b64": base64.b64encode(image).decode()} for image in images]}}


@pytest.mark.parametrize("batch", [form, instances])
def test_a_batch_is_answered_in_its_order(client: TestClient, network: FakeNetwork, batch: Any) -> None:
    expected = [3, 1, 4, 1, 5, 9, 2, 6, 5]
    answer = client.post("/predict", **batch(*map(shade, expected)))
    assert answer.status_code == 200
    assert labels(answer) == expected
    assert sum(network.batches) == 9
    assert max(network.batches) <= 4


@pytest.mark.parametrize("batch", [form, instances])
def test_a_bad_image_does_not_spoil_the_others(client: TestClient, batch: Any) -> None:
    answer = client.post("/predict", **batch(shade(2), b"GIF89a...", b"", shade(5)))
    assert answer.status_code == 200
    assert labels(answer) == [2, None, None, 5]
    assert "GIF" in answer.json()["predictions"][1]["error"]
    counts = counted(client)
    assert (counts["images_total"], counts["errors_total image"]) == (2, 2)


def test_where_no_image_is_good_the_status_says_so(client: TestClient) -> None:
    answer = client.post("/predict", content=shade(2)[:100], headers=PNG)
    assert answer.status_code == 422
    assert "bad PNG" in answer.json()["error"]
    assert answer.json()["predictions"] == [{"error": answer.json()["error"]}]
    answer = client.post("/predict", **form(b"x", b"y"))
    assert answer.status_code == 422
    assert answer.json()["error"] == "none of the 2 images can be read"
    assert labels(answer) == [None, None]


@pytest.mark.parametrize("image", [bomb(30000, 30000), bomb(101, 100), shade(1, ".jpg", 101)])
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(
    client: TestClient, network: FakeNetwork, image: bytes
) -> None:
    answer = client.post("/predict", content=image, headers={"Content-Type": "image/png"})
    assert answer.status_code == 422
    assert re.search(r"the image has \d+x\d+ pixels; at most \d+", answer.json()["error"])
    assert network.decoded == 0
    assert client.post("/predict", content=shade(1, side=100), headers=PNG).status_code == 200


@pytest.mark.parametrize(
    "kind", ["", "text/html", "application/x-www-form-urlencoded", "image/gif", "x" * 1000]
)
def test_another_type_of_body_is_refused(client: TestClient, kind: str) -> None:
    answer = client.post("/predict", content=shade(1), headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert answer.json()["error"].startswith("Content-Type: expected one of image/jpeg")
    assert len(answer.text) < 400


def test_a_type_that_is_too_long_is_refused_before_it_is_parsed(client: TestClient) -> None:
    for kind in ('multipart/form-data; boundary="' + ";" * 60_000, "x" * 1025):
        answer = client.post("/predict", content=shade(1), headers={"Content-Type": kind})
        assert answer.status_code == 431
        found = f"Content-Type: expected at most 1024 characters, found {len(kind)}"
        assert answer.json() == {"error": found}


def test_a_body_that_is_too_large_is_refused(client: TestClient) -> None:
    large = b"x" * (LIMITS.body + 1)
    pieces = (large[i : i + 999] for i in range(0, len(large), 999))
    for content in (large, pieces):  # with a Content-Length, and in chunks without
        answer = client.post("/predict", content=content, headers=PNG)
        assert answer.status_code == 413
        assert answer.json() == {"error": "the body may have at most 100000 bytes"}
    assert client.post("/predict", content=large[1:], headers=PNG).status_code == 422
    assert counted(client)["errors_total body"] == 2


FORM = {"Content-Type": "multipart/form-data; boundary=B"}
PART = b'--B\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'


@pytest.mark.parametrize(
    ("headers", "body", "status", "words"),
    [
        ({"Content-Type": "multipart/form-data"}, b"x", 400, "boundary"),
        (FORM, b"", 400, "begin with its boundary"),
        (FORM, b"--C\r\n", 400, "begin with its boundary"),
        (FORM, PART + b"abc", 400, "last boundary"),
        (FORM, PART + b"abc\r\n--B--\r\n", 422, "expected a JPEG or PNG"),
        (FORM, b"--B--\r\n", 400, "no image"),
        (FORM, (PART + b"abc\r\n") * 13 + b"--B--\r\n", 413, "at most 12 images"),
        (FORM, PART.replace(b'; filename="a"', b"") + b"3\r\n--B--\r\n", 400, "'a' is not a file"),
        (FORM, b"--B\r\nX: y\r\n\r\n\r\n--B--\r\n", 400, "form"),
        ({"Content-Type": "application/json"}, b"{", 400, "expected"),
        ({"Content-Type": "application/json"}, b"[" * 90, 400, "expected"),
        ({"Content-Type": "application/json"}, b"3", 400, "expected"),
        ({"Content-Type": "application/json"}, b'{"instances": 3}', 400, "expected"),
        ({"Content-Type": "application/json"}, b'{"instances": {"a": 1}}', 400, "expected"),
        ({"Content-Type": "application/json"}, b'{"instances": []}', 400, "no image"),
        ({"Content-Type": "application/json"}, b'{"instances": [{"b64": 3}]}', 400, "expected"),
        ({"Content-Type": "application/json"}, b'{"instances": [{"b64": "*"}]}', 400, "expected"),
        (
            {"Content-Type": "application/json"},
            b'{"instances": [1,2,3,4,5,6,7,8,9,0,1,2,3]}',
            413,
            "at most 12",
        ),
        ({"Content-Type": "application/json"}, b"\xff\xfe", 400, "expected"),
        ({"Content-Type": "application/json"}, b"[" + b"{}," * 30_000 + b"{}]", 413, "at most 12"),
        (PNG, b"", 400, "no image"),
    ],
)
def test_a_body_that_says_nothing_is_refused(
    client: TestClient, headers: dict[str, str], body: bytes, status: int, words: str
) -> None:
    answer = client.post("/predict", content=body, headers=headers)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_paths_and_methods_that_do_not_exist(client: TestClient) -> None:
    for path in ("/nothing", "/predict/", "/page.html", "/" + "x" * 5000):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"].endswith(": Not Found")
    for method, path, allowed in (
        ("GET", "/predict", "POST"),
        ("POST", "/", "GET"),
        ("PUT", "/model", "GET"),
    ):
        answer = client.request(method, path)
        assert answer.status_code == 405
        assert allowed in answer.headers["Allow"]
    assert counted(client)["requests_total other 404"] == 4  # what clients think of is no label


def test_health_and_the_card_tell_what_is_served(client: TestClient, network: FakeNetwork) -> None:
    health = client.get("/health")
    assert health.status_code == 200
    assert (health.json()["status"], health.json()["model"], health.json()["classes"]) == ("ok", "fake", 12)
    card = client.get("/model").json()
    assert card["classes"] == list(CLASSES)
    assert card["preprocessing"]["size"] == network.card.size
    content = json.loads(json.dumps(network.card.content()))
    assert {key for key in content if card[key] != content[key]} == {"data", "errors", "recipe", "source"}


def test_the_card_tells_no_paths_and_no_command_lines(client: TestClient, network: FakeNetwork) -> None:
    answer = client.get("/model")
    assert "somebody" in json.dumps(network.card.content())
    assert "somebody" not in answer.text
    card = answer.json()
    assert card["data"]["training"]["files"] == ["train.rec"]
    assert card["errors"][0]["data"]["files"] == ["val.rec"]
    assert card["recipe"] == {"name": "fast", "settings": {"lr": 0.12345678, "mean": "mean.npz of 2, a.rec"}}
    assert card["source"] == {"project": "owner/nets", "file": "w.pth", "sha256": "2" * 64}


def test_the_metrics_tell_what_was_done(client: TestClient) -> None:
    client.post("/predict", **form(shade(1), shade(2), bomb(101, 100)))
    client.post("/predict", content=b"", headers={"Content-Type": "text/plain"})
    counts = counted(client)
    assert counts["requests_total /predict 200"] == 1
    assert counts["requests_total /predict 415"] == 1
    assert counts["images_total"] == 2
    assert (counts["errors_total pixels"], counts["errors_total type"], counts["errors_total slow"]) == (
        1,
        1,
        0,
    )
    assert counts["decode_seconds_count"] == 2
    assert counts["queue_seconds_count"] == 2
    assert counts["batch_images_sum"] == 2
    assert counts["network_seconds_count"] == counts["batch_images_count"]
    assert counts["request_seconds_count /predict"] == 2
    assert counts["waiting_images"] == 0
    assert counts["process_resident_memory_bytes"] > 0


def test_the_page_may_run_its_own_script_and_load_nothing(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    for element, name in (("script", "script-src"), ("style", "style-src")):
        (content,) = re.findall(f"<{element}>(.*?)</{element}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[name] == f"'sha256-{digest}'"
    assert "unsafe" not in str(policy)
    assert not re.search(r"innerHTML|https?:|\son\w+=|\sstyle=", answer.text)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_network_that_fails_is_told_and_the_next_request_is_answered(
    client: TestClient, network: FakeNetwork
) -> None:
    network.error = RuntimeError("secret path")
    answer = client.post("/predict", **form(shade(1), shade(2)))
    assert answer.status_code == 500
    assert "secret" not in answer.text
    network.error = None
    assert labels(client.post("/predict", content=shade(4), headers=PNG)) == [4]
    assert counted(client)["errors_total internal"] == 1
