"""Reweighting and derivatives of averages: harmonic closed forms, finite differences, other parameters, refusals."""

from __future__ import annotations

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from jaxelyte.dynamics import NVT, simulate
from jaxelyte.errors import InputError, JaxelyteError
from jaxelyte.evaluate import evaluator
from jaxelyte.free_energy import free_energy
from jaxelyte.gradients import Reweighting, energy, frame_rdf, free_energy_gradient, pressure_virial
from jaxelyte.neighbors import neighbor_lists
from jaxelyte.observables import rdf
from jaxelyte.potentials.base import Scaled, Sum
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.trajectory import Trajectory
from wells import ANCHORS, COUNT, TEMPERATURE, THERMAL, K, exact_frames, spread


def test_derivatives_of_an_average_are_the_closed_form() -> None:
    """<r²> = 3 k_B T/k, so d<r²>/dk = -3 k_B T/k²; its derivative by an anchor is zero."""
    rng = np.random.default_rng(1)
    samples = Reweighting(exact_frames(rng, 4000), HarmonicRestraint(ANCHORS, K), temperature=TEMPERATURE, at_once=200)
    found = samples.gradient(spread, explicit=False)
    assert abs(found.value - 3.0 * THERMAL / K) < 3.0 * found.error
    # σ of the mean of r² of 6 atoms in 4000 frames: sqrt(6/18)/sqrt(4000) of 3 k_B T/k.
    assert found.error == pytest.approx(3.0 * THERMAL / K * math.sqrt(1.0 / 9.0) / math.sqrt(4000), rel=0.6)
    exact = -3.0 * THERMAL / K**2
    slope, error = float(found.gradient.k), float(found.gradient_error.k)
    assert abs(slope - exact) < 3.0 * error
    assert error < 0.05 * abs(exact)
    off = np.asarray(found.gradient.anchors) / np.asarray(found.gradient_error.anchors)
    assert np.sqrt(np.mean(off**2)) < 2.0
    assert found.effective == pytest.approx(4000)


def test_an_explicit_dependence_counts(rng: np.random.Generator) -> None:
    """<U> = 3N k_B T/2 whatever k: the explicit part cancels the covariance; left out, it is -<U>/k."""
    samples = Reweighting(exact_frames(rng, 4000), HarmonicRestraint(ANCHORS, K), temperature=TEMPERATURE, at_once=200)
    found = samples.gradient(energy)
    assert abs(float(found.gradient.k)) < 3.0 * float(found.gradient_error.k)
    half = samples.gradient(energy, explicit=False)
    assert abs(float(half.gradient.k) + 1.5 * COUNT * THERMAL / K) < 3.0 * float(half.gradient_error.k)


def test_the_temperature_is_that_of_the_thermostat() -> None:
    atoms = Atoms(f"Ar{COUNT}", ANCHORS, cell=[30.0] * 3, pbc=True)
    potential = HarmonicRestraint(ANCHORS, K)
    run = simulate(potential, atoms, NVT(250.0), steps=20, timestep=1.0, every=5, progress=False)
    assert run.summary["temperature"]["value"] != pytest.approx(250.0, abs=0.1)
    assert Reweighting(run, potential).temperature == 250.0


def test_an_exact_derivative_has_no_error(rng: np.random.Generator) -> None:
    """A = k: its derivative is 1 in every frame, in stretches of 10 and 11 frames and with any weights."""
    samples = Reweighting(exact_frames(rng, 105), HarmonicRestraint(ANCHORS, K), temperature=TEMPERATURE, at_once=64)
    found = samples.gradient(lambda potential, *_: potential.k * 1.0)
    assert float(found.gradient.k) == pytest.approx(1.0, abs=1e-9)
    assert float(found.gradient_error.k) < 1e-9


@pytest.mark.slow
def test_frames_that_become_denser_somewhere_lose_no_pair() -> None:
    """Cells are planned for the first frame; the last holds the same atoms in 0.6 of its volume."""
    lattice = (np.mgrid[0:10, 0:10, 0:10].reshape(3, -1).T + 0.5) * 4.0
    frames = np.array([lattice, lattice * [0.6, 1.0, 1.0]])
    trajectory = Trajectory(
        positions=frames[:, None],
        numbers=np.full(1000, 18),
        masses=np.full(1000, 39.9),
        cells=np.eye(3) * 40.0,
        pbc=(True, True, True),
        steps=np.arange(2),
        times=np.arange(2) * 10.0,
    )
    potential = LennardJones({"Ar": 3.4}, {"Ar": 0.0104}, cutoff=8.0, shift=True)
    samples = Reweighting(trajectory, potential, temperature=TEMPERATURE, at_once=1)
    assert samples.evaluator.plan.searches[0].cell_search is not None
    for row in range(2):
        system = samples.frames.system(row)
        exact = potential.energy(system, neighbor_lists(system, potential))
        assert samples.energies[row] == pytest.approx(float(exact), rel=1e-9)


