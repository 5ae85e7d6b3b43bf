"""The tutorial notebook runs from its first cell to its last, and is kept without what a run leaves in it."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.support.documents import read

NOTEBOOK = json.loads(read("docs/tutorial.ipynb"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_it_is_a_notebook_without_outputs() -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CODE)
    names = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_it_runs_to_its_end(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("sklearn", reason="needs gluon-resnet[demo]")
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "__main__"}
    for cell in CODE:  # without a line of a shell or a magic, all of them are Python
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["tally"].images == 360
    assert names["tally"].top1_wrong < 90  # of a guess, 324
    assert (tmp_path / "digits" / "exported-symbol.json").is_file()
    assert len(names["answers"]) == 2
    assert "are wrong; 95 % interval" in capsys.readouterr().out
