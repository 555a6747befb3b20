"""Structures that are probably not meant as they stand: cells that were lost, periodicity and charges that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxelyte.checks import caution
from jaxelyte.data.kinds import BOND, contacts
from jaxelyte.data.labels import frames_named
from jaxelyte.periodicity import warn_of_periodicity

if TYPE_CHECKING:
    from ase import Atoms

EDGE = 0.9
"""Neighbours beyond that share of a cut-off contribute next to nothing."""

MOST_FRAMES = 50

STATES = ("charge", "total_charge", "spin", "multiplicity", "spin_multiplicity", "tot_magnetization", "magmom")
"""Keys of ``atoms.info`` that tell electronic states apart."""


def warn_of_structures(frames: Sequence[Atoms]) -> None:
    """Look at cells, periodicity and electronic states.

    Warns:
        UserWarning: cells that are filled but not periodic, liquids without a cell, frames of one composition that
            differ in periodicity or in charge or spin.
    """
    warn_of_periodicity(frames, frames_named)
    kinds: dict[str, dict[tuple[bool, ...], int]] = {}
    states: dict[str, dict[tuple[object, ...], int]] = {}
    for n, frame in enumerate(frames):
        formula = frame.get_chemical_formula()
        kinds.setdefault(formula, {}).setdefault(tuple(bool(p) for p in frame.pbc), n)
        state = tuple(_plain(frame.info.get(key)) for key in STATES)
        states.setdefault(formula, {}).setdefault(state, n)
    mixed = [found for found in kinds.values() if len(found) > 1]
    if mixed:
        listed = ", ".join(f"{pbc} in frame {n}" for pbc, n in mixed[0].items())
        caution(f"frames of one composition differ in pbc: {listed}; is this intended?")
    several = [(formula, found) for formula, found in states.items() if len(found) > 1]
    if several:
        formula, found = several[0]
        a, b = list(found.items())[:2]
        key = next(key for key, x, y in zip(STATES, a[0], b[0], strict=True) if x != y)
        place = STATES.index(key)
        caution(
            f"frames of {formula} differ in info[{key!r}] ({a[0][place]} in frame {a[1]}, {b[0][place]} in frame "
            f"{b[1]}): a network knows positions and elements only, and learns the mean of several charges or spins; "
            "train on one of them"
        )


def warn_of_reach(frames: Sequence[Atoms], r_max: float) -> None:
    """Compare the cut-off of a network with the bonds of the frames, or with the nearest neighbours without bonds.

    Args:
        frames: of one set.
        r_max: Å.

    Warns:
        UserWarning: bonds of a species, or neighbours of most atoms, that the cut-off leaves out.
    """
    from ase.data import chemical_symbols

    several = [frame for frame in frames if len(frame) > 1 or any(frame.pbc)]
    if not several:
        return
    nearest, bonded, numbers = [], [], []
    for frame in [several[n] for n in np.unique(np.linspace(0, len(several) - 1, MOST_FRAMES).astype(int))]:
        near = contacts(frame, 3.0)
        closest, relative = np.full(len(frame), np.inf), np.full(len(frame), np.inf)
        np.minimum.at(closest, near.first, near.distances)
        np.minimum.at(relative, near.first, near.relative)
        nearest.append(closest)
        bonded.append(relative < BOND)
        numbers.append(frame.numbers)
    distance, bond, number = np.concatenate(nearest), np.concatenate(bonded), np.concatenate(numbers)
    far = {int(z): float(np.median(distance[bond & (number == z)])) for z in np.unique(number[bond])}
    far = {z: length for z, length in far.items() if length > EDGE * r_max}
    typical = float(np.median(distance))
    if far:
        z, length = max(far.items(), key=lambda item: item[1])
        what = f"the shortest bonds of {chemical_symbols[z]} in the frames have a length of {length:.3g} Å"
    elif typical > EDGE * r_max and np.isfinite(typical):
        what = f"the nearest neighbour of most atoms is {typical:.3g} Å away"
    else:
        return
    caution(
        f"r_max = {r_max:g} Å, but {what}: the network does not see neighbours beyond its cut-off, and "
        "hardly those just within; use a larger cut-off (4 to 6 Å is usual)"
    )


def _plain(value: object) -> object:
    """A number, or None for anything that does not tell states apart."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return round(float(value), 3)
    return None
