"""Frames as arrays of a few fixed shapes: structures, neighbour lists, and what a model has to learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float

from jaxelyte.data.labels import Labels
from jaxelyte.neighbors.host import host_list
from jaxelyte.neighbors.lists import NeighborList, Neighbors, NeighborSpec
from jaxelyte.system import System

if TYPE_CHECKING:
    from ase import Atoms

MOST_SHAPES = 3

STEP = 4
"""Neighbour slots are a multiple of it, so that sets of frames that hardly differ share a shape, and a program."""


class Targets(struct.PyTreeNode):
    """What a model has to learn, in a form that float32 can hold: baseline and reference energies are taken away.

    Masks are False for padding and where the label is missing; the values are zero there.

    Attributes:
        energy: shape (frames,), eV.
        forces: shape (frames, atoms, 3), eV/Å.
        stress: shape (frames, 3, 3), eV/Å³.
        has_energy: shape (frames,).
        has_forces: shape (frames, atoms).
        has_stress: shape (frames,).
    """

    energy: Float[Array, " frames"]
    forces: Float[Array, "frames atoms 3"]
    stress: Float[Array, "frames 3 3"]
    has_energy: Bool[Array, " frames"]
    has_forces: Bool[Array, "frames atoms"]
    has_stress: Bool[Array, " frames"]


class Bucket(struct.PyTreeNode):
    """Frames padded to one shape; every array has a leading axis of frames."""

    systems: System
    neighbors: Neighbors
    targets: Targets


class Dataset(NamedTuple):
    """Buckets, and the number that each of their frames has in the list that they were made from."""

    buckets: tuple[Bucket, ...]
    frames: tuple[np.ndarray, ...]

    @property
    def num_frames(self) -> int:
        """Frames in all buckets."""
        return sum(len(numbers) for numbers in self.frames)


class Residuals(NamedTuple):
    """Labels less baseline and references, float64, a row per frame; NaN where missing."""

    energies: np.ndarray
    forces: list[np.ndarray]
    stresses: np.ndarray

    @classmethod
    def of(cls, labels: Sequence[Labels]) -> Residuals:
        """The labels as they are."""
        return cls(
            np.array([label.energy for label in labels], np.float64),
            [np.array(label.forces) for label in labels],
            np.array([label.stress for label in labels], np.float64).reshape(-1, 3, 3),
        )


def share_out(sizes: np.ndarray, most: int = MOST_SHAPES) -> list[np.ndarray]:
    """Divide frames among at most ``most`` buckets so that padding to the largest frame of each costs least.

    Args:
        sizes: shape (frames,), atoms of each frame.
        most: number of buckets.

    Returns:
        Frame numbers of each bucket, from small frames to large ones.
    """
    values, counts = np.unique(sizes, return_counts=True)
    number = len(values)
    total = np.concatenate([[0], np.cumsum(counts)])
    # best[k, j]: padded atoms of the j smallest sizes in k buckets; start[k, j]: where the last of them begins.
    best = np.full((most + 1, number + 1), np.inf)
    start = np.zeros((most + 1, number + 1), int)
    best[0, 0] = 0.0
    for k in range(1, most + 1):
        for j in range(1, number + 1):
            costs = [best[k - 1, i] + values[j - 1] * (total[j] - total[i]) for i in range(j)]
            start[k, j] = int(np.argmin(costs))
            best[k, j] = costs[start[k, j]]
    k, j = int(np.argmin(best[:, number])), number
    groups = []
    while j > 0:
        i = start[k, j]
        groups.append(np.flatnonzero((sizes >= values[i]) & (sizes <= values[j - 1])))
        k, j = k - 1, i
    return groups[::-1]


def make_dataset(
    frames: Sequence[Atoms], residuals: Residuals, specs: tuple[NeighborSpec, ...], *, most_shapes: int = MOST_SHAPES
) -> Dataset:
    """Pad frames, their neighbour lists and targets to a few shapes.

    Args:
        frames: any cells, periodic or not, of any sizes; no atoms may be missing.
        residuals: what is to be learned.
        specs: the neighbour lists that the model reads.
        most_shapes: shapes allowed for each kind of periodicity.

    Raises:
        InputError: atoms that cannot be simulated.
    """
    kinds: dict[tuple[bool, bool, bool], list[int]] = {}
    for number, frame in enumerate(frames):
        a, b, c = (bool(p) for p in frame.pbc)
        kinds.setdefault((a, b, c), []).append(number)
    chosen = []
    for members in kinds.values():
        sizes = np.array([len(frames[n]) for n in members])
        chosen += [np.array(members)[group] for group in share_out(sizes, most_shapes)]
    buckets = tuple(_bucket([frames[n] for n in group], _take(residuals, group), specs) for group in chosen)
    return Dataset(buckets, tuple(chosen))


def _take(residuals: Residuals, group: np.ndarray) -> Residuals:
    forces = [residuals.forces[n] for n in group]
    return Residuals(residuals.energies[group], forces, residuals.stresses[group])


def _bucket(frames: list[Atoms], residuals: Residuals, specs: tuple[NeighborSpec, ...]) -> Bucket:
    systems = [System.from_atoms(frame) for frame in frames]
    room = max(system.num_atoms for system in systems)
    padded = stack([pad_system(system, room) for system in systems])
    neighbors = stack_lists(systems, specs, room)
    dtype = padded.positions.dtype
    forces = np.full((len(frames), room, 3), np.nan)
    for row, values in enumerate(residuals.forces):
        forces[row, : len(values)] = values

    def filled(values: np.ndarray) -> Array:
        return jnp.asarray(np.where(np.isfinite(values), values, 0.0), dtype)

    targets = Targets(
        filled(residuals.energies),
        filled(forces),
        filled(residuals.stresses),
        jnp.asarray(np.isfinite(residuals.energies)),
        jnp.asarray(np.isfinite(forces).all(axis=-1)),
        jnp.asarray(np.isfinite(residuals.stresses).all(axis=(1, 2))),
    )
    return Bucket(padded, neighbors, targets)


def pad_system(system: System, room: int) -> System:
    """A system with padding atoms up to ``room`` rows; they stand at the origin, have no element and no mask."""
    extra = room - system.num_atoms
    if extra == 0:
        return system

    def pad(values: Array, fill: float | bool) -> Array:
        rows = np.full((extra, *values.shape[1:]), fill, values.dtype)
        return jnp.asarray(np.concatenate([np.asarray(values), rows]))

    return system.replace(
        positions=pad(system.positions, 0.0),
        numbers=pad(system.numbers, 0),
        masses=pad(system.masses, 1.0),
        mask=pad(system.mask, False),
    )


def stack(trees: Sequence[System]) -> System:
    """Systems of one shape as one, with a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack([np.asarray(x) for x in leaves])), *trees)


def stack_lists(systems: Sequence[System], specs: tuple[NeighborSpec, ...], room: int) -> Neighbors:
    """Neighbour lists of systems, padded to ``room`` atoms and to the longest row."""
    lists = []
    for spec in specs:
        found = [host_list(system, spec) for system in systems]
        longest = max(one.index.shape[1] for one in found)
        longest = -(-longest // STEP) * STEP
        index = np.full((len(found), room, longest), room, np.int32)
        shift = np.zeros((len(found), room, longest, 3), np.int32)
        for row, one in enumerate(found):
            atoms, width = one.index.shape
            own = np.asarray(one.index)
            index[row, :atoms, :width] = np.where(own < atoms, own, room)
            shift[row, :atoms, :width] = one.shift
        # Shifts are the largest array of a data set, and small numbers.
        small = np.abs(shift).max(initial=0) <= 127
        lists.append(
            NeighborList(jnp.asarray(index), jnp.asarray(shift, jnp.int8 if small else jnp.int32), spec.cutoff)
        )
    return Neighbors(tuple(lists), specs)
