"""tests/costly.txt names tests that exist, and none of those that every run has to see."""

from __future__ import annotations

import re

from tests.support.costly import ALWAYS, costly_tests
from tests.support.paths import ROOT


def exists(name: str) -> bool:
    file, _, test = name.partition("::")
    path = ROOT / file
    function = re.escape(test.split("[")[0])
    return (
        path.is_file()
        and re.search(rf"^ *def {function}\(", path.read_text("utf-8"), re.MULTILINE) is not None
    )


def test_each_line_is_a_test() -> None:
    lines = costly_tests()
    assert [name for name in (*lines, *ALWAYS) if not exists(name)] == []
    assert len(lines) == len(set(lines))
    assert lines == sorted(lines)


def test_what_every_run_has_to_see_is_not_among_them() -> None:
    assert not ALWAYS & set(costly_tests())
