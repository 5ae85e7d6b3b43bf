"""One network on its devices: a training step, an evaluation, and the state between two steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional, Protocol

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import DataError, GluonResnetError
from gluon_resnet.models.batch_statistics import measure_statistics
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

_TIMED = 16  # one step in 16 waits for the devices, to measure how long combining gradients takes


class Batch(Protocol):
    """The input of a Trainer: images with labels. The last `pad` rows, never all of them, do not count.

    `__dlpack__` exports the images: (n, 3, H, W), float32 or uint8, RGB, from 0 to 255.
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

    A batch is split into equal parts (if it does not divide evenly, the first ones get an extra row), and an update
    equals that of a single device with the whole batch. Batch normalization is the exception: in training, its
    statistics are those of each device's part.

    Args:
        net: an initialized HybridBlock with known shapes that maps images (n, 3, H, W) to scores (n, classes).
        contexts: the contexts of its parameters.
        classes: the number of classes; labels are from 0 to classes - 1, and any other one raises DataError with the
            record's id.
        momentum, weight_decay: the parameters of SGD; recipes.Recipe has the paper's.
        decay_bn_and_bias: whether betas, gammas and biases are subject to weight decay.
        label_smoothing: the fraction of a training label that is spread over all classes (see CrossEntropy).
        mixup: how to mix images and labels in training; errors are then measured against the label of greater weight.
        engine: the engine that combines gradients over contexts and workers (see devices.open_engine); None for the
            KVStore device.
        recompute: whether to keep few activations and recompute the others in the backward pass (see models.recompute).
        dtype: the type in which convolutions compute: 'float32', 'float16' (GPU only) or 'bfloat16'. Weights and
            checkpoints stay float32; the choice applies to everything that the process builds afterwards.
        scaler: the loss scaler; None for the one that `dtype` needs.
        seed: the seed for dropout, which draws different numbers in each iteration.
        top_k: the k of the error that is measured besides top-1.
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
        """A meter for `step` that continues from the sums `start`."""
        return Meter(self._classes, self.top_k, start)

    def step(self, batch: Batch, lr: float, meter: Meter, where: object, iteration: int = 0) -> None:
        """Queue one update with learning rate `lr`; `meter` counts the batch, and str(where) names it in errors.

        `iteration` is the number of the update in the run, on which the random numbers of mixup and dropout depend.
        """
        if self._dropout_seed is not None:
            seeds = np.random.SeedSequence((self._dropout_seed, self._rank, iteration))
            mx.random.seed(int(seeds.generate_state(1)[0] >> 1))  # queued, like the step itself
        parts = self._deal(batch)
        if self._mixup:
            parts = _mixed(parts, self._mixup, iteration)
        with mx.autograd.record():
            scores = [self._scores(part) for part in parts]
            losses = [self._loss(s, part.label, *part.mixed_with) for s, part in zip(scores, parts)]
            heads = self._updates.scaled(losses)
        # A device without rows of its own works on a copy whose gradient is zero.
        gradients = [None if part.rows else mx.nd.zeros_like(loss) for loss, part in zip(losses, parts)]
        self._backward(heads, gradients)
        rows, scale = sum(part.rows for part in parts), self._updates.loss_scale
        if self._combines and iteration % _TIMED == _TIMED // 2:
            norm, seconds = self._updates.apply_timed(lr, rows)
            self._combining.append(seconds)
        else:
            norm = self._updates.apply(lr, rows)
        ids = np.array(batch.ids[:rows])  # a copy: the batch's memory is reused
        update = Update(ids, norm, self._watched, scale)
        meter.add(_counted(parts, scores, losses), where, update)

    @property
    def loss_scale(self) -> Optional[float]:
        """The factor of the next step's loss; None without a scaler."""
        return self._updates.loss_scale

    def take_combining_seconds(self) -> Optional[float]:
        """The time in seconds that combining the gradients of a step over devices and workers took by itself.

        This is the mean over one step in 16 since the last call; None if there were none.
        """
        seconds, self._combining = self._combining, []
        return sum(seconds) / len(seconds) if seconds else None

    def evaluate(self, batches: Iterable[Batch], confusion: Optional[np.ndarray] = None) -> Sums:
        """Loss and errors over `batches` in evaluation mode, counting every row that is not padding exactly once.

        The loss is that of the labels without smoothing. `confusion` is as for Meter, but starts at 0.
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
        """Give all devices of all workers the same running statistics, as in a saved network.

        All workers call this at the end of an epoch; with dist_async it also makes their weights equal.
        """
        self._updates.settle()
        self._statistics.average()

    def recompute_statistics(self, batches: Iterable[Batch]) -> None:
        """Replace all running statistics by those over the `batches` of all workers; all of them call this.

        Each device's part of a batch is normalized by its own statistics, as in a step (see batch_statistics).
        """
        parts = ([part.images for part in self._deal(batch) if part.rows] for batch in batches)
        measured = measure_statistics(self.net, parts)
        self._hybridize()
        self._statistics.replace(measured)

    def gather_statistics(self) -> None:
        """Make the next `state()` contain all workers' current running statistics; all of them call this."""
        self._statistics.gather()

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on, by name: weights, running statistics of each device, momentum.

        Other workers' running statistics are those that were last gathered or averaged. With dist_async there is no
        momentum, which is kept in the servers. Waits for the queued steps. GluonResnetError if a value is not finite.
        """
        mx.nd.waitall()  # running statistics: see parameters.parameter_value
        arrays = {name: copies[0].asnumpy() for name, copies in self._tensors().items()}
        arrays.update(self._statistics.others())
        arrays.update(self._updates.scaler_state())
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise GluonResnetError(f"{name} is no longer finite: the learning rate may be too high")
        return dict(sorted(arrays.items()))  # in the same order on all workers

    def load_state(self, path: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from a `state()` of as many devices and workers, read from `path`; ModelError if it differs."""
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
        """The network's output for one device's part, to be trained on."""
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
        """Check the labels, and distribute the rows that count over the devices."""
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
    """One device's part of a batch."""

    images: Any
    label: Any
    rows: int  # 0 if it has none of its own
    mixed_with: tuple[Any, ...] = ()  # further inputs of CrossEntropy: the partners' labels, and a weight


def _draws(block: Any) -> bool:
    """Whether `block` contains dropout."""
    return isinstance(block, mx.gluon.nn.Dropout) or any(map(_draws, block._children.values()))


def _counted(
    parts: Sequence[Part], scores: Sequence[Any], losses: Sequence[Any]
) -> list[tuple[Any, Any, Any]]:
    return [(s, loss, part.label) for part, s, loss in zip(parts, scores, losses) if part.rows]


def _mixed(parts: Sequence[Part], mixup: Mixup, iteration: int) -> list[Part]:
    """The parts with each image and label mixed with its partner's; `label` is the one of greater weight."""
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
