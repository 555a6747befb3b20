"""PDB files: frames and cells as programs write them, and files that end early."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import jaxelyte as jxl
from jaxelyte.errors import InputError
from jaxelyte.interop.pdb_files import missing_end

ATOM = "ATOM      1  O   SOL X   1       4.751   6.383   5.654  1.00  0.00           O  \n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"MODEL        1\n{ATOM}{ATOM}ENDMDL\nEND\n", ""),
        (f"{ATOM}{ATOM}", ""),
        (f"{ATOM}{ATOM[:-1]}", ""),
        (f"{ATOM}{ATOM}END", ""),
        (f"MODEL        1\n{ATOM}{ATOM}", "its last model is not closed by ENDMDL"),
        (f"MODEL        1\n{ATOM}ENDMDL\nMODEL        2\n{ATOM}", "its last model is not closed by ENDMDL"),
        (f"{ATOM}ENDMDL\nMODEL        2\n{ATOM}ENDMDL\n", "a line MODEL is missing"),
        (f"{ATOM}{ATOM[:58]}", "its last line is shorter than the one before"),
    ],
)
def test_ends_of_pdb_files(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "a.pdb"
    path.write_text(text)
    assert missing_end(path) == why
    if not why:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            jxl.open_trajectory(path)
        return
    with pytest.warns(UserWarning, match=f"is not whole: {why}; atoms or frames may be missing"):
        jxl.open_trajectory(path)


CELL = "CRYST1   21.000   22.000   23.000  90.00  90.00  90.00 P 1           1\n"


def _text(layout: str) -> str:
    """Two frames with one atom that moves by 1 Å, as programs write them."""
    first, second = ATOM, ATOM.replace("   4.751", "   5.751")
    model, end = "MODEL     %4d\n", "ENDMDL\n"
    return {
        "openmm": f"{CELL}{model % 1}{first}{end}{model % 2}{second}{end}END\n",
        "gromacs": f"TITLE     t= 0.0\n{CELL}{model % 1}{first}TER\n{end}"
        f"TITLE     t= 1.0\n{CELL.replace('21.000', '21.500')}{model % 2}{second}TER\n{end}",
        "mdanalysis": f"{model % 1}{CELL}{first}{end}{model % 2}{second}{end}",
        "vmd": f"{CELL}{first}END\n{second}END\n",
        "cp2k": f"REMARK   Step 0\n{CELL}{first}END\nREMARK   Step 1\n{CELL}{second}END\n",
        "columns": f"CRYST1 21.0 22.0 23.0 90.0 90.0 90.0\n{first}END\n{second}",
    }[layout]


@pytest.mark.parametrize("layout", ["openmm", "gromacs", "mdanalysis", "vmd", "cp2k", "columns"])
def test_frames_and_cells_of_pdb_files(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "a.pdb"
    path.write_text(_text(layout))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = jxl.open_trajectory(path)
        assert jxl.open_trajectory(path, topology=path).num_atoms == 1
    edges = found.cells_of(slice(None))[:, 0].diagonal(axis1=1, axis2=2)
    assert found.pbc == (True, True, True)
    np.testing.assert_allclose(edges, [[21, 22, 23], [21.5 if layout == "gromacs" else 21, 22, 23]], rtol=1e-6)
    np.testing.assert_allclose(found.positions[:, 0, 0, 0], [4.751, 5.751], rtol=1e-6)


def test_cells_of_pdb_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.pdb"
    path.write_text(f"CRYST1 a cube of 21\n{ATOM}END\n")
    with pytest.raises(InputError, match="the cell in line 1 is not three lengths and three angles: 'CRYST1 a cube"):
        jxl.open_trajectory(path)
    path.write_text(f"{ATOM}END\n{CELL}")
    with pytest.raises(InputError, match="follows the atoms"):
        jxl.open_trajectory(path)
    path.write_text("HEADER    EMPTY\nEND\n")
    with pytest.raises(InputError, match="holds no atoms: a PDB file has them in lines ATOM and HETATM"):
        jxl.open_trajectory(path)
    path.write_text(f"CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n{ATOM}END\n")
    assert jxl.open_trajectory(path).pbc == (False, False, False)
