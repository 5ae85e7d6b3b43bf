"""What a run saves, and when: its states, and its networks after epochs, with links to the best and the last one."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any, Callable, Optional

from gluon_resnet.errors import GluonResnetError, UsageError
from gluon_resnet.models.parameters import parameter_values, write_arrays
from gluon_resnet.models.saved import parameters_path
from gluon_resnet.terminal import printable_name, warn
from gluon_resnet.training.checkpoints.background import BackgroundWriter
from gluon_resnet.training.checkpoints.run_data import RunData
from gluon_resnet.training.checkpoints.states import States, link
from gluon_resnet.training.position import Position
from gluon_resnet.training.trainer import Trainer


class Checkpoints:
    """Saves and finds the state of the run whose files begin with `prefix`.

    Files are written in the background of training, so a save only takes as long as copying the arrays. If a file
    cannot be written, that is reported, and training goes on with what was saved before.

    Args:
        prefix: the path and the beginning of the names of all the run's files; the folder must exist.
        settings: everything that the run's numbers depend on (network, recipe, seed, ...), as a flat dict of JSON
            values.
        data: the run's classes and records, which must stay the same, too; None if unknown.
        save_period: the number of epochs between files PREFIX-NNNN.params; the last and the best are always written.
        save_every: the number of updates after which the state is also saved; 0 to save it only after epochs.
        keep: the number of states to keep, at least 1.
        writes: whether this worker saves anything; otherwise another one does.
        warn: a function that shows the user a sentence.

    Attributes:
        resumed: whether `resume` has found a state; otherwise the run begins here.
    """

    def __init__(
        self,
        prefix: str,
        settings: Mapping[str, Any],
        save_period: int = 1,
        save_every: int = 0,
        keep: int = 2,
        writes: bool = True,
        warn: Callable[[str], None] = warn,
        data: Optional[RunData] = None,
    ) -> None:
        self.prefix, self.resumed = prefix, False
        self._data = data
        self._settings = json.loads(json.dumps(settings))  # as read back: tuples become lists
        self._save_period, self._save_every, self._keep = save_period, save_every, keep
        self._writes, self._warn = writes, warn
        self._states = States(prefix)
        self._writer = BackgroundWriter(self._not_written)
        self._saved: list[int] = []  # iterations of the states of this run
        self._failure: Optional[str] = None  # why the newest state or its network could not be written
        self._network: Optional[str] = None  # the newest of this run; an older run may have left others
        self._only_best: Optional[str] = None  # a network that was saved only for being the best
        self.resume_path = self._states.link_path

    def due(self, iteration: int) -> bool:
        """Whether the state is to be saved after `iteration` updates, within an epoch."""
        return self._save_every > 0 and iteration % self._save_every == 0

    def save(self, trainer: Trainer, position: Position, *, last: bool = False, urgent: bool = True) -> None:
        """Save everything that a run needs to resume at `position`, and the network if an epoch is complete.

        `last` says that this is the last epoch, whose network is always saved. If not `urgent`, the save is skipped
        while an earlier one is still being written.
        """
        if not self._writes:
            return
        if not urgent and self._writer.busy:
            self._warn(
                f"the state of iteration {position.iteration} is not saved: an earlier one is still being written"
            )
            return
        arrays = trainer.state()
        epochs = position.epoch + 1
        network = None
        if position.trained and (last or epochs % self._save_period == 0):
            network = parameter_values(trainer.net)

        def write() -> None:
            # The state comes first: with a network but no state, the run could not be resumed.
            self._states.write(self._settings, position, arrays, self._data)
            self._failure = None
            self._saved = [*(n for n in self._saved if n != position.iteration), position.iteration]
            self._saved = self._saved[-self._keep :]
            self._states.keep_only(self._saved)
            if network is not None:
                try:
                    self._write_network(network, epochs)
                except OSError as error:
                    self._not_written(f"the network after epoch {epochs}", error)

        self._writer.submit(f"the state of iteration {position.iteration}", write)

    def validated(self, trainer: Trainer, position: Position) -> None:
        """Save `position` after an epoch's validation; its arrays are those of the position before.

        If the epoch is the best one so far, its network is saved in any case, and PREFIX-best.params links to it.
        """
        if not self._writes:
            return
        epochs = position.epoch
        network = None
        if position.best and position.best.epochs == epochs:
            network = parameter_values(trainer.net)

        def write() -> None:
            if network is not None:
                path, former = parameters_path(self.prefix, epochs), self._only_best
                self._only_best = None
                if path != self._network:
                    self._write_network(network, epochs)
                    self._only_best = path if epochs % self._save_period else None
                link(path, f"{self.prefix}-best.params")
                if former:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(former)
            if position.iteration in self._saved:  # otherwise its arrays could not be written
                self._states.write(self._settings, position, data=self._data)

        self._writer.submit(f"the state after the validation of epoch {epochs}", write)

    def flush(self) -> None:
        """Wait until everything is written; GluonResnetError if the newest state or its network could not be."""
        self._writer.flush()
        if self._failure:
            raise GluonResnetError(f"{self._failure}; {self._kept() or 'no state is kept'}")

    def settle(self) -> None:
        """Wait until nothing is being written, whatever the outcome."""
        self._writer.settle()

    def resume(self, trainer: Trainer) -> Optional[Position]:
        """Set `trainer` to the last state and return its position; None if there is none.

        UsageError, naming the difference, if the state belongs to a run with other settings;
        ModelError if a file is damaged.
        """
        state = self._states.last()
        if state is None:
            return None
        for name in sorted({*state.settings, *self._settings}):
            then, now = state.settings.get(name), self._settings.get(name)
            if then != now:
                then, now = (printable_name(str(value)) for value in (then, now))
                raise UsageError(
                    f"{state.path} belongs to a run with another {name} ({then}, now {now}): "
                    "a run can only be resumed with its own settings; with --load-epoch another starts from its weights"
                )
        other = state.data.difference(self._data) if state.data and self._data else None
        if other:
            raise UsageError(
                f"{state.path} cannot be resumed, since {other}; give the records that this run began with, or "
                "another --model-prefix, for which --pretrained can start with these weights"
            )
        trainer.load_state(state.arrays_path, self._states.arrays(state))
        self._saved = [n for n in self._states.iterations() if n <= state.position.iteration]
        self.resumed = True
        return state.position

    def complete(self, trainer: Trainer, position: Position, iterations: int) -> None:
        """Write the network of the epoch at whose end a run of `iterations` iterations resumes, if it is missing.

        It is if the run was killed, or its disk full, between writing the state and the network.
        """
        epochs, ended = position.epoch + position.trained, position.trained or not position.batch
        due = position.iteration >= iterations or epochs % self._save_period == 0
        if not (self._writes and self.resumed and epochs and ended and due):
            return
        path = parameters_path(self.prefix, epochs)
        if os.path.exists(path):
            link(path, f"{self.prefix}-last.params")
        else:
            self._write_network(parameter_values(trainer.net), epochs)

    def keep_as(self, prefix: str) -> bool:
        """Keep the last state of this run under another prefix, in the same folder; False if there is none."""
        self._writer.flush()
        state = self._states.last() if self._saved else None
        if state:
            States(prefix).adopt(state)
        return state is not None

    def under(self, prefix: str) -> Checkpoints:
        """Checkpoints with the same settings, whose files begin with `prefix`."""
        return Checkpoints(prefix, self._settings)

    def unfinished(self, iterations: int) -> bool:
        """Whether an unfinished run of `iterations` iterations has been saved here."""
        state = self._states.last() if self._states.linked else None  # otherwise somebody has abandoned it
        return state is not None and not state.position.done(iterations)

    def _write_network(self, arrays: Mapping[str, Any], epochs: int) -> None:
        path = parameters_path(self.prefix, epochs)
        write_arrays(path, arrays)
        self._network = path
        link(path, f"{self.prefix}-last.params")

    def _not_written(self, name: str, error: OSError) -> None:
        self._failure = f"{name} could not be written ({error})"
        kept = self._kept()
        self._warn("; ".join([self._failure, *([kept] if kept else []), "training goes on"]))

    def _kept(self) -> str:
        return f"the state of iteration {self._saved[-1]} is kept" if self._saved else ""
