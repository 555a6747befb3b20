"""Neighbour search inside jit: all pairs with images, for any cell, size and periodicity.

Pairs are found in fractional coordinates: the shift of the nearest image along each lattice vector comes from
rounding, and where the cell is narrower than twice the radius the further images that can reach are tried as well. An
image at distance below r has fractional components below r / w, with w the widths between opposite faces, so
|S - S0| <= floor(r / w + ½) is sufficient in any triclinic cell.
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from jaxelyte.arrays import HashableArray
from jaxelyte.lattice import combine, fractional
from jaxelyte.neighbors.lists import NeighborSpec
from jaxelyte.system import System, perpendicular_widths

ROWS_AT_ONCE = 2_000_000
"""Candidate pairs held in memory at a time; longer searches go through the rows in blocks."""


class Found(struct.PyTreeNode):
    """Result of a search: index (atoms, capacity), shift (atoms, capacity, 3), and the largest true row count."""

    index: Int[Array, "atoms capacity"]
    shift: Int[Array, "atoms capacity 3"]
    needed: Int[Array, ""]


def image_offsets(cells: np.ndarray, pbc: tuple[bool, bool, bool], radius: float) -> HashableArray:
    """Lattice offsets around the nearest image that can lie within ``radius`` in any of the cells.

    Args:
        cells: shape (systems, 3, 3), Å.
        pbc: periodic directions.
        radius: Å.
    """
    widths = np.min([perpendicular_widths(cell) for cell in cells], axis=0)
    reach = np.where(np.asarray(pbc), np.floor(radius / widths + 0.5), 0).astype(int)
    offsets = list(itertools.product(*(range(-n, n + 1) for n in reach)))
    offsets.sort(key=lambda s: (s[0] ** 2 + s[1] ** 2 + s[2] ** 2, s))
    return HashableArray(np.array(offsets, np.int32))


def nearest_shift(system: System, vectors: Float[Array, "... 3"]) -> Int[Array, "... 3"]:
    """Integers S that bring vectors to their nearest image along each lattice vector; 0 where not periodic."""
    coordinates = fractional(vectors, system.cell)
    periodic = jnp.asarray(system.pbc)
    return -jnp.where(periodic, jnp.round(coordinates), jnp.zeros((), coordinates.dtype)).astype(jnp.int32)


def member_mask(system: System, spec: NeighborSpec) -> Array:
    """True for the atoms among which a list looks for pairs."""
    if spec.numbers is None:
        return system.mask
    return system.mask & jnp.isin(system.numbers, jnp.asarray(spec.numbers, system.numbers.dtype))


def compact(keep: Array, index: Array, shift: Array, capacity: int, atoms: int) -> Found:
    """Move the entries to keep to the front of each row, in order, into ``capacity`` slots."""
    count = jnp.cumsum(keep, axis=1, dtype=jnp.int32)
    column = jnp.where(keep, count - 1, capacity)
    row = jnp.broadcast_to(jnp.arange(index.shape[0])[:, None], index.shape)
    empty = jnp.full((index.shape[0], capacity), atoms, index.dtype)
    new_index = empty.at[row, column].set(index, mode="drop")
    new_shift = jnp.zeros((index.shape[0], capacity, 3), shift.dtype).at[row, column].set(shift, mode="drop")
    return Found(new_index, new_shift, jnp.max(count[:, -1]))


def search_all_pairs(system: System, spec: NeighborSpec, radius: float, offsets: HashableArray, capacity: int) -> Found:
    """Every pair within ``radius`` Å by comparing all pairs and images; O(N²), any cell.

    Args:
        system: one system.
        spec: which atoms take part.
        radius: Å, cut-off plus skin.
        offsets: from `image_offsets`.
        capacity: neighbour slots per atom.
    """
    atoms = system.num_atoms
    images = jnp.asarray(offsets.array)
    member = member_mask(system, spec)
    everyone = jnp.arange(atoms, dtype=jnp.int32)
    limit = jnp.asarray(radius, system.positions.dtype) ** 2

    def row(i: Array) -> tuple[Array, Array, Array]:
        vectors = system.positions - system.positions[i]
        shift = nearest_shift(system, vectors)[:, None, :] + images
        image = vectors[:, None, :] + combine(shift.astype(vectors.dtype), system.cell)
        close = jnp.sum(image**2, axis=-1) < limit
        itself = (everyone == i)[:, None] & jnp.all(shift == 0, axis=-1)
        keep = close & ~itself & member[:, None] & member[i]
        index = jnp.broadcast_to(everyone[:, None], keep.shape)
        found = compact(keep.reshape(1, -1), index.reshape(1, -1), shift.reshape(1, -1, 3), capacity, atoms)
        return found.index[0], found.shift[0], found.needed

    width = atoms * len(offsets)
    block = max(1, min(atoms, ROWS_AT_ONCE // width))
    index, shift, needed = jax.lax.map(row, everyone, batch_size=block)
    return Found(index, shift, jnp.max(needed))
