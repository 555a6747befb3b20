"""Cases of functions that run dynamics themselves, called as a user calls them, once for each seed; see honesty.py.

A pair on a spring (`honesty_bias`), and three atoms on springs along λ (`honesty_free_energies`), in Langevin dynamics.
All seeds share one compiled program.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from typing import Any

import numpy as np
from ase import Atoms
from honesty import Case, Entry
from honesty_bias import LENGTH, SPRING, deviation_at
from honesty_free_energies import ESTIMATORS, TEMPERATURE, THERMAL

from jaxelyte.dynamics import NVT
from jaxelyte.free_energy import FreeEnergyResult, free_energy, free_energy_path, metadynamics, umbrella_sampling
from jaxelyte.gradients import FreeEnergyGradient, free_energy_gradient
from jaxelyte.observables import PMFResult
from jaxelyte.potentials.bonded import HarmonicBonds
from jaxelyte.potentials.restraints import HarmonicRestraint

SEEDS, TRIPLE = 64, 3
LANGEVIN = NVT(TEMPERATURE, "langevin", friction=0.02)
SETTINGS: dict[str, Any] = {"timestep": 8.0, "progress": False}

ANCHORS = np.array([[2.0, 2.0, 2.0], [9.0, 2.0, 2.0], [2.0, 9.0, 9.0]])


def pair() -> tuple[HarmonicBonds, Atoms, tuple[int, int], NVT]:
    """Potential, atoms, indices and ensemble of a pair."""
    atoms = Atoms("Ar2", [[0.0, 0.0, 0.0], [LENGTH, 0.0, 0.0]], cell=[30.0] * 3, pbc=True)
    return HarmonicBonds(np.array([[0, 1]]), k=SPRING, length=LENGTH), atoms, (0, 1), LANGEVIN


def springs(*stiffness: float) -> tuple[list[HarmonicRestraint], Atoms, NVT]:
    """Potentials, atoms and ensemble of three atoms."""
    atoms = Atoms(f"Ar{TRIPLE}", ANCHORS, cell=[20.0] * 3, pbc=True)
    return [HarmonicRestraint(ANCHORS, k) for k in stiffness], atoms, LANGEVIN


@lru_cache(maxsize=SEEDS)
def filled(seed: int, steps: int, walkers: int) -> PMFResult:
    """w(r) by metadynamics."""
    return metadynamics(
        *pair(),
        lower=2.5,
        upper=6.0,
        steps=steps,
        walkers=walkers,
        height=0.01,
        width=0.2,
        stride=50,
        bias_factor=6.0,
        bins=0.2,
        seed=seed,
        **SETTINGS,
    ).pmf


def by_metadynamics(seed: int, *, distance: float, steps: int, walkers: int) -> Case:
    """w(r) at a distance."""
    return deviation_at(filled(seed, steps, walkers), distance)


@lru_cache(maxsize=SEEDS)
def windowed(seed: int, steps: int) -> PMFResult:
    """w(r) by four umbrella windows."""
    return umbrella_sampling(
        *pair(),
        centers=(3.0, 3.7, 4.4, 5.1),
        k=0.5,
        steps=steps,
        equilibration=1000,
        pull=20.0,
        sample_every=20,
        width=0.2,
        seed=seed,
        **SETTINGS,
    ).pmf


def by_umbrella(seed: int, *, distance: float, steps: int) -> Case:
    """w(r) at a distance."""
    return deviation_at(windowed(seed, steps), distance)


def path(seed: int, *, stiffness: tuple[float, ...], exchange: int) -> Case:
    """9/2 k_B T ln of the ratio of the first and the last spring."""
    potentials, atoms, ensemble = springs(*stiffness)
    found = free_energy_path(
        potentials, atoms, ensemble, windows=3, steps=5000, exchange=exchange, check=False, seed=seed, **SETTINGS
    )
    exact = 1.5 * TRIPLE * THERMAL * math.log(stiffness[-1] / stiffness[0])
    return Case(found.value, found.error, found.freedom, exact)


@lru_cache(maxsize=SEEDS)
def along(seed: int, ratio: float, windows: int, steps: int, every: int, adapt: bool) -> FreeEnergyResult:
    """Springs from 1 eV/Å² to ``ratio``."""
    (soft, stiff), atoms, ensemble = springs(1.0, ratio)
    options: dict[str, Any] = {"every": every} if every else {}
    return free_energy(
        soft, stiff, atoms, ensemble, windows=windows, steps=steps, adapt=adapt, seed=seed, **SETTINGS, **options
    )


def adapted(seed: int, *, estimator: str) -> Case:
    """Springs 1:100 by adapted windows."""
    result = along(seed, 100.0, 7, 6000, 0, True)
    return Case(*result.estimates[estimator], result.freedom[estimator], 1.5 * TRIPLE * THERMAL * math.log(100.0))


@lru_cache(maxsize=SEEDS)
def derivative(seed: int, method: str) -> FreeEnergyGradient:
    """With respect to both springs, from 400 frames of each of three windows, 1 to 2 eV/Å²."""
    return free_energy_gradient(along(seed, 2.0, 3, 20_000, 50, False), method=method, at_once=400)


def slope(seed: int, *, end: str, method: str) -> Case:
    """-9/2 k_B T/k of the first spring, or 9/2 k_B T/k of the last."""
    found: Any = derivative(seed, method)
    value, error = (float(getattr(found, name).k) for name in (end, f"{end}_error"))
    exact = 1.5 * TRIPLE * THERMAL * (-1.0 if end == "initial" else 0.5)
    return Case(value, error, found.freedom, exact)


CASES: dict[str, Entry] = {
    f"metadynamics w({distance:g} Å), run of {walkers} walker(s), {steps} steps": Entry(
        partial(by_metadynamics, distance=distance, steps=steps, walkers=walkers),
        hard=walkers == 1,
        dynamics=True,
        seeds=SEEDS,
    )
    for walkers, steps in ((4, 15_000), (1, 30_000))
    for distance in (3.0, 4.0, 5.0)
}
CASES |= {
    f"umbrella_sampling w({distance:g} Å), 4 windows of {steps} steps": Entry(
        partial(by_umbrella, distance=distance, steps=steps), hard=steps < 5000, dynamics=True, seeds=SEEDS
    )
    for steps in (8000, 2000)
    for distance in (3.0, 4.0)
}
CASES |= {
    f"free_energy_path, springs 1:1.5:2.25 in Langevin dynamics{', exchange' if exchange else ''}": Entry(
        partial(path, stiffness=(1.0, 1.5, 2.25), exchange=exchange), dynamics=True, seeds=SEEDS
    )
    for exchange in (0, 20)
}
CASES |= {
    f"free_energy {name}, springs 1:100 in Langevin dynamics, 7 windows by adapt": Entry(
        partial(adapted, estimator=name), dynamics=True, seeds=SEEDS
    )
    for name in ESTIMATORS
}
CASES |= {
    f"free_energy_gradient by {method} of the {end} spring, 1:2 in Langevin dynamics, 3 windows": Entry(
        partial(slope, end=end, method=method), dynamics=True, seeds=SEEDS
    )
    for method in ("TI", "ends")
    for end in ("initial", "final")
}
