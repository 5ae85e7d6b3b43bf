"""Weights of other projects: read into our networks, and ours written in their formats."""

from gluon_resnet.convert.conversion import Weights, build, export_weights, import_weights
from gluon_resnet.convert.layouts import SOURCES
from gluon_resnet.convert.published import (
    IMAGENET,
    IMAGENET_MEAN,
    IMAGENET_STD,
    PUBLISHED,
    published_card,
    published_file,
    published_network,
    require_published,
)
from gluon_resnet.convert.weights_file import read_weights, write_weights

__all__ = [
    "IMAGENET",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "PUBLISHED",
    "SOURCES",
    "Weights",
    "build",
    "export_weights",
    "import_weights",
    "published_card",
    "published_file",
    "published_network",
    "read_weights",
    "require_published",
    "write_weights",
]
