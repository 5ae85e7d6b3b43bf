"""What a reproduction has found so far: its networks with their runs, tests and responses, from files of one folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from gluon_resnet.analysis.responses import Responses
from gluon_resnet.evaluation.intervals import interval
from gluon_resnet.provenance import Source
from gluon_resnet.runs.files.run import Run


@dataclass(frozen=True)
class Evaluation:
    """A file written by `tools/evaluate.py --output`."""

    path: str
    keys: tuple[str, ...]  # those of the networks; several form an ensemble
    epochs: tuple[int, ...]  # the number that each was trained for
    protocol: str  # '1-crop', '10-crop', 'multi-scale'
    scales: Optional[tuple[int, ...]]  # those of multi-scale testing
    images: int
    top_k: int
    top1_wrong: int
    topk_wrong: int
    command: str
    predictions: Optional[str] = None  # the path of the answers to each image; None if not kept

    @property
    def top1_error(self) -> float:
        """The error in percent."""
        return 100 * self.top1_wrong / self.images

    @property
    def topk_error(self) -> float:
        """The error in percent."""
        return 100 * self.topk_wrong / self.images

    @property
    def top1_interval(self) -> tuple[float, float]:
        """The 95 % interval of top1_error, in percent."""
        return interval(self.top1_wrong, self.images)

    @property
    def topk_interval(self) -> tuple[float, float]:
        """The 95 % interval of topk_error, in percent."""
        return interval(self.topk_wrong, self.images)


@dataclass(frozen=True)
class StudiedNet:
    """A network of a study, trained or not."""

    key: str  # 'resnet56', 'resnet34-B': the beginning of its files' names
    network: str  # as for get_model
    shortcut: Optional[str]  # None if plain
    depth: int
    parameters: int
    prefix: str  # the prefix of its files, with the study's folder
    run: Optional[Run]  # None if not begun
    responses: Optional[Responses]  # None if not measured
    evaluations: tuple[Evaluation, ...]  # those of this network alone
    seed: int = 0  # the seed of its training; others than 0 repeat the network with seed 0
    source: Optional[Source] = None  # the source of converted weights; None if trained here

    @property
    def plain(self) -> bool:
        """Whether it has no shortcuts."""
        return self.network.startswith("plain")

    @property
    def finished(self) -> bool:
        """Whether all its epochs are done."""
        return self.run is not None and bool(self.run.epochs) and len(self.run.epochs) == self.run.planned

    def evaluation(self, protocol: str) -> Optional[Evaluation]:
        """Its evaluation under `protocol`, if there is one."""
        return next((e for e in self.evaluations if e.protocol == protocol), None)


@dataclass(frozen=True)
class Study:
    """Everything that a report shows."""

    data_set: str  # 'cifar10', 'fashion-mnist' or 'imagenet'
    folder: str
    command: str  # the command that made it, as typed
    nets: tuple[StudiedNet, ...]  # in the order of the tables
    ensembles: tuple[Evaluation, ...]
    converted: tuple[StudiedNet, ...]  # networks with other projects' weights
    deviations: tuple[str, ...]  # sentences on how this study differs from the paper's experiments
    example: Optional[str] = (
        None  # the name of a picture in the folder: a test image and the best network's answer
    )

    @property
    def shown(self) -> tuple[StudiedNet, ...]:
        """The networks of the study, and those shown beside them."""
        return (*self.nets, *self.converted)

    @property
    def first_seeds(self) -> tuple[StudiedNet, ...]:
        """Each network once, without its repetitions with other seeds."""
        return tuple(net for net in self.nets if not net.seed)

    def repeats(self, net: StudiedNet) -> list[StudiedNet]:
        """The networks that differ from `net` only in the seed, and `net` itself, by seed."""
        same = [n for n in self.nets if (n.network, n.shortcut) == (net.network, net.shortcut)]
        return sorted(same, key=lambda n: n.seed)
