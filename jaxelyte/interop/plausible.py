"""Distances and densities of frames that were read: lengths in another unit, atoms of another order.

Nearest neighbours are judged in sums of covalent radii. Bonds, crystals, melts and hydrated ions have 0.7 to 1.4 of
them, whatever the elements are; noble gases up to 5, and gases anything. Hydrogen is always bonded, so that
it alone tells Bohr (1.89 times too long) from Å.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from jaxelyte.checks import caution
from jaxelyte.wording import counted

CLOSEST = 0.62
"""Sums of covalent radii; the smallest for a bond are 0.68 (uranyl) and 0.77 (N2)."""

BONDED = 1.5
"""The largest for the atom next to a hydrogen; H2 has 1.2, and molecules 0.9 to 1.1."""

SPARSE, ORDERED = 5.0, 0.2
"""Neighbours that far away are no condensed matter, which shows by distances that are all alike: their relative
standard deviation is 0.36 in a gas and below 0.2 in liquids and crystals."""

NOBLE = (2, 10, 18, 36, 54, 86)

DENSEST = 0.35
"""Atoms per Å³; twice those of diamond."""

FEWEST, REPEATED = 3, 60
"""Atoms that are judged at least, and up to which their periodic images are looked at."""

TWO_BONDS, MOST_TWICE = 1.12, 0.2
"""Å within which a hydrogen has one neighbour, and the share of hydrogens that may have two (shared protons)."""

SCALES = {
    10.0: "lengths in Å taken for nm",
    1.8897: "lengths in Bohr taken for Å",
    0.5292: "lengths in Å taken for Bohr",
    0.1: "lengths in nm taken for Å",
}
"""By how much lengths in another unit differ."""


class Nearest(NamedTuple):
    """Nearest neighbours: distances in Å and in sums of covalent radii, and whether a second one is bonded as well."""

    distance: np.ndarray
    relative: np.ndarray
    twice: np.ndarray


def check_plausible(
    positions: np.ndarray, numbers: np.ndarray, cell: np.ndarray, pbc: tuple[bool, ...], source: str, *, stated: bool
) -> bool:
    """Look at one frame.

    Args:
        positions: (atoms, 3), Å.
        numbers: (atoms,), atomic numbers.
        cell: (3, 3), Å.
        pbc: periodic directions.
        source: the file, for messages.
        stated: the units of length are the file's, so that ``units=`` is no remedy.

    Returns:
        Whether there was a warning.

    Warns:
        UserWarning: atoms that are closer, farther or denser than in matter, or hydrogens with two bonds: one of these.
    """
    hint = "" if stated else "; if they are not in Å, pass units="
    volume = abs(float(np.linalg.det(cell))) if all(pbc) else 0.0
    if volume and len(positions) > DENSEST * volume:
        density = len(positions) / volume
        caution(
            f"{source}: {density:.3g} atoms per Å³ are more than any matter has ({counted(len(positions), 'atom')} in "
            f"{volume:.4g} Å³): check the units of length{hint}"
        )
        return True
    if len(positions) < FEWEST or not np.all(np.isfinite(positions)):
        return False
    near = nearest(positions, numbers, cell, pbc)
    typical, hydrogen = max(float(np.median(near.relative)), 1e-9), numbers == 1
    what, ratio, twice, apart = "", typical, 0.0, 0.0
    if np.count_nonzero(hydrogen) >= 2:
        twice, apart = float(np.mean(near.twice[hydrogen])), float(np.median(near.relative[hydrogen]))
    if typical < CLOSEST:
        what = f"the atom next to an atom is {np.median(near.distance):.3g} Å away (median)"
    elif twice <= MOST_TWICE and apart > BONDED:
        ratio = apart
        what = f"the atom next to a hydrogen is {np.median(near.distance[hydrogen]):.3g} Å away (median)"
    elif typical > SPARSE and np.std(near.distance) < ORDERED * np.mean(near.distance):
        heavy = near.relative[~np.isin(numbers, NOBLE)]
        what = f"all atoms are {np.median(near.distance):.3g} Å from the next one" if len(heavy) else ""
    if what:
        scale = min(SCALES, key=lambda one: abs(np.log(one / ratio)))
        like = f", as by {SCALES[scale]}" if abs(np.log(scale / ratio)) < np.log(1.5) else ""
        caution(f"{source}: {what}, {ratio:.2g} times a bond length{like}: check the units of length{hint}")
    elif twice > MOST_TWICE:
        caution(
            f"{source}: {twice:.0%} of the hydrogen atoms have two neighbours within "
            f"{TWO_BONDS:g} Å, which no hydrogen has: are the elements, or the topology, in another order than the "
            "positions?"
        )
    else:
        return False
    return True


def nearest(positions: np.ndarray, numbers: np.ndarray, cell: np.ndarray, pbc: tuple[bool, ...]) -> Nearest:
    """The nearest neighbours of all atoms, also across the faces of small cells."""
    from ase.data import covalent_radii

    points = np.asarray(positions, np.float64)
    shifts = np.zeros((1, 3))
    if any(pbc) and len(points) <= REPEATED:
        turns = np.stack(np.meshgrid(*[(-1, 0, 1) if periodic else (0,) for periodic in pbc], indexing="ij"), axis=-1)
        order = sorted(turns.reshape(-1, 3).tolist(), key=lambda n: sum(abs(k) for k in n))
        shifts = np.array(order) @ cell
        inverse = np.linalg.pinv(cell)
        points = points - np.floor(points @ inverse) * np.asarray(pbc) @ cell
    every = (shifts[:, None] + points).reshape(-1, 3)
    found = KDTree(every).query(points, k=3)
    distance, index = np.asarray(found[0]), np.asarray(found[1])
    partner = np.minimum(index[:, 1:], len(every) - 1) % len(points)
    radii = covalent_radii[np.minimum(numbers, len(covalent_radii) - 1)]
    relative = distance[:, 1:] / (radii[:, None] + radii[partner])
    best = np.argmin(relative, axis=1)
    rows = np.arange(len(points))
    return Nearest(distance[rows, 1 + best], relative[rows, best], distance[:, 2] < TWO_BONDS)
