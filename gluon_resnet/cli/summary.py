"""tools/summary.py: the layers of networks, and their cost."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Optional, Union

from tabulate import tabulate

from gluon_resnet.analysis.cost import Layer, Shape, Total, layers_of, stages_of, times
from gluon_resnet.analysis.paper import TABLE_1_DEPTHS
from gluon_resnet.cli.arguments import numbers, one_spelling
from gluon_resnet.cli.command import program
from gluon_resnet.cli.parser import Parser
from gluon_resnet.models import get_model
from gluon_resnet.models.registry import choose_variant, describe

_EPILOG = """\
Multiply-adds are those of convolutions and fully connected layers for one image, which the paper calls FLOPs:
biases, normalization, ReLU, pooling and the additions of shortcuts are not counted. The same layers, including
projection shortcuts, are the weighted ones; "fixed" are running statistics, which no gradient changes."""

_COSTS = ("parameters", "fixed", "multiply-adds")


@dataclass(frozen=True)
class _Network:
    name: str
    shortcut: Optional[str]
    variant: str
    image_shape: Shape
    classes: int
    layers: list[Layer]

    @property
    def total(self) -> Total:
        return Total.of(self.layers)


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Print as `argv` says (default: the command line); return the exit status, None for success."""
    parser = Parser(
        prog=program("summary"),
        example="resnet50 plain34 vgg19",
        description="Show the layers of networks, their output sizes, parameters and multiply-adds.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("networks", nargs="+", metavar="NETWORK", help="resnet50, plain20, resnet50_v1b, ...")
    parser.add_argument("--shortcut", help="shortcut option of the paper, A, B or C (default: the paper's)")
    parser.add_argument("--variant", help="as for train.py (default: v1)")
    parser.add_argument(
        "--image-shape",
        type=_image_shape,
        metavar="3,N,N",
        help="default: 3,224,224, and 3,32,32 for CIFAR nets",
    )
    one_spelling(
        parser.add_argument(
            "--num-classes", "--classes", type=int, help="default: 1000, and 10 for CIFAR nets"
        )
    )
    parser.add_argument("--layers", action="store_true", help="show every layer instead of sums over stages")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)

    networks = [_network(name, args) for name in args.networks]
    if args.json:
        print(json.dumps({"networks": [_plain(network, args.layers) for network in networks]}, indent=1))
        return None
    for network in networks:
        print(_report(network, args.layers), end="\n\n")
    if len(networks) > 1:
        print(_comparison(networks))
    return None


def _network(text: str, args: argparse.Namespace) -> _Network:
    name, variant = choose_variant(text, args.variant)
    variant = variant or "v1"
    shortcut = describe(name, args.shortcut, variant).shortcut
    depth = re.fullmatch(r"(?:resnet|plain)(\d+)", name)
    small = depth and int(depth[1]) not in TABLE_1_DEPTHS  # one of §4.2, for CIFAR-10
    shape = args.image_shape or ((3, 32, 32) if small else (3, 224, 224))
    classes = (10 if small else 1000) if args.num_classes is None else args.num_classes
    layers = layers_of(get_model(name, classes, args.shortcut, variant), shape)
    return _Network(name, shortcut, variant, shape, classes, layers)


def _report(network: _Network, every_layer: bool) -> str:
    """The title, table and totals of one network."""
    title = f"{network.name}, variant {network.variant}"
    if network.shortcut:
        title += f", shortcut {network.shortcut}"
    title += f": images of {times(network.image_shape)}, {network.classes} classes"
    if every_layer:
        rows = [[_own(layer.name, network), layer.kind, *_costs(layer)] for layer in network.layers]
        headers = ["layer", "kind"]
    else:
        rows = [[stage.name, str(stage.weighted), *_costs(stage)] for stage in stages_of(network.layers)]
        headers = ["stage", "weighted layers"]
    table = tabulate(
        rows,
        [*headers, "output", *_COSTS],
        colalign=("left", "left" if every_layer else "right", *("right",) * 4),
        disable_numparse=True,
    )
    total = network.total
    return (
        f"{title}\n\n{table}\n\n"
        f"{total.weighted} weighted layers, {total.parameters:,} parameters ({_short(total.parameters)}), "
        f"{total.fixed:,} fixed numbers, "
        f"{total.multiply_adds:,} multiply-adds ({total.multiply_adds / 1e9:.3g}x10^9)"
    )


def _comparison(networks: Sequence[_Network]) -> str:
    rows = []
    for network in networks:
        about = [network.name, network.variant, network.shortcut or "", times(network.image_shape)]
        rows.append([*about, str(network.total.weighted), *_costs(network.total)[1:]])
    headers = ["network", "variant", "shortcut", "image", "weighted layers", *_COSTS]
    return tabulate(rows, headers, colalign=("left",) * 4 + ("right",) * 4, disable_numparse=True)


def _costs(row: Union[Layer, Total]) -> list[str]:
    return [times(row.output), *(f"{number:,}" for number in (row.parameters, row.fixed, row.multiply_adds))]


def _own(name: str, network: _Network) -> str:
    """A layer's name without the network's, and without what MXNet appends."""
    name = name[len(network.name) + 1 :] if name.startswith(f"{network.name}_") else name
    return name[:-4] if name.endswith("_fwd") else name


def _plain(network: _Network, every_layer: bool) -> dict[str, Any]:
    """The network as JSON values."""
    total = network.total
    content: dict[str, Any] = {
        "network": network.name,
        "shortcut": network.shortcut,
        "variant": network.variant,
        "image_shape": network.image_shape,
        "classes": network.classes,
        "weighted_layers": total.weighted,
        "parameters": total.parameters,
        "fixed": total.fixed,
        "multiply_adds": total.multiply_adds,
        "stages": [asdict(stage) for stage in stages_of(network.layers)],
    }
    if every_layer:
        content["layers"] = [{**asdict(layer), "kind": layer.kind} for layer in network.layers]
    return content


def _short(count: int) -> str:
    """A count as Table 6 prints it: 0.27M, 1.7M, 19.4M."""
    return f"{count / 1e6:.{2 if count < 1e6 else 1}f}M"


def _image_shape(text: str) -> Shape:
    sizes = numbers(int, 3)(text)
    if sizes[0] != 3 or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"expected 3,N,N, found {text!r}: images are RGB")
    return sizes


_image_shape.__name__ = "shape"  # argparse: "invalid shape value"
