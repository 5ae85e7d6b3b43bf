"""tools/serve.py: serves a network over HTTP."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Optional

from gluon_resnet.cli.arguments import number, one_spelling
from gluon_resnet.cli.command import program
from gluon_resnet.cli.parser import Parser
from gluon_resnet.cli.without_card import add_card_options, card_of_export
from gluon_resnet.environment.processor import usable_processors
from gluon_resnet.errors import EnvironmentProblem
from gluon_resnet.serving.limits import MIB, Limits
from gluon_resnet.terminal import say


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Serve as `argv` says (default: the command line) until SIGTERM or Ctrl-C."""
    args = _parser().parse_args(argv)
    try:
        from gluon_resnet.serving.app import make_app
        from gluon_resnet.serving.batcher import Batcher
        from gluon_resnet.serving.hosts import hosts_of
        from gluon_resnet.serving.log import bounded_log
        from gluon_resnet.serving.metrics import Metrics
        from gluon_resnet.serving.server import bind, serve, url
    except ImportError as error:  # also if an old python-multipart has taken the name multipart
        raise EnvironmentProblem(
            f"this needs a web server: pip install 'gluon-resnet[serve]' ({error})"
        ) from None

    told = card_of_export(args)
    limits = Limits(
        body=int(args.max_body * MIB),
        bodies=max(Limits.bodies, int(args.max_body * MIB)),
        pixels=args.max_pixels,
        request_pixels=max(args.max_request_pixels, args.max_pixels),
        images=args.queue,
        timeout=args.timeout,
        deadline=args.deadline,
    )
    # A port in use is reported before the model is loaded, and nobody can connect until it is.
    with bind(args.host, args.port) as listener, bounded_log():
        hosts = hosts_of(listener.getsockname()[0], args.host, args.allowed_hosts, args.allowed_origins)
        from gluon_resnet.deploy import Predictor

        network = Predictor(
            args.model_prefix,
            backend=args.backend,
            batch_size=args.batch_size,
            threads=args.data_nthreads,
            card=told,
        )
        metrics = Metrics()
        batcher = Batcher(
            network, limits, metrics, args.batch_size, args.max_delay_ms / 1000, args.data_nthreads
        )
        batcher.warm_up()
        name = network.card.network
        app = make_app(network.card, limits, metrics, batcher, hosts)
        serve(
            app,
            listener,
            limits,
            metrics,
            args.grace,
            ready=lambda: say(f"serving {name} on {url(listener)}"),
        )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=program("serve"),
        example="--model-prefix pets --port 8080",
        description="Serve a network: a page to drop a picture on, POST /predict, GET /model, /health and "
        "/metrics. SIGTERM and Ctrl-C stop it once the requests begun are answered. See docs/serving.md.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    prefix = "prefix of the files that tools/export.py wrote"
    one_spelling(add("--model-prefix", "--model", required=True, metavar="PREFIX", help=prefix))
    add(
        "--backend",
        choices=("mxnet", "onnx"),
        default="mxnet",
        help="the library that runs the network (default: mxnet)",
    )
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0: every address (default: 127.0.0.1)",
    )
    add(
        "--port",
        type=number(int, 0, 65535),
        default=8080,
        metavar="N",
        help="port to listen on; 0: a free one (default: 8080)",
    )
    few, count, amount = number(int, 1, 1 << 10), number(int, 1), number(float, 0.001)
    threads = usable_processors()
    decoding = f"decoding threads, and threads of onnxruntime (default: {threads})"
    one_spelling(add("--data-nthreads", "--threads", type=few, default=threads, metavar="N", help=decoding))

    add = parser.add_argument_group("who may ask").add_argument
    names = (
        "names it answers to, besides the address, localhost and 127.0.0.1; *.example.org: all below, *: any"
    )
    add("--allowed-hosts", type=_listed, default=(), metavar="A,B", help=names)
    pages = "sites whose pages may post, besides its own, such as https://example.org; *: any"
    add("--allowed-origins", type=_listed, default=(), metavar="A,B", help=pages)

    add = parser.add_argument_group("batches").add_argument
    together = "the most images in one batch (default: 16)"
    one_spelling(add("--batch-size", "--batch", type=few, default=16, metavar="N", help=together))
    wait = "longest wait of a decoded image for others (default: 5)"
    add("--max-delay-ms", type=number(float, 0), default=5.0, metavar="MS", help=wait)

    add = parser.add_argument_group("what clients may cost").add_argument
    body, pixels, images, patience = Limits.body // MIB, Limits.pixels, Limits.images, Limits.timeout
    add(
        "--max-body",
        type=amount,
        default=body,
        metavar="MIB",
        help=f"largest body, otherwise 413 (default: {body})",
    )
    add(
        "--max-pixels",
        type=count,
        default=pixels,
        metavar="N",
        help=f"most pixels of an image, otherwise 422 (default: {pixels})",
    )
    together, most = "most pixels of all images of a request, otherwise 413", Limits.request_pixels
    add("--max-request-pixels", type=count, default=most, metavar="N", help=f"{together} (default: {most})")
    add(
        "--queue",
        type=count,
        default=images,
        metavar="N",
        help=f"most images that wait, otherwise 503 (default: {images})",
    )
    waits = f"longest wait for headers, for a body, or for an answer to be read, otherwise 408 (default: {patience:g})"
    add("--timeout", type=amount, default=patience, metavar="S", help=waits)
    late = f"longest time from a request's body to its answer, otherwise 503 (default: {Limits.deadline:g})"
    add("--deadline", type=amount, default=Limits.deadline, metavar="S", help=late)
    grace = "time for requests already begun when it is stopped (default: 10)"
    add("--grace", type=number(int, 0), default=10, metavar="S", help=grace)
    add_card_options(parser)
    return parser


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))
