"""The tests that `make test` leaves out for their cost: tests/costly.txt, a line for each, measured.

python -m tests.support.costly FOLDER     writes it anew from what tests.support.processor_time has measured
"""

from __future__ import annotations

import json
import pathlib
import sys

from tests.support.paths import ROOT

PATH = ROOT / "tests" / "costly.txt"
LIMIT = 0.5  # seconds of processor time of a test that `make test` runs
# Whole paths that every run has to see, whatever they cost.
ALWAYS = frozenset(
    {
        "tests/runs/test_train.py::test_a_whole_run",
    }
)
_HEADER = f"""\
# Tests that take more than {LIMIT:g} s of processor time: `make test-costly`, CI and `make test-all` run them, and
# `make test` does not. Written by `make costly`; tests/base/test_costly.py fails for a line whose test does not exist.
"""


def costly_tests() -> list[str]:
    """The node ids of these tests."""
    return [
        line for line in PATH.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
    ]


def main(folder: str) -> None:
    """Write the list. Tests that were not measured keep their place."""
    seconds: dict[str, float] = {}
    for path in pathlib.Path(folder).glob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, value = json.loads(line)
            seconds[name] = max(value, seconds.get(name, 0.0))
    before = costly_tests() if PATH.exists() else []
    names = {name for name, value in seconds.items() if value > LIMIT and name not in ALWAYS}
    names |= {name for name in before if name not in seconds}
    PATH.write_text(_HEADER + "".join(f"{name}\n" for name in sorted(names)), encoding="utf-8")
    others = [value for name, value in seconds.items() if name not in names]
    print(
        f"{len(names)} tests are costly; the other {len(others)} take {sum(others):.0f} s of processor time"
    )


if __name__ == "__main__":
    main(sys.argv[1])
