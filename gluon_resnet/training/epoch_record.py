"""The results of an epoch, and of the steps within it, as values; needs no MXNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from gluon_resnet.training.metrics import Sums  # it imports MXNet


@dataclass(frozen=True)
class EpochRecord:
    """The results of one epoch. Errors are in per cent; without validation data, its fields are None.

    Fields with a default were added over time: in records of older runs, or if not measured, they are None.
    """

    epoch: int  # epochs done, from 1
    iteration: int  # updates done since the beginning
    lr: float  # of the last update
    seconds: float  # of training, without validation
    images_per_second: float  # of training
    top_k: int
    train_loss: float  # of the batches as trained on: augmented, with changing weights
    train_top1_error: float
    train_topk_error: float
    val_loss: Optional[float] = None
    val_top1_error: Optional[float] = None
    val_topk_error: Optional[float] = None
    data_wait: Optional[float] = (
        None  # the fraction of the training time, 0 to 1, spent waiting for batches ...
    )
    communication: Optional[float] = None  # ... and combining gradients over devices and machines
    gradient_norm: Optional[float] = None  # as in StepRecord, its mean over the updates
    loss_scale: Optional[float] = None  # of float16, after the last update
    skipped_steps: Optional[int] = (
        None  # with float16: updates of this epoch skipped because gradients were not finite
    )

    @staticmethod
    def of(
        epoch: int,
        iteration: int,
        lr: float,
        seconds: float,
        top_k: int,
        train: Sums,
        validation: Optional[Sums],
    ) -> EpochRecord:
        """The record of the sums of one epoch."""
        return EpochRecord(
            epoch=epoch,
            iteration=iteration,
            lr=lr,
            seconds=round(seconds, 3),
            images_per_second=round(train.images / seconds, 1),
            top_k=top_k,
            train_loss=train.mean_loss,
            train_top1_error=train.top1_error,
            train_topk_error=train.topk_error,
            val_loss=validation.mean_loss if validation else None,
            val_top1_error=validation.top1_error if validation else None,
            val_topk_error=validation.topk_error if validation else None,
        )

    def line(self, epochs: int, classes: int) -> str:
        """One line for a terminal; `epochs` is the number of epochs, and `classes` is the network's.

        The top-k error is left out if k is the number of classes, since it is then always 0.
        """
        line = f"epoch {self.epoch:{len(str(epochs))}}/{epochs}  lr {self.lr:<7g}"
        shown = self.top_k < classes
        line += self._part("train", self.train_loss, self.train_top1_error, self.train_topk_error, shown)
        if self.val_loss is not None:
            top1, topk = self.val_top1_error or 0.0, self.val_topk_error or 0.0
            line += self._part("val", self.val_loss, top1, topk, shown)
        line += f"  {self.images_per_second:.0f} images/s"
        if self.loss_scale is not None:
            line += f"  loss scale {self.loss_scale:g}, {self.skipped_steps} updates skipped"
        return line

    def _part(self, name: str, loss: float, top1: float, topk: float, shown: bool) -> str:
        text = f"  {name}: loss {loss:.4f} error {top1:.2f} %"
        return f"{text} (top-{self.top_k} {topk:.2f} %)" if shown else text


@dataclass(frozen=True)
class StepRecord:
    """The results of the updates since the last record, all in one epoch."""

    iteration: int  # updates done since the beginning of the run
    epoch: int  # the current one, counted from 1
    lr: float  # of the last update
    loss: float  # mean over the images as trained on
    top1_error: float  # per cent of the images
    images_per_second: float
    gradient_norm: Optional[float] = None  # of the last update: L2 over all gradients of the mean loss
    loss_scale: Optional[float] = None  # of float16, after the last update
    skipped_steps: Optional[int] = None  # with float16: how many of these updates were skipped

    @staticmethod
    def of(
        iteration: int,
        epoch: int,
        lr: float,
        sums: Sums,
        seconds: float,
        *,
        gradient_norm: Optional[float] = None,
        loss_scale: Optional[float] = None,
        skipped_steps: Optional[int] = None,
    ) -> StepRecord:
        """The record of the sums over these updates, which took `seconds`."""
        return StepRecord(
            iteration=iteration,
            epoch=epoch,
            lr=lr,
            loss=sums.mean_loss,
            top1_error=sums.top1_error,
            images_per_second=round(sums.images / seconds, 1),
            gradient_norm=gradient_norm,
            loss_scale=loss_scale,
            skipped_steps=skipped_steps,
        )
