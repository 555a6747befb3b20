"""Notebooks are committed without outputs, and they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jaxelyte.interop.published import data_folders

nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
SIZE = "0.1"
PATHS = sorted(FOLDER.glob("*.ipynb"))


def settings(path: Path) -> dict[str, Any]:
    """What a notebook says about itself: {"slow": bool}."""
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


@pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])
def test_notebooks_need_nothing_but_the_clone(path):
    """Published data make them longer; where they are absent, cells say so. Sizes come from one variable."""
    code = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    assert 'os.environ.get("JAXELYTE_SIZE", "1")' in code
    assert "shared" not in code
    assert "published(" not in code.replace("find_published(", "")


@pytest.mark.parametrize("data", ["as_found", "absent"])
@pytest.mark.parametrize("path", cases())
def test_notebook_runs(path, data, monkeypatch, tmp_path):
    """At a tenth of its size; and once more as in a clone without published data, if there are any here."""
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("JAXELYTE_SIZE", SIZE)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    if data == "absent":
        if all(not folder.exists() for folder in data_folders()):
            pytest.skip("there are no published data: that is what the other test runs")
        monkeypatch.setenv("JAXELYTE_DATA", str(tmp_path / "none"))
        monkeypatch.setenv("JAXELYTE_DATA_ONLY", "1")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(FOLDER)}}).execute()
