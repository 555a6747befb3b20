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
    rows, width = index.shape
    count = jnp.cumsum(keep, axis=1, dtype=jnp.int32)
    column = jnp.where(keep, count - 1, capacity)
    # One scatter finds where each slot comes from; gathers are cheaper than a scatter for each array.
    origin = jnp.full((rows, capacity), width, jnp.int32)
    places = jnp.arange(width, dtype=jnp.int32)[None, :]
    origin = origin.at[jnp.arange(rows)[:, None], column].set(places, mode="drop")
    new_index = jnp.take_along_axis(index, origin, axis=1, mode="fill", fill_value=atoms)
    new_shift = jnp.take_along_axis(shift, origin[..., None], axis=1, mode="fill", fill_value=0)
    return Found(new_index, new_shift, jnp.max(count[:, -1]))


def search_all_pairs(
    system: System, spec: NeighborSpec, radius: float, offsets: HashableArray, capacity: int, count: int
) -> Found:
    """Every pair within ``radius`` Å by comparing all pairs of members and their images; O(count²), any cell.

    Args:
        system: one system.
        spec: which atoms take part.
        radius: Å, cut-off plus skin.
        offsets: from `image_offsets`.
        capacity: neighbour slots per atom.
        count: room for the atoms that take part; where it is smaller than the system, only they are compared.
    """
    atoms = system.num_atoms
    if count >= atoms:
        return _search_rows(system, spec, radius, offsets, capacity)
    member = member_mask(system, spec)
    rows = jnp.nonzero(member, size=count, fill_value=atoms)[0].astype(jnp.int32)
    few = system.replace(
        positions=jnp.take(system.positions, rows, axis=0, mode="clip"),
        numbers=jnp.take(system.numbers, rows, mode="clip"),
        masses=jnp.take(system.masses, rows, mode="clip"),
        mask=rows < atoms,
    )
    found = _search_rows(few, spec, radius, offsets, capacity)
    names = jnp.append(rows, jnp.int32(atoms))  # a padding entry, count in the small list, is atoms in the large one
    index = jnp.full((atoms, capacity), atoms, jnp.int32).at[rows].set(jnp.take(names, found.index), mode="drop")
    shift = jnp.zeros((atoms, capacity, 3), found.shift.dtype).at[rows].set(found.shift, mode="drop")
    return Found(index, shift, found.needed)


def _search_rows(system: System, spec: NeighborSpec, radius: float, offsets: HashableArray, capacity: int) -> Found:
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
