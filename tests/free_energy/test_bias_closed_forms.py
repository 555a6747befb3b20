"""Parts of biased sampling against closed forms: window energies, unequal windows, offsets, curves of a given bias."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.dynamics import NVE, NVT, simulate
from jaxelyte.free_energy import metadynamics, umbrella_pmf, umbrella_sampling
from jaxelyte.free_energy.metadynamics import BiasSeries, _from_bias
from jaxelyte.neighbors import Neighbors
from jaxelyte.observables import Distance, Sample
from jaxelyte.potentials.bonded import HarmonicBonds
from jaxelyte.potentials.distance import DistanceRestraint, Metadynamics
from jaxelyte.system import System
from jaxelyte.units import BOLTZMANN

NOTHING = Neighbors((), ())
TEMPERATURE = 300.0
THERMAL = BOLTZMANN * TEMPERATURE
SPRING, LENGTH = 0.2, 4.0
CENTERS, SPRINGS, COUNTS = np.array([2.8, 3.6, 4.6, 5.4]), np.array([0.5, 0.7, 0.3, 0.5]), (4000, 500, 1500, 250)
FINE = np.linspace(0.5, 9.0, 20_001)


def windows(rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """Independent distances in windows of different sizes and springs, and -k_B T ln of their integrals in eV."""
    samples, energies = [], []
    for center, k, count in zip(CENTERS, SPRINGS, COUNTS, strict=True):
        density = FINE**2 * np.exp(-(0.5 * SPRING * (FINE - LENGTH) ** 2 + 0.5 * k * (FINE - center) ** 2) / THERMAL)
        total = np.cumsum(density)
        samples.append(np.interp(rng.random(count) * total[-1], total, FINE))
        energies.append(-THERMAL * math.log(total[-1]))
    return samples, np.array(energies) - energies[0]


def test_windows_of_any_size_and_spring_give_one_curve(rng: np.random.Generator) -> None:
    """Energies between biased ensembles, and the curve where no window has the weight of another."""
    samples, exact = windows(rng)
    result = umbrella_pmf(samples, CENTERS, SPRINGS, TEMPERATURE, width=0.1)
    # 250 samples at an overlap of a third: about 0.1 k_B T.
    np.testing.assert_allclose(result.free_energies, exact, atol=0.3 * THERMAL)
    assert np.ptp(exact) > 2.0 * THERMAL
    inside = (result.pmf.r > 2.9) & (result.pmf.r < 5.2)
    difference = (result.pmf.value - 0.5 * SPRING * (result.pmf.r - LENGTH) ** 2)[inside]
    assert np.std(difference) < 0.15 * THERMAL
    # Which window is where.
    np.testing.assert_array_equal(result.counts.sum(axis=1), COUNTS)
    means = result.counts @ result.pmf.r / np.array(COUNTS)
    np.testing.assert_allclose(means, [one.mean() for one in samples], atol=0.06)


def system(distance: float, edge: float = 30.0) -> System:
    atoms = Atoms("Ar2", [[0.0, 0.0, 0.0], [distance, 0.0, 0.0]], cell=[edge] * 3, pbc=True)
    return jax.tree.map(lambda x: x[None], System.from_atoms(atoms))


@pytest.mark.parametrize("bias_factor", [5.0, math.inf])
def test_offset_of_a_bias_is_the_ratio_of_its_integrals(rng: np.random.Generator, bias_factor: float) -> None:
    """c = k_B T ln ∫ exp(-βF) ds / ∫ exp(-β(F + V)) ds, with F = -γ/(γ-1) V: by quadrature of the definition."""
    term = Metadynamics((0, 1), upper=7.0, lower=1.0, temperature=TEMPERATURE, width=0.2, bias_factor=bias_factor)
    term = term.with_memory(jnp.asarray(rng.uniform(0.0, 0.2, len(term.grid))))
    now = system(3.3)
    sample = Sample(
        now, jnp.zeros_like(now.positions), HarmonicBonds(np.array([[0, 1]]), k=1.0, length=3.0) + term, NOTHING
    )
    r, bias, offset = np.asarray(BiasSeries().values(sample))[0]
    assert r == pytest.approx(3.3)
    assert bias == pytest.approx(float(term.bias_at(jnp.asarray(3.3))), rel=1e-12)
    nodes = np.asarray(term.bias)
    factor = 1.0 if math.isinf(bias_factor) else bias_factor / (bias_factor - 1.0)
    energy = -factor * nodes
    exact = THERMAL * np.log(np.sum(np.exp(-energy / THERMAL)) / np.sum(np.exp(-(energy + nodes) / THERMAL)))
    assert offset == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize("bias_factor", [5.0, math.inf])
def test_curve_of_a_converged_bias(bias_factor: float) -> None:
    """V = -(1 - 1/γ) (w - 2 k_B T ln r) + constant gives back w."""
    term = Metadynamics((0, 1), upper=7.0, lower=1.0, temperature=TEMPERATURE, width=0.2, bias_factor=bias_factor)
    w = 0.5 * SPRING * (term.grid - LENGTH) ** 2
    share = 1.0 if math.isinf(bias_factor) else 1.0 - 1.0 / bias_factor
    bias = 0.3 - share * (w - 2.0 * THERMAL * np.log(term.grid))
    np.testing.assert_allclose(_from_bias(term.with_memory(jnp.asarray(bias))), w - w.min(), atol=1e-12)


def test_wall_and_edges_of_the_bias() -> None:
    """½ k (r - upper)² beyond the range; nothing is added from outside of it, on either side."""
    term = Metadynamics((0, 1), upper=7.0, lower=2.0, temperature=TEMPERATURE, width=0.2, wall=3.0, height=0.01)
    assert float(term.energies(system(7.4), NOTHING)[0]) == pytest.approx(0.5 * 3.0 * 0.4**2)
    for outside in (1.9, 7.1):
        memory, work = term.learn(system(outside), NOTHING)
        assert float(jnp.max(jnp.abs(memory))) == 0.0
        assert float(work[0]) == 0.0
    # The two atoms are neighbours across the boundary.
    assert float(term.energies(system(26.5), NOTHING)[0]) == 0.0
    memory, _ = term.learn(system(26.5), NOTHING)
    assert term.grid[np.argmax(memory)] == pytest.approx(3.5, abs=0.04)


def test_plain_metadynamics_adds_gaussians_of_one_height() -> None:
    term = Metadynamics((0, 1), upper=7.0, lower=1.0, temperature=TEMPERATURE, width=0.2, bias_factor=math.inf)
    for number in range(1, 4):
        memory, _ = term.learn(system(3.0), NOTHING)
        term = term.with_memory(memory)
        assert float(jnp.max(memory)) == pytest.approx(number * 0.005, rel=1e-3)


def test_a_restraint_starts_where_the_atoms_are_and_moves_at_its_rate() -> None:
    """Across the boundary of the cell: 26.5 Å of 30 are 3.5. Steps of the rate, until the centre is there."""
    restraint = DistanceRestraint((0, 1), k=np.array([2.0, 4.0]), center=np.array([3.3, 5.0]), rate=0.05)
    one = jax.tree.map(lambda x: x[0], system(26.5))
    ready = restraint.prepare(jax.tree.map(lambda x: jnp.stack([x, x]), one))
    both = jax.tree.map(lambda x: jnp.stack([x, x]), one)
    np.testing.assert_allclose(ready.energies(both, NOTHING), 0.0, atol=1e-12)
    places = [np.asarray(ready.memory(2))]
    for _ in range(6):
        memory, work = ready.learn(both, NOTHING)
        before = np.asarray(ready.energies(both, NOTHING))
        ready = ready.with_memory(memory)
        np.testing.assert_allclose(work, np.asarray(ready.energies(both, NOTHING)) - before, atol=1e-14)
        places.append(np.asarray(memory))
    np.testing.assert_allclose(np.array(places)[:, 0], [3.5, 3.45, 3.4, 3.35, 3.3, 3.3, 3.3], atol=1e-12)
    np.testing.assert_allclose(np.array(places)[:, 1], 3.5 + 0.05 * np.arange(7), atol=1e-12)
    np.testing.assert_allclose(ready.energies(both, NOTHING), [0.5 * 2.0 * 0.2**2, 0.5 * 4.0 * 0.3**2], atol=1e-12)


def test_windows_are_pulled_at_the_rate_that_was_asked_for() -> None:
    """1 Å/ps from 3.5 Å, across the boundary: the farthest window says how long that takes."""
    atoms = Atoms("Ar2", [[0.0, 0.0, 0.0], [26.5, 0.0, 0.0]], cell=[30.0] * 3, pbc=True)
    options = dict(timestep=4.0, sample_every=2, every=50, seed=1, progress=False)
    result = umbrella_sampling(
        HarmonicBonds(np.array([[0, 1]]), k=SPRING, length=LENGTH),
        atoms,
        (0, 1),
        NVT(TEMPERATURE, "langevin"),
        centers=[3.2, 3.8, 4.4],
        k=0.5,
        steps=1000,
        equilibration=200,
        pull=1.0,
        **options,
    )
    assert result.run is not None
    # 0.9 Å in steps of 0.004 Å, 200 of equilibration, up to a multiple of 50, and 1000.
    assert result.run.log["step"][-1] == 50 * math.ceil((225 + 200) / 50) + 1000
    # What lies in the last bin, which is not filled, is left out.
    assert np.all(np.abs(result.counts.sum(axis=1) - 500) < 10)
    term = result.run.potential.terms[-1]  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    np.testing.assert_allclose(term.memory(3), [3.2, 3.8, 4.4], atol=1e-12)


def test_a_sample_knows_the_bias_it_was_drawn_under() -> None:
    """Gaussians at every second step and a sample at each: distances, biases and offsets replayed from the frames."""
    term = Metadynamics((0, 1), upper=9.0, lower=1.0, temperature=TEMPERATURE, stride=4, width=0.2, height=0.02)
    run = simulate(
        term,
        Atoms("Ar2", [[0.0, 0.0, 0.0], [3.0, 0.0, 0.0]], cell=[30.0] * 3, pbc=True),
        NVE(),
        steps=40,
        timestep=8.0,
        every=1,
        replicas=2,
        velocities=300.0,
        equilibration=0,
        observables={"bias": BiasSeries(), "distance": Distance((0, 1))},
        seed=3,
        progress=False,
    )
    values = run.observables["bias"].values
    np.testing.assert_array_equal(values[..., 0], run.observables["distance"].values[..., 0])
    positions = np.asarray(run.trajectory.positions)
    r = np.linalg.norm(positions[:, :, 1] - positions[:, :, 0], axis=-1)
    np.testing.assert_allclose(values[..., 0], r[1:], atol=1e-12)
    # Step n + 1 adds a Gaussian where n is a multiple of four, before its forces: seen from that step on.
    now = term
    for step in range(1, 41):
        there = jax.tree.map(lambda *x: jnp.stack(x), *[jax.tree.map(lambda x: x[0], system(one)) for one in r[step]])
        if (step - 1) % 4 == 0:
            now = now.with_memory(now.learn(there, NOTHING)[0])
        np.testing.assert_allclose(values[step - 1, :, 1], now.energies(there, NOTHING), atol=1e-12)
    # The work of all Gaussians is in the conserved quantity, whose error goes with the square of the time step.
    assert np.ptp(run.log["conserved"], axis=0).max() < 0.1 * np.ptp(run.log["potential"], axis=0).max()


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.more), "float64"])
def test_metadynamics_in_both_precisions(dtype: str) -> None:
    """A start for each walker, on both sides of the barrier; the equilibration has no samples."""
    atoms = [Atoms("Ar2", [[0.0, 0.0, 0.0], [d, 0.0, 0.0]], cell=[30.0] * 3, pbc=True) for d in (3.0, 5.0)]
    with jax.enable_x64(dtype == "float64"):
        result = metadynamics(
            HarmonicBonds(np.array([[0, 1]]), k=SPRING, length=LENGTH),
            atoms,
            (0, 1),
            NVT(TEMPERATURE, "langevin"),
            upper=7.0,
            lower=1.5,
            steps=4000,
            timestep=4.0,
            stride=20,
            width=0.2,
            equilibration=1000,
            every=200,
            progress=False,
            seed=1,
        )
        series = result.run.observables["bias"]
        assert series.values.shape == (300, 2, 3)
        assert result.run.trajectory.dtype == np.dtype(dtype)
        assert result.pmf.distribution.samples == 600
        assert isinstance(result.pmf, jxl.PMFResult)
        inside = np.isfinite(result.pmf.value) & (np.abs(result.pmf.r - LENGTH) < 0.8)
        assert np.std((result.pmf.value - 0.5 * SPRING * (result.pmf.r - LENGTH) ** 2)[inside]) < THERMAL
