"""The networks by name or as a card describes them, their normalization, and recomputation."""

from gluon_resnet.models.build import build_network
from gluon_resnet.models.normalize import Normalize, with_normalization
from gluon_resnet.models.recompute import Recomputed
from gluon_resnet.models.registry import get_model, model_names

__all__ = ["Normalize", "Recomputed", "build_network", "get_model", "model_names", "with_normalization"]
