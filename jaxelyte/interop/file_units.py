"""Units of files that do not state them, cells that they do not hold, and how both are given as arguments."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jaxelyte.checks import choice, shown
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.units import AVOGADRO, BOHR


class FileUnits(NamedTuple):
    """Factors to our units.

    Attributes:
        length: to Å.
        time: to fs; None for units of length alone.
        velocity: to Å/fs; None for units of length alone.
        mass: to g/mol; None for units of length alone.
    """

    length: float
    time: float | None = None
    velocity: float | None = None
    mass: float | None = None


UNITS = {
    "real": FileUnits(1.0, 1.0, 1.0, 1.0),
    "metal": FileUnits(1.0, 1e3, 1e-3, 1.0),
    "si": FileUnits(1e10, 1e15, 1e-5, AVOGADRO * 1e3),
    "cgs": FileUnits(1e8, 1e15, 1e-7, AVOGADRO),
    "electron": FileUnits(BOHR, 1.0, BOHR / 1.03275, 1.0),
    "micro": FileUnits(1e4, 1e9, 1e-5, AVOGADRO * 1e-12),
    "nano": FileUnits(10.0, 1e6, 1e-5, AVOGADRO * 1e-18),
    "angstrom": FileUnits(1.0),
    "bohr": FileUnits(BOHR),
    "atomic_unit": FileUnits(BOHR),
    "nm": FileUnits(10.0),
}
"""Unit styles of LAMMPS (its documentation, ``units``), and units of length for files of other programs."""

STYLES = tuple(name for name, units in UNITS.items() if units.time is not None)


def units_named(name: str | None, *, styles: bool, what: str) -> FileUnits | None:
    """The units of a name; None for None.

    Args:
        name: as in `UNITS`.
        styles: the file is one whose times are LAMMPS', so that the name is one of its styles; else units of length do.
        what: the file, for errors.

    Raises:
        InputError: an unknown name.
        UnsupportedError: the reduced units of LAMMPS.
    """
    if name is None:
        return None
    if name == "lj":
        raise UnsupportedError(
            f"{what} is in reduced (lj) units, which have no length in Å and no time in fs; convert it with the σ, ε "
            "and mass of the model"
        )
    return UNITS[choice(f"units of {what}", name, STYLES if styles else UNITS)]


def as_cell(cell: Any) -> np.ndarray:
    """A cell (3, 3) in Å, rows are the lattice vectors.

    Args:
        cell: three lengths in Å; three lengths and the angles α, β, γ in degrees; or 3 x 3 (nine numbers).

    Raises:
        InputError: other shapes, numbers that are not finite, or a cell without volume.
    """
    from ase.geometry import cellpar_to_cell

    try:
        given = np.asarray(cell, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"cell = {shown(cell)} holds no numbers; give three lengths in Å, or 3 x 3") from error
    if given.shape not in ((3,), (6,), (9,), (3, 3)):
        raise InputError(
            f"cell has shape {given.shape}; give three lengths in Å, with three angles in degrees, or 3 x 3"
        )
    if given.shape in ((3,), (6,)) and not (np.all(given[:3] > 0) and np.all((given[3:] > 0) & (given[3:] < 180))):
        raise InputError(
            f"cell = {given.tolist()} must have positive lengths in Å and angles between 0 and 180 degrees"
        )
    rows = cellpar_to_cell(given) if given.size == 6 else np.diag(given) if given.size == 3 else given.reshape(3, 3)
    if not np.all(np.isfinite(rows)) or not abs(np.linalg.det(rows)) > 1e-6:
        raise InputError(f"cell = {given.tolist()} has no finite volume")
    return np.asarray(rows)
