"""Small potentials with closed forms and an ideal gas, for tests of the engine alone."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from ase import Atoms
from flax import struct
from jaxtyping import Array

from jaxelyte.neighbors import Neighbors, NeighborSpec
from jaxelyte.potentials.base import PerSystem, Scalar
from jaxelyte.system import System
from jaxelyte.trajectory import Trajectory


@struct.dataclass
class Well(PerSystem):
    """½ k r² about the origin for every atom; k in eV/Å²."""

    k: float

    translation_invariant = False

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        return 0.5 * self.k * jnp.sum(system.positions**2)


@struct.dataclass
class Argon(PerSystem):
    """Lennard-Jones, shifted and with smooth force at the cut-off: 4 ε ((σ/r)¹² - (σ/r)⁶) (1 - (r/r_c)²)³."""

    epsilon: float = 0.0103
    sigma: float = 3.4
    cutoff_distance: float = struct.field(pytree_node=False, default=6.5)
    exact: bool = struct.field(pytree_node=False, default=False)

    def requirements(self) -> tuple[NeighborSpec, ...]:
        return (NeighborSpec(self.cutoff_distance, None, self.exact),)

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        vectors = neighbors.get(self.requirements()[0]).vectors(system)
        square = jnp.sum(vectors**2, axis=-1)
        s6 = (self.sigma**2 / square) ** 3
        smooth = jnp.maximum(1.0 - square / self.cutoff_distance**2, 0.0) ** 3
        return 2.0 * self.epsilon * jnp.sum((s6**2 - s6) * smooth)


@struct.dataclass
class Shifted(PerSystem):
    """A constant energy of ``each`` eV per atom."""

    each: float

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        return jnp.zeros((), system.positions.dtype)

    def constants(self, systems: System) -> Array:
        dtype = systems.positions.dtype
        return jnp.asarray(self.each, dtype) * jnp.sum(systems.mask.astype(dtype), axis=-1)


@struct.dataclass
class Cliff(PerSystem):
    """A constant force of ``pull`` eV/Å on atom 0 along x: it gains speed without limit."""

    pull: float

    translation_invariant = False

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        return -self.pull * system.positions[0, 0]


def gas(
    symbols: list[str], cell: np.ndarray, frames: int, *, replicas: int = 1, seed: int = 0, dtype: Any = np.float64
) -> Trajectory:
    """Independent uniform positions, several boxes around the origin."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(-2.0, 2.0, (frames, replicas, len(symbols), 3)) @ cell
    atoms = Atoms(symbols)
    return Trajectory(
        positions=positions.astype(dtype),
        numbers=atoms.numbers,
        masses=atoms.get_masses(),
        cells=cell,
        pbc=(True, True, True),
        steps=np.arange(frames),
        times=np.arange(frames) * 1.0,
    )
