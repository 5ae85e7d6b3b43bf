"""The end of a worker whose run has lost another worker."""

from __future__ import annotations

import os

from gluon_resnet.terminal import tell


def give_up(rank: int) -> None:
    """End this process, whose main thread may be waiting inside MXNet for worker `rank`, which is gone."""
    tell(
        f"train.py: error: worker {rank} has ended, and the others cannot continue: start them all with --resume"
    )
    os._exit(1)
