"""Cases from a simulation of ions without forces under a Langevin thermostat: all coefficients are known exactly.

    D = k_B T / (m γ),   σ = Σ N q² D / (V k_B T),   η = N k_B T / (2 γ V),

the last since Σ m v_x v_y / V forgets with 2γ. One run of 64 replicas; each is a run of its own.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import lru_cache, partial

import jax
import numpy as np
from ase import Atoms
from honesty import Case, Entry

import jaxelyte as jxl
from jaxelyte.observables import PressureTensor, SeriesResult
from jaxelyte.trajectory import Trajectory
from jaxelyte.units import ACCELERATION, BOLTZMANN

REPLICAS, PAIRS, EDGE = 64, 4, 30.0
TEMPERATURE, FRICTION, TIMESTEP, EVERY, FRAMES = 300.0, 0.01, 10.0, 4, 2000
CHARGES = {"Na": 1.0, "Cl": -1.0}


@lru_cache(maxsize=1)
def run() -> jxl.Run:
    """80 ps of 4 + 4 ions in 64 replicas."""
    atoms = Atoms(f"Na{PAIRS}Cl{PAIRS}", cell=[EDGE] * 3, pbc=True)
    atoms.positions = np.random.default_rng(0).uniform(0.0, EDGE, (2 * PAIRS, 3))
    species = {"Na": 1.0, "Cl": 1.0}
    nothing = jxl.LennardJones(sigma=species, epsilon=dict.fromkeys(species, 0.0), cutoff=2.0)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jxl.simulate(
            nothing,
            atoms,
            jxl.NVT(TEMPERATURE, "langevin", friction=FRICTION),
            steps=FRAMES * EVERY,
            timestep=TIMESTEP,
            every=EVERY,
            replicas=REPLICAS,
            save_velocities=True,
            observables={"pressure": PressureTensor()},
            sample_every=2,
            progress=False,
            seed=1,
        )


def replica(seed: int) -> Trajectory:
    """The frames of one replica."""
    frames = run().trajectory
    own = {name: getattr(frames, name)[seed : seed + 1] for name in ("numbers", "masses")}
    moving = {name: np.asarray(getattr(frames, name))[:, seed : seed + 1] for name in ("positions", "velocities")}
    return replace(frames, cells=np.eye(3) * EDGE, **own, **moving)


def coefficient(species: str) -> float:
    """D in Å²/fs."""
    mass = {"Na": 22.98976928, "Cl": 35.45}[species]
    return BOLTZMANN * TEMPERATURE * ACCELERATION / (mass * FRICTION)


def diffusion(seed: int, *, species: str) -> Case:
    """By Einstein."""
    found = jxl.diffusivity(replica(seed), species, temperature=TEMPERATURE)
    return Case(found.value, found.error, found.freedom, 1e-5 * coefficient(species))


def green_kubo(seed: int, *, species: str) -> Case:
    """By the velocities."""
    found = jxl.vacf(replica(seed), species)
    return Case(*found.diffusivity(), found.freedom, 1e-5 * coefficient(species))


def conductivity(seed: int, *, independent: bool) -> Case:
    """With the correlations between ions, of which there are none, and without."""
    found = jxl.conductivity(replica(seed), CHARGES, temperature=TEMPERATURE)
    thermal = EDGE**3 * 1e-30 * 1.380649e-23 * TEMPERATURE
    exact = PAIRS * 1.602176634e-19**2 * 1e-5 * sum(map(coefficient, CHARGES)) / thermal
    if independent:
        return Case(found.nernst_einstein, found.nernst_einstein_error, found.freedom, exact)
    return Case(found.value, found.error, found.freedom, exact)


def viscosity(seed: int) -> Case:
    """Of the kinetic stress, by trapezoids."""
    whole = run().observables["pressure"]
    assert isinstance(whole, SeriesResult)
    own = SeriesResult(whole.columns, whole.unit, whole.interval, whole.interval, whole.values[:, seed : seed + 1])
    found = jxl.viscosity(own, temperature=TEMPERATURE, volume=EDGE**3)
    keep = np.exp(-2.0 * FRICTION * whole.interval)
    time = whole.interval * 0.5 * (1.0 + keep) / (1.0 - keep) * 1e-15
    exact = float(2 * PAIRS * BOLTZMANN * 1.602176634e-19 * TEMPERATURE / (EDGE**3 * 1e-30) * time)
    return Case(found.value, found.error, found.freedom or None, exact)


def _entries() -> dict[str, Entry]:
    found = {}
    for species in CHARGES:
        found[f"diffusion, {species} in a simulation"] = partial(diffusion, species=species)
        found[f"Green-Kubo diffusion, {species} in a simulation"] = partial(green_kubo, species=species)
    found["conductivity, ions in a simulation"] = partial(conductivity, independent=False)
    found["Nernst-Einstein, ions in a simulation"] = partial(conductivity, independent=True)
    found["viscosity, ideal gas in a simulation"] = viscosity
    return {name: Entry(case, dynamics=True, seeds=REPLICAS) for name, case in found.items()}


CASES: dict[str, Entry] = _entries()
