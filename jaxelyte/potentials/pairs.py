"""Sums over pairs: neighbour lists, exclusions, rows and shares of devices, so that a class defines one pair only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from jaxelyte import checks
from jaxelyte.neighbors.lists import Neighbors, NeighborSpec
from jaxelyte.potentials.base import PerSystem, Scalar
from jaxelyte.potentials.geometry import count_members, member_rows, members, nearest_vectors, row_pairs
from jaxelyte.potentials.part import Divisible, Part
from jaxelyte.potentials.topology import check_indices, index_table
from jaxelyte.registry import DERIVED
from jaxelyte.system import System


@struct.dataclass
class PairPotential(PerSystem, Divisible):
    """U = Σ_{i<j} u(r_ij, i, j) over all pairs nearer than a cut-off, images included.

    A potential of one's own defines its parameters and `pair`; lists, exclusions, replicas, devices and derivatives by
    all parameters come from here. u is cut off as it stands: let it end smoothly, or forces jump.

        @struct.dataclass
        class Morse(PairPotential):
            depth: Any = 0.2   # eV
            width: Any = 1.5   # 1/Å
            rest: Any = 2.8    # Å

            def pair(self, r, i, j):
                return self.depth * ((1.0 - jnp.exp(-self.width * (r - self.rest))) ** 2 - 1.0)

    Attributes:
        cutoff: Å; static.
        exclusions: shape (pairs, 2), atoms that do not interact at their nearest image; static.
        rows: room for the atoms that take part; made by `prepare`, None for all.
    """

    cutoff: float = struct.field(pytree_node=False, kw_only=True)
    exclusions: Any = struct.field(pytree_node=False, default=None, kw_only=True)
    rows: int | None = struct.field(pytree_node=False, default=None, kw_only=True, metadata=DERIVED)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cutoff", checks.positive("cutoff", self.cutoff, "Å"))
        if self.exclusions is not None:
            object.__setattr__(self, "exclusions", index_table(self.exclusions, 2, "exclusions"))

    def pair(self, r: Float[Array, "*pairs"], i: Int[Array, "*i"], j: Int[Array, "*j"]) -> Float[Array, "*pairs"]:
        """Energy in eV of pairs.

        Args:
            r: distances in Å, below the cut-off.
            i: what the first atom is, see `kinds`; broadcasts against r.
            j: what the second is.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define pair(r, i, j)")

    def of_square(self, square: Array, i: Array, j: Array) -> Array:
        """`pair` as a function of r², for terms that need no root."""
        return self.pair(jnp.sqrt(square), i, j)

    def species(self) -> tuple[int, ...] | None:
        """Atomic numbers of the atoms that take part, None for all."""
        return None

    def kinds(self, system: System) -> Int[Array, " atoms"]:
        """What each atom is to `pair`; its atomic number by default."""
        return system.numbers

    def correction(self, system: System) -> Scalar:
        """Energy in eV of a whole system beside its pairs, such as what the cut-off leaves out."""
        return jnp.zeros((), system.positions.dtype)

    def requirements(self) -> tuple[NeighborSpec, ...]:
        return (NeighborSpec(float(self.cutoff), self.species()),)

    def check(self, system: System) -> None:
        check_indices(self.exclusions, system, "exclusions")

    def planned(self, systems: Sequence[System], strain: float) -> Self:
        """Fix the number of atoms that take part: rows of others are never computed."""
        return replace(self, rows=count_members(systems, self.species()))

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        return self._listed(system, neighbors) + self._whole(system)

    def share(self, part: Part) -> Scalar:
        """Pairs by the lists of this device; exclusions and the correction of the whole system, shared evenly."""
        return self._listed(part.system, part.neighbors) + part.once(self._whole(part.whole))

    def _listed(self, system: System, neighbors: Neighbors) -> Scalar:
        kind, chosen = self.kinds(system), members(system, self.species())
        rows = member_rows(chosen, system.num_atoms if self.rows is None else self.rows)
        vectors, index = row_pairs(neighbors.get(self.requirements()[0]), system, rows)
        first, second = (jnp.take(kind, atoms, mode="clip") for atoms in (rows, index))
        values = self._cut(jnp.sum(vectors**2, axis=-1), first[:, None], second)
        energy = 0.5 * jnp.sum(jnp.sum(values, axis=1))
        if self.rows is not None and self.rows < system.num_atoms:
            # Another composition than the one prepared for: atoms would be left out in silence.
            energy = jnp.where(jnp.sum(chosen) > self.rows, jnp.full((), jnp.nan, energy.dtype), energy)
        return energy

    def _whole(self, system: System) -> Scalar:
        return self.correction(system) - self._excluded(system)

    def _cut(self, square: Array, i: Array, j: Array) -> Array:
        """Energies from squared distances, zero beyond the cut-off."""
        inside = square < self.cutoff**2
        values = self.of_square(jnp.where(inside, square, jnp.ones((), square.dtype)), i, j)
        return jnp.where(inside, values, jnp.zeros((), values.dtype))

    def _excluded(self, system: System) -> Scalar:
        dtype = system.positions.dtype
        if self.exclusions is None or len(self.exclusions) == 0:
            return jnp.zeros((), dtype)
        first, second = self.exclusions.array.T
        # Pairs of which an atom takes no part never enter the list; this keeps 1/r¹² of bonded hydrogens away.
        chosen, kind = members(system, self.species()), self.kinds(system)
        keep = chosen[first] & chosen[second]
        vectors = nearest_vectors(system, system.positions[second] - system.positions[first])
        square = jnp.where(keep, jnp.sum(vectors**2, axis=-1), jnp.full((), 4.0 * self.cutoff**2, dtype))
        return jnp.sum(self._cut(square, kind[first], kind[second]))
