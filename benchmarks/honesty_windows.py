"""Cases of simulated windows: springs along λ, with and without exchange, and umbrella windows; see honesty.py.

One compiled run holds many independent systems, each of which is analysed as a run of its own.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache, partial
from typing import Any

import numpy as np
from ase import Atoms
from honesty import Case, Entry
from honesty_bias import LENGTH, SPRING, deviation_at
from honesty_free_energies import TEMPERATURE, THERMAL

from jaxelyte.dynamics import NVT, simulate
from jaxelyte.free_energy import FreeEnergyResult, UmbrellaResult, difference, free_energy, umbrella_pmf
from jaxelyte.free_energy.quadrature import nodes_and_weights
from jaxelyte.observables import Distance
from jaxelyte.potentials.bonded import HarmonicBonds
from jaxelyte.potentials.distance import DistanceRestraint
from jaxelyte.potentials.restraints import HarmonicRestraint

SYSTEMS = 64
TRIPLE = 3
"""Atoms of one system."""

ANCHORS = 3.0 * np.mgrid[0:6, 0:6, 0:6].reshape(3, -1).T[: SYSTEMS * TRIPLE].astype(float)
LANGEVIN = NVT(TEMPERATURE, "langevin", friction=0.02)
RATIO, WINDOWS = 1.5, 3


@lru_cache(maxsize=2)
def springs_along_lambda(exchange: int) -> np.ndarray:
    """(systems, windows, samples), U1 - U0 in eV of atoms on springs from 1 to `RATIO` eV/Å²."""
    atoms = Atoms(f"Ar{len(ANCHORS)}", ANCHORS, cell=[40.0] * 3, pbc=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all systems together need more windows
        result = free_energy(
            HarmonicRestraint(ANCHORS, 1.0),
            HarmonicRestraint(ANCHORS, RATIO),
            atoms,
            LANGEVIN,
            windows=WINDOWS,
            steps=5000,
            timestep=8.0,
            sample_every=10,
            every=10,
            exchange=exchange,
            seed=1,
            check=False,
            progress=False,
        )
    run: Any = result.run
    moved = np.asarray(run.trajectory.positions, np.float64)[1:] - ANCHORS
    gap = 0.5 * (RATIO - 1.0) * np.sum(moved**2, axis=-1)
    gap = gap.reshape(*gap.shape[:2], SYSTEMS, TRIPLE).sum(axis=-1)
    place = np.rint(run.observables["energies"].values[..., 2]).astype(int)
    order = np.argsort(place, axis=1)
    return np.take_along_axis(gap, order[..., None], axis=1).transpose(2, 1, 0)


@lru_cache(maxsize=2 * SYSTEMS)
def spring_result(seed: int, exchange: int) -> FreeEnergyResult:
    """The free energy of one system."""
    lam, weights = nodes_and_weights(WINDOWS, "clenshaw-curtis")
    return difference(list(springs_along_lambda(exchange)[seed]), lam, TEMPERATURE, weights=weights)


def spring(seed: int, *, estimator: str, exchange: int) -> Case:
    """9/2 k_B T ln(ratio) by one estimator."""
    result = spring_result(seed, exchange)
    return Case(*result.estimates[estimator], result.freedom[estimator], 1.5 * TRIPLE * THERMAL * math.log(RATIO))


CENTERS = (3.0, 3.7, 4.4, 5.1)


@lru_cache(maxsize=1)
def distances() -> np.ndarray:
    """(systems, windows, samples), Å, of a pair on a spring in umbrella windows."""
    pair = Atoms("Ar2", [[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]], cell=[30.0] * 3, pbc=True)
    run = simulate(
        HarmonicBonds(np.array([[0, 1]]), k=SPRING, length=LENGTH)
        + DistanceRestraint((0, 1), k=0.5, center=np.tile(CENTERS, SYSTEMS)),
        pair,
        LANGEVIN,
        steps=18_000,
        timestep=8.0,
        replicas=SYSTEMS * len(CENTERS),
        every=2000,
        sample_every=20,
        equilibration=2000,
        observables={"distance": Distance((0, 1))},  # pyright: ignore[reportArgumentType]
        seed=2,
        progress=False,
    )
    values = run.observables["distance"].values[..., 0]
    return values.T.reshape(SYSTEMS, len(CENTERS), -1)


@lru_cache(maxsize=SYSTEMS)
def umbrella_result(seed: int) -> UmbrellaResult:
    """The potential of mean force of one system."""
    return umbrella_pmf(list(distances()[seed]), CENTERS, 0.5, TEMPERATURE, width=0.2)


def umbrella(seed: int, *, distance: float) -> Case:
    """w(r) at a distance."""
    return deviation_at(umbrella_result(seed).pmf, distance)


CASES: dict[str, Entry] = {
    **{
        f"{name}, springs 1:{RATIO:g} in Langevin dynamics, {WINDOWS} windows{', exchange' if exchange else ''}": Entry(
            partial(spring, estimator=name, exchange=exchange), dynamics=True, seeds=SYSTEMS
        )
        for exchange in (0, 20)
        for name in ("TI", "BAR", "MBAR")
    },
    **{
        f"umbrella w({distance:g} Å), 4 windows in Langevin dynamics": Entry(
            partial(umbrella, distance=distance), dynamics=True, seeds=SYSTEMS
        )
        for distance in (3.0, 4.0)
    },
}
