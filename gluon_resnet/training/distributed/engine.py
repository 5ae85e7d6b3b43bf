"""What combines gradients and numbers over the devices of this process and over workers; here: one process alone."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import numpy as np


class Engine:
    """One process: MXNet's KVStore adds up the gradients of its devices, and there is no other worker.

    The engines of several workers (dist_engine, horovod_engine) derive from it. All workers call a method that
    combines at the same point of the run, and it waits for the last of them.

    Args:
        kvstore: what gluon.Trainer takes: a name, or an open store.
    """

    in_step = True  # all workers make each update together, with the mean of their gradients

    def __init__(self, kvstore: Any = "device", rank: int = 0, count: int = 1) -> None:
        self.kvstore = kvstore
        self.rank, self.count = rank, count

    def begin(self, copies: Sequence[Sequence[Any]]) -> None:
        """Give all workers the values of worker 0; `copies` are a parameter's arrays on the devices."""

    def combine(self, copies: Sequence[Sequence[Any]]) -> None:
        """Queue what is left to do when the KVStore has combined `copies`, the gradients of each parameter."""

    def sum(self, values: Sequence[int]) -> list[int]:
        """Each of up to 8 `values`, from 0 to 2^48 - 1, added up over the workers."""
        return list(values)

    def sum_array(self, array: np.ndarray) -> np.ndarray:
        """A float32 `array` added up over the workers; the same bits for all of them."""
        return array

    def barrier(self) -> None:
        """Wait until all workers are here."""

    def wait_at_exit(self, wait: bool) -> None:
        """Whether this process, when it ends, waits until all of them do."""

    def address(self) -> str:
        """The IPv4 address at which the other workers reach this machine."""
        return "127.0.0.1"


def address_towards(host: str, port: int) -> str:
    """The IPv4 address of this machine in the network in which `host` is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # connecting sends nothing
        probe.connect((host, port))
        return str(probe.getsockname()[0])
