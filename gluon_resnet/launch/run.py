"""A run: one attempt after another, each from the last checkpoint, until one succeeds or none are left."""

from __future__ import annotations

import signal
from typing import Callable

from gluon_resnet.errors import GluonResnetError
from gluon_resnet.launch.agent import GRACE, LOST
from gluon_resnet.launch.console import Console
from gluon_resnet.launch.job import Job, Outcome, Plan
from gluon_resnet.signals import Stops

# A run with bad arguments, or one that somebody has stopped, is not restarted.
_FINAL = (2, 128 + signal.SIGINT, 128 + signal.SIGTERM)


def run(plan: Plan, restarts: int = 0, check: Callable[[], None] = lambda: None) -> int:
    """Run `plan`, restart it up to `restarts` times after a failure, and return the exit status.

    That is 0, the status of the process that failed first in the last attempt, or 128 plus the number of the signal
    that ended the run. The last lines of the process that failed are printed again.

    `check` is called before every attempt; an error that it raises ends the run if it is the first attempt, and
    otherwise counts as a failure.
    """
    with Console() as console, Stops() as stops:
        for attempt in range(restarts + 1):
            try:
                check()
                outcome = Job(plan, console, stops).run()
            except GluonResnetError as error:
                if not attempt:
                    raise
                outcome = Outcome(1, str(error), started=False)
            final = outcome.status in (0, *_FINAL) or not (attempt or outcome.started)
            if final or stops.received or attempt == restarts:
                break
            # After this time, an agent that we can no longer reach has noticed that, too, and ended its command.
            pause = LOST + GRACE + 5 if outcome.lost else min(2**attempt, 60)
            console.say(f"{outcome.sentence}; restart {attempt + 1} of {restarts} in {pause} s")
            stops.wait(pause)
            if stops.received:
                return 128 + stops.received[0]
        _report(console, outcome)
        return outcome.status


def _report(console: Console, outcome: Outcome) -> None:
    if outcome.sentence:
        console.say(f"error: {outcome.sentence}{'; its last lines:' if outcome.lines else ''}")
        for line in outcome.lines:
            console.line(f"    {line}")
