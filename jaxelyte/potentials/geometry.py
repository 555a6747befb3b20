"""Periodic geometry that the analytic potentials share: nearest images, rows of a list, tables by species."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Array, Bool, Float, Int

from jaxelyte.lattice import combine, fractional
from jaxelyte.neighbors.lists import NeighborList
from jaxelyte.system import System

LAST_ELEMENT = len(chemical_symbols) - 1


def wrapped_fractional(system: System, positions: Float[Array, "atoms 3"]) -> Float[Array, "atoms 3"]:
    """Fractional coordinates in [-1/2, 1/2], so that float32 phases of far-travelled atoms keep their digits."""
    coordinates = fractional(positions, system.cell)
    return coordinates - jnp.round(coordinates)


def nearest_vectors(system: System, vectors: Float[Array, "... 3"]) -> Float[Array, "... 3"]:
    """Image of each vector nearest along the lattice directions, by rounding fractional components.

    It is the shortest image whenever that is shorter than half the smallest width of the cell, which bonds are.
    """
    if not any(system.pbc):
        return vectors
    coordinates = fractional(vectors, system.cell)
    periodic = np.asarray(system.pbc)
    shift = jnp.where(periodic, jnp.round(coordinates), jnp.zeros((), coordinates.dtype))
    return vectors - combine(shift, system.cell)


def shortest_vectors(system: System, vectors: Float[Array, "... 3"]) -> Float[Array, "... 3"]:
    """Shortest image of each vector, also where it is not short compared with a skewed cell (27 candidates)."""
    if not any(system.pbc):
        return vectors
    steps = [(-1, 0, 1) if periodic else (0,) for periodic in system.pbc]
    offsets = combine(jnp.asarray(np.array(list(itertools.product(*steps))), vectors.dtype), system.cell)
    candidates = nearest_vectors(system, vectors)[..., None, :] + offsets
    best = jnp.argmin(jnp.sum(candidates**2, axis=-1), axis=-1)
    return jnp.take_along_axis(candidates, best[..., None, None], axis=-2)[..., 0, :]


def by_number(numbers: tuple[int, ...], values: Float[Array, " species"]) -> Float[Array, " elements"]:
    """Table over all atomic numbers that holds ``values`` at ``numbers`` and zero elsewhere."""
    return jnp.zeros(LAST_ELEMENT + 1, values.dtype).at[np.array(numbers, np.int32)].set(values)


def species_index(numbers: tuple[int, ...], system: System) -> Int[Array, " atoms"]:
    """Position of each atom's species in ``numbers``; ``len(numbers)`` where it is not among them."""
    table = np.full(LAST_ELEMENT + 1, len(numbers), np.int32)
    table[list(numbers)] = np.arange(len(numbers))
    return jnp.asarray(table)[system.numbers]


def symbols(numbers: Iterable[int]) -> str:
    """Chemical symbols for messages, separated by commas."""
    return ", ".join(chemical_symbols[n] for n in numbers)


def members(system: System, numbers: tuple[int, ...] | None) -> Bool[Array, " atoms"]:
    """Real atoms of the given species (of all species for None)."""
    if numbers is None:
        return system.mask
    table = np.zeros(LAST_ELEMENT + 1, bool)
    table[list(numbers)] = True
    return system.mask & jnp.asarray(table)[system.numbers]


def count_members(systems: Iterable[System], numbers: tuple[int, ...] | None) -> int:
    """How many real atoms of the given species concrete systems have at most, at least 1 (an array needs a row)."""
    return max(1, *(int(np.sum(np.asarray(members(system, numbers)))) for system in systems))


def member_rows(chosen: Bool[Array, " atoms"], size: int) -> Int[Array, " rows"]:
    """Indices of the chosen atoms, filled up with the number of atoms; static size."""
    atoms = chosen.shape[0]
    if size >= atoms:
        return jnp.arange(atoms, dtype=jnp.int32)
    return jnp.nonzero(chosen, size=size, fill_value=atoms)[0].astype(jnp.int32)


def row_pairs(
    lists: NeighborList, system: System, rows: Int[Array, " rows"]
) -> tuple[Float[Array, "rows capacity 3"], Int[Array, "rows capacity"]]:
    """Vectors in Å and neighbour indices of some rows of a list only.

    Like `NeighborList.vectors`, but rows that hold no pair (water, in a sum over ions) are never touched. Padding
    entries, and rows with the number of atoms for index, get a constant vector of twice the cut-off.
    """
    atoms = lists.index.shape[0]
    index = jnp.take(lists.index, rows, axis=0, mode="fill", fill_value=atoms)
    centers = jnp.take(system.positions, rows, axis=0, mode="clip")
    vectors = jnp.take(system.positions, index, axis=0, mode="clip") - centers[:, None, :]
    if any(system.pbc):
        shift = jnp.take(lists.shift, rows, axis=0, mode="clip").astype(system.cell.dtype)
        vectors = vectors + combine(shift, system.cell)
    far = jnp.asarray([2.0 * lists.cutoff, 0.0, 0.0], vectors.dtype)
    return jnp.where((index < atoms)[..., None], vectors, far), index
