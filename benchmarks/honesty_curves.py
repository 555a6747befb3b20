"""Cases of curves with error bars, and of numbers that are read from them; see honesty.py.

Displacements and velocities of walkers, running integrals of a stress, survival functions, gradients along λ, g(r) as
an average of reweighting, minima of biased sampling, and root mean square errors of predictions.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
from honesty import Case, Entry
from honesty_bias import FOUR, TEMPERATURE, THERMAL, exact_profile, umbrella_of
from honesty_diffusion import EXACT, trajectory, walkers
from honesty_free_energies import ATOMS, springs
from honesty_residence import INTERVAL, staying
from honesty_residence import estimates as neighbours
from honesty_series import decaying
from honesty_viscosity import VOLUME, stress

import jaxelyte as jxl
from jaxelyte.free_energy import difference
from jaxelyte.free_energy.quadrature import nodes_and_weights
from jaxelyte.gradients import Reweighting, frame_rdf
from jaxelyte.observables.viscosity import SCALE


def displacement(seed: int, *, lag: int, replicas: int = 1, fixed: bool = False) -> Case:
    """Mean squared displacement of four walkers after some frames of 100 fs."""
    positions = walkers(seed, atoms=4, frames=400, replicas=replicas, fixed=fixed)
    found = jxl.msd(trajectory(positions, np.full(4, 18), 100.0), "Ar")
    return Case(float(found.value[lag]), float(found.error[lag]), found.freedom, 6.0 * EXACT * 100.0 * lag)


def velocity(seed: int, *, lag: int) -> Case:
    """Correlation of velocities that forget exponentially within 200 fs, after some frames of 20 fs."""
    noise = decaying(np.random.default_rng(seed), 1500, 10.0, 12)
    velocities = np.sqrt(EXACT / 200.0) * noise.reshape(1500, 1, 4, 3)
    run = trajectory(20.0 * np.cumsum(velocities, axis=0), np.full(4, 18), 20.0, velocities=velocities)
    found = jxl.vacf(run, "Ar")
    exact = found.share * 3.0 * EXACT / 200.0 * math.exp(-0.1 * lag)
    return Case(float(found.value[lag]), float(found.error[lag]), found.freedom, exact)


def running(seed: int, *, lag: int, samples: int = 4000, tau: float = 200.0) -> Case:
    """The running integral of a stress with one relaxation time, samples each 20 fs."""
    series = stress(np.random.default_rng(seed), samples, 20.0, [(0.05, tau)], 1, 0.0)
    found = jxl.viscosity(series, temperature=TEMPERATURE, volume=VOLUME)
    decay = 0.05**2 * np.exp(-20.0 / tau * np.arange(lag + 1))
    exact = SCALE * VOLUME / TEMPERATURE * 20.0 * float(decay.sum() - 0.5 * (decay[0] + decay[-1]))
    return Case(float(found.running[lag]), float(found.running_error[lag]), found.running_freedom, exact)


def survival(seed: int, *, lag: int, intermittent: bool) -> Case:
    """Share of the neighbours that are still there, or there again."""
    leave, come = 0.05, 0.02
    found = neighbours(seed, frames=2000, waters=15, leave=leave, come=come)
    if intermittent:
        stays = come / (come + leave)
        exact = stays + (1.0 - stays) * (1.0 - leave - come) ** lag
        return Case(float(found.intermittent[lag]), float(found.intermittent_error[lag]), found.freedom, exact)
    exact = float(np.linalg.matrix_power(staying(leave, come, 0), lag)[0, 0])
    assert found.lags[1] == INTERVAL
    return Case(float(found.survival[lag]), float(found.survival_error[lag]), found.freedom, exact)


def slope(seed: int, *, window: int, count: int, memory: float) -> Case:
    """<dU/dλ> of springs that become four times as stiff, in one of four windows."""
    lam, weights = nodes_and_weights(4, "clenshaw-curtis")
    gaps = springs(np.random.default_rng(seed), lam, 4.0, count, memory)
    found = difference(gaps, lam, TEMPERATURE, weights=weights)
    exact = 1.5 * ATOMS * THERMAL * 3.0 / (1.0 + 3.0 * float(lam[window]))
    error, freedom = float(found.gradient_error[window]), float(found.gradient_freedom[window])
    return Case(float(found.gradient[window]), error, freedom, exact)


SIDE = 12.0
"""Å, of the cell of an ideal gas."""


def averaged_curve(seed: int, *, frames: int) -> Case:
    """g(r) of an ideal gas as an average of reweighting: one in each bin."""
    positions = np.random.default_rng(seed).random((frames, 1, 12, 3)) * SIDE
    run = trajectory(positions, np.repeat([11, 8], 6), 10.0, cells=np.eye(3) * SIDE, unwrapped=False)
    nothing = jxl.LennardJones({"Na": 2.0, "O": 2.0}, {"Na": 0.0, "O": 0.0}, cutoff=4.0, tail_correction=False)
    at = Reweighting(run, nothing, temperature=TEMPERATURE, at_once=50)
    found = at.average(frame_rdf(run, ("Na", "O"), r_max=6.0, bins=6))
    value, error = (np.asarray(x, np.float64).ravel()[4] for x in (found.value, found.error))
    return Case(float(value), float(error), found.freedom, 1.0)


def minimum(seed: int, *, what: str, count: int) -> Case:
    """Position or energy of the minimum of a spring by umbrella windows, against the curve without noise."""
    found = umbrella_of(seed, FOUR, 0.5, count, 0.0).pmf
    table = found.distribution
    g = np.exp(-exact_profile(table.edges) / THERMAL)
    exact = jxl.pmf(replace(table, g=g, stretches=np.array([g])[:, None]), TEMPERATURE).contact
    well = found.contact
    if what == "position":
        return Case(well.position, well.position_error, len(table.stretches) - 1, exact.position)
    return Case(well.energy, well.energy_error, len(table.stretches) - 1, exact.energy)


@lru_cache(maxsize=4)
def predictions(seed: int, frames: int) -> dict[str, Any]:
    """Summary of predictions whose errors differ from frame to frame: the mean square of a scale s is 1 + 0.3²."""
    rng = np.random.default_rng(seed)
    sizes = np.full(frames, 12)
    scale = 1.0 + 0.3 * rng.normal(size=frames)
    forces = 0.05 * np.repeat(scale, sizes)[:, None] * rng.normal(size=(frames * 12, 3))
    energies = 12 * 0.002 * rng.normal(size=frames)
    nothing = np.zeros_like
    return jxl.Evaluation(
        symbols=np.tile(["H"] * 8 + ["O"] * 4, frames),
        frame_of=np.repeat(np.arange(frames), sizes),
        energies=np.stack([nothing(energies), energies], axis=-1),
        forces=np.stack([nothing(forces), forces], axis=-1),
        stresses=np.full((frames, 3, 3, 2), np.nan),
        sizes=sizes,
        formulas=np.full(frames, "H8O4"),
    ).summary()


def rmse(seed: int, *, what: str, frames: int) -> Case:
    """Root mean square error of energies or forces."""
    found = predictions(seed, frames)[what]
    exact = 2.0 if what.startswith("energy") else 50.0 * math.sqrt(1.0 + 0.3**2)
    return Case(found["rmse"], found["rmse_error"] or math.nan, found["rmse_freedom"], exact)


CASES: dict[str, Entry] = {
    "mean squared displacement, 4 walkers at 0.5 ps": Entry(partial(displacement, lag=5)),
    "mean squared displacement, 4 walkers at 2 ps, centre fixed": Entry(partial(displacement, lag=20, fixed=True)),
    "mean squared displacement, 4 walkers in 4 replicas at 8 ps": Entry(partial(displacement, lag=80, replicas=4)),
    "mean squared displacement, 4 walkers at 2.5 ps, the longest lag": Entry(partial(displacement, lag=25), hard=True),
    "velocity autocorrelation, 4 atoms at 0": Entry(partial(velocity, lag=0)),
    "velocity autocorrelation, 4 atoms at one decay time": Entry(partial(velocity, lag=10)),
    "velocity autocorrelation, 4 atoms at five decay times": Entry(partial(velocity, lag=50)),
    "running integral of a viscosity, at one relaxation time": Entry(partial(running, lag=10)),
    "running integral of a viscosity, at ten relaxation times": Entry(partial(running, lag=100)),
    "survival function, half of the neighbours left": Entry(partial(survival, lag=13, intermittent=False)),
    "survival function, a twentieth of the neighbours left": Entry(partial(survival, lag=58, intermittent=False)),
    "intermittent function, half of the decay": Entry(partial(survival, lag=10, intermittent=True)),
    **{
        f"<dU/dλ>, springs 1:4, window {window}, {count} samples{f', memory {memory:g}' if memory else ''}": Entry(
            partial(slope, window=window, count=count, memory=memory),
            hard=count < 1000 and memory > 0.0,
            seeds=800 if count == 200 else 200,
        )
        for window, count, memory in ((0, 400, 0.0), (2, 1000, 5.0), (1, 200, 10.0))
    },
    "average of frame_rdf, 200 frames of an ideal gas": Entry(partial(averaged_curve, frames=200)),
    "position of a minimum, 4 umbrella windows, 400 samples": Entry(partial(minimum, what="position", count=400)),
    "energy of a minimum, 4 umbrella windows, 400 samples": Entry(partial(minimum, what="energy", count=400)),
    **{
        f"RMSE of {name}, {frames} frames": Entry(partial(rmse, what=what, frames=frames), hard=frames < 10, seeds=1000)
        for frames in (100, 20, 8)
        for name, what in (("energies", "energy_meV_per_atom"), ("forces", "forces_meV_per_A"))
    },
}