def test_the_gradient_is_that_of_the_reweighted_average(rng: np.random.Generator) -> None:
    """On the same frames both are exact functions of the parameters: finite differences to nine digits, any weights."""
    samples = Reweighting(exact_frames(rng, 60), HarmonicRestraint(ANCHORS, K), temperature=TEMPERATURE, at_once=7)
    here, step = 1.02 * K, 1e-5
    other = HarmonicRestraint(ANCHORS, here)

    def average(k: float) -> float:
        return float(samples.average(energy, HarmonicRestraint(ANCHORS, k)).value)

    found = samples.gradient(energy, other)
    difference = (average(here + step) - average(here - step)) / (2.0 * step)
    assert float(found.gradient.k) == pytest.approx(difference, rel=1e-6)
    assert found.effective < 60.0
    moved = ANCHORS.copy()
    moved[2, 1] += 1e-5
    up = float(samples.average(energy, HarmonicRestraint(moved, here)).value)
    moved[2, 1] -= 2e-5
    down = float(samples.average(energy, HarmonicRestraint(moved, here)).value)
    assert float(found.gradient.anchors[2, 1]) == pytest.approx((up - down) / 2e-5, rel=1e-5)


def test_functions_of_several_averages(rng: np.random.Generator) -> None:
    """Var(U) = <U²> - <U>² as a function of two averages, by finite differences."""
    samples = Reweighting(exact_frames(rng, 50), HarmonicRestraint(ANCHORS, K), temperature=TEMPERATURE)

    def both(potential: HarmonicRestraint, system: object, neighbors: object) -> jax.Array:
        u = potential.energy(system, neighbors)  # type: ignore[arg-type]
        return jnp.stack([u, u**2])

    def variance(mean: jax.Array) -> jax.Array:
        return mean[1] - mean[0] ** 2

    found = samples.gradient(both, function=variance)
    values = []
    for k in (K + 1e-5, K - 1e-5):
        first, second = samples.average(both, HarmonicRestraint(ANCHORS, k)).value
        values.append(second - first**2)
    assert float(found.gradient.k) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)
    with pytest.raises(InputError, match="pass function="):
        samples.gradient(both)


@pytest.mark.parametrize("errors", [True, False])
def test_functions_of_one_average(errors: bool, rng: np.random.Generator) -> None:
    """Log of <r²> has the derivative -1/k: the function's slope counts in the covariance too."""
    samples = Reweighting(exact_frames(rng, 50), HarmonicRestraint(ANCHORS, K), temperature=TEMPERATURE)
    found = samples.gradient(spread, function=jnp.log, explicit=False, errors=errors)
    values = [np.log(samples.average(spread, HarmonicRestraint(ANCHORS, k)).value) for k in (K + 1e-5, K - 1e-5)]
    assert found.value == pytest.approx(float(np.log(samples.average(spread).value)))
    assert float(found.gradient.k) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


@pytest.mark.more
def test_reweighting_gives_the_average_of_another_ensemble(rng: np.random.Generator) -> None:
    """Within errors, which are right: pulls of 40 repeats have width one (0.68 ± 0.075 within one sigma)."""
    pulls = []
    for _ in range(40):
        samples = Reweighting(
            exact_frames(rng, 400), HarmonicRestraint(ANCHORS, K), temperature=TEMPERATURE, at_once=400
        )
        found = samples.average(spread, HarmonicRestraint(ANCHORS, 1.15 * K))
        assert 200 < found.effective < 400
        pulls.append((float(found.value) - 3.0 * THERMAL / (1.15 * K)) / float(found.error))
    known = np.array([pull for pull in pulls if math.isfinite(pull)])
    assert len(known) >= 30  # some are refused an error bar
    assert 0.5 <= np.mean(np.abs(known) < 1.0) <= 0.86
    assert abs(np.mean(known)) < 3.0 / math.sqrt(len(known)) * 1.2


