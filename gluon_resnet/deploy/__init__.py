"""From a checkpoint to a program: `export` (in export.py) writes the files of a trained network, `Predictor` uses them.

Importing this needs no MXNet, and `Predictor` with the backend 'onnx' neither.
"""

from gluon_resnet.deploy.predictor import Predictor
from gluon_resnet.deploy.without_card import PartialCard

__all__ = ["PartialCard", "Predictor"]
