"""PDB files that end early."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import jaxelyte as jxl
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
