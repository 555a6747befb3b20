"""A Gaussian barrier on distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxelyte import checks, names
from jaxelyte.errors import InputError
from jaxelyte.neighbors.lists import Neighbors, NeighborSpec
from jaxelyte.potentials.base import Scalar
from jaxelyte.potentials.geometry import (
    count_members,
    member_rows,
    members,
    nearest_vectors,
    row_pairs,
)
from jaxelyte.potentials.part import PairAdditive
from jaxelyte.potentials.topology import (
    Needs,
    atomic_number,
    check_indices,
    check_parameter,
    check_single,
    index_table,
    parameter,
)
from jaxelyte.registry import DERIVED
from jaxelyte.system import System

LEAST_WIDTHS = 3.5
"""From the centre to the cut-off: there a Gaussian is below 0.003 of its height."""


@struct.dataclass
class GaussianBarrier(PairAdditive):
    """U = Σ H exp(-(r - r_mh)²/(2 σ²)) over pairs of two species, or over given pairs.

    The published simulations hold water together with one on O-H, outside the bond, so that no proton leaves. LAMMPS'
    ``pair_style gauss/cut`` has a prefactor H_lammps/(σ √(2π)) for our H.

    Attributes:
        height: H in eV; negative for a well.
        center: r_mh in Å.
        width: σ in Å.
        species: two chemical symbols, e.g. ``("O", "H")``; kept as atomic numbers.
        pairs: shape (pairs, 2), atom indices, instead of species; at their nearest image, without a cut-off. Static.
        cutoff: Å, for species; by default centre + 6 widths, where the Gaussian is below 2e-8 of its height.
        rows: room for atoms of the species; made by `prepare`.

    Raises:
        InputError: neither or both of species and pairs, a width or cut-off that is not positive; a system without
            atoms of these species.
    """

    height: Any
    center: Any
    width: Any
    species: Any = struct.field(pytree_node=False, default=None, kw_only=True)
    pairs: Any = struct.field(pytree_node=False, default=None, kw_only=True)
    cutoff: Any = struct.field(pytree_node=False, default=None, kw_only=True)
    rows: int | None = struct.field(pytree_node=False, default=None, kw_only=True, metadata=DERIVED)

    def __post_init__(self) -> None:
        if (self.species is None) == (self.pairs is None):
            raise InputError("a GaussianBarrier acts either between species=('O', 'H') or on pairs=[[0, 1], …]")
        given = (self.height, self.center, self.width)
        object.__setattr__(self, "height", parameter("height", self.height, "bias", zero=True, signed=True))
        object.__setattr__(self, "center", parameter("center", self.center, "distance", zero=True))
        object.__setattr__(self, "width", parameter("width", self.width, "width"))
        if self.species is not None:
            if isinstance(self.species, str):
                object.__setattr__(self, "species", names.pair("species", self.species))
            if not isinstance(self.species, tuple | list) or len(self.species) != 2:
                raise InputError(f"species must be two chemical symbols, not {checks.shown(self.species)}")
            for name, value in zip(("height", "center", "width"), given, strict=True):
                if not isinstance(value, jax.Array):  # those may be stacked trees, which `check` looks at
                    check_single(name, value)
            named = any(isinstance(s, str) for s in self.species)  # by a user, not rebuilt from leaves
            object.__setattr__(self, "species", tuple(atomic_number(s) for s in self.species))
            if self.cutoff is None:
                center, width = (checks.number(name, x) for name, x in zip(("center", "width"), given[1:], strict=True))
                object.__setattr__(self, "cutoff", center + 6.0 * width)
            elif named:
                self._look_at_the_end(*given)
            object.__setattr__(self, "cutoff", checks.quantity("cutoff", self.cutoff, "reach"))
        else:
            object.__setattr__(self, "pairs", index_table(self.pairs, 2, "pairs", empty=False))

    def _look_at_the_end(self, height: Any, center: Any, width: Any) -> None:
        """Warn of a cut-off at which the energy jumps; not inside jax, where there are no numbers."""
        if any(isinstance(value, jax.Array) for value in (height, center, width)):
            return
        cutoff = checks.quantity("cutoff", self.cutoff, "reach", warn=False)
        away = (cutoff - float(center)) / float(width)
        if away < LEAST_WIDTHS:
            checks.caution(
                f"cutoff = {cutoff:g} Å ends the barrier {away:.3g} widths from its center, {float(center):g} Å, where "
                f"the energy jumps; leave cutoff out, or take {float(center) + LEAST_WIDTHS * float(width):g} Å"
            )

    def requirements(self) -> tuple[NeighborSpec, ...]:
        if self.species is None:
            return ()
        return (NeighborSpec(float(self.cutoff), tuple(sorted(set(self.species)))),)

    def check(self, system: System) -> None:
        check_indices(self.pairs, system, "pairs")
        check_parameter("height", self.height, "bias", zero=True, signed=True)
        check_parameter("center", self.center, "distance", zero=True)
        check_parameter("width", self.width, "width")
        if self.species is not None:
            for name in ("height", "center", "width"):
                check_single(name, getattr(self, name))

    def needs(self) -> Needs:
        return tuple(("the barriers", (one,)) for one in self.species or ())

    def planned(self, systems: Sequence[System], strain: float) -> GaussianBarrier:
        """Fix the room for atoms of the first species, whose rows are the only ones that are read."""
        return self if self.species is None else replace(self, rows=count_members(systems, self.species[:1]))

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        if self.species is None:
            first, second = self.pairs.array.T
            vectors = nearest_vectors(system, system.positions[second] - system.positions[first])
            return jnp.sum(self._gauss(jnp.sum(vectors**2, axis=-1)))
        dtype = system.positions.dtype
        chosen = members(system, self.species[:1])
        rows = member_rows(chosen, system.num_atoms if self.rows is None else self.rows)
        vectors, index = row_pairs(neighbors.get(self.requirements()[0]), system, rows)
        partner = jnp.take(members(system, self.species[1:]), index, mode="fill", fill_value=False)
        centre = jnp.take(chosen, rows, mode="fill", fill_value=False)
        square = jnp.sum(vectors**2, axis=-1)
        keep = partner & centre[:, None] & (square < self.cutoff**2)
        values = self._gauss(jnp.where(keep, square, jnp.ones((), dtype)))
        # Between two species each pair stands in one row only; within one species in two.
        factor = 0.5 if self.species[0] == self.species[1] else 1.0
        energy = factor * jnp.sum(jnp.where(keep, values, jnp.zeros((), dtype)))
        if self.rows is not None and self.rows < system.num_atoms:
            energy = jnp.where(jnp.sum(chosen) > self.rows, jnp.full((), jnp.nan, dtype), energy)
        return energy

    def _gauss(self, square: Any) -> Any:
        height, center, width = (jnp.asarray(x, square.dtype) for x in (self.height, self.center, self.width))
        return height * jnp.exp(-0.5 * ((jnp.sqrt(square) - center) / width) ** 2)
