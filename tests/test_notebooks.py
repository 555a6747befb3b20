"""Notebooks are committed without outputs, and they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))


def settings(path: Path) -> dict[str, Any]:
    """What a notebook says about itself: {"slow": bool, "needs": [folders beside the repository]}."""
    return nbformat.read(path, as_version=4).metadata.get("jaxelyte", {})


def cases() -> list[Any]:
    marks = {path: [pytest.mark.slow] if settings(path).get("slow") else [] for path in PATHS}
    return [pytest.param(path, id=path.stem, marks=marks[path]) for path in PATHS]


def test_there_are_notebooks():
    assert PATHS, "notebooks/ is empty: the tests below would check nothing"


@pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])
def test_no_outputs_are_committed(path):
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type == "code":
            assert not cell.outputs, f"cell {number} holds outputs; run `make hooks`, or nbstripout {path.name}"
            assert cell.execution_count is None, f"cell {number} holds its execution count"


@pytest.mark.parametrize("path", cases())
def test_notebook_runs(path):
    nbclient = pytest.importorskip("nbclient")
    for folder in settings(path).get("needs", []):
        if not (ROOT.parent / folder).is_dir():
            pytest.skip(f"data are absent: no folder ../{folder} beside the repository")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(FOLDER)}}).execute()
