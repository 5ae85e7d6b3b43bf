"""What the speed of a run depends on: versions, processors, devices."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Sequence
from typing import Any

from gluon_resnet.environment.processor import describe_processor
from gluon_resnet.training.distributed.workers import Workers
from gluon_resnet.versions import versions


def environment(contexts: Sequence[Any], workers: Workers) -> dict[str, str]:
    """What is known of this machine and this process, for people to read."""
    processor = describe_processor()
    return {
        **versions(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "host": socket.gethostname(),
        "processor": processor.model,
        "processors": f"{processor.usable} of {processor.present}",
        "threads of MXNet": os.environ["OMP_NUM_THREADS"],
        "devices": ", ".join(map(str, contexts)),
        "workers": str(workers.count),
    }
