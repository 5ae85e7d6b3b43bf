"""The versions of the software that computes."""

from __future__ import annotations

import numpy as np

import gluon_resnet
from gluon_resnet._mxnet import mx


def versions() -> dict[str, str]:
    """The versions of gluon_resnet, MXNet and NumPy, by their names."""
    return {"gluon_resnet": gluon_resnet.__version__, "mxnet": mx.__version__, "numpy": np.__version__}
