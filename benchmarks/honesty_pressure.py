"""Cases of pressures, temperatures and structure from dynamics that run in the compiled loop; see honesty.py.

64 replicas of one run are analysed one by one, as 64 runs. Ions without interactions have exactly known answers: an
osmotic coefficient of one, N k_B T / V, the temperature of the thermostat, g(r) = 1, and coordination numbers that are
densities times volumes. For the fluid the reference is the mean of all replicas, whose own error is an eighth.
"""

from __future__ import annotations

import warnings
from functools import lru_cache, partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from honesty import Case, Entry

import jaxelyte as jxl
from jaxelyte.dynamics.equipartition import equipartition
from jaxelyte.dynamics.summary import averages, conserved_drift
from jaxelyte.observables import block_error, standard_error
from jaxelyte.units import ACCELERATION, BOLTZMANN, EV_PER_A3_IN_GPA

RUNS, FEW = 64, 4
EDGE, KELVIN = 12.4, 300.0
"""Å and K of the ions."""


FLUID = 170.0
"""K, of argon: at a lower temperature and a higher density some of the replicas stay crystals."""


SLOW = "langevin"
"""Thermostat whose friction leaves energy and pressure some thirty relaxation times of a broad spectrum: errors have
three or four degrees of freedom. Others are taken as they are printed."""


