"""What benchmarks/training.py compares: one generator for each way to train the same network on batches of one shape.

Each takes a `Job` and makes one training step per `next()`, for ever: forward, backward, update by SGD with momentum
and weight decay, and the loss read on the host. A peer whose library is not installed raises ImportError.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Optional

LR, MOMENTUM, WEIGHT_DECAY = 1e-4, 0.9, 1e-4  # the speed depends on none of them


@dataclass(frozen=True)
class Job:
    """A network of the paper, and its batches."""

    network: str
    batch_size: int
    size: int  # of the images, in pixels
    classes: int
    threads: int  # of OpenMP, over all contexts; of the loader, too
    records: Optional[str]


def ours(job: Job, contexts: int = 1) -> Iterator[None]:
    """As tools/train.py, on synthetic batches."""
    from gluon_resnet.training.synthetic import SyntheticBatch

    batch = SyntheticBatch(job.batch_size, job.size, job.classes)
    return _ours(job, iter(lambda: batch, None), contexts)


def ours_on_records(job: Job) -> Iterator[None]:
    """The same on records, with the augmentation of the paper's recipes and as many loading threads as processors."""
    from gluon_resnet.data import ColorJitter, Loader, TrainTransform
    from gluon_resnet.training.recipes import get_recipe

    recipe = get_recipe("cifar10" if job.size == 32 else "imagenet")
    assert job.records
    transform = TrainTransform(
        size=recipe.size,
        crop=recipe.crop,
        scale=recipe.shorter_side,
        padding=recipe.padding,
        flip=recipe.flip,
        color=ColorJitter(pca_noise=recipe.pca_noise),
    )
    loader = Loader(
        job.records, job.batch_size, transform, shuffle=True, threads=job.threads, last_batch="discard"
    )
    return _ours(job, (batch for _ in iter(int, 1) for batch in loader))


def _ours(job: Job, batches: Iterable[Any], contexts: int = 1) -> Iterator[None]:
    from gluon_resnet.models import get_model, with_normalization
    from gluon_resnet.training.devices import cpu_contexts
    from gluon_resnet.training.trainer import Trainer

    devices = cpu_contexts(contexts)
    net = with_normalization(get_model(job.network, job.classes), (123.68, 116.779, 103.939), (1, 1, 1))
    net.initialize(ctx=devices)
    trainer = Trainer(net, devices, job.classes, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    meter = trainer.new_meter()
    for batch in batches:
        trainer.step(batch, LR, meter, "the benchmark")  # returns once the step before has been computed
        yield


def pytorch(job: Job, layout: str, compiled: bool = False) -> Iterator[None]:
    """A training loop as PyTorch's tutorials have it, on one batch that is normalized already."""
    import torch

    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
    from torch_resnet import TorchResNet  # torchvision's networks, and those of CIFAR, which it has not

    torch.set_num_threads(job.threads)
    order = getattr(torch, layout)
    net = TorchResNet(int(job.network.removeprefix("resnet")), job.classes).to(memory_format=order)
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    loss_of = torch.nn.CrossEntropyLoss()
    images = torch.randn(job.batch_size, 3, job.size, job.size).to(memory_format=order)
    labels = torch.randint(job.classes, (job.batch_size,))
    scores_of = torch.compile(net) if compiled else net
    while True:
        optimizer.zero_grad()
        loss = loss_of(scores_of(images), labels)
        loss.backward()
        optimizer.step()
        loss.item()
        yield


OURS, RECORDS, CONTEXTS = "gluon-resnet", "gluon-resnet, records", "gluon-resnet, 2 contexts"
EAGER = ("PyTorch", "PyTorch, channels_last")
RUNS: dict[str, Callable[[Job], Iterator[None]]] = {
    OURS: ours,
    RECORDS: ours_on_records,
    CONTEXTS: partial(ours, contexts=2),
    EAGER[0]: partial(pytorch, layout="contiguous_format"),
    EAGER[1]: partial(pytorch, layout="channels_last"),
    "PyTorch, compiled": partial(pytorch, layout="contiguous_format", compiled=True),
    "PyTorch, channels_last, compiled": partial(pytorch, layout="channels_last", compiled=True),
}
PARTS = {
    "peers": EAGER,
    "compiled": tuple(name for name in RUNS if name.endswith("compiled")),
    "records": (RECORDS,),
    "contexts": (CONTEXTS,),
}
