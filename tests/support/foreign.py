"""For tests of conversion: checkpoints of ours with random values, and files of others made from them."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.cli.convert import main
from gluon_resnet.errors import ModelError
from gluon_resnet.models import build_network
from gluon_resnet.models.saved import save_network

STATISTICS = ["--rgb-mean", "120,110.5,100", "--rgb-std", "60,61,62"]


def checkpoint(prefix: pathlib.Path, network: str, classes: int = 3, epoch: int = 0, **options: Any) -> str:
    """A network of ours with random values in every parameter."""
    card = ModelCard(
        network=network,
        classes=tuple(f"class {label}" for label in range(classes)),
        size=32,
        mean=(120.0, 110.5, 100.0),
        std=(60.0, 61.0, 62.0),
        **options,
    )
    net = build_network(card)
    net.initialize()
    random = np.random.default_rng(3)
    for name, parameter in net._collect_params_with_prefix().items():
        if not name.startswith("0."):
            parameter.set_data(mx.nd.array(random.uniform(0.5, 1.5, parameter.shape)))
    save_network(prefix, epoch, card, net)
    return str(prefix)


def torchvision_file(folder: pathlib.Path, network: str = "resnet18") -> pathlib.Path:
    path = folder / f"{network}.safetensors"
    prefix = checkpoint(folder / "source", network, variant="v1b")
    main([str(path), "--to", "torchvision", "--model-prefix", prefix])
    return path


def akamaster_file(folder: pathlib.Path, **options: Any) -> pathlib.Path:
    path = folder / "resnet20.safetensors"
    main(
        [
            str(path),
            "--to",
            "akamaster",
            "--model-prefix",
            checkpoint(folder / "source", "resnet20", **options),
        ]
    )
    return path


def gluoncv_cifar_file(folder: pathlib.Path, version: int = 1) -> pathlib.Path:
    path = folder / f"cifar_resnet20_v{version}.safetensors"
    prefix = checkpoint(folder / "source", "resnet20", variant=f"gluoncv_v{version}")
    main([str(path), "--to", "gluoncv", "--model-prefix", prefix])
    return path


def refusal(argv: list[str], kind: type[Exception] = ModelError) -> str:
    with pytest.raises(kind) as caught:
        main(argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)