def ions(count: int) -> Atoms:
    """Li and Cl at random."""
    positions = np.random.default_rng(count).random((count, 3)) * EDGE
    return Atoms(["Li", "Cl"] * (count // 2), positions, cell=[EDGE] * 3, pbc=True)


@lru_cache(maxsize=4)
def ideal(count: int, thermostat: Any) -> Any:
    """Ions that do not interact: a pair potential of no depth. Start positions are drawn anew for each replica."""
    potential = jxl.LennardJones({"Li": 2.0, "Cl": 3.0}, {"Li": 0.0, "Cl": 0.0}, cutoff=4.0, tail_correction=False)
    starts = []
    for seed in range(RUNS):
        atoms = ions(count)
        atoms.positions = np.random.default_rng(seed).random((count, 3)) * EDGE
        starts.append(atoms)
    steps = 16000 if thermostat == "langevin" else 4000  # pairs of ions that diffuse come back
    return run_of(potential, starts, jxl.NVT(KELVIN, thermostat), steps=steps, timestep=2.0)


@lru_cache(maxsize=4)
def fluid(thermostat: Any, *, single: bool = False, replicas: int = RUNS, steps: int | None = None) -> Any:
    """Argon above its critical point, 32 atoms, equilibrated with Langevin's thermostat."""
    potential = jxl.LennardJones({"Ar": 3.4}, {"Ar": 0.0103}, cutoff=5.3, switch=4.5, tail_correction=False)
    if steps is None:  # friction makes the fluid slow
        steps = 9600 if thermostat == "langevin" else 2400
    atoms = bulk("Ar", "fcc", a=6.0, cubic=True).repeat(2)
    with single_precision(single):
        before = run_of(
            potential, [atoms] * replicas, jxl.NVT(FLUID, "langevin"), steps=600, timestep=4.0, sample_every=20
        )
        ensemble = jxl.NVE() if thermostat == "nve" else jxl.NVT(FLUID, thermostat)
        return run_of(potential, before.atoms, ensemble, steps=steps, timestep=4.0, sample_every=20)


def single_precision(wanted: bool) -> Any:
    """A context in which numbers have 32 bits where that is wanted, 64 otherwise."""
    import jax

    return jax.enable_x64(not wanted)


def run_of(
    potential: Any, starts: list[Atoms], ensemble: Any, *, steps: int, timestep: float, sample_every: int = 5
) -> Any:
    """A run of replicas that records the pressure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jxl.simulate(
            potential,
            starts,
            ensemble,
            steps=steps,
            timestep=timestep,
            every=20,
            sample_every=sample_every,
            observables={"pressure": jxl.PressureTensor()},
            save_velocities=True,
            overlap=0.0,
            seed=5,
            progress=False,
        )


def trace(run: Any, seed: int) -> np.ndarray:
    """The pressure of one replica in GPa, (samples,)."""
    return run.observables["pressure"].values[:, seed, :3].mean(axis=1)


def osmotic(seed: int, *, count: int, thermostat: str) -> Case:
    """Pressure over N k_B T / V of ions without interactions: exactly one."""
    values = trace(ideal(count, thermostat), seed)
    unit = count * BOLTZMANN * KELVIN / EDGE**3 * EV_PER_A3_IN_GPA
    return Case(float(values.mean() / unit), float(standard_error(values) / unit), None, 1.0)


def pressure(seed: int, *, thermostat: str) -> Case:
    """The pressure of the fluid, against all other replicas."""
    run = fluid(thermostat)
    values = trace(run, seed)
    others = run.observables["pressure"].values[:, :, :3].mean(axis=(0, 2))
    found = block_error(values[:, None])
    freedom = float(found.freedom) if thermostat == SLOW else None
    return against_others(float(values.mean()), float(found.error), freedom, others, seed)


def against_others(value: float, error: float, freedom: float | None, means: np.ndarray, seed: int) -> Case:
    """A case whose exact value is the mean of the other replicas, with its error."""
    rest = np.delete(means, seed)
    return Case(value, float(np.hypot(error, rest.std(ddof=1) / np.sqrt(len(rest)))), freedom, float(rest.mean()))


def of_log(run: Any, replicas: slice) -> dict[str, np.ndarray]:
    """The log of some replicas."""
    return {name: column if column.ndim == 1 else column[:, replicas] for name, column in run.log.items()}


def logged(seed: int, *, thermostat: str, quantity: str) -> Case:
    """A mean of the summary of one replica."""
    run = fluid(thermostat)
    begin = run.summary["discarded_frames"]
    found = averages(of_log(run, slice(seed, seed + 1)), 32, thermostat=None, discard=begin - 1)[quantity]
    error = np.nan if found["error"] is None else found["error"]
    freedom = found["degrees_of_freedom"] if thermostat == SLOW else None
    if quantity == "temperature":
        return Case(found["value"], error, None, FLUID)
    return against_others(found["value"], error, freedom, run.log[quantity][begin:].mean(axis=0), seed)


def species(seed: int, *, count: int, thermostat: str) -> Case:
    """Kinetic temperature of Li among ideal ions, from velocities, of one replica."""
    run = ideal(count, thermostat)
    masses, numbers = run.trajectory.masses[0], run.trajectory.numbers[0]
    velocities = run.trajectory.velocities[run.summary["discarded_frames"] :, seed]
    kinetic = 0.5 / ACCELERATION * np.sum(masses[:, None] * np.asarray(velocities, np.float64) ** 2, axis=2)
    found = equipartition(
        kinetic[:, None], np.ones(len(kinetic)), numbers[None], masses[None], center_fixed=thermostat != "langevin"
    )
    value, error = found.species["Li"]
    return Case(value, float(error.error), None, KELVIN)


def drift(seed: int, *, single: bool, thermostat: str) -> Case:
    """The drift of the fluid's conserved quantity of four replicas, against the other ones."""
    run = fluid(thermostat, single=single, replicas=60 * FEW, steps=600)
    chosen = slice(FEW * seed, FEW * (seed + 1))
    slope, error, _ = conserved_drift(of_log(run, chosen), 32)
    every = np.array([conserved_drift(of_log(run, slice(k, k + 1)), 32)[0] for k in range(60 * FEW)])
    rest = np.delete(every, np.arange(*chosen.indices(len(every))))
    return Case(slope, error, FEW - 1, float(rest.mean()))


def contacts(seed: int, *, quantity: str) -> Case:
    """g(r) in a bin, or the number of neighbours within 4 Å, of ideal ions of one replica."""
    run = ideal(48, "langevin")
    begin = run.summary["discarded_frames"]
    whole = run.trajectory
    one = jxl.Trajectory(
        np.asarray(whole.positions)[begin:, seed : seed + 1],
        whole.numbers[seed],
        whole.masses[seed],
        np.eye(3) * EDGE,
        whole.pbc,
        whole.steps[begin:],
        whole.times[begin:],
    )
    found = jxl.rdf(one, "Li", "Cl", r_max=6.0, width=0.25)
    at = int(np.searchsorted(found.r, 4.0)) if quantity == "g" else int(np.searchsorted(found.edges, 4.0)) - 1
    if quantity == "g":
        return Case(float(found.g[at]), float(found.error[at]), None, 1.0)
    sphere = 4.0 / 3.0 * np.pi * found.edges[at + 1] ** 3
    return Case(float(found.coordination[at]), float(found.coordination_error[at]), None, 24 * sphere / EDGE**3)


def of_runs(case: Any, seeds: int = RUNS, **options: Any) -> Entry:
    """Replicas of one run."""
    return Entry(partial(case, **options), dynamics=True, seeds=seeds)


CASES: dict[str, Entry] = {
    **{
        f"osmotic coefficient, {count} ideal ions, {thermostat}": of_runs(osmotic, count=count, thermostat=thermostat)
        for count in (8, 48)
        for thermostat in ("nose-hoover", "svr", "langevin")
    },
    "kinetic temperature by species, 48 ideal ions, langevin": of_runs(species, count=48, thermostat="langevin"),
    "g(r), a bin at 4 Å, 48 ideal ions": of_runs(contacts, quantity="g"),
    "coordination number, within 4 Å, 48 ideal ions": of_runs(contacts, quantity="coordination"),
    **{
        f"pressure, fluid argon, {one}": of_runs(pressure, thermostat=one) for one in ("nose-hoover", "svr", "langevin")
    },
    **{
        f"summary, {quantity} of fluid argon, {thermostat}": of_runs(logged, quantity=quantity, thermostat=thermostat)
        for thermostat in ("nose-hoover", "langevin")
        for quantity in ("temperature", "potential")
    },
    **{
        f"drift, fluid argon, {thermostat}, float{32 if single else 64}, 4 replicas": of_runs(
            drift, 60, single=single, thermostat=thermostat
        )
        for thermostat in ("nve", "langevin")
        for single in (True, False)
    },
}
