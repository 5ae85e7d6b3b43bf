"""Batch normalization's running means and variances, of which each device of each worker has its own copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.models.moments import Moments
from gluon_resnet.training.distributed.engine import Engine


class RunningStatistics:
    """Reads, combines and sets all copies; copy number `rank * devices + device` belongs to that device of that worker.

    Args:
        parameters: the parameters of a network, by name.
        devices: their contexts.
        engine: the engine that combines them over workers.
    """

    def __init__(self, parameters: Mapping[str, Any], devices: Sequence[Any], engine: Engine) -> None:
        self._means = {name: p for name, p in parameters.items() if name.endswith("running_mean")}
        self._variances = {name: p for name, p in parameters.items() if name.endswith("running_var")}
        self._devices, self._engine = devices, engine
        self._own = slice(engine.rank * len(devices), (engine.rank + 1) * len(devices))
        self._copies = engine.count * len(devices)
        self._others = [n for n in range(self._copies) if not self._own.start <= n < self._own.stop]
        # The other workers' copies as of the last call of a method that combines; at first all are equal.
        self._all = np.repeat(self._read()[:1], self._copies, axis=0)

    @property
    def names(self) -> set[str]:
        """The names of the parameters."""
        return set(self._parameters)

    def tensors(self) -> dict[str, Any]:
        """This worker's own copies, by NAME@NUMBER."""
        return {
            f"{name}@{number}": parameter.data(device)
            for number, device in enumerate(self._devices, self._own.start)
            for name, parameter in self._parameters.items()
        }

    def others(self) -> dict[str, np.ndarray]:
        """The other workers' copies, by NAME@NUMBER, as of the last call of `gather` or `average`."""
        return {
            f"{name}@{number}": values
            for number in self._others
            for name, values in zip(self._parameters, self._split(self._all[number]))
        }

    def load_others(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from `others()`, which are among `arrays`."""
        for number in self._others:
            values = [arrays[f"{name}@{number}"].ravel() for name in self._parameters]
            self._all[number] = np.concatenate(values) if values else []

    def gather(self) -> None:
        """Get the copies of all workers, so that the state of a run contains them. Called by all workers.

        Does nothing with dist_async, whose runs are not reproducible to the bit, and whose workers do not wait.
        """
        if self._engine.count > 1 and self._engine.in_step and self._all.size:
            copies = np.zeros_like(self._all)
            copies[self._own] = self._read()
            self._all = self._engine.sum_array(copies)

    def average(self) -> None:
        """Give all devices of all workers the statistics of all their images together. Called by all workers.

        The mean is the mean of the means; the variance is the mean of the variances plus the variance of the means, as
        for a union of equal parts. Parts are equal, since workers have the same number of batches of one size, and the
        devices' parts of a batch differ by at most one row. (Gluon, when saving a network, and TensorFlow take the mean
        of the variances, which is too low if workers see different images; Horovod's examples save worker 0's.)
        """
        if self._copies == 1 or not self._all.size:
            return
        own = self._read().astype("float64")
        means, variances = own[:, : own.shape[1] // 2], own[:, own.shape[1] // 2 :]
        mean = self._mean_over_workers(means)
        # Not the mean of squares minus the squared mean, which would be lost in float32, which engines add up.
        variance = self._mean_over_workers(variances + (means - mean) ** 2)
        self._all = np.tile(np.concatenate([mean, variance]).astype("float32"), (self._copies, 1))
        self._write()

    def replace(self, measured: Mapping[str, Moments]) -> None:
        """Give all devices of all workers the moments that they have `measured` of their parts. Called by all workers.

        `measured` is what batch_statistics.measure_statistics returns; layers that are not in it keep their statistics.
        """
        own = self._read()[0].astype("float64")
        views = dict(zip(self._parameters, self._split(own)))
        for layer, moments in measured.items():
            views[f"{layer}.running_mean"][:] = moments.mean
            views[f"{layer}.running_var"][:] = moments.variance
        means, variances = np.split(own, 2)
        # Values per channel: a multiple of the images, the same for all workers.
        size = next(iter(measured.values())).size
        share = size / self._engine.sum([size])[0]
        mean = self._engine.sum_array((share * means).astype("float32"))
        # As in `average`.
        variance = self._engine.sum_array((share * (variances + (means - mean) ** 2)).astype("float32"))
        self._all = np.tile(np.concatenate([mean, variance]), (self._copies, 1))
        self._write()

    @property
    def _parameters(self) -> dict[str, Any]:
        return {**self._means, **self._variances}

    def _mean_over_workers(self, rows: np.ndarray) -> np.ndarray:
        """The mean of the `rows` of all workers, of which there is one per device."""
        total = self._engine.sum_array(rows.sum(axis=0).astype("float32"))
        return total.astype("float64") / self._copies

    def _read(self) -> np.ndarray:
        """This worker's copies, (devices, values): the means of all layers, and then the variances."""
        mx.nd.waitall()  # see parameters.parameter_value
        rows = [
            [p.data(device).asnumpy().ravel() for p in self._parameters.values()] or [np.empty(0, "float32")]
            for device in self._devices
        ]
        return np.stack([np.concatenate(row) for row in rows])

    def _write(self) -> None:
        for device, copy in zip(self._devices, self._all[self._own]):
            for parameter, values in zip(self._parameters.values(), self._split(copy)):
                parameter.data(device)[:] = values

    def _split(self, copy: np.ndarray) -> list[np.ndarray]:
        """Split the values of a copy into those of each parameter."""
        sizes = [int(np.prod(p.shape)) for p in self._parameters.values()]
        return np.split(copy, np.cumsum(sizes)[:-1]) if sizes else []
