"""Error bars over repeated runs: about 68 % of results lie within one of the truth, or of the mean of all runs."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import jaxelyte as jxl
from jaxelyte.dynamics import NVT, simulate
from jaxelyte.trajectory import Trajectory
from toys import Argon

EDGE = 12.0


def check_share(deviations: np.ndarray, *, expected: float, independent: float) -> None:
    """Compare the share of deviations, in their standard errors, below one with what is expected of it.

    Args:
        deviations: in quoted standard errors.
        expected: 0.683 where errors are known well; Student's t of 7, 9 or 15 degrees of freedom says 0.65, 0.657 or
            0.667.
        independent: how many of the deviations are independent; three binomial standard deviations are allowed.
    """
    share = float(np.mean(np.abs(deviations) < 1.0))
    assert abs(share - expected) < 3.0 * math.sqrt(expected * (1.0 - expected) / independent), share
    # Errors that are far too small for some results would not show in the share.
    assert np.mean(np.abs(deviations) > 4.0) < 0.03


def walkers(rng: np.random.Generator, frames: int, step: float, *, replicas: int = 1) -> Trajectory:
    """An ideal gas of 16 atoms that wander: correlated frames in equilibrium, g = 1 and S = 1 exactly."""
    atoms = Atoms("Na8Cl8")
    steps = rng.normal(0.0, step, (frames, replicas, 16, 3))
    steps[0] = rng.uniform(0.0, EDGE, steps[0].shape)
    return Trajectory(
        positions=np.cumsum(steps, axis=0),
        numbers=atoms.numbers,
        masses=atoms.get_masses(),
        cells=np.eye(3) * EDGE,
        pbc=(True, True, True),
        steps=np.arange(frames),
        times=np.arange(frames) * 100.0,
    )


RUNS, FRAMES = 40, 200


@pytest.mark.more
def test_bins_of_radial_distribution_functions_and_their_integrals() -> None:
    """Neighbours stay in a bin for some frames; bins are nearly independent. Integrals, by 16 stretches, vanish."""
    off, integrals = [], []
    for seed in range(RUNS):
        found = jxl.rdf(walkers(np.random.default_rng(seed), FRAMES, 1.0), "Na", "Cl", bins=6)
        off.append(((found.g - 1.0) / found.error)[2:])
        for weight in ("cut-off", "extrapolated"):
            one = jxl.kirkwood_buff(found, box_length=EDGE, correction="none", weight=weight)  # pyright: ignore[reportArgumentType]
            integrals.append(one.value[0] / one.error[0])
    check_share(np.array(off), expected=0.67, independent=2 * RUNS)
    check_share(np.array(integrals), expected=0.667, independent=RUNS)


@pytest.mark.more
def test_bins_of_structure_factors() -> None:
    """Partials by blocks, totals by 16 stretches."""
    off, total = [], []
    for seed in range(RUNS):
        trajectory = walkers(np.random.default_rng(seed), FRAMES, 1.0)
        found = jxl.structure_factor(trajectory, k_max=1.2, width=0.2, weighting="x-ray")
        assert found.total is not None
        assert found.total_error is not None
        off.append(((found.value - found.alike[:, None]) / found.error)[:, 1:])
        total.append(((found.total - 1.0) / found.total_error)[1:])
    check_share(np.array(off), expected=0.67, independent=2 * RUNS)
    check_share(np.array(total), expected=0.667, independent=2 * RUNS)


def test_conductivities_and_transport_numbers() -> None:
    """Of 80 runs of independent ions with a still, heavy frame: N q² D/(V k_B T); eight stretches."""
    width, off, shares = 0.2, [], []
    diffusivity = width**2 / 200.0  # Å²/fs
    exact = 16 * 1.602176634e-19**2 * diffusivity * 1e-5 / (EDGE**3 * 1e-30 * 1.380649e-23 * 300.0)
    for seed in range(80):
        free = walkers(np.random.default_rng(seed), 800, width, replicas=2)
        still = np.zeros((800, 2, 1, 3))
        positions = np.concatenate([np.asarray(free.positions), still], axis=2)
        masses, numbers = np.append(free.masses[0], 1e9), np.append(free.numbers[0], 82)
        framed = replace(free, positions=positions, masses=np.stack([masses] * 2), numbers=np.stack([numbers] * 2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = jxl.conductivity(framed, {"Na": 1.0, "Cl": -1.0}, temperature=300.0, fit=(100.0, 1000.0))
        off.append((found.value - exact) / found.error)
        shares.append((found.transport[0] - 0.5) / found.transport_error[0])
    check_share(np.array(off), expected=0.65, independent=80)
    check_share(np.array(shares), expected=0.65, independent=80)


@pytest.fixture(scope="module")
def liquid() -> Trajectory:
    """24 independent runs of 32 atoms of liquid argon, 24 ps each after 8 ps."""
    atoms = bulk("Ar", "fcc", a=5.75, cubic=True).repeat(2)
    atoms.rattle(0.3, seed=1)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        run = simulate(
            Argon(cutoff_distance=5.7),
            atoms,
            NVT(140.0, "svr", tau=500.0),
            steps=4000,
            timestep=8.0,
            every=4,
            replicas=24,
            progress=False,
            seed=2,
        )
    return run.trajectory[250:]


def each(trajectory: Trajectory) -> list[Trajectory]:
    """Its replicas, one by one."""
    fields = vars(trajectory)
    parts = []
    for r in range(trajectory.replicas):
        own: dict[str, Any] = {name: fields[name][r : r + 1] for name in ("numbers", "masses")}
        own["cells"] = np.asarray(trajectory.cells_of(slice(0, 1)))[0, r]
        parts.append(replace(trajectory, positions=np.asarray(trajectory.positions)[:, r : r + 1], **own))
    return parts


@pytest.mark.slow
def test_runs_of_a_liquid_scatter_as_their_errors_say(liquid: Trajectory) -> None:
    """g(r) by blocks and D by eight stretches of 24 runs against the mean of all, which has an error of its own."""
    curves, rates = [], []
    for one in each(liquid):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            g = jxl.rdf(one, "Ar", "Ar", width=0.25)
            curves.append((g.g, g.error))
            d = jxl.diffusivity(one, "Ar", fit=(500.0, 1500.0))
            rates.append((d.value, d.error))
    for rows, independent, expected in ((np.array(curves), 72, 0.67), (np.array(rates), 24, 0.65)):
        values, errors = rows[:, 0], rows[:, 1]
        good = np.all(errors > 0, axis=0)
        off = (values - values.mean(axis=0)) / np.where(good, errors, 1.0) / math.sqrt(1.0 - 1.0 / len(rows))
        check_share(off[:, good] if off.ndim > 1 else off, expected=expected, independent=independent)
