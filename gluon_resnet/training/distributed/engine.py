"""The engine that combines gradients and numbers over devices and workers; here for a single process."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import numpy as np


class Engine:
    """The engine of a single process: MXNet's KVStore adds up the gradients of its devices; there is no other worker.

    The engines for several workers (dist_engine, horovod_engine) derive from it. All workers call a method that
    combines something at the same point of the run, and it waits for the last of them.

    Args:
        kvstore: the store for gluon.Trainer: a name, or an open store.
        rank: the rank of this worker.
        count: the number of workers.
    """

    in_step = True  # whether all workers make each update together, with the mean of their gradients

    def __init__(self, kvstore: Any = "device", rank: int = 0, count: int = 1) -> None:
        self.kvstore = kvstore
        self.rank, self.count = rank, count

    def begin(self, copies: Sequence[Sequence[Any]]) -> None:
        """Give all workers the values of worker 0; `copies` are a parameter's arrays on the devices."""

    def combine(self, copies: Sequence[Sequence[Any]]) -> None:
        """Queue what remains to be done after the KVStore has combined `copies`, the gradients of each parameter."""

    def sum(self, values: Sequence[int]) -> list[int]:
        """The sums over the workers of each of up to 8 `values` from 0 to 2^48 - 1."""
        return list(values)

    def sum_array(self, array: np.ndarray) -> np.ndarray:
        """The sum over the workers of a float32 `array`, with the same bits for all of them."""
        return array

    def barrier(self) -> None:
        """Wait until all workers have reached this point."""

    def wait_at_exit(self, wait: bool) -> None:
        """Set whether this process, when it ends, waits until all workers do."""

    def address(self) -> str:
        """The IPv4 address at which other workers reach this machine."""
        return "127.0.0.1"


def address_towards(host: str, port: int) -> str:
    """The IPv4 address of this machine in the network of `host`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # connecting sends nothing
        probe.connect((host, port))
        return str(probe.getsockname()[0])
