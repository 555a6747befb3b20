"""The only adapter to jax-md: its cell list, for large periodic boxes.

jax-md takes fractional coordinates and an upper triangular box whose columns are the lattice vectors, in float32; the
radius is therefore widened by a part in 10⁵. The box is an argument of each search, so that replicas with different
cells, and cells that change, share one grid. Its list is rebuilt at every call (``dr_threshold=0``): the skin test is
ours, outside ``vmap``, where a conditional still saves the work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxelyte.lattice import combine, fractional
from jaxelyte.neighbors.lists import NeighborSpec
from jaxelyte.neighbors.search import Found, compact, member_mask, nearest_shift
from jaxelyte.system import System, perpendicular_widths

CELLS_PER_SIDE = 4
"""From so many cells a side on a cell list inspects clearly fewer pairs than all-pairs does (27 of 64)."""

SPARSE = 8
"""Neighbours that a row of the cell list has room for at least."""

INTERNAL_OVERFLOW = 2**30
"""Reported as the row count when jax-md's own buffers were too small to tell."""


def import_jax_md() -> tuple[Any, Any]:
    """jax-md's modules ``partition`` and ``space``; its import takes seconds and does arithmetic with mixed dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        from jax_md import partition, space
    return partition, space


def worth_it(cell: np.ndarray, pbc: tuple[bool, bool, bool], radius: float, atoms: int, count: int) -> bool:
    """True where the cell list applies and inspects fewer candidates than all pairs of the members.

    It applies to fully periodic cells with room for `CELLS_PER_SIDE` cells a side, and sorts all atoms, members or not.
    """
    if not all(pbc) or np.any(perpendicular_widths(cell) < CELLS_PER_SIDE * radius * 1.0001):
        return False
    candidates = 27.0 * radius**3 * atoms / abs(np.linalg.det(cell))
    return atoms * candidates < count**2


class CellSearch:
    """jax-md's cell list with capacities fixed at construction; static under jit, equal where all of these are."""

    def __init__(self, singles: Sequence[System], spec: NeighborSpec, radius: float, multiplier: float) -> None:
        """Fix the grid for the narrowest of the cells, and allocate for its density.

        Args:
            singles: concrete (not traced) systems; cells at least as wide as the narrowest of them can be searched.
            spec: which atoms take part.
            radius: Å, cut-off plus skin.
            multiplier: room for that many times the occupancy found now.
        """
        narrowest = min(singles, key=lambda one: float(perpendicular_widths(np.asarray(one.cell)).min()))
        # A hair narrower, so that no rounding makes the grid of this cell too fine for it.
        box = upper_triangular(narrowest.cell) * (1.0 - 1e-4)
        self.spec, self.radius = spec, radius
        with jax.numpy_dtype_promotion("standard"):
            functions = _functions(radius, multiplier)
            self._lists: Any = functions.allocate(_fractional(narrowest), box=box)
            if self._lists.idx.shape[1] < SPARSE:
                # What is found times a multiplier is no room where nothing is found.
                room = math.ceil(SPARSE * multiplier)
                self._lists = functions.allocate(_fractional(narrowest), extra_capacity=room, box=box)

        # What was found here is found anew in each call; only sizes count.
        sizes = (self._lists.idx.shape, self._lists.cell_list_capacity, self._lists.max_occupancy)
        self._key = (spec, radius, multiplier, float(self._lists.cell_size), sizes)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CellSearch) and self._key == other._key

    def __call__(self, system: System, capacity: int) -> Found:
        """All pairs within the radius, compacted to ``capacity`` slots.

        ``needed`` is huge on an internal overflow, and where the cell is narrower than those the grid was made for.
        """
        with jax.numpy_dtype_promotion("standard"):
            lists = self._lists.update(_fractional(system), box=upper_triangular(system.cell))
        atoms = system.num_atoms
        index = lists.idx.astype(jnp.int32)
        neighbor = jnp.take(system.positions, index, axis=0, mode="clip")
        vectors = neighbor - system.positions[:, None, :]
        shift = nearest_shift(system, vectors)
        vectors = vectors + combine(shift.astype(vectors.dtype), system.cell)
        member = member_mask(system, self.spec)
        keep = (index < atoms) & (jnp.sum(vectors**2, axis=-1) < self.radius**2)
        keep = keep & member[:, None] & jnp.take(member, index, mode="clip")
        found = compact(keep, index, shift, capacity, atoms)
        failed = lists.did_buffer_overflow | lists.cell_size_too_small
        return found.replace(needed=jnp.where(failed, jnp.int32(INTERNAL_OVERFLOW), found.needed))


def upper_triangular(cell: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """The cell turned so that its lattice vectors, here the columns, form an upper triangular matrix."""
    a, b, c = cell
    xx = jnp.sqrt(jnp.sum(a**2))
    first = a / xx
    xy, xz = jnp.sum(b * first), jnp.sum(c * first)
    b, c = b - xy * first, c - xz * first
    yy = jnp.sqrt(jnp.sum(b**2))
    yz = jnp.sum(c * b) / yy
    zz = jnp.sqrt(jnp.sum((c - yz * b / yy) ** 2))
    zero = jnp.zeros_like(xx)
    return jnp.stack([jnp.stack([xx, xy, xz]), jnp.stack([zero, yy, yz]), jnp.stack([zero, zero, zz])])


@lru_cache(maxsize=16)
def _functions(radius: float, multiplier: float) -> Any:
    """jax-md's functions; kept, since what they compile belongs to them. Each call brings its own box."""
    partition, _ = import_jax_md()
    return partition.neighbor_list(
        _displacement,
        np.eye(3),
        radius * 1.00001,
        dr_threshold=0.0,
        capacity_multiplier=multiplier,
        fractional_coordinates=True,
        format=partition.Dense,
    )


def _displacement(a: Array, b: Array, box: Any = None, **_: Any) -> Array:
    """From b to a, of fractional coordinates, in Å.

    Without a matrix product, which jax-md's own has: XLA fuses it with the sum of squares behind it on CPUs, and what
    it makes of more than 16,384 pairs is wrong (jaxlib 0.10.2).
    """
    apart = a - b
    apart = apart - jnp.round(apart)
    return apart if box is None else combine(apart, box.T)


def _fractional(system: System) -> jax.Array:
    coordinates = fractional(system.positions, system.cell)
    wrapped = coordinates - jnp.floor(coordinates)
    return jnp.where(wrapped >= 1.0, jnp.zeros((), wrapped.dtype), wrapped)
