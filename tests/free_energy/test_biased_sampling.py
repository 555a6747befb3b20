"""Restraints, metadynamics and umbrella sampling on pairs whose potential of mean force is known."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from jaxelyte.dynamics import NVE, NVT, simulate
from jaxelyte.errors import InputError
from jaxelyte.free_energy import metadynamics, umbrella_pmf, umbrella_sampling
from jaxelyte.free_energy.metadynamics import count_crossings, metadynamics_term
from jaxelyte.free_energy.umbrella import _judged
from jaxelyte.neighbors import Neighbors
from jaxelyte.observables import Distance, PMFResult
from jaxelyte.potentials.bonded import HarmonicBonds
from jaxelyte.potentials.distance import DistanceRestraint, Metadynamics
from jaxelyte.system import System
from jaxelyte.units import BOLTZMANN, COULOMB

NOTHING = Neighbors((), ())
TEMPERATURE = 300.0
THERMAL = BOLTZMANN * TEMPERATURE
SPRING, LENGTH = 0.2, 4.0
BOND = HarmonicBonds(np.array([[0, 1]]), k=SPRING, length=LENGTH)
LANGEVIN = NVT(TEMPERATURE, "langevin")


def pair(distance: float = 3.0) -> Atoms:
    return Atoms("Ar2", [[0.0, 0.0, 0.0], [distance, 0.0, 0.0]], cell=[30.0] * 3, pbc=True)


def off(result: PMFResult, *, least: float = 2.0) -> np.ndarray:
    """w(r) - (½ k (r - l)² + constant) in standard errors, with the constant that the far end is set to.

    Bins whose error is above ``least`` k_B T/10, empty nearly, are left out.
    """
    edges = result.distribution.edges
    exact = 0.5 * SPRING * (result.r - LENGTH) ** 2
    far, shell = result.r > edges[-1] - 1.0, np.diff(edges**3)
    exact += THERMAL * math.log(np.sum((np.exp(-exact / THERMAL) * shell)[far]) / np.sum(shell[far]))
    good = np.isfinite(result.error) & (result.error > 0) & (result.error < 0.1 * least * THERMAL)
    return ((result.value - exact) / np.where(good, result.error, 1.0))[good]


@pytest.mark.usefixtures("fresh_programs")
def test_umbrella_sampling_finds_a_harmonic_potential_of_mean_force() -> None:
    result = umbrella_sampling(
        BOND,
        pair(),
        (0, 1),
        LANGEVIN,
        centers=np.linspace(2.5, 6.0, 8).tolist(),
        k=0.5,
        steps=30_000,
        timestep=4.0,
        pull=2.0,
        seed=3,
        progress=False,
    )
    deviation = off(result.pmf)
    # All bins share the error of the far end, so their mean counts as one value, not as many.
    assert abs(np.mean(deviation)) < 3.0
    assert 0.4 < np.sqrt(np.mean(deviation**2)) < 2.5
    assert len(deviation) > 50
    # Jackknife errors of a correlation of 0.5 ps in 120 ps: a few meV.
    assert np.median(result.pmf.error[np.isfinite(result.pmf.error)]) < 6e-3
    assert np.all(np.diagonal(result.overlap, 1) > 0.15)
    np.testing.assert_allclose(result.overlap.sum(axis=1), 1.0, atol=1e-9)
    assert result.run is not None
    assert result.run.performance["compilations"] == 1
    assert result.pmf.contact.position == pytest.approx(LENGTH, abs=4 * result.pmf.contact.position_error)


def exact_samples(rng: np.random.Generator, centers: np.ndarray, k: float, count: int) -> list[np.ndarray]:
    """Independent distances from r² exp(-β (½ K (r - l)² + ½ k (r - c)²)), by the inverse of its cumulative sum."""
    r = np.linspace(0.5, 9.0, 20_001)
    out = []
    for center in centers:
        density = r**2 * np.exp(-(0.5 * SPRING * (r - LENGTH) ** 2 + 0.5 * k * (r - center) ** 2) / THERMAL)
        total = np.cumsum(density)
        out.append(np.interp(rng.random(count) * total[-1], total, r))
    return out


@pytest.mark.more
def test_errors_of_umbrella_sampling_are_honest(rng: np.random.Generator) -> None:
    """Over 40 repeats with exact samples, energies between windows and the depth of w lie within their errors."""
    centers, k = np.array([2.8, 3.6, 4.4, 5.2]), 0.5
    depth = []
    for _ in range(40):
        result = umbrella_pmf(exact_samples(rng, centers, k, 400), centers, k, TEMPERATURE, width=0.2)
        near = int(np.argmin(np.abs(result.pmf.r - LENGTH)))
        where = np.flatnonzero(np.isfinite(result.pmf.error) & (result.pmf.error > 0))
        assert near in where
        depth.append(off_at(result.pmf, near))
    within = np.mean(np.abs(depth) < 1.0)
    # Binomial: 0.68 ± 0.07; two and a half of that on each side.
    assert 0.49 < within < 0.87
    assert abs(np.mean(depth)) < 3.0 / math.sqrt(40) * 1.3


def off_at(result: PMFResult, bin_number: int) -> float:
    edges = result.distribution.edges
    exact = 0.5 * SPRING * (result.r - LENGTH) ** 2
    # Mean of exp(-β w) within a bin, by quadrature: bins of 0.2 Å are not thin.
    fine = np.array([np.linspace(a, b, 41) for a, b in pairwise(edges)])
    boltzmann = np.exp(-0.5 * SPRING * (fine - LENGTH) ** 2 / THERMAL)
    mean = np.sum(boltzmann * fine**2, axis=1) / np.sum(fine**2, axis=1)
    exact = -THERMAL * np.log(mean)
    far, shell = result.r > edges[-1] - 1.0, np.diff(edges**3)
    exact += THERMAL * math.log(np.sum((mean * shell)[far]) / np.sum(shell[far]))
    return float((result.value - exact)[bin_number] / result.error[bin_number])


def test_the_far_end_can_be_the_screened_coulomb_energy(rng: np.random.Generator) -> None:
    centers = np.array([3.0, 4.0, 5.0])
    samples = exact_samples(rng, centers, 0.5, 300)
    charges = {"Na": 1.0, "Cl": -1.0}
    result = umbrella_pmf(
        samples, centers, 0.5, TEMPERATURE, species=("Na", "Cl"), charges=charges, permittivity=78.3
    ).pmf
    far = result.r > result.distribution.edges[-1] - 1.0
    shell = np.diff(result.distribution.edges**3)[far]
    coulomb = -COULOMB / 78.3 / result.r[far]
    mean = np.sum(np.exp(-coulomb / THERMAL) * shell)
    np.testing.assert_allclose(np.nansum(np.exp(-result.value[far] / THERMAL) * shell), mean, rtol=1e-9)
    assert result.short_range is not None
    with pytest.raises(InputError, match="say nothing about Cl"):
        umbrella_pmf(samples, centers, 0.5, TEMPERATURE, species=("Na", "Cl"), charges={"Na": 1.0}, permittivity=78.3)


def test_gaps_between_windows_are_named(rng: np.random.Generator) -> None:
    """w(r) is joined by chance across a gap: no error bars, one warning with the remedy."""
    centers = np.array([2.0, 6.5])
    with pytest.warns(UserWarning, match=r"2 and 6.5 Å overlap by 0\.0.* put a window between them") as told:
        result = umbrella_pmf(exact_samples(rng, centers, 5.0, 200), centers, 5.0, TEMPERATURE)
    assert len(told) == 1
    assert np.all(np.isnan(result.pmf.error))
    assert result.support[0] < 1.0
    assert "no error bars: windows at 2 and 6.5" in repr(result)


def test_windows_of_few_independent_samples_have_no_error_bars(rng: np.random.Generator) -> None:
    """A window of 400 samples that moves once in 40 is worth ten, though it overlaps with its neighbours."""
    centers = np.array([3.5, 4.0, 4.5])
    samples = exact_samples(rng, centers, 0.5, 400)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        good = umbrella_pmf(samples, centers, 0.5, TEMPERATURE, width=0.2)
    assert not good.refused
    assert np.all((good.independent > 150.0) & (good.independent <= 400.0))
    assert np.all((good.support > 200.0) & (good.support <= 800.0))
    assert np.isfinite(good.pmf.contact.position_error)
    samples[1] = np.repeat(samples[1][:10], 40)
    with pytest.warns(UserWarning, match=r"at 4 Å has \d+ independent samples \(20 are needed\).* run longer") as told:
        found = umbrella_pmf(samples, centers, 0.5, TEMPERATURE, width=0.2)
    assert len(told) == 1
    assert found.independent[1] < 20.0
    assert np.all(np.isnan(found.pmf.error))
    assert math.isfinite(found.pmf.contact.position)
    assert math.isnan(found.pmf.contact.position_error)


def test_many_faults_are_counted() -> None:
    """The worst by name, the others by number."""
    independent, support = np.array([9.0, 3.0, 8.0, 40.0]), np.array([20.0, 4.0, 40.0])
    with pytest.warns(UserWarning, match="the window at 4 Å has 3 independent samples") as told:
        refused = _judged(np.array([3.5, 4.0, 4.5, 5.0]), np.array([0.2, 0.2, 0.01]), independent, support)
    text = str(told[0].message)
    assert "and so in 2 other windows, with more samples; windows at 4 and 4.5 Å overlap by 0.200" in text
    assert "and so in 2 other steps" in text
    assert text.count("independent samples") == 2
    assert refused.count("decide the step") == 2  # the third one overlaps too little, but is decided by enough samples


@pytest.mark.usefixtures("fresh_programs")
def test_metadynamics_fills_the_well() -> None:
    """Both curves, from weighted samples and from the bias, are the known one."""
    result = metadynamics(
        BOND,
        pair(),
        (0, 1),
        LANGEVIN,
        upper=7.0,
        lower=1.5,
        steps=60_000,
        walkers=4,
        timestep=4.0,
        stride=50,
        height=0.01,
        width=0.2,
        bias_factor=6.0,
        seed=5,
        progress=False,
    )
    deviation = off(result.pmf)
    assert len(deviation) > 40  # where a walker came by often enough for an error
    assert abs(np.mean(deviation)) < 3.0
    assert 0.3 < np.sqrt(np.mean(deviation**2)) < 2.5
    inside = (result.grid > 2.5) & (result.grid < 5.8)
    difference = result.from_bias[inside] - 0.5 * SPRING * (result.grid[inside] - LENGTH) ** 2
    # Gaussians still being added are some meV high.
    assert np.std(difference) < 8e-3
    assert result.crossings > 50
    # What the Gaussians put in is counted: without it the quantity would rise by the height of the bias, 0.1 eV.
    log = result.run.log["conserved"]
    assert np.ptp(log, axis=0).max() < 0.01
    assert result.run.performance["compilations"] == 1


def test_walkers_share_one_bias_and_resume_bitwise(tmp_path: Path) -> None:
    bias = Metadynamics((0, 1), upper=7.0, lower=1.5, temperature=TEMPERATURE, stride=10, width=0.2)
    arguments = dict(timestep=4.0, replicas=3, every=20, seed=1, progress=False)
    whole = simulate(BOND + bias, pair(), LANGEVIN, steps=200, **arguments)
    for steps in (85, 200):
        parts = simulate(BOND + bias, pair(), LANGEVIN, steps=steps, output=tmp_path, resume=True, chunk=7, **arguments)
    assert whole.potential is not None
    assert parts.potential is not None
    final = np.asarray(metadynamics_term(whole.potential).bias)
    np.testing.assert_array_equal(final, metadynamics_term(parts.potential).bias)
    np.testing.assert_array_equal(whole.trajectory.positions, parts.trajectory.positions)
    # 20 times 3 Gaussians of at most 5 meV and σ = 0.2 Å.
    area = np.trapezoid(final, metadynamics_term(whole.potential).grid)
    assert 0.5 < area / (60 * 0.005 * 0.2 * math.sqrt(2 * math.pi)) < 1.0


def test_deposits_by_hand() -> None:
    """Two Gaussians: the second is lower by exp(-V/(k_B T (γ - 1))); work is the change of V at the walker."""
    bias = Metadynamics((0, 1), upper=7.0, lower=1.0, temperature=TEMPERATURE, height=0.05, width=0.2, bias_factor=5.0)
    systems = jax.tree.map(lambda x: x[None], System.from_atoms(pair(3.3)))
    memory, work = bias.learn(systems, NOTHING)
    once = bias.with_memory(memory)
    expected = 0.05 * np.exp(-0.5 * ((bias.grid - 3.3) / 0.2) ** 2)
    np.testing.assert_allclose(memory, expected, atol=1e-14)
    assert float(work[0]) == pytest.approx(float(once.bias_at(jnp.asarray(3.3))), rel=1e-12)
    # Nodes are 0.04 Å apart, so the cubic is exact to the fourth power of 0.04/0.2.
    assert float(work[0]) == pytest.approx(0.05, rel=1e-3)
    second, _ = once.learn(systems, NOTHING)
    lower = 0.05 * math.exp(-float(work[0]) / (THERMAL * 4.0))
    np.testing.assert_allclose(second - memory, expected / 0.05 * lower, atol=1e-12)
    away = jax.tree.map(lambda x: x[None], System.from_atoms(pair(7.5)))
    outside, none = bias.learn(away, NOTHING)
    assert np.all(np.asarray(outside) == 0.0)
    assert float(none[0]) == 0.0


def test_bias_forces_are_its_derivative(rng: np.random.Generator) -> None:
    bias = Metadynamics((0, 1), upper=7.0, lower=1.0, temperature=TEMPERATURE, width=0.2)
    bias = bias.with_memory(jnp.asarray(rng.normal(size=len(bias.grid))))
    for r in (0.7, 1.0, 1.37, 3.0, 5.5, 6.99, 7.2):
        here = jnp.asarray(r)
        slope = float(jax.grad(bias._energy)(here))
        assert slope == pytest.approx(
            float(bias._energy(here + 1e-6) - bias._energy(here - 1e-6)) / 2e-6, rel=1e-4, abs=1e-5
        )
    nodes = np.array([float(bias.bias_at(jnp.asarray(r))) for r in bias.grid])
    np.testing.assert_allclose(nodes, bias.bias, atol=1e-9)


def test_a_moving_restraint_pulls_and_counts_its_work() -> None:
    centers = np.array([2.5, 4.0, 6.0])
    errors = []
    for timestep in (2.0, 1.0):
        run = simulate(
            DistanceRestraint((0, 1), k=2.0, center=centers, rate=0.001 * timestep),
            pair(),
            NVE(),
            steps=round(5000 / timestep),
            timestep=timestep,
            every=round(200 / timestep),
            replicas=3,
            velocities=50.0,
            seed=1,
            observables={"distance": Distance((0, 1))},
            progress=False,
        )
        errors.append(np.ptp(run.log["conserved"], axis=0))
        assert run.potential is not None
        np.testing.assert_allclose(run.potential.memory(3), centers, atol=1e-12)
        last = run.observables["distance"].values[-5:, :, 0].mean(axis=0)
        np.testing.assert_allclose(last, centers, atol=0.25)
    # The work of a step is taken at its end, so its error is of first order; work not counted would not shrink.
    np.testing.assert_allclose(errors[1] / errors[0], 0.5, rtol=0.05)


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="different atoms"):
        DistanceRestraint((1, 1), k=1.0, center=3.0)
    with pytest.raises(InputError, match="half the cell"):
        simulate(DistanceRestraint((0, 1), k=1.0, center=16.0), pair(), LANGEVIN, steps=10)
    with pytest.raises(InputError, match="2 restraints for 3 replicas"):
        simulate(DistanceRestraint((0, 1), k=1.0, center=[3.0, 4.0]), pair(), LANGEVIN, steps=10, every=10, replicas=3)
    with pytest.raises(InputError, match="add it to the sum"):
        simulate(
            2.0 * DistanceRestraint((0, 1), k=1.0, center=3.0, rate=0.1),
            pair(),
            LANGEVIN,
            steps=10,
            every=10,
            progress=False,
        )
    with pytest.raises(InputError, match="bias_factor"):
        Metadynamics((0, 1), upper=7.0, temperature=300.0, bias_factor=1.0)
    with pytest.raises(InputError, match="no room"):
        Metadynamics((0, 1), upper=1.2, temperature=300.0)
    with pytest.raises(InputError, match="have to rise"):
        umbrella_sampling(BOND, pair(), (0, 1), LANGEVIN, centers=[3.0, 2.0], k=1.0, steps=10)
    with pytest.raises(InputError, match="NVT"):
        umbrella_sampling(BOND, pair(), (0, 1), NVE(), centers=[3.0, 4.0], k=1.0, steps=10)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="beyond the 2"):
        metadynamics(BOND, pair(), (0, 5), LANGEVIN, upper=7.0, steps=10)


def test_restraints_of_replicas_relax_and_divide() -> None:
    """The start of all replicas is relaxed without their restraints, which stay outside of what devices share."""
    from jaxelyte.parallel.replicas import share_replicas

    several = DistanceRestraint((0, 1), k=1.0, center=[3.0, 4.0, 5.0])
    one = DistanceRestraint((0, 1), k=1.0, center=3.0)
    assert float(several.of_one().k) == 0.0
    assert one.of_one() is one
    assert share_replicas(several, ()) is several
    assert share_replicas(one, ()) is not one


def test_few_crossings_are_said() -> None:
    assert count_crossings(np.array([[1.0, 9.0], [5.0, 5.0], [9.0, 9.0], [1.0, 5.0]]), lower=0.0, upper=10.0) == 2
    with pytest.warns(UserWarning, match="crossed the range"):
        metadynamics(BOND, pair(), (0, 1), LANGEVIN, upper=9.0, steps=400, sample_every=2, every=20, progress=False)


def test_pymbar_leaves_the_settings_of_jax_alone(rng: np.random.Generator) -> None:
    """It switches 64 bits on for the whole process where it finds them off."""
    with jax.enable_x64(False), warnings.catch_warnings():
        warnings.simplefilter("error")
        umbrella_pmf(exact_samples(rng, np.array([3.0, 4.0]), 0.5, 100), [3.0, 4.0], 0.5, TEMPERATURE)
        assert not jax.config.jax_enable_x64
