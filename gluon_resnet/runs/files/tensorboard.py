"""The records of a run as TensorBoard's event files, in PREFIX-tensorboard/."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from gluon_resnet.errors import EnvironmentProblem
from gluon_resnet.training.epoch_record import EpochRecord, StepRecord

_FLUSH_SECONDS = 10  # tensorboardX waits for the disk when it flushes
_NAME = "events.out.tfevents."


class TensorBoard:
    """Adds a run's records to a folder of event files. All points have iterations as their steps.

    tensorboardX's SummaryWriter is not used: when the disk is full its thread ends, and the training would wait for
    ever for room in its queue. Here an OSError reaches the caller.

    Args:
        folder: the folder, which is created. A new file in it begins, and older points from `purge_step` on are hidden.
        purge_step: the first iteration that will be added.

    Raises EnvironmentProblem if tensorboardX is not installed.
    """

    def __init__(self, folder: str, purge_step: int) -> None:
        try:
            with _nothing_beside_it():
                from tensorboardX.proto.event_pb2 import Event, SessionLog
                from tensorboardX.proto.summary_pb2 import Summary
                from tensorboardX.record_writer import RecordWriter
        except ImportError:
            raise EnvironmentProblem(
                "event files for TensorBoard need tensorboardX: pip install 'gluon-resnet[tensorboard]'"
            ) from None
        os.makedirs(folder, exist_ok=True)
        name = f"{_NAME}{_time_for(folder):.6f}.{socket.gethostname()}.{os.getpid()}"
        self._event, self._summary = Event, Summary
        # An absolute path: tensorboardX sends those that begin with s3: or gs: elsewhere.
        self._writer = RecordWriter(os.path.abspath(os.path.join(folder, name)))
        self._flushed = 0.0
        self._first = purge_step
        self._add(purge_step, file_version="brain.Event:2")
        self._add(purge_step, session_log=SessionLog(status=SessionLog.START))

    def settings(self, title: str, settings: Mapping[str, Any]) -> None:
        """Add a table of text at the first iteration."""
        from tensorboardX.summary import text

        rows = [f"| {name} | {_cell(value)} |" for name, value in settings.items()]
        self._add(self._first, summary=text(title, "\n".join(["| | |", "| --- | --- |", *rows])))

    def step(self, record: StepRecord) -> None:
        """Add the points of some updates."""
        self._points(
            record.iteration,
            {
                "train/loss": record.loss,
                "train/top1_error": record.top1_error,
                "learning_rate": record.lr,
                "gradient_norm": record.gradient_norm,
                "loss_scale": record.loss_scale,
                "skipped_steps": record.skipped_steps,
                "images_per_second": record.images_per_second,
            },
        )

    def epoch(self, record: EpochRecord) -> None:
        """Add the points of an epoch; everything added so far then survives the process."""
        top_k = f"top{record.top_k}_error"
        self._points(
            record.iteration,
            {
                "epoch/train_loss": record.train_loss,
                "epoch/train_top1_error": record.train_top1_error,
                f"epoch/train_{top_k}": record.train_topk_error,
                "epoch/data_wait": record.data_wait,
                "epoch/communication": record.communication,
                "validation/loss": record.val_loss,
                "validation/top1_error": record.val_top1_error,
                f"validation/{top_k}": record.val_topk_error,
            },
        )
        self._writer.flush()

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._writer.close()

    def _points(self, iteration: int, values: Mapping[str, Optional[float]]) -> None:
        measured = {tag: value for tag, value in values.items() if value is not None}
        points = [self._summary.Value(tag=tag, simple_value=value) for tag, value in measured.items()]
        self._add(iteration, summary=self._summary(value=points))

    def _add(self, iteration: int, **content: Any) -> None:
        event = self._event(wall_time=time.time(), step=iteration, **content)
        self._writer.write(event.SerializeToString())
        if time.monotonic() > self._flushed + _FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = time.monotonic()


def _time_for(folder: str) -> float:
    """The time now, or just after the newest file in `folder` if the clock was set back: names decide the order."""
    times = [re.match(re.escape(_NAME) + r"(\d+(\.\d{6})?)\.", name) for name in os.listdir(folder)]
    newest = max((float(match[1]) for match in times if match), default=0.0)
    return max(time.time(), newest + 1e-5)


@contextlib.contextmanager
def _nothing_beside_it() -> Iterator[None]:
    """Hide from tensorboardX, while it is imported, PyTorch, which it would import, and protobuf's C extension.

    In a process with Horovod for MXNet both crash.
    """
    os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules["torch"]


def _cell(value: Any) -> str:
    """A value for a Markdown table."""
    return str(value).replace("|", "\\|").replace("\n", " ")
