"""tools/serve.py with a real network: the same answers as Predictor's, and what can be wrong when it starts."""

from __future__ import annotations

import concurrent.futures
import json
import pathlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from gluon_resnet.deploy import Predictor
from tests.support.deployed import DAMAGES, Model, damaged_copy, make_model, write_images
from tests.support.documents import blocks, read
from tests.support.paths import ROOT
from tests.support.pictures import encode, picture
from tests.support.serve_clients import metric
from tests.support.served import Server, started


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet20", 32, 40)


@pytest.fixture(scope="module")
def server(model: Model) -> Iterator[Server]:
    with started("tools/serve.py", "--model-prefix", model.prefix, "--port", 0, "--batch-size", 4) as server:
        yield server


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "tools/serve.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


def test_it_says_where_it_serves_what_once_it_does(server: Server) -> None:
    assert server.line == f"serving resnet20 on {server.url}\n"
    assert httpx.get(f"{server.url}/health").json()["model"] == "resnet20"


def test_many_clients_get_what_the_predictor_says(
    server: Server, model: Model, tmp_path: pathlib.Path
) -> None:
    predictor = Predictor(model.prefix)
    images = [pathlib.Path(path).read_bytes() for path in write_images(tmp_path)]
    expected = [predictor.predict(image, k=12) for image in images]

    with httpx.Client(timeout=600) as client, concurrent.futures.ThreadPoolExecutor(16) as pool:

        def ask(k: int) -> None:
            answer = client.post(
                f"{server.url}/predict?top_k=12",
                content=images[k % 10],
                headers={"Content-Type": "application/octet-stream"},
            )
            (prediction,) = answer.json()["predictions"]
            found = {c["name"]: c["probability"] for c in prediction["classes"]}
            assert found == pytest.approx(dict(expected[k % 10]), abs=1e-4)
            assert prediction["classes"][0]["name"] == expected[k % 10][0][0]

        list(pool.map(ask, range(50)))
    assert metric(server, "images_total") == 50
    assert metric(server, "batch_images_bucket", le="4.0") == metric(server, "batch_images_count")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")
def test_the_guides_questions_are_answered(server: Server, tmp_path: pathlib.Path) -> None:
    guide = read("docs/serving.md")
    block = next(block.text for block in blocks(guide) if "curl" in block.text)
    (tmp_path / "cat.jpg").write_bytes(encode(picture(60, 80)))
    (tmp_path / "dog.png").write_bytes(encode(picture(90, 70), ".png"))
    found = []
    for line in block.replace("http://127.0.0.1:8080", server.url).splitlines():
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, stdout=subprocess.PIPE, timeout=600, check=True
        )
        found.append([len(p["classes"]) for p in json.loads(done.stdout)["predictions"]])
    assert found == [[5], [3, 3], [5]]


@pytest.mark.parametrize("damage", ["no params", "params cut in the middle", "card cut", "graph cut"])
def test_a_model_that_is_missing_or_damaged_is_told_in_one_sentence(
    model: Model, tmp_path: pathlib.Path, damage: str
) -> None:
    assert damage in DAMAGES
    prefix, path, words = damaged_copy(model.prefix, tmp_path, damage)
    done = run("--model-prefix", prefix, "--port", 0)
    assert done.returncode == 1
    assert done.stderr.startswith(f"serve.py: error: {path}: ")
    assert words in done.stderr
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)


def test_a_model_without_card_needs_its_size(model: Model, tmp_path: pathlib.Path) -> None:
    for end in ("-symbol.json", "-0000.params"):
        (tmp_path / f"alone{end}").symlink_to(model.prefix + end)
    alone = tmp_path / "alone"
    done = run("--model-prefix", alone, "--port", 0)
    assert done.returncode == 1
    assert done.stderr.startswith(f"serve.py: error: {alone}-model.json: No such file or directory: ")
    assert "--image-shape" in done.stderr
    with started(
        "tools/serve.py",
        "--model-prefix",
        alone,
        "--port",
        0,
        "--image-shape",
        f"3,{model.card.size},{model.card.size}",
    ) as server:
        assert httpx.get(f"{server.url}/health").json()["classes"] == 12


def test_a_port_that_is_in_use_is_told_in_one_sentence(model: Model) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--model-prefix", model.prefix, "--port", port)
    assert done.returncode == 1
    assert done.stderr == f"serve.py: error: 127.0.0.1:{port}: Address already in use\n"


def test_a_host_that_does_not_exist_is_told_in_one_sentence(model: Model) -> None:
    done = run("--model-prefix", model.prefix, "--host", "nowhere.invalid")
    assert done.returncode == 1
    assert done.stderr.startswith("serve.py: error: nowhere.invalid:8080: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--model-prefix", "x", "--batch-size", "0"],
        ["--model-prefix", "x", "--batch-size", "1025"],  # terabytes of images
        ["--model-prefix", "x", "--resize", "40"],
        ["--model-prefix", "x", "--port", "65536"],
        ["--model-prefix", "x", "--timeout", "nan"],
    ],
)
def test_bad_arguments_have_exit_status_2(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("option", "value"), [("hosts", "localhost,http://x"), ("origins", "null")])
def test_a_name_that_is_none_is_told_before_the_model_is_loaded(
    model: Model, option: str, value: str
) -> None:
    done = run("--model-prefix", model.prefix, "--port", 0, f"--allowed-{option}", value)
    assert done.returncode == 2
    assert f"--allowed-{option}: expected " in done.stderr
    assert value.rpartition(",")[2] in done.stderr


@pytest.mark.parametrize("package", ["uvicorn", "starlette", "prometheus_client", "multipart"])
def test_without_the_web_server_it_says_what_to_install(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules['{package}'] = None")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = run("--model-prefix", "x")
    assert done.returncode == 1
    sentence = "serve.py: error: this needs a web server: pip install 'gluon-resnet[serve]' ("
    assert done.stderr.startswith(sentence)
    assert package in done.stderr
    assert done.stderr.count("\n") == 1


def test_serving_itself_needs_no_mxnet() -> None:
    code = "import sys; sys.modules['mxnet'] = None; import gluon_resnet.serving.app, gluon_resnet.serving.server"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=600)
