"""Systems and evaluation helpers that the tests of the analytic potentials share."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from jaxelyte.neighbors import neighbor_lists
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.derivatives import energy_and_forces, energy_forces_stress
from jaxelyte.system import System

CELLS = {
    "cubic": np.eye(3) * 14.0,
    "triclinic": np.array([[14.0, 0.0, 0.0], [5.0, 13.0, 0.0], [-4.0, 6.0, 12.0]]),
    "skewed": np.array([[12.0, 0.0, 0.0], [10.0, 11.0, 0.0], [-9.0, 8.0, 13.0]]),
}
"""Cells in Å; the widths of the skewed one are half of its vectors."""


class Result(NamedTuple):
    """What `evaluate` returns, as numpy."""

    energy: float
    forces: np.ndarray
    stress: np.ndarray | None
    potential: Any


def evaluate(potential: Potential, atoms: Atoms | System, *, stress: bool = False) -> Result:
    """Prepare, search neighbours and evaluate, as a user off the loop does."""
    system = atoms if isinstance(atoms, System) else System.from_atoms(atoms)
    prepared = potential.prepare(system)
    lists = neighbor_lists(system, prepared)
    function = energy_forces_stress if stress else energy_and_forces
    result = jax.jit(function)(prepared, system, lists)
    tensor = np.asarray(result.stress) if stress else None  # type: ignore[union-attr]
    return Result(float(result.energy), np.asarray(result.forces), tensor, prepared)


def energy(potential: Potential, atoms: Atoms | System) -> float:
    """Energy alone, in eV."""
    system = atoms if isinstance(atoms, System) else System.from_atoms(atoms)
    prepared = potential.prepare(system)
    lists = neighbor_lists(system, prepared)
    return float(jax.jit(lambda p, s, n: p.energy(s, n))(prepared, system, lists))


def salt(count: int, cell: np.ndarray, seed: int, symbols: str = "NaCl") -> Atoms:
    """Ions at random, ``count`` in all, in a periodic cell."""
    places = np.random.default_rng(seed).random((count, 3)) @ cell
    return Atoms(symbols * (count // 2), positions=places, cell=cell, pbc=True)


def rms(forces: np.ndarray) -> float:
    """Root mean square length of the force on an atom."""
    return float(np.sqrt(np.mean(np.sum(forces**2, axis=-1))))


def padded(system: System, extra: int) -> System:
    """The system with ``extra`` rows of padding: atoms of its first species far outside that are not there."""
    return system.replace(
        positions=jnp.concatenate([system.positions, jnp.full((extra, 3), 1.2345, system.positions.dtype)]),
        numbers=jnp.concatenate([system.numbers, jnp.repeat(system.numbers[:1], extra)]),
        masses=jnp.concatenate([system.masses, jnp.ones(extra, system.masses.dtype)]),
        mask=jnp.concatenate([system.mask, jnp.zeros(extra, bool)]),
    )
