"""What one of several devices sees of a system: its own atoms, copies of those around them, and ways to the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxelyte.errors import UnsupportedError
from jaxelyte.lattice import combine
from jaxelyte.neighbors.lists import Neighbors, NeighborSpec
from jaxelyte.potentials.base import PerSystem, Potential, Scalar, Wrapper
from jaxelyte.system import System


@dataclass(frozen=True)
class Part:
    """The share of one device; see `Divisible`.

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


class Divisible:
    """The ability of a potential with neighbour lists whose energy several devices share."""

    def share(self, part: Part) -> Scalar:
        """What one of several devices adds to the energy, in eV; the sum over all devices is the whole."""
        raise NotImplementedError


class PairAdditive(PerSystem, Divisible):
    """A sum over the entries of its lists, each pair counted half from either side.

    The rows of some atoms then give the share of these atoms, and the potential runs on several devices as it is.
    """

    def share(self, part: Part) -> Scalar:
        return self.energy(part.system, part.neighbors)


def share(potential: Potential, part: Part) -> Scalar:
    """What one of several devices adds to the energy, in eV; terms without lists every device evaluates for all atoms.

    Raises:
        UnsupportedError: a term that reads lists and is not `Divisible`.
    """
    if isinstance(potential, Wrapper):
        return potential.combine([share(child, part) for child in potential.children])
    if not potential.requirements():
        return part.once(potential.energy(part.whole, Neighbors((), ())))
    if isinstance(potential, Divisible):
        return potential.share(part)
    raise UnsupportedError(
        f"{type(potential).__name__} cannot be divided among devices: it reads neighbour lists and does not say how; "
        "run it on one device, or derive the class from PairPotential, PairAdditive or Divisible (see "
        "docs/architecture.md)"
    )
