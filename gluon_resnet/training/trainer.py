"""One network on its devices: a training step, an evaluation, and the state between two steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional, Protocol

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import DataError, GluonResnetError
from gluon_resnet.models.parameters import check_arrays
from gluon_resnet.models.recompute import Recomputed
from gluon_resnet.training.distributed.async_updates import AsyncUpdates
from gluon_resnet.training.distributed.dist_engine import AsyncParameterServer
from gluon_resnet.training.distributed.engine import Engine
from gluon_resnet.training.distributed.running_statistics import RunningStatistics
from gluon_resnet.training.distributed.updates import Updates
from gluon_resnet.training.loss import CrossEntropy
from gluon_resnet.training.metrics import Meter, Sums, Update
from gluon_resnet.training.mixup import Mixup
from gluon_resnet.training.precision import use_precision

_TIMED = 16  # one step of so many waits for the devices, to measure how long combining gradients takes


class Batch(Protocol):
    """What a Trainer takes: images with labels. The last `pad` rows, never all of them, do not count.

    `__dlpack__` gives the images: (n, 3, H, W), float32 or uint8, RGB, 0 to 255.
    """

    @property
    def label(self) -> np.ndarray: ...  # (n,) or (n, 1)

    @property
    def ids(self) -> np.ndarray: ...  # (n,), of the records

    @property
    def pad(self) -> int: ...

    def __len__(self) -> int: ...

    def __dlpack__(self) -> Any: ...


class Trainer:
    """SGD with momentum on softmax cross entropy, data-parallel over contexts of one kind.

    A batch is dealt out in equal parts (the first get a row more where it does not divide), and an update is
    that of one device with the whole batch. Batch normalization differs: in training its statistics are those
    of each device's part.

    Args:
        net: a HybridBlock, images (n, 3, H, W) to scores (n, classes), initialized, its shapes known.
        contexts: where its parameters are.
        classes: labels are 0 to classes - 1; another one raises DataError with the record's id.
        momentum, weight_decay: of SGD; recipes.Recipe has the paper's.
        decay_bn_and_bias: False spares betas, gammas and biases from weight decay.
        label_smoothing: the part of a training label that is spread over all classes (see CrossEntropy).
        mixup: trains on mixed images and labels; an error is then measured against the label of greater weight.
        engine: what combines gradients over contexts and workers (see devices.open_engine); None: the KVStore device.
        recompute: keep few activations and compute the others again in the backward pass (see models.recompute).
        dtype: 'float32', or what convolutions compute in: 'float16' (GPU only), 'bfloat16'. Weights and
            checkpoints stay float32; the choice holds for everything that the process builds afterwards.
        scaler: of the loss; None: what `dtype` needs.
        seed: of the numbers that dropout draws, other ones in each iteration.
        top_k: which error is measured beside top-1.
    """

    def __init__(
        self,
        net: Any,
        contexts: Sequence[Any],
        classes: int,
        *,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        decay_bn_and_bias: bool = True,
        label_smoothing: float = 0.0,
        mixup: Optional[Mixup] = None,
        engine: Optional[Engine] = None,
        recompute: bool = False,
        dtype: str = "float32",
        scaler: Any = None,
        seed: int = 0,
        top_k: int = 5,
    ) -> None:
        scaler = use_precision(dtype, contexts) or scaler
        self.net = net
        self.contexts = list(contexts)
        self.top_k = min(top_k, classes)
        self._classes = classes
        self._mixup = mixup
        self._dropout_seed = seed if _draws(net) else None
        self._loss, self._plain_loss = CrossEntropy(label_smoothing), CrossEntropy()
        self._parameters = net._collect_params_with_prefix()
        # On CPUs MXNet's ReLU makes NaN 0: a net full of NaN has a finite loss, but not a finite variance.
        # The gammas order this: they are updated after the variances, whose change MXNet does not track.
        watched = [n for n in self._parameters if n.endswith(("gamma", "running_var"))]
        self._watched = [self._parameters[name].data(contexts[0]) for name in watched]
        if not decay_bn_and_bias:
            for name, parameter in self._parameters.items():
                if name.endswith(("gamma", "beta", "bias")):
                    parameter.wd_mult = 0.0
        self._hybridize()
        self._recomputed = Recomputed(net) if recompute else None
        for loss in (self._loss, self._plain_loss):
            loss.hybridize(static_alloc=True, static_shape=True)
        engine = engine or Engine()
        self._rank = engine.rank
        self._combines = len(self.contexts) > 1 or engine.count > 1
        self._combining: list[float] = []  # seconds, of some steps
        settings = (momentum, weight_decay, scaler)
        if isinstance(engine, AsyncParameterServer):
            self._updates: Updates = AsyncUpdates(net, engine, *settings)
        else:
            self._updates = Updates(net, engine, *settings)
        self._statistics = RunningStatistics(self._parameters, self.contexts, engine)

    def new_meter(self, start: Optional[Sums] = None) -> Meter:
        """A meter for `step`, going on from the sums `start`."""
        return Meter(self._classes, self.top_k, start)

    def step(self, batch: Batch, lr: float, meter: Meter, where: object, iteration: int = 0) -> None:
        """Queue one update with learning rate `lr`; `meter` counts the batch, str(where) names it in errors.

        `iteration`: its number in the run, on which the random numbers of mixup and dropout depend.
        """
        if self._dropout_seed is not None:
            seeds = np.random.SeedSequence((self._dropout_seed, self._rank, iteration))
            mx.random.seed(int(seeds.generate_state(1)[0] >> 1))  # queued, as the step is
        parts = self._deal(batch)
        if self._mixup:
            parts = _mixed(parts, self._mixup, iteration)
        with mx.autograd.record():
            scores = [self._scores(part) for part in parts]
            losses = [self._loss(s, part.label, *part.mixed_with) for s, part in zip(scores, parts)]
            heads = self._updates.scaled(losses)
        # A device without a row of its own works on a copy whose gradient is nothing.
        gradients = [None if part.rows else mx.nd.zeros_like(loss) for loss, part in zip(losses, parts)]
        self._backward(heads, gradients)
        rows, scale = sum(part.rows for part in parts), self._updates.loss_scale
        if self._combines and iteration % _TIMED == _TIMED // 2:
            norm, seconds = self._updates.apply_timed(lr, rows)
            self._combining.append(seconds)
        else:
            norm = self._updates.apply(lr, rows)
        ids = np.array(batch.ids[:rows])  # a copy: the batch's memory is used again
        update = Update(ids, norm, self._watched, scale)
        meter.add(_counted(parts, scores, losses), where, update)

    @property
    def loss_scale(self) -> Optional[float]:
        """What the loss of the next step is multiplied by; None without a scaler."""
        return self._updates.loss_scale

    def take_combining_seconds(self) -> Optional[float]:
        """How long combining the gradients of a step over devices and workers took, nothing else beside it.

        The mean over one step in 16 since the call before; None where there were none.
        """
        seconds, self._combining = self._combining, []
        return sum(seconds) / len(seconds) if seconds else None

    def evaluate(self, batches: Iterable[Batch], confusion: Optional[np.ndarray] = None) -> Sums:
        """Loss and errors over `batches` in evaluation mode, every row that is not padding exactly once.

        The loss is that of the labels as they are, not smoothed. `confusion`: as for Meter, begun at 0.
        """
        if confusion is not None:
            confusion[:] = 0
        meter = Meter(self._classes, self.top_k, confusion=confusion)
        for number, batch in enumerate(batches, 1):
            parts = self._deal(batch)
            scores = [self.net(part.images) for part in parts]
            losses = [self._plain_loss(s, part.label) for s, part in zip(scores, parts)]
            meter.add(_counted(parts, scores, losses), f"batch {number} of the validation")
        return meter.sums()

    def average_statistics(self) -> None:
        """Give all devices of all workers the same running statistics, which is what a saved network has.

        All workers call it at the end of an epoch; with dist_async their weights are equal then, too.
        """
        self._updates.settle()
        self._statistics.average()

    def gather_statistics(self) -> None:
        """Let the next `state()` have the running statistics of all workers as they are now; all of them call it."""
        self._statistics.gather()

    def state(self) -> dict[str, np.ndarray]:
        """All that the next step depends on, by name: weights, running statistics of each device, momentum.

        The running statistics of other workers are those that were gathered or averaged last. With dist_async there is
        no momentum, which is in the servers. Waits for the queued steps. GluonResnetError when a value is not finite.
        """
        mx.nd.waitall()  # running statistics: see parameters.parameter_value
        arrays = {name: copies[0].asnumpy() for name, copies in self._tensors().items()}
        arrays.update(self._statistics.others())
        arrays.update(self._updates.scaler_state())
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise GluonResnetError(f"{name} is not finite any more: the learning rate may be too high")
        return dict(sorted(arrays.items()))  # in the same order on all workers

    def load_state(self, path: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from a `state()` of as many devices and workers, read from `path`; ModelError where it does not fit."""
        tensors = self._tensors()
        expected = {name: copies[0].shape for name, copies in tensors.items()}
        expected.update({name: array.shape for name, array in self._statistics.others().items()})
        expected.update({name: array.shape for name, array in self._updates.scaler_state().items()})
        check_arrays(path, arrays, expected)
        for name, copies in tensors.items():
            for tensor in copies:
                tensor[:] = arrays[name]
        self._statistics.load_others(arrays)
        self._updates.load_scaler_state(arrays)

    def _hybridize(self) -> None:
        self.net.hybridize(static_alloc=True, static_shape=True)

    def _scores(self, part: Part) -> Any:
        """The network's output for what one device works on, to be trained on."""
        return (self._recomputed or self.net)(part.images)

    def _backward(self, heads: Sequence[Any], gradients: Sequence[Any]) -> None:
        (self._recomputed or mx.autograd).backward(heads, gradients)

    def _tensors(self) -> dict[str, list[Any]]:
        """The arrays of this worker that make up the state, with their copies on all devices."""
        statistics, momenta = self._statistics, self._updates.momenta()
        tensors = {name: [tensor] for name, tensor in statistics.tensors().items()}  # each device has its own
        for name, parameter in self._parameters.items():
            if name not in statistics.names:
                tensors[name] = parameter.list_data()
            if parameter.name in momenta:
                tensors[f"{name}:momentum"] = momenta[parameter.name]
        return tensors

    def _deal(self, batch: Batch) -> list[Part]:
        """The rows that count, spread over the devices; labels are checked."""
        rows = len(batch) - batch.pad
        labels = np.array(batch.label, "float32")
        if labels.size != len(batch):
            raise DataError(f"expected one label per image, found {labels.shape[1:]}", key=int(batch.ids[0]))
        labels = labels.reshape(-1)
        wrong = np.flatnonzero((labels < 0) | (labels >= self._classes) | (labels != np.floor(labels)))
        if wrong.size:
            record, label = int(batch.ids[wrong[0]]), labels[wrong[0]]
            raise DataError(
                f"record {record}: label {label:g} is not one of 0 to {self._classes - 1}", key=record
            )
        # Neither of these copies or waits for the engine, and MXNet keeps the memory while it needs it.
        images, label = mx.nd.from_dlpack(batch.__dlpack__()), mx.nd.from_numpy(labels)
        parts = []
        begin = 0
        for number, context in enumerate(self.contexts):
            size = rows // len(self.contexts) + (number < rows % len(self.contexts))
            part = slice(begin, begin + size) if size else slice(0, 1)
            parts.append(Part(images[part].as_in_context(context), label[part].as_in_context(context), size))
            begin += size
        return parts


