"""The box in the last line of Amber's restart files (inpcrd, rst7), which MDAnalysis does not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.interop.file_text import Lines, errors_of
from jaxelyte.interop.file_units import as_cell

WIDTH = 12
"""Columns of a number, of which six stand in a line."""


def inpcrd_cell(path: Path) -> np.ndarray:
    """The cell (3, 3) in Å, zero where there is none.

    A title and the number of atoms are followed by positions, velocities in some files, and the box in others: three
    lengths in Å and three angles in degrees, or lengths alone.

    Raises:
        InputError: a box that is no numbers, or has no volume.
    """
    with errors_of(path), Lines(path) as lines:
        lines.next()
        atoms = int(lines.next().split()[0])
        rows = [line for line in iter(lines.next, "") if line.strip()]
        each = (3 * atoms + 5) // 6
        if len(rows) not in (each + 1, 2 * each + 1):
            return np.zeros((3, 3))
        # Two atoms have one line of velocities, as long as a box; those are never as large as one.
        last = rows[-1].rstrip()
        box = [float(last[n : n + WIDTH]) for n in range(0, len(last), WIDTH)]
        if len(box) not in (3, 6):
            raise InputError(f"its last line is not a box of lengths and angles: {last[:80]!r}")
        if atoms <= 2 and len(rows) == 2 and max(abs(x) for x in box) < 5.0:
            return np.zeros((3, 3))
        return as_cell(box)
