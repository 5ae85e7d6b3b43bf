"""What a run will do, as far as its settings and the pretrained network decide."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from gluon_resnet.errors import UsageError
from gluon_resnet.runs.pretrained import fill_in, with_resize
from gluon_resnet.runs.recipe import chosen_recipe
from gluon_resnet.runs.settings import Settings
from gluon_resnet.training.devices import cpu_contexts, gpu_contexts
from gluon_resnet.training.distributed.horovod_engine import own_share
from gluon_resnet.training.recipes import Recipe
from gluon_resnet.training.transfer import Pretrained


@dataclass(frozen=True)
class Plan:
    """Settings, checked as a whole; no records have been opened yet.

    Attributes:
        asked: the settings as they were given.
        settings: the same, completed by the pretrained network; `settings.network` and `variant` are known.
        recipe: the preset, with the values that were given in place of its own.
        pretrained: the network to begin with, if any.
        keeps_mean_image: whether the mean image of that network is kept.
        interpolation: the interpolation of all resizing, 'linear' or 'cubic'.
        contexts: the devices of this process.
    """

    asked: Settings
    settings: Settings
    recipe: Recipe
    pretrained: Optional[Pretrained]
    keeps_mean_image: bool
    interpolation: str
    contexts: Sequence[Any]

    @staticmethod
    def of(asked: Settings) -> Plan:
        """The plan for `asked`; UsageError if settings contradict each other, EnvironmentProblem without a device."""
        filled = fill_in(asked)
        settings = filled.settings
        assert settings.network is not None
        recipe = with_resize(chosen_recipe(settings, settings.network), filled.pretrained)
        contexts = gpu_contexts(own_share(settings.gpus)) if settings.gpus else cpu_contexts(settings.cpus)
        if recipe.batch_size < len(contexts):
            raise UsageError(f"a batch of {recipe.batch_size} cannot be split over {len(contexts)} devices")
        return Plan(asked, settings, recipe, *filled[1:], contexts)

    @property
    def network(self) -> str:
        """The name of the network."""
        assert self.settings.network is not None
        return self.settings.network

    @property
    def variant(self) -> str:
        """The variant of the network."""
        assert self.settings.variant is not None
        return self.settings.variant

    @property
    def prefix(self) -> str:
        """The beginning of the names of all files of the run."""
        return self.settings.model_prefix or os.path.join("runs", self.network)
