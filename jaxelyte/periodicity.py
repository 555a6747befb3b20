"""Periodicity that was probably lost: atoms that fill a cell, or a box, as a liquid does, although pbc is False."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jaxelyte import checks

if TYPE_CHECKING:
    from ase import Atoms

GAP = 4.0
"""Å; atoms that leave no wider gap along a cell vector fill the cell; slabs and molecules leave vacuum."""

LEAST_ATOMS = 8
CORNER_ATOMS = 60


def warn_of_periodicity(atoms: Atoms, name: str = "the system") -> None:
    """Look at the periodicity of a structure that is about to be simulated.

    Args:
        atoms: the structure.
        name: what to call it.

    Warns:
        UserWarning: a cell that the atoms fill although it is not periodic, or a liquid without a cell.
    """
    axes = filled_directions(atoms)
    if axes:
        along = ", ".join("abc"[k] for k in axes)
        checks.caution(
            f"pbc of {name} is False along {along}, although the atoms fill the cell there; set atoms.pbc = True if it "
            "is periodic"
        )
    elif liquid_without_cell(atoms):
        checks.caution(
            f"{name} has no cell, although its {len(atoms)} atoms fill a box as densely as a liquid; set atoms.cell "
            "and atoms.pbc if it is periodic (plain XYZ files hold no cell)"
        )


def filled_directions(frame: Atoms) -> list[int]:
    """Cell vectors along which a frame is not periodic although its atoms leave no gap there."""
    lengths = frame.cell.lengths()
    open_ended = [k for k in range(3) if not frame.pbc[k] and lengths[k] > 1e-6]
    if len(frame) < LEAST_ATOMS or not open_ended or frame.cell.rank < 3:
        return []
    places = np.sort(frame.get_scaled_positions(wrap=False) % 1.0, axis=0)
    gaps = np.max(np.diff(np.concatenate([places, places[:1] + 1.0]), axis=0), axis=0) * lengths
    # Anything that leaves vacuum along a periodic direction is no filled cell either.
    return [k for k in open_ended if gaps[k] < GAP] if np.all(gaps < 2 * GAP) else []


def liquid_without_cell(frame: Atoms) -> bool:
    """A box of liquid fills the corners of the box around it; droplets and molecules do not."""
    if len(frame) < CORNER_ATOMS or any(frame.pbc) or np.any(frame.cell.array):
        return False
    low, high = frame.positions.min(axis=0), frame.positions.max(axis=0)
    edges = high - low
    if np.min(edges) < 5.0 or len(frame) / np.prod(edges) < 0.02:
        return False
    place = (frame.positions - low) / edges
    corner = np.all((place < 0.3) | (place > 0.7), axis=1)
    sides = {tuple(row) for row in (place[corner] > 0.5).tolist()}
    return len(sides) == 8
