"""Neighbour lists as potentials see them: dense, with explicit lattice shifts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jaxelyte.errors import InputError
from jaxelyte.lattice import combine
from jaxelyte.system import System


@dataclass(frozen=True)
class NeighborSpec:
    """What a potential asks of the neighbour search.

    Attributes:
        cutoff: distance in Å within which every pair must be present.
        numbers: only pairs among atoms of these atomic numbers, or None for all.
        exact: True if entries beyond the cut-off are to be removed before the potential sees the list, which pays
            for terms that cost much per pair; otherwise entries up to cut-off plus skin may appear.
        layout: how atoms are divided among devices (`jaxelyte.parallel`); None for a list that one device holds.
    """

    cutoff: float
    numbers: tuple[int, ...] | None = None
    exact: bool = False
    layout: Any = None


def layout_of(specs: tuple[NeighborSpec, ...]) -> Any:
    """The layout that divided lists share, None for lists on one device.

    Raises:
        InputError: some are divided and some are not, or in different ways.
    """
    layouts = {spec.layout for spec in specs}
    if len(layouts) > 1:
        raise InputError(
            "terms on several devices and terms on one stand in one sum; divide the whole sum: distribute(a + b)"
        )
    return layouts.pop() if layouts else None


class NeighborList(struct.PyTreeNode):
    """All pairs i -> j within a cut-off, a row per atom i.

    Both i -> j and j -> i are present; several images of one atom are several entries (cells smaller than twice the
    cut-off), among them images of i itself.

    Attributes:
        index: shape (atoms, capacity), the neighbour j, or the number of atoms where the entry is padding.
        shift: shape (atoms, capacity, 3), integers S with r_ij = R_j - R_i + S · cell.
        cutoff: Å, static; padding entries are placed at twice this distance.
    """

    index: Int[Array, "atoms capacity"]
    shift: Int[Array, "atoms capacity 3"]
    cutoff: float = struct.field(pytree_node=False)

    @property
    def mask(self) -> Bool[Array, "*batch atoms capacity"]:
        """True where an entry is a pair."""
        return self.index < self.index.shape[-2]

    def vectors(self, system: System) -> Float[Array, "atoms capacity 3"]:
        """Vectors r_ij from centre i to neighbour j in Å, differentiable in positions and cell.

        Padding entries hold a constant vector of length twice the cut-off, so that functions that vanish beyond the
        cut-off need no mask, and none divides by zero.
        """
        far = jnp.asarray([2.0 * self.cutoff, 0.0, 0.0], system.positions.dtype)
        neighbor = jnp.take(system.positions, self.index, axis=0, mode="clip")
        vectors = neighbor - system.positions[:, None, :]
        if any(system.pbc):
            vectors = vectors + combine(self.shift.astype(system.cell.dtype), system.cell)
        return jnp.where(self.mask[..., None], vectors, far)


class Neighbors(struct.PyTreeNode):
    """The lists of one system, one for each `NeighborSpec` that its potential asked for."""

    lists: tuple[NeighborList, ...]
    specs: tuple[NeighborSpec, ...] = struct.field(pytree_node=False)

    def as_batch(self) -> Neighbors:
        """Those of a batch of one; of a batch, with a leading axis of all arrays, as they are."""
        batch = all(one.index.ndim == 3 for one in self.lists)
        return self if batch else jax.tree.map(lambda x: x[None], self)

    def get(self, spec: NeighborSpec) -> NeighborList:
        """The list built for a specification.

        Raises:
            InputError: no such list was built (the list belongs to another potential).
        """
        if spec not in self.specs:
            raise InputError(f"no neighbour list for {spec}; build it with neighbor_lists(system, potential)")
        return self.lists[self.specs.index(spec)]
