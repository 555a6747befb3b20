"""Forces, stress and virial of any potential: plain ``jax.grad``, written once.

Conventions (those of ASE): forces F = -dU/dR in eV/Å; stress σ = (1/V) dU/dε in eV/Å³, tension positive, where the
strain ε acts as R -> R (1 + ε), cell -> cell (1 + ε) on row vectors.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxelyte.arrays import brief_repr
from jaxelyte.lattice import combine
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.potentials.base import Potential, Scalar, as_potential
from jaxelyte.potentials.forms import Tangents, in_form
from jaxelyte.system import System, as_batch


class EnergyForces(NamedTuple):
    """Energy in eV (scalar) and forces in eV/Å, shape (atoms, 3)."""

    energy: Scalar
    forces: Float[Array, "atoms 3"]

    __repr__ = brief_repr


class EnergyForcesStress(NamedTuple):
    """Energy in eV, forces in eV/Å, shape (atoms, 3), and stress in eV/Å³, shape (3, 3)."""

    energy: Scalar
    forces: Float[Array, "atoms 3"]
    stress: Float[Array, "3 3"]

    __repr__ = brief_repr


def energy_and_forces(potential: Potential, system: System, neighbors: Neighbors) -> EnergyForces:
    """Energy (without the constant reference) and forces of one system."""
    found = batch_energy_and_forces(as_potential(potential), as_batch(system), neighbors.as_batch())
    return EnergyForces(*(x[0] for x in found))


def energy_forces_stress(potential: Potential, system: System, neighbors: Neighbors) -> EnergyForcesStress:
    """Energy, forces and stress of one system in one backward pass; the stress needs a fully periodic cell."""
    found = batch_energy_forces_stress(as_potential(potential), as_batch(system), neighbors.as_batch())
    return EnergyForcesStress(*(x[0] for x in found))


def batch_energy_and_forces(potential: Potential, systems: System, neighbors: Neighbors) -> EnergyForces:
    """`energy_and_forces` of replicas: energies (replicas,) in eV, forces (replicas, atoms, 3) in eV/Å."""

    def total(positions: Float[Array, "replicas atoms 3"]) -> tuple[Scalar, Float[Array, " replicas"]]:
        energies = potential.energies(systems.replace(positions=positions), neighbors)
        # Replicas do not interact, so the gradient of the sum is that of each.
        return jnp.sum(energies), energies

    gradient, energies = jax.grad(total, has_aux=True)(systems.positions)
    return EnergyForces(energies, -gradient)


def batch_energy_forces_stress(potential: Potential, systems: System, neighbors: Neighbors) -> EnergyForcesStress:
    """`energy_forces_stress` of replicas, in one backward pass; leading axis: replicas."""

    def total(
        positions: Float[Array, "replicas atoms 3"], strain: Float[Array, "replicas 3 3"]
    ) -> tuple[Scalar, Float[Array, " replicas"]]:
        energies = _deformed_energies(potential, systems, neighbors, positions, strain)
        return jnp.sum(energies), energies

    strain = jnp.zeros((len(systems.positions), 3, 3), systems.positions.dtype)
    (gradient, virial), energies = jax.grad(total, argnums=(0, 1), has_aux=True)(systems.positions, strain)
    volume = jax.vmap(lambda system: system.volume)(systems)
    return EnergyForcesStress(energies, -gradient, virial / volume[:, None, None])


def parameter_gradient(
    potential: Potential,
    systems: System,
    neighbors: Neighbors,
    cotangent: EnergyForcesStress,
    *,
    stress: bool,
    knots: int = 0,
) -> Potential:
    """Gradient by all parameters of Σ e·E + f·F + s·σ over replicas, for numbers (e, f, s) that do not depend on them.

    Forces are derivatives of the energy, so f·F is the change of -E along the displacement f, and s·σ that along the
    strain s/V: the gradient of a directional derivative. Reverse over forward mode, it never differentiates a backward
    pass, whose intermediates would all have to be kept. Convolutions are C on CPUs (`Tangents`).

    Args:
        potential: by whose leaves to differentiate.
        systems: replicas.
        neighbors: their lists.
        cotangent: e, shape (replicas,); f, shape (replicas, atoms, 3); s, shape (replicas, 3, 3).
        stress: whether s counts; if not, cells need not be periodic.
        knots: of tables of radial weights, see `Tangents`.

    Returns:
        A tree like the potential.
    """

    def along(potential: Potential) -> Scalar:
        potential = in_form(potential, Tangents(knots))
        if stress:
            volume = jax.vmap(lambda system: system.volume)(systems)
            start = (systems.positions, jnp.zeros_like(systems.cell))
            direction = (-cotangent.forces, cotangent.stress / volume[:, None, None])
        else:
            start, direction = (systems.positions,), (-cotangent.forces,)
        energies, change = jax.jvp(lambda *x: _deformed_energies(potential, systems, neighbors, *x), start, direction)
        return jnp.sum(cotangent.energy * energies) + jnp.sum(change)

    return jax.grad(along)(potential)


def _deformed_energies(
    potential: Potential,
    systems: System,
    neighbors: Neighbors,
    positions: Float[Array, "replicas atoms 3"],
    strain: Float[Array, "replicas 3 3"] | None = None,
) -> Float[Array, " replicas"]:
    """Interaction energies at other positions, then strained."""
    if strain is None:
        return potential.energies(systems.replace(positions=positions), neighbors)
    symmetric = (strain + jnp.swapaxes(strain, 1, 2)) / 2
    deformed = systems.replace(
        positions=positions + jax.vmap(combine)(positions, symmetric),
        cell=systems.cell + jax.vmap(combine)(systems.cell, symmetric),
    )
    return potential.energies(deformed, neighbors)
