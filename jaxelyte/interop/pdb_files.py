"""Whether a PDB file is whole: MDAnalysis reads one that was cut as a smaller system."""

from __future__ import annotations

from pathlib import Path

from jaxelyte.interop.file_text import errors_of, open_bytes

ATOMS = (b"ATOM  ", b"HETATM")
COORDINATES = 54
"""Columns up to the end of the coordinates."""


def missing_end(path: Path) -> str:
    """Why a PDB file seems not to be whole; empty where it is.

    A model that was begun has to be closed by ENDMDL, and the last atom has as many columns as the one before.
    """
    begun, last, before = 0, b"", b""
    with errors_of(path), open_bytes(path) as file:
        for line in file:
            if line.startswith(b"MODEL "):
                begun += 1
            elif line.startswith(b"ENDMDL"):
                begun -= 1
            elif line.strip():
                last, before = line, last
    if begun:
        return "its last model is not closed by ENDMDL" if begun > 0 else "a line MODEL is missing"
    cut = last.startswith(ATOMS) and not last.endswith(b"\n")
    if cut and before.startswith(ATOMS) and len(last) < max(COORDINATES, len(before.rstrip(b"\r\n"))):
        return "its last line is shorter than the one before"
    return ""
