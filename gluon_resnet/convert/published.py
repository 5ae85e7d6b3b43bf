"""Weights published by torchvision, by the name of the network: downloaded once, checked, and read as ours."""

from __future__ import annotations

import os
from typing import Any, Callable, NamedTuple, Optional

from gluon_resnet.card import ModelCard
from gluon_resnet.convert.conversion import build, import_weights
from gluon_resnet.convert.download import download, require_right
from gluon_resnet.errors import EnvironmentProblem, UsageError
from gluon_resnet.models.registry import choose_variant, describe
from gluon_resnet.provenance import Source

IMAGENET = "imagenet"  # the data that they were trained on, and their name in --pretrained

# What torchvision and GluonCV trained with: 0.485, 0.456, 0.406 and 0.229, 0.224, 0.225 of pixels from 0 to 1.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

_ADDRESS = "https://download.pytorch.org/models/"
_HOME = "GLUON_RESNET_HOME"


class Published(NamedTuple):
    """A file with torchvision's weights IMAGENET1K_V1 (torchvision/models/resnet.py)."""

    file: str  # its name, which ends with the first digits of its SHA-256
    mebibytes: float  # its length as torchvision prints it, to three places

    @property
    def digest(self) -> str:
        return self.file[:-4].rsplit("-", 1)[1]

    @property
    def longest(self) -> int:
        """The largest number of bytes that it can have."""
        return int((self.mebibytes + 0.001) * 2**20)


PUBLISHED = {
    "resnet18": Published("resnet18-f37072fd.pth", 44.661),
    "resnet34": Published("resnet34-b627a593.pth", 83.275),
    "resnet50": Published("resnet50-0676ba61.pth", 97.781),
    "resnet101": Published("resnet101-63fe2227.pth", 170.511),
    "resnet152": Published("resnet152-394f9c45.pth", 230.434),
}


def home() -> str:
    """The folder for downloaded files: GLUON_RESNET_HOME, or gluon_resnet in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.environ.get(_HOME) or os.path.join(cache, "gluon_resnet")


def require_published(
    network: Optional[str], variant: Optional[str] = None, shortcut: Optional[str] = None
) -> tuple[str, str]:
    """The network and variant of the published weights for these options; UsageError if there are none.

    Args:
        network: the name as for get_model, or with its variant at the end.
        variant: the variant; by default that of the weights.
        shortcut: the shortcut option; by default that of the weights.
    """
    if network is None:
        raise UsageError(
            f"ImageNet weights belong to a network: give --network, one of {', '.join(PUBLISHED)}"
        )
    network, variant = choose_variant(network, variant)
    own = describe(network, shortcut, variant or "v1").shortcut
    if network not in PUBLISHED:
        raise UsageError(
            f"no ImageNet weights are published for {network}: choose one of {', '.join(PUBLISHED)}"
        )
    basic = network in ("resnet18", "resnet34")  # v1 and v1b differ only in bottlenecks
    known = ("v1", "v1b") if basic else ("v1b",)
    if variant not in (None, *known) or own != "B":
        wanted = f"variant {variant}" if variant not in (None, *known) else f"shortcuts of option {own}"
        raise UsageError(
            f"the published weights of {network} are for variant {known[-1]} with shortcuts of option B, "
            f"and {wanted} would be another network: omit it"
        )
    return network, variant or known[0]


def published_file(network: str, tell: Callable[[str], None] = lambda sentence: None) -> tuple[str, str]:
    """The path of the published weights, which are downloaded if needed, and their SHA-256.

    Args:
        network: one of PUBLISHED.
        tell: a function that gets a sentence before a download.

    Raises:
        EnvironmentProblem: the weights cannot be downloaded.
        ModelError: the existing file is not the right one.
        OSError: the folder cannot be read or written.
    """
    file = PUBLISHED[network]
    path = os.path.join(home(), file.file)
    if not os.path.lexists(path):
        try:
            download(_ADDRESS + file.file, path, file.digest, file.longest, tell=tell)
        except EnvironmentProblem as error:
            raise EnvironmentProblem(
                f"{error}; you can also copy the file to {path} by hand ({_HOME} sets the folder)"
            ) from None
    return path, require_right(path, file.digest, file.longest)


def published_card(network: str, variant: str, path: str, digest: str, command: str) -> ModelCard:
    """The card of published weights in a file.

    Args:
        network, variant: see require_published.
        path, digest: see published_file.
        command: the command that reads them.
    """
    return ModelCard(
        network=network,
        classes=tuple(map(str, range(1000))),
        size=224,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        resize=256,
        variant=variant,
        decoder=None,
        source=Source("torchvision", os.path.abspath(path), digest, command),
    )


def published_network(card: ModelCard) -> Any:
    """The network of a `published_card` on the CPU, with its weights, and its normalization in front.

    ModelError if the file does not have exactly the tensors of the network; OSError if it cannot be read.
    """
    assert card.source is not None
    weights = import_weights(card.source.file, card.network, card.variant, source="torchvision")
    return build(card, weights.arrays)
