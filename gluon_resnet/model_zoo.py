"""`get_model`: networks by name, with published weights where wanted, as in the model zoos of MXNet and GluonCV."""

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

    Without `pretrained` it is that of `gluon_resnet.models.get_model`, not initialized. With it, it has torchvision's
    published weights of ImageNet, which are downloaded once (see `gluon_resnet.convert.published_file`);
    `gluon_resnet.convert.IMAGENET_MEAN` and IMAGENET_STD normalize its input.

    Args:
        name, shortcut, zero_gamma: as in `gluon_resnet.models.get_model`.
        classes: number of outputs; 1000 with `pretrained`.
        variant: as there; with `pretrained` None is that of the weights.
        pretrained: with weights.

    Raises:
        UsageError: there is no such network, shortcut or variant, or they do not go together, or have no weights.
        EnvironmentProblem: the weights cannot be downloaded.
        ModelError: the file of weights is another one.
        OSError: the file of weights cannot be read or written.
    """
    if not pretrained:
        return models.get_model(name, classes, shortcut, variant, zero_gamma)
    if classes != 1000 or zero_gamma:
        raise UsageError(
            "pretrained weights are for 1000 classes and have every gamma: leave classes and zero_gamma out"
        )
    name, variant = require_published(name, variant, shortcut)
    path, digest = published_file(name, note)
    return published_network(published_card(name, variant, path, digest, "get_model"))[1]