def test_far_parameters_are_refused(rng: np.random.Generator) -> None:
    samples = Reweighting(exact_frames(rng, 200), HarmonicRestraint(ANCHORS, K), temperature=TEMPERATURE)
    with pytest.raises(JaxelyteError, match=r"effective samples of 200 frames .* simulate again"):
        samples.average(spread, HarmonicRestraint(ANCHORS, 4.0 * K))
    with pytest.raises(InputError, match="more than parameters"):
        samples.average(spread, HarmonicRestraint(ANCHORS[:2], K, indices=[0, 1]))
    with pytest.raises(InputError, match="needs the temperature"):
        Reweighting(exact_frames(rng, 20), HarmonicRestraint(ANCHORS, K))
    with pytest.raises(InputError, match="cannot discard"):
        Reweighting(exact_frames(rng, 20), HarmonicRestraint(ANCHORS, K), temperature=300.0, discard=20)
    with pytest.raises(InputError, match="at_once"):
        Reweighting(exact_frames(rng, 20), HarmonicRestraint(ANCHORS, K), temperature=300.0, at_once=0)


def argon() -> tuple[LennardJones, object]:
    potential = LennardJones({"Ar": 3.4}, {"Ar": 0.0104}, cutoff=6.0, shift=True)
    atoms = Atoms("Ar32", np.random.default_rng(0).permutation(np.mgrid[0:4, 0:4, 0:2].reshape(3, -1).T * 4.3))
    atoms.set_cell([17.2, 17.2, 8.6])
    atoms.pbc = True
    atoms = atoms.repeat((1, 1, 2))
    run = simulate(
        potential,
        atoms,
        NVT(150.0, "langevin"),
        steps=6000,
        timestep=5.0,
        every=100,
        seed=1,
        replicas=2,
        progress=False,
    )
    return potential, run


@pytest.fixture(scope="module")
def liquid() -> tuple[LennardJones, object]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return argon()


@pytest.mark.more
def test_a_liquid_with_neighbour_lists(liquid: tuple) -> None:
    """g(r) and pressure of the run's frames are those of the other code paths; gradients by finite differences."""
    potential, run = liquid
    samples = Reweighting(run, potential, temperature=150.0, discard=10, at_once=16)
    g = frame_rdf(run, ("Ar", "Ar"), bins=40)
    expected = rdf(run, "Ar", "Ar", bins=40, discard=10)
    np.testing.assert_allclose(samples.average(g).value[0], expected.g, atol=1e-9)
    np.testing.assert_allclose(g.r, expected.r, atol=1e-12)
    target = jnp.asarray(expected.g) * 1.05

    def loss(mean: jax.Array) -> jax.Array:
        return jnp.mean((mean[0] - target) ** 2)

    found = samples.gradient(g, function=loss, explicit=False)
    pressure = samples.gradient(pressure_virial)
    assert found.gradient.sigma.shape == potential.sigma.shape
    for name, step in (("sigma", 1e-5), ("epsilon", 1e-7)):
        value = getattr(potential, name)
        ends = [potential.replace(**{name: value + sign * step}) for sign in (1.0, -1.0)]
        losses = [float(loss(jnp.asarray(samples.average(g, one).value))) for one in ends]
        slope = (losses[0] - losses[1]) / (2.0 * step)
        assert float(getattr(found.gradient, name)[0]) == pytest.approx(slope, rel=1e-4)
        virials = [float(samples.average(pressure_virial, one).value) for one in ends]
        slope = (virials[0] - virials[1]) / (2.0 * step)
        assert float(getattr(pressure.gradient, name)[0]) == pytest.approx(slope, rel=1e-4)


@pytest.mark.more
def test_memory_is_bounded_and_compilations_counted(liquid: tuple) -> None:
    """However many frames: programs for one batch size only, and the batch size does not change the result."""
    potential, run = liquid
    results = []
    for at_once in (5, 8):
        for discard in (31, 10):
            before = evaluator._applied._cache_size()
            samples = Reweighting(run, potential, temperature=150.0, discard=discard, at_once=at_once)
            results.append(samples.gradient(energy, explicit=False))
        assert evaluator._applied._cache_size() == before, "more frames have compiled something"
    results = results[1::2]
    assert float(results[0].gradient.sigma[0]) == pytest.approx(float(results[1].gradient.sigma[0]), rel=1e-9)


