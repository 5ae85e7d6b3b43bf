"""The networks, by name, their normalization, the card that describes a trained one, and recomputation."""

from gluon_resnet.models.card import ModelCard
from gluon_resnet.models.normalize import Normalize, with_normalization
from gluon_resnet.models.recompute import Recomputed
from gluon_resnet.models.registry import get_model, model_names

__all__ = ["ModelCard", "Normalize", "Recomputed", "get_model", "model_names", "with_normalization"]
