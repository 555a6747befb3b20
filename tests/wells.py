"""Argon atoms in harmonic wells, whose averages and free energies have closed forms, for tests of both."""

from __future__ import annotations

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from flax import struct

from jaxelyte.dynamics import NVT
from jaxelyte.free_energy import free_energy
from jaxelyte.neighbors import Neighbors
from jaxelyte.potentials.base import PerSystem, Scalar
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.system import System
from jaxelyte.trajectory import Trajectory
from jaxelyte.units import BOLTZMANN

TEMPERATURE, COUNT, K = 300.0, 6, 1.3
THERMAL = BOLTZMANN * TEMPERATURE
ANCHORS = np.random.default_rng(4).uniform(0.0, 15.0, (COUNT, 3))
LANGEVIN = NVT(TEMPERATURE, "langevin")


def exact_frames(rng: np.random.Generator, frames: int, k: float = K) -> Trajectory:
    """Independent frames of atoms in harmonic wells."""
    moved = ANCHORS + rng.normal(size=(frames, COUNT, 3)) * math.sqrt(THERMAL / k)
    return Trajectory(
        positions=moved[:, None],
        numbers=np.full(COUNT, 18),
        masses=np.full(COUNT, 39.9),
        cells=np.eye(3) * 30.0,
        pbc=(True, True, True),
        steps=np.arange(frames),
        times=np.arange(frames) * 10.0,
    )


def spread(potential: Any, system: Any, neighbors: Any) -> jax.Array:
    """Mean squared distance from the anchors; does not depend on parameters."""
    return jnp.mean(jnp.sum((system.positions - jnp.asarray(ANCHORS)) ** 2, axis=-1))


def wells() -> Atoms:
    """The atoms at their anchors."""
    return Atoms(f"Ar{COUNT}", ANCHORS, cell=[30.0] * 3, pbc=True)


def boxes(positions: np.ndarray, edges: np.ndarray) -> Trajectory:
    """Frames of argon in cubes with the given edges in Å, shape (frames, replicas) or one number for all."""
    cells = edges[..., None, None] * np.eye(3)
    frames, _, atoms, _ = positions.shape
    return Trajectory(
        positions=positions,
        numbers=np.full(atoms, 18),
        masses=np.full(atoms, 39.9),
        cells=cells,
        pbc=(True, True, True),
        steps=np.arange(frames),
        times=np.arange(frames) * 10.0,
    )


def two_windows(**options: Any) -> Any:
    """Free energy from k = 1 to 2 eV/Å² by two short windows."""
    springs = HarmonicRestraint(ANCHORS, 1.0), HarmonicRestraint(ANCHORS, 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few samples
        return free_energy(*springs, wells(), LANGEVIN, windows=2, timestep=2.0, check=False, progress=False, **options)


@struct.dataclass
class Squeezed(PerSystem):
    """``each`` eV per atom and 1000 Å³ of the cell."""

    each: float

    def requirements(self) -> tuple[Any, ...]:
        return ()

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        dtype = system.positions.dtype
        return jnp.asarray(self.each / 1000.0, dtype) * system.volume * jnp.sum(system.mask.astype(dtype))
