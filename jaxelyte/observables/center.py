"""Motion of the centre of mass: what it is worth, and what single atoms lack where it is taken out.

Displacements relative to the centre of mass lack part of the motion: of N independent walkers alike, 1/N. In general an
atom of mass m in a system of mass M has <v²> = 3 k_B T (1/m - 1/M) relative to the centre of mass, so that its mean
squared displacement is 1 - m/M times that of a free atom; the same factor is lost where the dynamics conserves the
total momentum. `follow` gives it. (A molecule lacks its own mass over M, of which this counts the atom's only.)

Where the centre of mass moves just as far as independent atoms move it, it is part of their motion, and stays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxelyte.observables.series import mean_squared_displacement
from jaxelyte.observables.unwrapping import unwrapped
from jaxelyte.trajectory import Trajectory

INDEPENDENT = (0.5, 3.0)
"""Displacement of the centre of mass over that of independent atoms: between these it is taken as their own motion.
Atoms that move in pairs have a ratio of two."""


class Followed(NamedTuple):
    """Positions of one replica, unwrapped.

    Attributes:
        relative: (frames, atoms, 3), Å, relative to the centre of mass.
        positions: (frames, atoms, 3), Å: whose displacements are those of single atoms, but for ``share``.
        share: (atoms,), of the mean squared displacement of free atoms that ``positions`` show.
    """

    relative: np.ndarray
    positions: np.ndarray
    share: np.ndarray


def follow(trajectory: Trajectory, replica: int, lag: int) -> Followed:
    """Positions for displacements of single atoms: with the centre of mass where it moves as independent atoms do.

    Otherwise relative to it: where the total momentum is conserved (at zero or not), where a thermostat or a file
    moves the whole system, and where the cell changes.

    Args:
        trajectory: the frames.
        replica: which of them.
        lag: the longest that matters, in frames.

    Raises:
        InputError: see `unwrapped`.
    """
    positions = unwrapped(trajectory, replica, drift=False)
    masses = np.asarray(trajectory.masses[replica], np.float64)
    weights = masses / masses.sum()
    center = np.einsum("fad,a->fd", positions, weights)[:, None]
    relative = positions - center
    if len(weights) == 1 or _independent(relative, center, weights, lag):
        return Followed(relative, positions, np.ones(len(masses)))
    return Followed(relative, relative, 1.0 - weights)


def follow_velocities(velocities: np.ndarray, masses: np.ndarray, interval: float, lag: int) -> Followed:
    """As `follow`, of velocities (frames, atoms, 3) in Å/fs: ``relative`` and ``positions`` are velocities as well.

    Args:
        velocities: of one replica.
        masses: (atoms,).
        interval: fs between frames.
        lag: the longest that matters, in frames.
    """
    weights = masses / masses.sum()
    center = np.einsum("fad,a->fd", velocities, weights)[:, None]
    relative = velocities - center
    relative_moved, center_moved = (interval * np.cumsum(part, axis=0) for part in (relative, center))
    if len(weights) == 1 or _independent(relative_moved, center_moved, weights, lag):
        return Followed(relative, velocities, np.ones(len(masses)))
    return Followed(relative, relative, 1.0 - weights)


def _independent(relative: np.ndarray, center: np.ndarray, weights: np.ndarray, lag: int) -> bool:
    """Whether the centre moves as independent atoms move it, from one frame to the next and over the lag."""
    scale = np.sqrt(len(weights) / (1.0 - weights)) * weights
    lags = [1, max(1, lag)]
    found = mean_squared_displacement(center)[lags]
    expected = mean_squared_displacement(relative * scale[:, None])[lags]
    return bool(np.all((found > INDEPENDENT[0] * expected) & (found < INDEPENDENT[1] * expected)))
