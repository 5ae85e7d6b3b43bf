"""A record file as PyTorch's IterableDataset, for programs that are built around its DataLoader."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Union

from gluon_resnet.data.loader import Records
from gluon_resnet.data.transforms import Transform
from gluon_resnet.errors import EnvironmentProblem


def torch_dataset(
    records: Union[Records, Sequence[Records]], batch_size: int, transform: Transform, **options: Any
) -> Any:
    """The batches of a `Loader` as a ``torch.utils.data.IterableDataset`` of ``(images, labels)``.

    ``DataLoader(torch_dataset("train.rec", 64, TrainTransform(224), shuffle=True), batch_size=None, num_workers=2)``

    Args:
        records, batch_size, transform: the arguments of `Loader`.
        options: the other arguments of `gluon_resnet.data.loader_dataset.LoaderDataset`, which is returned.

    Raises:
        EnvironmentProblem: PyTorch is not installed.
        UsageError, OSError, RecordError: as for `Loader`.
    """
    try:
        # Only here: the loader works without PyTorch, and type checkers need not read all of it.
        module = importlib.import_module("gluon_resnet.data.loader_dataset")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise EnvironmentProblem(
            "torch_dataset needs PyTorch, which is not installed: pip install torch"
        ) from None
    return module.LoaderDataset(records, batch_size, transform, **options)
