"""From a checkpoint to a program: `export` writes the files of a trained network, `Predictor` uses them."""

from gluon_resnet.deploy.export import export
from gluon_resnet.deploy.predictor import Predictor

__all__ = ["Predictor", "export"]
