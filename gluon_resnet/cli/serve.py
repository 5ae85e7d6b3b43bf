"""tools/serve.py: a network behind HTTP."""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
from collections.abc import Sequence
from typing import Any, Optional

from gluon_resnet.cli.arguments import number
from gluon_resnet.cli.command import program
from gluon_resnet.environment.processor import processor_quota
from gluon_resnet.errors import EnvironmentProblem


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Serve as `argv` says (default: the command line), until SIGTERM or Ctrl-C."""
    args = _parser().parse_args(argv)
    if importlib.util.find_spec("uvicorn") is None:
        raise EnvironmentProblem("this needs a web server: pip install gluon-resnet[serve]")

    from gluon_resnet.serving.app import make_app
    from gluon_resnet.serving.batcher import Batcher
    from gluon_resnet.serving.limits import MIB, Limits
    from gluon_resnet.serving.metrics import Metrics
    from gluon_resnet.serving.server import bind, serve, url

    limits = Limits(
        body=int(args.max_body * MIB),
        bodies=max(Limits.bodies, int(args.max_body * MIB)),
        pixels=args.max_pixels,
        images=args.queue,
        timeout=args.timeout,
    )
    # A port in use is told before the model is loaded, and nobody can connect before it is.
    with bind(args.host, args.port) as listener:
        network = _load(args)
        metrics = Metrics()
        batcher = Batcher(network, limits, metrics, args.batch, args.max_delay_ms / 1000, args.threads)
        batcher.warm_up()
        name = network.card.network
        app = make_app(network.card, limits, metrics, batcher)
        serve(
            app,
            listener,
            limits,
            metrics,
            args.grace,
            ready=lambda: print(f"serving {name} on {url(listener)}", flush=True),
        )


def _load(args: argparse.Namespace) -> Any:
    from gluon_resnet._mxnet import mx
    from gluon_resnet.deploy import Predictor

    predictor: Any = Predictor(args.model, args.batch)  # backend and threads: with Predictor's
    predictor.forward = lambda inputs: predictor._net(mx.nd.array(inputs)).asnumpy()
    return predictor


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("serve"),
        description="Serve a network: a page to drop a picture on, POST /predict, GET /model, /health and "
        "/metrics. SIGTERM and Ctrl-C stop it when what was begun is answered. See docs/serving.md.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--model",
        required=True,
        metavar="PREFIX",
        default=argparse.SUPPRESS,
        help="what tools/export.py wrote",
    )
    add("--backend", choices=("mxnet", "onnx"), default="mxnet", help="what runs the network")
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 is every one of this machine")
    add("--port", type=number(int, 0, 65535), default=8080, metavar="N", help="0: any free one")
    add(
        "--threads",
        type=number(int, 1),
        default=_processors(),
        metavar="N",
        help="of decoding, and of the network",
    )

    batches = parser.add_argument_group("batches")
    add = batches.add_argument
    add(
        "--batch",
        type=number(int, 1),
        default=16,
        metavar="N",
        help="images that go through the network at once",
    )
    add(
        "--max-delay-ms",
        type=number(float, 0),
        default=5.0,
        metavar="MS",
        help="longest wait for others, after decoding",
    )

    clients = parser.add_argument_group("limits of what clients may cost")
    add = clients.add_argument
    add("--queue", type=number(int, 1), default=256, metavar="N", help="images that wait; more get 503")
    add(
        "--max-body", type=number(float, 0.001), default=16, metavar="MIB", help="of a request; more gets 413"
    )
    add(
        "--max-pixels",
        type=number(int, 1),
        default=50_000_000,
        metavar="N",
        help="of an image; more gets 422",
    )
    add("--timeout", type=number(float, 0.001), default=20.0, metavar="S",
        help="that a client has for its headers, its body, and for taking the answer; then it gets 408")  # fmt: skip
    add(
        "--grace",
        type=number(int, 0),
        default=10,
        metavar="S",
        help="for what was begun when the server is stopped",
    )
    return parser


def _processors() -> int:
    usable = len(os.sched_getaffinity(0))
    return min(usable, math.ceil(processor_quota() or usable))
