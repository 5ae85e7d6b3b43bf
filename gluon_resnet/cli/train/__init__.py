"""tools/train.py: trains a network on record files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Optional

from gluon_resnet.cli.command import as_typed
from gluon_resnet.cli.train.foreign import translated
from gluon_resnet.cli.train.options import parser, replayed_file, settings_of
from gluon_resnet.runs.replay import Replay
from gluon_resnet.runs.run import train
from gluon_resnet.runs.timing import benchmark
from gluon_resnet.terminal import note


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Train as `argv` says (default: the command line); return the exit status, None for success."""
    argv = sys.argv[1:] if argv is None else list(argv)
    path, others = replayed_file(argv)
    if path is not None:
        replay = Replay(path)
        args = parser().parse_args(translated([*replay.arguments, *others], note))
        return replay(settings_of(args))
    args = parser().parse_args(translated(argv, note))
    settings = settings_of(args)
    if args.benchmark:
        benchmark(settings)
        return None
    outcome = train(settings, as_typed(argv))
    return None if outcome.stopped_by is None else 128 + outcome.stopped_by
