"""The networks, by name, their normalization, and the card that describes a trained one."""

from gluon_resnet.models.card import ModelCard
from gluon_resnet.models.normalize import Normalize, with_normalization
from gluon_resnet.models.registry import get_model, model_names

__all__ = ["ModelCard", "Normalize", "get_model", "model_names", "with_normalization"]
