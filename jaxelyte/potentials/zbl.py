"""Screened repulsion of nuclei at short distance.

Source: Ziegler, Biersack and Littmark, "The Stopping and Range of Ions in Matter" (1985).

U_ij = e² / (4π ε0) Z_i Z_j / r φ(r / a) f(r / r_cut),   a = 0.46850 Å / (Z_i^0.23 + Z_j^0.23),
φ(x) = 0.18175 exp(-3.19980 x) + 0.50986 exp(-0.94229 x) + 0.28022 exp(-0.40290 x) + 0.02817 exp(-0.20162 x)

with f the polynomial envelope of the radial basis (`jaxelyte.models.radial.envelope`), which makes the energy and its
first two derivatives vanish at the cut-off, as nequip's ZBL term does.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from jaxelyte import checks
from jaxelyte.models.radial import envelope
from jaxelyte.neighbors.lists import NeighborList, Neighbors, NeighborSpec
from jaxelyte.potentials.base import Scalar
from jaxelyte.potentials.part import PairAdditive
from jaxelyte.system import System

COULOMB_LAMMPS = 14.399645
"""e²/(4π ε0) in eV Å as nequip and LAMMPS ("metal" units) round it; published ZBL models were trained with it."""

SCREENING = ((0.02817, -0.20162), (0.28022, -0.40290), (0.50986, -0.94229), (0.18175, -3.19980))
"""Amplitudes and exponents of the universal screening function."""

SCREENING_LENGTH = 0.46850
"""Å."""

SCREENING_POWER = 0.23
"""Power of the atomic numbers in the screening length."""


def pair_energy(
    first: Int[Array, "..."], second: Int[Array, "..."], distance: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Energy in eV of nuclei of the given atomic numbers at ``distance`` Å, without envelope."""
    dtype = distance.dtype
    # Table of Z^0.23: powers of per-edge numbers would cost more than the rest of the term.
    powers = jnp.asarray(np.arange(119.0) ** SCREENING_POWER, dtype)
    x = distance * (jnp.take(powers, first) + jnp.take(powers, second)) / SCREENING_LENGTH
    screening = jnp.zeros_like(x)
    for amplitude, exponent in SCREENING:
        screening = screening + amplitude * jnp.exp(exponent * x)
    charges = first.astype(dtype) * second.astype(dtype)
    return COULOMB_LAMMPS * charges / distance * screening


def zbl_atomic_energies(system: System, neighbors: NeighborList, cutoff: float, power: float) -> Float[Array, " atoms"]:
    """Half of each pair's energy to either atom, eV.

    Args:
        system: the atoms.
        neighbors: a full list of at least ``cutoff``.
        cutoff: Å, where the envelope ends.
        power: p of the envelope.
    """
    vectors = neighbors.vectors(system)
    distance = jnp.sqrt(jnp.sum(vectors**2, axis=-1))
    second = jnp.take(system.numbers, neighbors.index, mode="clip")
    energy = pair_energy(system.numbers[:, None], second, distance) * envelope(distance / cutoff, power)
    return 0.5 * jnp.sum(jnp.where(neighbors.mask, energy, jnp.zeros_like(energy)), axis=-1)


@struct.dataclass
class ZBL(PairAdditive):
    """Ziegler-Biersack-Littmark repulsion of all pairs, without parameters.

    Attributes:
        r_max: cut-off in Å.
        polynomial_cutoff_p: power of the envelope.
    """

    r_max: float = struct.field(pytree_node=False, default=5.0)
    polynomial_cutoff_p: float = struct.field(pytree_node=False, default=6.0)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            InputError: a cut-off that is not positive, or a power below 2.
        """
        object.__setattr__(self, "r_max", checks.positive("r_max", self.r_max, "Å"))
        power = checks.number("polynomial_cutoff_p", self.polynomial_cutoff_p, least=2.0)
        object.__setattr__(self, "polynomial_cutoff_p", power)

    def requirements(self) -> tuple[NeighborSpec, ...]:
        return (NeighborSpec(self.r_max),)

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        found = neighbors.get(self.requirements()[0])
        energies = zbl_atomic_energies(system, found, self.r_max, self.polynomial_cutoff_p)
        return jnp.sum(jnp.where(system.mask, energies, jnp.zeros_like(energies)))
