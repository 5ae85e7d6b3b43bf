"""Weights of other projects: read as ours, and ours written as theirs."""

from gluon_resnet.convert.conversion import Weights, build, export_weights, import_weights
from gluon_resnet.convert.layouts import SOURCES
from gluon_resnet.convert.weights_file import read_weights, write_weights

__all__ = ["SOURCES", "Weights", "build", "export_weights", "import_weights", "read_weights", "write_weights"]
