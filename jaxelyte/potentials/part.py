"""What one of several devices sees of a system: its own atoms, copies of those around them, and ways to the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxelyte.lattice import combine
from jaxelyte.neighbors.lists import Neighbors, NeighborSpec
from jaxelyte.system import System


@dataclass(frozen=True)
class Part:
    """The share of one device; see `Potential.local_interaction`.

    Attributes:
        system: the device's own atoms in the first ``owned`` rows, then copies of all atoms of other devices that are
            within reach of them; ``mask`` is True for both.
        neighbors: lists of its own atoms; the rows of copies are empty. So a sum over the entries of a list, halves of
            pairs, gives the energy that belongs to its own atoms.
        rows: the atom of ``whole`` in each row of ``system``, the number of atoms for padding.
        owned: number of rows for its own atoms, padding among them included.
        whole: the undivided system, which every device holds.
        devices: how many share it.
        exchange: appends rows of the copies to arrays with a row for each of the device's own atoms (a list of arrays,
            None for those that are not needed). Differentiable: gradients travel back to the owners.
        total: the sum of an array over all devices, the same on each.
    """

    system: System
    neighbors: Neighbors
    rows: Int[Array, " rows"]
    owned: int
    whole: System
    devices: int
    exchange: Callable[[list[Any]], list[Any]]
    total: Callable[[Array], Array]

    def pairs(
        self, spec: NeighborSpec
    ) -> tuple[Float[Array, "owned capacity 3"], Int[Array, "owned capacity"], Bool[Array, "owned capacity"]]:
        """Vectors in Å, neighbours and mask of one list, rows of the device's own atoms only.

        Padding entries hold a constant vector, as in `NeighborList.vectors`.
        """
        found = self.neighbors.get(spec)
        index, shift = found.index[: self.owned], found.shift[: self.owned]
        mask = index < found.index.shape[0]
        positions, cell = self.system.positions, self.system.cell
        vectors = jnp.take(positions, index, axis=0, mode="clip") - positions[: self.owned, None, :]
        vectors = vectors + combine(shift.astype(cell.dtype), cell)
        far = jnp.asarray([2.0 * found.cutoff, 0.0, 0.0], positions.dtype)
        return jnp.where(mask[..., None], vectors, far), index, mask

    def once(self, energy: Float[Array, ""]) -> Float[Array, ""]:
        """This device's share of an energy that every device computes alike."""
        return energy / self.devices