@pytest.mark.more
def test_free_energies_have_derivatives() -> None:
    """∂ΔF/∂k1 = 3N k_B T/(2 k1), ∂ΔF/∂k0 = -3N k_B T/(2 k0), for mixtures and within sums and factors."""
    atoms = Atoms(f"Ar{COUNT}", ANCHORS, cell=[30.0] * 3, pbc=True)
    soft, stiff = 1.0, 2.0
    initial = Sum((Scaled(jnp.asarray(0.5), HarmonicRestraint(ANCHORS, 2.0 * soft)),))
    result = free_energy(
        initial,
        HarmonicRestraint(ANCHORS, stiff),
        atoms,
        NVT(TEMPERATURE, "langevin"),
        windows=4,
        nodes="clenshaw-curtis",
        steps=20_000,
        timestep=2.0,
        every=50,
        sample_every=10,
        exchange=40,
        seed=2,
        progress=False,
    )
    found = free_energy_gradient(result, at_once=64)
    slope, error = float(found.final.k), float(found.final_error.k)
    exact = 1.5 * COUNT * THERMAL / stiff
    assert abs(slope - exact) < 3.0 * error
    assert error < 0.1 * exact
    exact = -1.5 * COUNT * THERMAL / soft
    # By the factor 0.5 in front of k = 2: dU/dfactor = U/factor.
    slope, error = float(found.initial.terms[0].factor), float(found.initial_error.terms[0].factor)
    assert abs(slope - exact * soft / 0.5) < 3.0 * error
    slope, error = float(found.initial.terms[0].potential.k), float(found.initial_error.terms[0].potential.k)
    assert abs(slope - exact * 0.5) < 3.0 * error
    assert min(found.frames) > 100
    # Near one frame in four is at either end; with exchange they come from several replicas.
    assert max(found.frames) <= 400
    inner = free_energy(
        HarmonicRestraint(ANCHORS, soft),
        HarmonicRestraint(ANCHORS, stiff),
        atoms,
        NVT(TEMPERATURE, "langevin"),
        windows=3,
        nodes="gauss-legendre",
        steps=1000,
        timestep=2.0,
        progress=False,
    )
    with pytest.raises(InputError, match="clenshaw-curtis"):
        free_energy_gradient(inner)
    with pytest.raises(InputError, match="must be one of 'ends', 'TI'"):
        free_energy_gradient(inner, method="ti")


@pytest.mark.slow
def test_integrals_have_derivatives_in_every_window() -> None:
    """k_λ = (1 - λ) k0 + λ k1: <ΔU>_λ = 3N k_B T (k1 - k0)/(2 k_λ), its derivatives, and those by a common constant.

    With c in all windows ΔF = (3N/2) k_B T ln((k1 + c)/(k0 + c)).
    """
    atoms = Atoms(f"Ar{COUNT}", ANCHORS, cell=[30.0] * 3, pbc=True)
    soft, stiff, both = 1.0, 2.0, 0.5
    options: dict = dict(windows=3, steps=24_000, timestep=2.0, every=40, sample_every=10, seed=2, progress=False)
    ends = HarmonicRestraint(ANCHORS, soft), HarmonicRestraint(ANCHORS, stiff)
    common = HarmonicRestraint(ANCHORS, both)
    langevin = NVT(TEMPERATURE, "langevin")
    result = free_energy(*ends, atoms, langevin, common=common, equilibration=1200, **options)
    found = free_energy_gradient(result, method="TI", at_once=64)
    factor = 1.5 * COUNT * THERMAL
    exact = -factor / (soft + both), factor / (stiff + both), factor / (stiff + both) - factor / (soft + both)
    pairs = (found.initial, found.initial_error), (found.final, found.final_error), (found.common, found.common_error)
    for value, (tree, error) in zip(exact, pairs, strict=True):
        # Three nodes integrate 1/k_λ² to 2e-3.
        assert abs(float(tree.k) - value) < 3.0 * float(error.k) + 2e-3 * abs(value)
        assert float(error.k) < 0.1 * factor
    for lam, (trees, errors) in zip(result.lam, found.windows, strict=True):
        k = (1.0 - lam) * soft + lam * stiff + both
        wide = stiff - soft
        slopes = (-factor / k - factor * wide * (1 - lam) / k**2, factor / k - factor * wide * lam / k**2)
        for slope, tree, error in zip((*slopes, -factor * wide / k**2), trees, errors, strict=True):
            # Covariances of squares have long tails: in four seeds 36 deviations were 1.5 errors, the largest 3.9.
            assert abs(float(tree.k) - slope) < 5.0 * float(error.k)
            assert float(error.k) < 0.15 * factor
    ends_too = free_energy(*ends, atoms, langevin, common=common, nodes="trapezoid", equilibration=1200, **options)
    least = free_energy_gradient(ends_too, at_once=64)
    pairs = (least.initial, least.initial_error), (least.final, least.final_error), (least.common, least.common_error)
    for value, (tree, error) in zip(exact, pairs, strict=True):
        assert abs(float(tree.k) - value) < 3.0 * float(error.k)
        assert float(error.k) < 0.05 * factor
