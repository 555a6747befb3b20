"""Which frames are of one kind, judged by structure alone: only those can be expected to have similar labels.

Bulk, surfaces, clusters and dimers of one element have energies that differ by the cohesive energy, and molecules have
heats of formation. Comparing them says nothing about a label, so each frame is compared with frames like it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

COMPOSITION, COORDINATION, SIZE, DENSITY = 0.12, (0.3, 0.15), 2.2, 1.3
"""What frames of one kind differ by at most: sum of the differences of the fractions of the species; mean coordination
(absolute plus relative); ratio of the numbers of atoms; ratio of the densities."""

BOND, FAR = 1.25, 1.8
"""Atoms closer than ``BOND`` sums of covalent radii are neighbours, those beyond ``FAR`` are none."""


class Contacts(NamedTuple):
    """Pairs of near atoms, each from both ends: vectors and distances in Å, distances in sums of covalent radii."""

    first: np.ndarray
    second: np.ndarray
    vectors: np.ndarray
    distances: np.ndarray
    relative: np.ndarray


class Kinds:
    """Structural descriptions of frames.

    Attributes:
        counts: shape (frames, species), atoms of each species.
        sizes: shape (frames,), atoms.
        coordination: shape (frames,), mean number of neighbours of an atom.
        density: shape (frames,), atoms per Å³; 1 where a frame is not periodic in all directions.
    """

    def __init__(self, frames: Sequence[Atoms]) -> None:
        species = sorted({int(z) for frame in frames for z in np.unique(frame.numbers)})
        self.counts = np.array([[np.sum(frame.numbers == z) for z in species] for frame in frames], np.float64)
        self.sizes = self.counts.sum(axis=1)
        self.coordination = np.array([_mean_coordination(frame) for frame in frames])
        self._periodic = np.array([[bool(p) for p in frame.pbc] for frame in frames])
        volumes = [frame.get_volume() if all(frame.pbc) else 1.0 for frame in frames]
        self.density = np.where(self._periodic.all(axis=1), self.sizes / np.array(volumes), 1.0)

    def like(self, number: int, *, composition: bool = True) -> np.ndarray:
        """Numbers of the other frames of the same kind as one of them; of any composition, if that is not asked for."""
        share = self.counts / self.sizes[:, None]
        own = self.coordination[number]
        alike = np.abs(share - share[number]).sum(axis=1) < (COMPOSITION if composition else np.inf)
        if composition:
            alike &= np.all((self.counts > 0) == (self.counts[number] > 0), axis=1)
        alike &= np.all(self._periodic == self._periodic[number], axis=1)
        alike &= np.abs(self.coordination - own) <= COORDINATION[0] + COORDINATION[1] * own
        alike &= np.abs(np.log(self.sizes / self.sizes[number])) < np.log(SIZE)
        alike &= np.abs(np.log(self.density / self.density[number])) < np.log(DENSITY)
        alike[number] = False
        return np.flatnonzero(alike)


def contacts(frame: Atoms, most: float = FAR) -> Contacts:
    """Pairs of atoms up to ``most`` sums of covalent radii apart."""
    from ase.data import covalent_radii
    from vesin import NeighborList

    radii = covalent_radii[frame.numbers]
    first, second, vectors, distances = NeighborList(cutoff=2.0 * most * float(radii.max()), full_list=True).compute(
        points=frame.positions, box=frame.cell.complete().array, periodic=frame.pbc, quantities="ijDd"
    )
    first, second = first.astype(np.int64), second.astype(np.int64)
    relative = distances / (radii[first] + radii[second])
    kept = relative < most
    return Contacts(first[kept], second[kept], vectors[kept], distances[kept], relative[kept])


def _mean_coordination(frame: Atoms) -> float:
    weights = np.clip((FAR - contacts(frame).relative) / (FAR - BOND), 0.0, 1.0)
    return float(weights.sum()) / len(frame)


def symmetric_sites(frame: Atoms) -> bool:
    """True if the neighbours of every atom surround it evenly, so that its force may vanish exactly."""
    near = contacts(frame)
    if not len(near.first):
        return True
    unit = near.vectors / near.distances[:, None] * np.exp(-5.0 * near.relative)[:, None]
    pull = np.stack([np.bincount(near.first, unit[:, c], len(frame)) for c in range(3)], axis=1)
    weight = np.bincount(near.first, np.exp(-5.0 * near.relative), len(frame))
    return bool(np.all(np.linalg.norm(pull, axis=1) <= 1e-3 * weight))
