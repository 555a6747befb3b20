"""Periodicity that was probably lost: atoms that fill a cell, or a box, as a liquid does, although pbc is False."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxelyte import checks
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

GAP = 4.0
"""Å; atoms that leave no wider gap along a cell vector fill the cell; slabs and molecules leave vacuum."""

LEAST_ATOMS = 8
CORNER_ATOMS = 60


def warn_of_periodicity(
    frames: Sequence[Atoms], called: Callable[[Sequence[int]], str] = lambda _: "the system"
) -> None:
    """Look at the periodicity of structures that are about to be simulated or trained on.

    Args:
        frames: the structures.
        called: what to call those with these numbers.

    Warns:
        UserWarning: cells that the atoms fill although they are not periodic, or liquids without a cell; one each.
    """
    filled = {n: axes for n, frame in enumerate(frames) if (axes := filled_directions(frame))}
    if filled:
        along = ", ".join("abc"[k] for k in next(iter(filled.values())))
        checks.caution(
            f"pbc of {called(list(filled))} is False along {along}, although the atoms fill the cell there; set "
            "atoms.pbc = True if it is periodic"
        )
    dense = [n for n, frame in enumerate(frames) if n not in filled and liquid_without_cell(frame)]
    if dense:
        checks.caution(
            f"{called(dense)}: no cell, although the {counted(len(frames[dense[0]]), 'atom')} fill a box as densely "
            "as a liquid; set atoms.cell and atoms.pbc if it is periodic (plain XYZ files hold no cell)"
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
