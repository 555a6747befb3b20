"""PDB files: their frames and cells in the one form that MDAnalysis reads, and whether they are whole.

Frames stand between MODEL and ENDMDL (OpenMM, GROMACS), or end with END (VMD, CP2K); the cell stands in each of them,
in front of each, or once in front of all.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import IO

from jaxelyte.checks import caution
from jaxelyte.errors import InputError
from jaxelyte.interop.file_text import errors_of, open_bytes
from jaxelyte.wording import counted

ATOMS = (b"ATOM  ", b"HETATM")
CELL = ((6, 15), (15, 24), (24, 33), (33, 40), (40, 47), (47, 54))
"""Columns of CRYST1: three lengths in Å, three angles in degrees."""

LONGEST = 99999.0
"""Å, the longest lattice vector that its columns take."""

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


def as_models(path: Path, folder: Path) -> Path:
    """A copy in which each frame is a model that begins with its cell, the last one given before or in it.

    MDAnalysis takes a single cell in front of the first model for none, and frames that end with END for one.

    Raises:
        InputError: a cell that is not six numbers, or no atoms.

    Warns:
        UserWarning: atoms with alternate locations, of which the first is kept.
    """
    target = folder / "models.pdb"
    cell, frame, count, opened, bare = b"", [], 0, False, True
    places = Places()
    with errors_of(path), open_bytes(path) as source, target.open("wb") as copy:
        for number, line in enumerate(source, 1):
            if line.startswith(b"CRYST1"):
                cell = _cell_line(line, path, number)
            elif line.startswith((*ATOMS, b"TER")):
                opened |= line.startswith(ATOMS)
                bare &= not cell
                if not places.first(line):
                    continue
                frame.append(line if line.endswith(b"\n") else line + b"\n")
            elif line.startswith((b"MODEL", b"END")) and opened:
                count += 1
                _write_model(copy, count, cell, frame)
                frame, opened = [], False
                places.next_model()
        if opened:
            _write_model(copy, count + 1, cell, frame)
        elif not count:
            raise InputError(f"{path} holds no atoms: a PDB file has them in lines ATOM and HETATM")
        if cell and bare:
            raise InputError(f"{path}: its cell (CRYST1) follows the atoms; it must precede them")
    if places.others:
        caution(
            f"{path}: alternate locations of {counted(len(places.others), 'atom')}, such as {places.others[0]}; "
            "the first of "
            "each is read"
        )
    return target


class Places:
    """Alternate locations (column 17): atoms that stand several times in a model, of which the first one counts.

    Attributes:
        others: atoms of the first model that have several locations, by name and residue.
    """

    def __init__(self) -> None:
        self.others: list[str] = []
        self._seen: dict[bytes, bytes] = {}
        self._models = 0

    def first(self, line: bytes) -> bool:
        """False for a line with another location of an atom that the model has already."""
        mark = line[16:17]
        if not line.startswith(ATOMS) or not mark.strip():
            return True
        key = line[12:16] + line[17:27]
        if self._seen.setdefault(key, mark) == mark:
            return True
        if not self._models:
            self.others.append(b" ".join(key.split()).decode("ascii", "replace"))
        return False

    def next_model(self) -> None:
        """Forget the atoms of the model before."""
        self._seen, self._models = {}, self._models + 1


def _write_model(copy: IO[bytes], count: int, cell: bytes, frame: list[bytes]) -> None:
    copy.write(b"MODEL %8d\n" % count + cell + b"".join(frame) + b"ENDMDL\n")


def _cell_line(line: bytes, path: Path, number: int) -> bytes:
    """A line CRYST1 in its columns, also where it was written without regard to them."""
    text = line.decode("ascii", "replace")
    found: list[list[float]] = []
    for words in ([text[a:b] for a, b in CELL], text.split()[1:7]):
        with contextlib.suppress(ValueError):
            found.append([float(word) for word in words])
    # Numbers may touch each other in their columns; where they do not, both readings agree.
    if not found or len(found[0]) < 6 or (found[0] != found[-1] and len(found[-1]) == 6) or max(found[0]) > LONGEST:
        raise InputError(
            f"{path}: the cell in line {number} is not three lengths and three angles: {text.strip()[:60]!r}"
        )
    a, b, c, alpha, beta, gamma = found[0]
    return f"CRYST1{a:9.3f}{b:9.3f}{c:9.3f}{alpha:7.2f}{beta:7.2f}{gamma:7.2f} P 1           1\n".encode()
