"""Sums of squared errors over a batch, from which both the loss and the reported errors follow."""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jaxelyte.data.dataset import Bucket
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.derivatives import (
    EnergyForcesStress,
    batch_energy_and_forces,
    batch_energy_forces_stress,
    parameter_gradient,
)
from jaxelyte.training.settings import Loss


class Errors(struct.PyTreeNode):
    """Additive sums of squares of errors, and how many there are.

    Attributes:
        energy: sum over frames of (ΔE/N)², (eV/atom)².
        energies: frames with an energy.
        forces: shape (species,), sum over atoms of |ΔF|²/3, (eV/Å)².
        atoms: shape (species,), atoms with a force.
        stress: sum over frames of the mean of Δσ² over components, (eV/Å³)².
        stresses: frames with a stress.
    """

    energy: Float[Array, ""]
    energies: Float[Array, ""]
    forces: Float[Array, " species"]
    atoms: Float[Array, " species"]
    stress: Float[Array, ""]
    stresses: Float[Array, ""]


class Predictions(struct.PyTreeNode):
    """What a potential says about frames, without reference energies; stress is zero where it was not asked for."""

    energy: Float[Array, " frames"]
    forces: Float[Array, "frames atoms 3"]
    stress: Float[Array, "frames 3 3"]


def predict(potential: Potential, bucket: Bucket, *, stress: bool) -> Predictions:
    """Energies in eV, forces in eV/Å, and stresses in eV/Å³ of the frames of a bucket."""
    if stress and all(bucket.systems.pbc):
        found = batch_energy_forces_stress(potential, bucket.systems, bucket.neighbors)
        return Predictions(found.energy, found.forces, found.stress)
    energy, forces = batch_energy_and_forces(potential, bucket.systems, bucket.neighbors)
    return Predictions(energy, forces, jnp.zeros_like(bucket.systems.cell))


def predictions_gradient(
    potential: Potential, bucket: Bucket, cotangent: Predictions, *, stress: bool, knots: int = 0
) -> Potential:
    """Gradient by the parameters of the sum of `predict`'s results, each times the number at its place in cotangent."""
    given = EnergyForcesStress(cotangent.energy, cotangent.forces, cotangent.stress)
    with_stress = stress and all(bucket.systems.pbc)
    return parameter_gradient(potential, bucket.systems, bucket.neighbors, given, stress=with_stress, knots=knots)


def squared_errors(
    predicted: Predictions,
    bucket: Bucket,
    kinds: Int[Array, "frames atoms"],
    valid: Bool[Array, " frames"],
    *,
    species: int,
    huber: float | None = None,
) -> Errors:
    """Sum the errors of the frames that are valid.

    Args:
        predicted: see `predict`.
        bucket: the frames and their targets.
        kinds: species of every atom, 0 to ``species`` - 1.
        valid: False for frames that fill up a batch.
        species: number of species.
        huber: errors beyond it count 2 huber |x| - huber² instead of x²; see `Loss`.
    """
    targets = bucket.targets
    dtype = targets.energy.dtype
    size = jnp.sum(bucket.systems.mask, axis=1).astype(dtype)
    has_energy = (targets.has_energy & valid).astype(dtype)
    has_forces = (targets.has_forces & bucket.systems.mask & valid[:, None]).astype(dtype)
    has_stress = (targets.has_stress & valid).astype(dtype)
    energy = _cost((predicted.energy - targets.energy) / size, huber)
    forces = jnp.mean(_cost(predicted.forces - targets.forces, huber), axis=-1)
    stress = jnp.mean(_cost(predicted.stress - targets.stress, huber), axis=(1, 2))
    # A product with one-hot species sums in the order of the matrix product, which scatter-adds on a GPU do not keep.
    one_hot = (kinds[..., None] == jnp.arange(species, dtype=kinds.dtype)).astype(dtype)
    return Errors(
        energy=jnp.sum(energy * has_energy),
        energies=jnp.sum(has_energy),
        forces=jnp.sum((forces * has_forces)[..., None] * one_hot, axis=(0, 1)),
        atoms=jnp.sum(has_forces[..., None] * one_hot, axis=(0, 1)),
        stress=jnp.sum(stress * has_stress),
        stresses=jnp.sum(has_stress),
    )


def _cost(error: Float[Array, "*any"], huber: float | None) -> Float[Array, "*any"]:
    square = error * error
    if huber is None:
        return square
    beyond = jnp.abs(error)
    return jnp.where(beyond <= huber, square, 2.0 * huber * beyond - huber**2)


def batch_loss(sums: Errors, counts: Errors, loss: Loss) -> Float[Array, ""]:
    """The loss of `Loss` from sums of errors; linear in ``sums``, so that parts of a batch on several devices add up.

    Args:
        sums: of the frames at hand.
        counts: of the whole batch; only its numbers of frames and atoms are read.
        loss: the weights.
    """
    one = jnp.ones((), sums.energy.dtype)
    there = (counts.atoms > 0).astype(counts.atoms.dtype)
    if loss.per_species:
        by_species = sums.forces / jnp.maximum(counts.atoms, one)
        forces = jnp.sum(by_species * there) / jnp.maximum(jnp.sum(there), one)
    else:
        forces = jnp.sum(sums.forces) / jnp.maximum(jnp.sum(counts.atoms), one)
    energy = sums.energy / jnp.maximum(counts.energies, one)
    stress = sums.stress / jnp.maximum(counts.stresses, one)
    return loss.energy * energy + loss.forces * forces + loss.stress * stress
