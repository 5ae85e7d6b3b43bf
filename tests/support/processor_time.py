"""A plugin of pytest that writes down what each test costs: seconds of processor time, its child processes' included.

    python -m pytest -n 2 -p tests.support.processor_time --processor-time=build/processor-time

Processor time does not depend on what else the machine does. `make costly` makes tests/costly.txt of it.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterator

import pytest


def _seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--processor-time", metavar="FOLDER", help="write the seconds of each test there")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    began = _seconds()
    yield
    folder = item.config.getoption("--processor-time")
    if folder:
        path = pathlib.Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        with open(path / f"{os.getpid()}.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps([item.nodeid, round(_seconds() - began, 2)]) + "\n")
