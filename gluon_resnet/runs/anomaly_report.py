"""The error that ends a run whose numbers went out of range, with its step saved for --replay."""

from __future__ import annotations

import os
import shlex
import sys

from gluon_resnet.errors import GluonResnetError
from gluon_resnet.runs.anomaly_file import AnomalyFile
from gluon_resnet.runs.environment import versions
from gluon_resnet.runs.job import Job
from gluon_resnet.training.anomaly import Anomaly, Place


def reported(anomaly: Anomaly, job: Job, command: str) -> GluonResnetError:
    """Save the step of `job` and return the error to raise. `command` is the command line that started the run."""
    text = str(anomaly)
    if isinstance(anomaly.where, Place):  # otherwise it occurred in a validation
        try:
            plan, writes = job.plan, job.rank == 0
            file = AnomalyFile.of(
                anomaly,
                rank=job.rank,
                world_size=job.world_size,
                seed=plan.settings.seed,
                arguments=plan.asked.arguments(),
                command=command,
                folder=os.getcwd(),
                settings=job.settings,
                versions=versions(),
            )
            path = file.save(plan.prefix, anomaly, job.checkpoints if writes else None)
            program = os.path.basename(sys.argv[0])
            text += f"; the step is saved; to see where it goes wrong, type: {program} --replay {shlex.quote(path)}"
        except (OSError, GluonResnetError) as error:
            text += f"; the step could not be saved ({error})"
    if anomaly.loss_scale is not None and anomaly.loss_scale < 1:
        text += "; the loss scale has fallen below 1, so the range of float16 is not the cause"
    return GluonResnetError(
        f"{text}; the files saved so far are kept: resume from them with a lower learning rate, or look for bad images "
        "and labels"
    )
