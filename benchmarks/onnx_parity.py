"""The classifiers of MXNet's and GluonCV's model zoos as ONNX: exported by export.py --verify, with random weights.

Each network's line is added to the JSON file as it comes, and one that is there is not repeated. GluonCV is optional:

    pip install --no-deps gluoncv==0.10.5 portalocker
    python benchmarks/onnx_parity.py --output results/onnx/parity.json [NAME ...]
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import tempfile
import warnings
from typing import Any, Optional

import numpy as np
from tabulate import tabulate

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.deploy.export import export_graph
from gluon_resnet.deploy.parity import Parity, compare
from gluon_resnet.deploy.without_card import PartialCard
from gluon_resnet.errors import GluonResnetError
from gluon_resnet.files import whole_file
from gluon_resnet.models.batch_statistics import measure_statistics
from gluon_resnet.training.distributed.engine import Engine
from gluon_resnet.training.distributed.running_statistics import RunningStatistics

# What GluonCV has besides classifiers of single images.
_OTHERS = (
    *("yolo", "ssd", "rcnn", "fcn", "psp", "deeplab", "icnet", "pose", "siam", "i3d", "slowfast"),
    *("kinetics", "sthsth", "ucf", "hmdb", "c3d", "p3d", "r2plus", "center", "danet", "awnet", "fastscnn"),
    *("monodepth", "simple", "alpha", "refinenet", "smot", "directpose", "tsn", "_int8", "custom"),
)
_SIZES = {"inceptionv3": 299, "xception": 299, "nasnet": 224, "cifar": 32}


def zoos() -> dict[str, dict[str, Any]]:
    """The functions that make the networks, by name, of each zoo that is installed."""
    from mxnet.gluon.model_zoo import vision

    found = {"mxnet": _mxnets(vision)}
    try:
        sys.modules.setdefault("torch", None)  # type: ignore[arg-type]  # whose versions GluonCV does not know
        from gluoncv.model_zoo import model_zoo
    except ImportError:
        return found
    names = [
        name
        for name in model_zoo._models
        if not (any(word in name for word in _OTHERS) or name.endswith("_s"))
    ]
    return {**found, "gluoncv": {name: model_zoo._models[name] for name in names}}


def _mxnets(vision: Any) -> dict[str, Any]:
    names = (
        *(f"resnet{depth}_v{version}" for version in (1, 2) for depth in (18, 34, 50, 101, 152)),
        *(f"vgg{depth}{end}" for depth in (11, 13, 16, 19) for end in ("", "_bn")),
        *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
        *("alexnet", "squeezenet1.0", "squeezenet1.1", "inceptionv3"),
        *(f"mobilenet{width}" for width in ("1.0", "0.75", "0.5", "0.25")),
        *(f"mobilenetv2_{width}" for width in ("1.0", "0.75", "0.5", "0.25")),
    )
    return {name: functools.partial(vision.get_model, name) for name in names}


def measured(name: str, make: Any, folder: str) -> dict[str, Any]:
    """A line of the table."""
    size = next((size for word, size in _SIZES.items() if word in name), 224)
    mx.random.seed(0)
    net = make(classes=10 if "cifar" in name else 1000)
    net.initialize(mx.init.Xavier("gaussian", "in", 2))
    noise = mx.nd.array(np.random.default_rng(0).normal(0, 1, (4, 3, size, size)))
    net(noise)
    statistics = measure_statistics(net, [[noise]])
    if statistics:  # so that outputs are neither 0 nor huge
        RunningStatistics(net._collect_params_with_prefix(), [mx.cpu()], Engine()).replace(statistics)
    net.hybridize()
    net(noise)
    net.export(os.path.join(folder, "net"), 0)
    parities: list[Parity] = []

    def check(path: str, block: Any, card: ModelCard) -> None:
        parities.extend(compare(path, block, card))

    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    prefix = os.path.join(folder, "net")
    try:
        export_graph(prefix, 0, os.path.join(folder, "out"), PartialCard(size), mean, std, check)
    except GluonResnetError as error:
        return {"size": size, "refused": str(error).replace(folder, "")}
    (parity,) = parities
    return {"size": size, **parity._asdict(), "holds": parity.holds}


def table(rows: dict[str, dict[str, Any]]) -> str:
    cells = [
        (
            name,
            row.get("size"),
            row.get("largest"),
            row.get("difference"),
            row.get("refused") or ("yes" if row["holds"] else "NO"),
        )
        for name, row in rows.items()
    ]
    return tabulate(cells, ("network", "size", "largest output", "difference", "equal"), floatfmt=".3g")


def main(argv: Optional[list[str]] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="gluoncv/resnest50, mxnet/alexnet, ... (default: all)"
    )
    parser.add_argument("--output", metavar="FILE", required=True)
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    rows: dict[str, dict[str, Any]] = {}
    if os.path.exists(args.output):
        with open(args.output, encoding="utf-8") as stream:
            rows = json.load(stream)
    for zoo, networks in zoos().items():
        for name, make in networks.items():
            full = f"{zoo}/{name}"
            if full in rows or (args.names and full not in args.names):
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    rows[full] = measured(name, make, folder)
                except Exception as error:
                    rows[full] = {"refused": f"fails in MXNet itself: {' '.join(str(error).split())[:150]}"}
            print(full, rows[full], flush=True)
            with whole_file(args.output) as stream:
                stream.write(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