class Part(NamedTuple):
    """What one device works on."""

    images: Any
    label: Any
    rows: int  # 0: none of its own
    mixed_with: tuple[Any, ...] = ()  # what CrossEntropy takes besides: the partners' labels, and a weight


def _draws(block: Any) -> bool:
    """Whether dropout is a part of `block`."""
    return isinstance(block, mx.gluon.nn.Dropout) or any(map(_draws, block._children.values()))


def _counted(
    parts: Sequence[Part], scores: Sequence[Any], losses: Sequence[Any]
) -> list[tuple[Any, Any, Any]]:
    return [(s, loss, part.label) for part, s, loss in zip(parts, scores, losses) if part.rows]


def _mixed(parts: Sequence[Part], mixup: Mixup, iteration: int) -> list[Part]:
    """The parts with each image and label mixed with its partner's; `label` is that of greater weight."""
    weight = mixup.weight(iteration)
    mixed = []
    for device, part in enumerate(parts):
        context = part.images.context
        order = mx.nd.array(mixup.partners(iteration, device, len(part.images)), context, "int32")
        images, label = part.images.astype("float32"), part.label
        images = weight * images + (1 - weight) * images.take(order)
        other = label.take(order)
        if weight < 0.5:
            label, other = other, label
        greater = mx.nd.full((1,), max(weight, 1 - weight), context)
        mixed.append(Part(images, label, part.rows, (other, greater)))
    return mixed
