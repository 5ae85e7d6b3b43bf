"""From a checkpoint to a program: `export` (export.py) writes the files of a trained network, `Predictor` uses them.

Importing this package does not need MXNet, nor does `Predictor` with the backend 'onnx'.
"""

from gluon_resnet.deploy.predictor import Predictor
from gluon_resnet.deploy.without_card import PartialCard

__all__ = ["PartialCard", "Predictor"]
