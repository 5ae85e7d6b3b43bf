"""Which names the server answers to, and whose pages may post to it: what a browser can be made to send."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Optional

import pytest
from starlette.testclient import TestClient

from gluon_resnet.errors import UsageError
from gluon_resnet.serving.hosts import hosts_of
from tests.support.serve_clients import labels, shade
from tests.support.served import FakeNetwork, make_parts

ROUTES = ("/", "/model", "/health", "/metrics", "/nothing")
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    hosts = hosts_of(
        "127.0.0.1", "127.0.0.1", ["nets.example.org", "*.lab.example"], ["https://friend.example"]
    )
    app, _, _ = make_parts(FakeNetwork(), hosts=hosts)
    with TestClient(app, "http://localhost:8080") as client:
        yield client


def post(client: TestClient, **headers: str) -> tuple[int, Optional[str]]:
    """The status, and what was wrong."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client.post("/predict", content=shade(4), headers={**PNG, **names})
    if answer.status_code == 200:
        assert labels(answer) == [4]
    return answer.status_code, answer.json().get("error")


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8080",
        "LOCALHOST.",
        "localhost:9000",  # a port that ssh forwards
        "127.0.0.1:8080",
        "[::1]:8080",
        "[0:0:0:0:0:0:0:1]",
        "nets.example.org",
        "a.b.lab.example:443",
    ],
)
def test_its_own_names_are_answered(client: TestClient, host: str) -> None:
    for route in ROUTES:
        assert client.get(route, headers={"Host": host}).status_code in (200, 404)
    assert post(client, Host=host) == (200, None)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.2",
        "lab.example",
        "xlab.example",
        "localhost.evil.example",
    ],
)
def test_another_name_is_refused_on_every_route(client: TestClient, host: str) -> None:
    for route in ROUTES:
        answer = client.get(route, headers={"Host": host})
        assert answer.status_code == 421
        name = host.partition(":")[0]
        expected = f"Host: {name!r} is not a name of this server; the option --allowed-hosts adds names"
        assert answer.json() == {"error": expected}
        assert "fake" not in answer.text
    assert post(client, Host=host, Origin=f"http://{host}")[0] == 421  # a page that was rebound


@pytest.mark.parametrize(
    "host",
    [
        "[",
        "]",
        "",
        "[::1",
        "a b",
        "localhost:",
        "localhost:x",
        "localhost:123456",
        "@localhost",
        pytest.param("x" * 300, id="long"),
    ],
)
def test_a_host_that_is_none_is_refused_in_a_sentence(client: TestClient, host: str) -> None:
    for route in ROUTES:
        answer = client.get(route, headers={"Host": host.encode("latin-1")})
        assert answer.status_code == 400
        assert answer.json() == {"error": f"Host: expected NAME or NAME:PORT, found {host[:80]!r}"}


def test_pages_of_the_server_itself_may_post_and_so_may_programs(client: TestClient) -> None:
    assert post(client) == (200, None)
    for host, origin in (
        ("localhost:8080", "http://localhost:8080"),
        ("nets.example.org", "https://nets.example.org"),  # of a server in front
        ("nets.example.org", "https://nets.example.org:443"),
        ("[::1]:80", "http://[::1]"),
    ):
        assert post(client, Host=host, Origin=origin, Sec_Fetch_Site="same-origin") == (200, None)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://evil.example",
        "http://localhost:3000",
        "http://localhost",
        "file://",
        "chrome-extension://abcdef",
        "http://[",
        "http://localhost:8080.evil.example",
        "http://localhost:8080@evil.example",
        pytest.param("x" * 5000, id="long"),
    ],
)
def test_pages_of_others_may_not_post(client: TestClient, origin: str) -> None:
    status, error = post(client, Origin=origin)
    assert status in (400, 403)
    assert error is not None
    assert error.startswith("Origin: ")
    assert len(error) < 200


def test_a_post_across_sites_without_origin_is_refused(client: TestClient) -> None:
    assert post(client, Sec_Fetch_Site="cross-site")[0] == 403
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200  # a link was followed


def test_pages_that_were_allowed_may_post_and_read_the_answer(client: TestClient) -> None:
    asking = {
        "Origin": "https://friend.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    for headers, method in (
        (asking, "OPTIONS"),
        ({"Origin": asking["Origin"], "Sec-Fetch-Site": "cross-site"}, "POST"),
    ):
        answer = client.request(method, "/predict", content=shade(4), headers={**PNG, **headers})
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "https://friend.example"
    assert client.options("/predict", headers={**asking, "Origin": "https://evil.example"}).status_code == 403


def test_on_every_address_the_machines_names_and_addresses_are_its_own() -> None:
    hosts = hosts_of("0.0.0.0", "0.0.0.0")
    machine = socket.gethostname()
    for own in (machine, f"{machine}.local:8080", "192.168.1.7:8080", "[fe80::1]", "localhost"):
        hosts.require_own_name([own.encode()], "1.1")
    assert not hosts_of("192.168.1.7", "nets").any_address
    hosts_of("192.168.1.7", "nets").require_own_name([b"nets:8080"], "1.1")


@pytest.mark.parametrize("name", ["http://x", "x:80", "a/b", "*x", ""])
def test_what_is_no_name_cannot_be_allowed(name: str) -> None:
    with pytest.raises(UsageError, match="--allowed-hosts: expected names"):
        hosts_of("127.0.0.1", "127.0.0.1", [name])


@pytest.mark.parametrize("origin", ["x", "https://", "https://x/", "null"])
def test_what_is_no_origin_cannot_be_allowed(origin: str) -> None:
    with pytest.raises(UsageError, match="--allowed-origins: expected https://NAME"):
        hosts_of("127.0.0.1", "127.0.0.1", [], [origin])


def test_any_name_and_any_page_can_be_allowed() -> None:
    app, _, _ = make_parts(FakeNetwork(), hosts=hosts_of("127.0.0.1", "127.0.0.1", ["*"], ["*"]))
    with TestClient(app, "http://whatever.example") as client:
        assert post(client, Origin="https://evil.example") == (200, None)
        answer = client.get("/")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
