"""What a run saves and when: its states, and the network after an epoch, with links to the best and the last."""

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

    Files are written beside training: a save takes the time of copying the arrays. One that cannot be written is told,
    and training goes on with what was saved before.

    Args:
        prefix: path and beginning of the name of all its files; the folder must exist.
        settings: what the numbers of this run depend on (network, recipe, seed, ...), JSON-able, flat.
        data: its classes and records, which are to stay the same, too; None: not known.
        save_period: PREFIX-NNNN.params is written after every so many epochs; after the last and the best one always.
        save_every: the state is saved after every so many updates, too; 0: only after an epoch.
        keep: how many states are kept, from 1.
        writes: False: this worker saves nothing, another one does.
        warn: takes a sentence for the user.

    Attributes:
        resumed: whether `resume` has found a state: else the run begins here.
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
        self._settings = json.loads(json.dumps(settings))  # as it is read back: tuples become lists
        self._save_period, self._save_every, self._keep = save_period, save_every, keep
        self._writes, self._warn = writes, warn
        self._states = States(prefix)
        self._writer = BackgroundWriter(self._not_written)
        self._saved: list[int] = []  # iterations of the states of this run
        self._failure: Optional[str] = None  # what could not be written, of the newest state and its network
        self._network: Optional[str] = None  # newest of this run; an older run may have left others
        self._only_best: Optional[str] = None  # a network that was saved for no other reason
        self.resume_path = self._states.link_path

    def due(self, iteration: int) -> bool:
        """Whether the state is to be saved after so many updates, within an epoch."""
        return self._save_every > 0 and iteration % self._save_every == 0

    def save(self, trainer: Trainer, position: Position, *, last: bool = False, urgent: bool = True) -> None:
        """Save what a run needs to go on from `position`, and the network when an epoch is complete.

        `last`: it is the last epoch, whose network is saved in any case. Not `urgent`: left out while an earlier one is
        being written.
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
            # The state comes first: where a network is without one, the run could not go on.
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
        """Save `position`, which has the arrays of the one before: an epoch's validation is done.

        Where it was the best one so far, its network is saved in any case, and PREFIX-best.params a link to it.
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
            if position.iteration in self._saved:  # or its arrays could not be written
                self._states.write(self._settings, position, data=self._data)

        self._writer.submit(f"the state after the validation of epoch {epochs}", write)

    def flush(self) -> None:
        """Wait until all is written; GluonResnetError where the newest state, or its epoch's network, could not be."""
        self._writer.flush()
        if self._failure:
            raise GluonResnetError(f"{self._failure}; {self._kept() or 'no state is kept'}")

    def settle(self) -> None:
        """Wait until nothing is being written, whatever became of it."""
        self._writer.settle()

    def resume(self, trainer: Trainer) -> Optional[Position]:
        """Set `trainer` to the last state and return its position; None where there is none.

        UsageError that names the difference when the state is that of a run with other settings;
        ModelError when a file is damaged.
        """
        state = self._states.last()
        if state is None:
            return None
        for name in sorted({*state.settings, *self._settings}):
            then, now = state.settings.get(name), self._settings.get(name)
            if then != now:
                then, now = (printable_name(str(value)) for value in (then, now))
                raise UsageError(
                    f"{state.path} is of a run with another {name} ({then}, now {now}): "
                    "a run goes on under its own settings, others start from its weights with --load-epoch"
                )
        other = state.data.difference(self._data) if state.data and self._data else None
        if other:
            raise UsageError(
                f"{state.path} cannot be gone on from, since {other}; give the records that this run began with, or "
                "another --model-prefix, which --pretrained can begin with these weights"
            )
        trainer.load_state(state.arrays_path, self._states.arrays(state))
        self._saved = [n for n in self._states.iterations() if n <= state.position.iteration]
        self.resumed = True
        return state.position

    def complete(self, trainer: Trainer, position: Position, iterations: int) -> None:
        """Write the network of the epoch at whose end a run of so many iterations goes on, where it is not there.

        The run was ended, or its disk full, between the state and the network.
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
        """Let the last state of this run stay under another prefix, in the same folder; False where there is none."""
        self._writer.flush()
        state = self._states.last() if self._saved else None
        if state:
            States(prefix).adopt(state)
        return state is not None

    def under(self, prefix: str) -> Checkpoints:
        """Those of the same settings whose files begin with `prefix`."""
        return Checkpoints(prefix, self._settings)

    def unfinished(self, iterations: int) -> bool:
        """Whether a run of so many iterations has been saved here and is not at its end."""
        state = self._states.last() if self._states.linked else None  # else somebody gave it up
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
