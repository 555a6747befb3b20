"""The only adapter to jax-md: its cell list, for large periodic boxes.

jax-md wants fractional coordinates, an upper triangular box whose columns are the lattice vectors, and casts the box to
float32; the radius is therefore widened by a part in 10⁵. Its list is rebuilt at every call (``dr_threshold=0``): the
skin test is ours, outside ``vmap``, where a conditional still saves the work.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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

    def __init__(self, system: System, spec: NeighborSpec, radius: float, multiplier: float) -> None:
        """Allocate for the density of ``system``.

        Args:
            system: a concrete (not traced) system.
            spec: which atoms take part.
            radius: Å, cut-off plus skin.
            multiplier: room for that many times the occupancy found now.
        """
        cell = np.asarray(system.cell, np.float64)
        upper: np.ndarray = np.asarray(np.linalg.qr(cell.T, mode="r"))
        upper = upper * np.sign(np.diag(upper))[:, None]
        self.spec, self.radius = spec, radius
        with jax.numpy_dtype_promotion("standard"):
            functions = _functions(upper.tobytes(), radius, multiplier)
            self._lists: Any = functions.allocate(_fractional(system))
            if self._lists.idx.shape[1] < SPARSE:
                # What is found times a multiplier is no room where nothing is found.
                room = math.ceil(SPARSE * multiplier)
                self._lists = functions.allocate(_fractional(system), extra_capacity=room)

        # What was found here is found anew in each call; only sizes count.
        sizes = (self._lists.idx.shape, self._lists.cell_list_capacity, self._lists.max_occupancy)
        self._key = (spec, radius, multiplier, upper.tobytes(), sizes)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CellSearch) and self._key == other._key

    def __call__(self, system: System, capacity: int) -> Found:
        """All pairs within the radius, compacted to ``capacity`` slots; ``needed`` is huge on an internal overflow."""
        with jax.numpy_dtype_promotion("standard"):
            lists = self._lists.update(_fractional(system))
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
        overflow = lists.did_buffer_overflow
        return found.replace(needed=jnp.where(overflow, jnp.int32(INTERNAL_OVERFLOW), found.needed))


@lru_cache(maxsize=16)
def _functions(box: bytes, radius: float, multiplier: float) -> Any:
    """jax-md's functions of a box; kept, since what they compile belongs to them."""
    partition, space = import_jax_md()
    upper = np.frombuffer(box).reshape(3, 3)
    displacement, _ = space.periodic_general(upper, fractional_coordinates=True)
    return partition.neighbor_list(
        displacement,
        upper,
        radius * 1.00001,
        dr_threshold=0.0,
        capacity_multiplier=multiplier,
        fractional_coordinates=True,
        format=partition.Dense,
    )


def _fractional(system: System) -> jax.Array:
    coordinates = fractional(system.positions, system.cell)
    wrapped = coordinates - jnp.floor(coordinates)
    return jnp.where(wrapped >= 1.0, jnp.zeros((), wrapped.dtype), wrapped)
