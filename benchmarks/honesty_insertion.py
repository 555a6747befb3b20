"""Cases of `widom` on frames of a simulation; see honesty.py."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms
from honesty import Case, Entry
from honesty_free_energies import TEMPERATURE

import jaxelyte as jxl

RUNS, ATOMS, EDGE = 64, 6, 13.0
"""Replicas, atoms of each, and Å: a gas of ρσ³ = 0.11."""


def pairs() -> jxl.LennardJones:
    """Between all atoms."""
    return jxl.LennardJones({"Ar": 3.4}, {"Ar": 0.0104}, cutoff=6.0, shift=True)


@lru_cache(maxsize=1)
def gas() -> Any:
    """Frames of all replicas at 300 K, each 0.4 ps."""
    grid = np.array([[x, y, z] for x in (2.0, 8.5) for y in (2.0, 8.5) for z in (2.0, 8.5)])[:ATOMS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jxl.simulate(
            pairs(),
            Atoms(f"Ar{ATOMS}", grid, cell=[EDGE] * 3, pbc=True),
            jxl.NVT(TEMPERATURE, "langevin"),
            steps=5000,
            timestep=4.0,
            every=100,
            equilibration=1000,
            replicas=RUNS,
            seed=3,
            progress=False,
        ).trajectory


@lru_cache(maxsize=1)
def potentials() -> np.ndarray:
    """μ_ex in eV and its error of each replica, (replicas, 2)."""
    whole, found = gas(), []
    for k in range(RUNS):
        one = jxl.Trajectory(
            np.asarray(whole.positions)[11:, k : k + 1],
            whole.numbers[k],
            whole.masses[k],
            np.eye(3) * EDGE,
            whole.pbc,
            whole.steps[11:],
            whole.times[11:],
        )
        value = jxl.widom(one, pairs(), "Ar", per_frame=50, temperature=TEMPERATURE, seed=k)
        found.append((value.value, value.error))
    return np.array(found)


def chemical_potential(seed: int) -> Case:
    """Of one replica, against all other ones."""
    found = potentials()
    rest = np.delete(found[:, 0], seed)
    error = math.hypot(found[seed, 1], rest.std(ddof=1) / math.sqrt(len(rest)))
    return Case(found[seed, 0], error, None, float(rest.mean()))


CASES: dict[str, Entry] = {
    f"widom, {ATOMS} argon atoms in Langevin dynamics": Entry(chemical_potential, dynamics=True, seeds=RUNS),
}
