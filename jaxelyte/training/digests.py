"""Hashes by which a training run knows its data and its start again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np

from jaxelyte.data.labels import Labels
from jaxelyte.potentials.nequip import NequIPPotential

if TYPE_CHECKING:
    from ase import Atoms


def digest_of(frames: Sequence[Atoms], labels: Sequence[Labels]) -> str:
    """SHA-256 of structures and labels, in order."""
    digest = hashlib.sha256()
    for frame, label in zip(frames, labels, strict=True):
        for array in (frame.numbers, frame.positions, frame.cell.array, frame.pbc, label.forces, label.stress):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(repr(label.energy).encode())
    return digest.hexdigest()


def structure_digests(frames: Iterable[Atoms]) -> list[str]:
    """A short hash of each structure, whatever its labels."""
    return [
        hashlib.sha256(b"".join(x.tobytes() for x in (f.numbers, f.positions, f.cell.array, f.pbc))).hexdigest()[:12]
        for f in frames
    ]


def fingerprints(frames: Iterable[Atoms]) -> list[str]:
    """A hash of each structure to about 1e-3 Å, whatever its labels, the position of its origin or wrapping."""
    found = []
    for frame in frames:
        moved = frame.positions - frame.positions[:1]
        cell = frame.cell.array * np.asarray(frame.pbc)[:, None]
        if all(frame.pbc):
            moved = np.linalg.solve(cell.T, moved.T).T
            moved = np.round(moved, 4) % 1.0
        parts = (frame.numbers.astype(np.int64), np.round(moved, 3) + 0.0, np.round(cell, 3) + 0.0)
        found.append(hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in parts)).hexdigest()[:16])
    return found


def digest_of_weights(potential: NequIPPotential) -> str:
    """SHA-256 of all parameters, in order."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(potential.params):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
