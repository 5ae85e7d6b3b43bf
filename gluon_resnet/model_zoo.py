"""`get_model`: networks by name, with published weights if wanted, as in the model zoos of MXNet and GluonCV."""

from __future__ import annotations

from typing import Any, Optional

from gluon_resnet import models
from gluon_resnet.convert import published_card, published_file, published_network, require_published
from gluon_resnet.errors import UsageError
from gluon_resnet.terminal import note


def get_model(
    name: str,
    classes: int = 1000,
    shortcut: Optional[str] = None,
    variant: Optional[str] = None,
    zero_gamma: bool = False,
    pretrained: bool = False,
) -> Any:
    """The network `name`, a Classifier; its input is normalized (see `gluon_resnet.models.with_normalization`).

    Without `pretrained` it is that of `gluon_resnet.models.get_model`, not initialized. With it, the network has
    torchvision's published ImageNet weights, which are downloaded once (see `gluon_resnet.convert.published_file`);
    `gluon_resnet.convert.IMAGENET_MEAN` and IMAGENET_STD normalize its input.

    Args:
        name, shortcut, zero_gamma: as in `gluon_resnet.models.get_model`.
        classes: the number of outputs; 1000 with `pretrained`.
        variant: as there; with `pretrained` the default is that of the weights.
        pretrained: whether to load published weights.

    Raises:
        UsageError: there is no such network, shortcut or variant, or no such combination, or it has no weights.
        EnvironmentProblem: the weights cannot be downloaded.
        ModelError: the file of weights is not the right one.
        OSError: the file of weights cannot be read or written.
    """
    if not pretrained:
        return models.get_model(name, classes, shortcut, variant, zero_gamma)
    if classes != 1000 or zero_gamma:
        raise UsageError(
            "pretrained weights are for 1000 classes and include every gamma: omit classes and zero_gamma"
        )
    name, variant = require_published(name, variant, shortcut)
    path, digest = published_file(name, note)
    return published_network(published_card(name, variant, path, digest, "get_model"))[1]
