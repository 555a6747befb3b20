"""What no other fast test noticed when a line of free energies, gradients, replicas or kept lists was broken."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ase import Atoms
from flax import struct

from jaxelyte.dynamics import NVT
from jaxelyte.free_energy import charge_correction, difference, widom
from jaxelyte.free_energy.metadynamics import _weights
from jaxelyte.free_energy.quadrature import nodes_and_weights
from jaxelyte.gradients import Reweighting, Target, effective_samples, fit_observables, fitting, insertion_factor
from jaxelyte.gradients.fit_folder import Progress, begin, keep
from jaxelyte.gradients.free_energies import _rows
from jaxelyte.gradients.path import _horizon, _mean_and_error
from jaxelyte.neighbors import Neighbors
from jaxelyte.neighbors.kept import KeptLists
from jaxelyte.neighbors.lists import NeighborSpec
from jaxelyte.observables.recorded import SeriesResult
from jaxelyte.potentials.base import Potential, Scalar
from jaxelyte.potentials.ladder import Ladder
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.system import System
from jaxelyte.trajectory import Trajectory
from jaxelyte.units import BOLTZMANN, COULOMB

TEMPERATURE, COUNT, K = 300.0, 6, 1.3
THERMAL = BOLTZMANN * TEMPERATURE
ANCHORS = np.random.default_rng(4).uniform(0.0, 15.0, (COUNT, 3))
LANGEVIN = NVT(TEMPERATURE, "langevin", tau=100.0)
NOTHING = Neighbors((), ())


def exact_frames(rng: np.random.Generator, frames: int, k: float = K) -> Trajectory:
    """As in tests/gradients/test_reweighting.py."""
    moved = ANCHORS + rng.normal(size=(frames, COUNT, 3)) * math.sqrt(THERMAL / k)
    return Trajectory(
        positions=moved[:, None],
        numbers=np.full(COUNT, 18),
        masses=np.full(COUNT, 39.9),
        cells=np.eye(3) * 30.0,
        pbc=(True, True, True),
        steps=np.arange(frames),
        times=np.arange(frames) * 10.0,
    )


def spread(potential: Any, system: Any, neighbors: Any) -> jax.Array:
    return jnp.mean(jnp.sum((system.positions - jnp.asarray(ANCHORS)) ** 2, axis=-1))


def wells() -> Atoms:
    return Atoms(f"Ar{COUNT}", ANCHORS, cell=[30.0] * 3, pbc=True)


def test_two_atoms_that_approach_each_other_share_the_skin() -> None:
    """5.05 Å apart, cut-off 4, skin 1: each may move by less than half the skin."""
    atoms = Atoms("Na2", [[5.0, 10.0, 10.0], [10.05, 10.0, 10.0]], cell=[20.0] * 3, pbc=True)
    system, specs = jax.tree.map(np.asarray, System.from_atoms(atoms)), (NeighborSpec(4.0),)
    kept = KeptLists(1.0)

    def pairs(way: float) -> int:
        moved = system.positions + np.array([[way, 0.0, 0.0], [-way, 0.0, 0.0]])
        kept.follow(system.replace(positions=moved), np.zeros(3), specs)
        return int(np.sum(np.asarray(kept.state().lists[0].mask)))

    assert (pairs(0.0), kept.builds) == (0, 1)
    assert (pairs(0.49), kept.builds) == (0, 1)  # 4.07 Å: still none is missing
    assert (pairs(0.55), kept.builds) == (2, 2)  # 3.95 Å


def test_effective_samples_are_those_of_kish() -> None:
    """(1 + 1 + 2)²/(1 + 1 + 4) by hand, for weights of any size: to rounding."""
    for scale in (1.0, 1e-200, 1e200):
        assert effective_samples(scale * np.array([1.0, 1.0, 2.0])) == pytest.approx(16.0 / 6.0, rel=1e-12)


def test_a_logarithm_of_a_factor_has_an_exact_derivative(rng: np.random.Generator) -> None:
    """ln <k s> has the derivative 1/k whatever the samples of s: errors of <A> and of its derivative cancel.

    The temperature is so high that the ensemble does not move: its covariance is 1e-12 of the result. To first order
    nothing is left of the error, of which each part alone is 1/sqrt(9 · 50) = 5 %.
    """
    samples = Reweighting(exact_frames(rng, 50), HarmonicRestraint(ANCHORS, K), temperature=1e15)

    def scaled(potential: Any, system: Any, neighbors: Any) -> jax.Array:
        return potential.k * spread(potential, system, neighbors)

    found = samples.gradient(scaled, function=jnp.log)
    assert float(found.gradient.k) == pytest.approx(1.0 / K, rel=1e-9)
    assert float(found.gradient_error.k) < 1e-9
    assert found.error > 0.02


def test_frames_belong_to_the_window_of_their_own_sample() -> None:
    """Samples each 10 fs from 30 fs on, frames each 20 fs from 0 on; two replicas that swap as listed."""
    place = np.array([[0, 1], [1, 0], [1, 0], [0, 1], [1, 0], [0, 1]])  # at 30, 40, 50, 60, 70, 80 fs
    values = np.concatenate([np.zeros((6, 2, 2)), place[:, :, None].astype(float)], axis=-1)
    series = SeriesResult(("initial", "final", "window"), "eV", 10.0, 30.0, values)
    times = np.arange(0.0, 120.0, 20.0)  # 0 and 20 before the series, 100 behind it
    trajectory = SimpleNamespace(times=times, replicas=2)
    run = SimpleNamespace(observables={"energies": series}, trajectory=trajectory)
    result: Any = SimpleNamespace(run=run, discarded=np.array([0, 2]))
    # Frames are counted replica by replica, six of each: 40, 60, 80 fs are numbers 2, 3, 4 and 8, 9, 10.
    assert _rows(result, 0).tolist() == [3, 4, 8]
    assert _rows(result, 1).tolist() == [9, 10]  # 40 fs, where replica 0 is there, is the second sample: discarded


def test_a_beginning_out_of_equilibrium_is_left_out(rng: np.random.Generator) -> None:
    """The first fifth is 5 σ too high: with it the means were one σ off, 40 standard errors."""
    lam, weights = nodes_and_weights(3, "gauss-legendre")
    width = 0.3 * THERMAL
    series = [rng.normal(0.1, width, 2000) for _ in lam]
    for one in series:
        one[:395] += 5.0 * width
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is left of the beginning behind the first tenth counts in the error
        found = difference(series, lam, TEMPERATURE, weights=weights)
    assert np.all((found.discarded >= 380) & (found.discarded <= 1000))
    np.testing.assert_allclose(found.gradient, 0.1, atol=4.0 * width / math.sqrt(1000))
    kept = [one[start:] for one, start in zip(series, found.discarded, strict=True)]
    np.testing.assert_allclose(found.gradient, [one.mean() for one in kept], rtol=1e-12)
    # The convergence shown is that of what is left, from either side.
    tenth = [max(1, round(0.1 * len(one))) for one in kept]
    assert found.forward[0] == pytest.approx(weights @ [k[:n].mean() for k, n in zip(kept, tenth, strict=True)])
    assert found.backward[0] == pytest.approx(weights @ [k[-n:].mean() for k, n in zip(kept, tenth, strict=True)])


def test_what_exchanging_windows_share_does_not_average_out(rng: np.random.Generator) -> None:
    """The same series in all windows: its error is σ/√n (Σ w = 1), not σ/√n √(Σ w²) as of independent windows."""
    lam, weights = nodes_and_weights(3, "gauss-legendre")
    shared = [rng.normal(0.1, 0.3 * THERMAL, 2000)] * 3
    apart, together = (
        difference(shared, lam, TEMPERATURE, weights=weights, exchanged=exchanged) for exchanged in (False, True)
    )
    for name, (value, error) in apart.estimates.items():
        # Both are estimates of the same error from 2000 samples, alike to some percent.
        assert together.estimates[name][0] == value
        assert together.estimates[name][1] / error == pytest.approx(1.0 / math.sqrt(np.sum(weights**2)), rel=0.15)


def test_attempts_draw_anew() -> None:
    """One pair, 400 attempts in turn with the (missing) other pairs: downhill always, uphill with chance 0.17.

    200 of them are of the pair; from its upper state it leaves at once, so that it is found there
    200 · 0.17/1.17 = 30 times, with a standard deviation of about 5.
    """
    one = System.from_atoms(Atoms("Ar", [[0.0, 0.0, 0.0]], cell=[20.0] * 3, pbc=True))
    x = jnp.zeros((2, 1, 3)).at[0, 0, 0].set(0.2).at[1, 0, 0].set(0.4)
    systems = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), one).replace(positions=x)
    lam, gap = np.array([0.2, 0.7]), 0.75 * np.array([0.2, 0.4]) ** 2
    uphill = math.exp((lam[0] - lam[1]) * (gap[1] - gap[0]) / THERMAL)
    ends = [HarmonicRestraint(np.zeros((1, 3)), k) for k in (0.5, 2.0)]
    ladder = Ladder(*ends, lam, temperature=TEMPERATURE, exchange=1)

    @jax.jit
    def attempts(memory: Any) -> jax.Array:
        def attempt(memory: Any, _: None) -> tuple[Any, jax.Array]:
            memory, _ = ladder.with_memory(memory).learn(systems, NOTHING)
            return memory, memory[0][0]

        return jax.lax.scan(attempt, memory, None, length=400)[1]

    places = np.asarray(attempts(ladder.memory(2, jax.random.key(1))))[::2]  # behind the attempts of the pair
    # Gaps of 0.03 and 0.12 eV: the wider one belongs to the smaller λ, so [1, 0] is the lower state.
    upper = int(np.sum(places == 0))
    expected = 200 * uphill / (1.0 + uphill)
    assert abs(upper - expected) < 4.0 * math.sqrt(expected), (upper, expected)


def test_the_solvent_takes_its_share_of_the_self_interaction() -> None:
    """Only 1/ε of the self-interaction is left in a dielectric (the fast tests know ε = 1 only): to rounding."""
    one = charge_correction(2.0, 12.0, 78.3)
    assert one.self_interaction == pytest.approx(0.5 * 4.0 * COULOMB * 2.837297479 / 12.0, rel=1e-8)
    assert one.polarization == pytest.approx(-one.self_interaction * (1.0 - 1.0 / 78.3), rel=1e-12)
    assert one.total == pytest.approx(one.self_interaction / 78.3, rel=1e-9)


def test_undersolvation_of_a_large_ion() -> None:
    """R/L = 0.4: 4π/3 0.4² - 16π²/45 0.4⁵ = 0.670206 - 0.035936, where the second term counts."""
    found = charge_correction(2.0, 20.0, 78.3, radius=8.0)
    expected = 0.5 * COULOMB * 4.0 / 20.0 * (1.0 - 1.0 / 78.3) * (0.670206 - 0.035936)
    assert found.undersolvation == pytest.approx(expected, rel=1e-5)


@struct.dataclass
class Squeezed(Potential):
    """``each`` eV per atom and 1000 Å³ of the cell."""

    each: float

    def requirements(self) -> tuple[Any, ...]:
        return ()

    def interaction(self, system: System, neighbors: Neighbors) -> Scalar:
        dtype = system.positions.dtype
        return jnp.asarray(self.each / 1000.0, dtype) * system.volume * jnp.sum(system.mask.astype(dtype))


def test_frames_of_changing_volume_count_by_it(rng: np.random.Generator) -> None:
    """-k_B T ln (Σ V exp(-V u/k_B T)/Σ V) for energies that depend on the volume alone: to rounding."""
    edges = np.array([10.0, 11.0, 12.0, 13.0])
    cells = edges[:, None, None, None] * np.eye(3)
    frames = Trajectory(
        positions=rng.random((4, 1, 3, 3)) * edges[:, None, None, None],
        numbers=np.full(3, 18),
        masses=np.full(3, 39.9),
        cells=cells,
        pbc=(True, True, True),
        steps=np.arange(4),
        times=np.arange(4) * 10.0,
    )
    volume = edges**3
    exact = -THERMAL * math.log(np.sum(volume * np.exp(-0.04 * volume / 1000.0 / THERMAL)) / np.sum(volume))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few insertions
        found = widom(frames, Squeezed(0.04), "Ar", temperature=TEMPERATURE, per_frame=3)
    assert found.value == pytest.approx(exact, abs=1e-10)


def test_samples_count_by_the_bias_above_its_offset() -> None:
    """exp((V - c)/k_B T), relative to the largest: one, e⁻¹, e⁻³ by hand."""
    bias, offset = np.array([[2.0], [2.0], [3.0]]) * THERMAL, np.array([[0.0], [1.0], [4.0]]) * THERMAL
    values = np.stack([np.full((3, 1), 3.0), bias, offset], axis=-1)
    np.testing.assert_allclose(_weights(values, TEMPERATURE)[:, 0], np.exp([0.0, -1.0, -3.0]), rtol=1e-12)


def test_errors_and_horizons_by_hand() -> None:
    """Standard error of the mean of four; the last time at which the slopes are not noise."""
    mean, error = _mean_and_error(np.array([1.0, 2.0, 3.0, 4.0]))
    assert mean == 2.5
    assert error == pytest.approx(math.sqrt(5.0 / 3.0) / 2.0, rel=1e-12)
    assert math.isnan(_mean_and_error(np.array([1.0]))[1])
    noise = np.array([-1.0, 1.0, -1.0, 1.0])
    # Mean over its standard error, 1/√3 = 0.577: 17, 1.7, 2.6, 0.2 at 1, 2, 3, 4 fs.
    slope = np.array([10.0, 1.0, -1.5, 0.1])[:, None] + noise
    assert _horizon(np.array([1.0, 2.0, 3.0, 4.0]), slope) == 3.0
    assert _horizon(np.array([1.0]), 0.1 + noise[None]) == 0.0
    assert math.isnan(_horizon(np.array([1.0]), np.ones((1, 3))))


def test_the_state_of_the_optimiser_is_kept(tmp_path: Path) -> None:
    """Moments and count of Adam after two steps come back to the bit, and the best of them, the first."""
    start, rule = HarmonicRestraint(ANCHORS, K), optax.adam(0.08)
    now = Progress(start, rule.init(start), wells())
    for step, slope in enumerate((1.0, -3.0)):
        gradient = jax.tree.map(lambda x, s=slope: jnp.full_like(x, s), start)
        with jax.numpy_dtype_promotion("standard"):
            updates, now.state = rule.update(gradient, now.state, now.potential)
        now.potential = optax.apply_updates(now.potential, updates)
        now.judge({"step": step, "loss": 1.0, "simulated": True, "length": 1.0}, now.potential)
        keep(tmp_path, start, now)
    back = begin(tmp_path, Progress(start, rule.init(start), wells()), resume=True, iterations=6)
    assert len(back.history) == 2
    for old, new in zip(jax.tree.leaves(now.state), jax.tree.leaves(back.state), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(now.potential.k, back.potential.k)
    assert now.best is not None
    assert back.best is not None
    assert back.best[:2] == now.best[:2] == (1.0, 0)
    assert float(back.best[2].k) == float(now.best[2].k) != float(back.potential.k)


def test_weight_decay_leaves_frozen_parameters_alone(rng: np.random.Generator) -> None:
    """adamw shrinks every parameter by itself, without a gradient; those not chosen do not move at all."""
    potential, rule = HarmonicRestraint(ANCHORS, K), optax.adamw(0.01, weight_decay=0.1)
    samples = Reweighting(exact_frames(rng, 40), potential, temperature=TEMPERATURE)
    mask = fitting._mask(potential, lambda path: path.endswith(".k"))
    now = Progress(potential, rule.init(potential), wells())
    gradient = jax.tree.map(jnp.ones_like, potential)
    moved, _, length = fitting._stepped(rule, now, gradient, mask, samples, 0.1)
    assert length == 1.0
    np.testing.assert_array_equal(moved.anchors, ANCHORS)
    assert float(moved.k) == pytest.approx(K - 0.01 * (1.0 + 0.1 * K), rel=1e-6)


def test_a_penalty_pulls_downhill(rng: np.random.Generator) -> None:
    """Beside a target without weight the gradient is that of the penalty: 2 (k - 2)."""
    potential = HarmonicRestraint(ANCHORS, K)
    samples = Reweighting(exact_frames(rng, 40), potential, temperature=TEMPERATURE)
    targets = [Target(spread, 0.1, weight=0.0, explicit=False)]
    found = fitting._evaluate(samples, potential, targets, lambda p: (p.k - 2.0) ** 2, 0.5)
    assert found is not None
    row, gradient = found
    assert row["loss"] == row["penalty"] == pytest.approx((K - 2.0) ** 2)
    assert float(gradient.k) == pytest.approx(2.0 * (K - 2.0), rel=1e-12)


def test_simulations_of_a_fit_differ_and_their_beginning_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed for each, and a fifth of 100 frames of two replicas left out."""
    seeds, frames = [], []
    simulated, reweighted = fitting.simulate, fitting.Reweighting

    def simulate(*arguments: Any, **options: Any) -> Any:
        seeds.append(options["seed"])
        return simulated(*arguments, **options)

    def reweighting(*arguments: Any, **options: Any) -> Any:
        samples = reweighted(*arguments, **options)
        frames.append(len(samples.frames))
        return samples

    monkeypatch.setattr(fitting, "simulate", simulate)
    monkeypatch.setattr(fitting, "Reweighting", reweighting)
    fit_observables(
        HarmonicRestraint(ANCHORS, K),
        [Target(spread, 0.1, explicit=False)],
        wells(),
        LANGEVIN,
        iterations=2,
        steps=1000,
        every=10,
        timestep=2.0,
        replicas=2,
        seed=7,
        learning_rate=0.08,
        effective=0.999999,
        at_once=40,
        trainable=lambda path: path.endswith(".k"),
        progress=False,
    )
    assert seeds == [7, 8, 9]
    assert set(frames) == {2 * (101 - 20)}


def test_a_crowd_beyond_the_room_of_the_lists_is_not_a_number(rng: np.random.Generator) -> None:
    """Lists are planned for the last frame, a thin gas; in the first all 64 atoms are within 5 Å: no room."""
    thin = (np.mgrid[0:4, 0:4, 0:4].reshape(3, -1).T + 0.5) * 6.0
    frames = np.array([12.0 + rng.uniform(-1.4, 1.4, (64, 3)), thin])
    trajectory = Trajectory(
        positions=frames[:, None],
        numbers=np.full(64, 18),
        masses=np.full(64, 39.9),
        cells=np.eye(3) * 24.0,
        pbc=(True, True, True),
        steps=np.arange(2),
        times=np.arange(2) * 10.0,
    )
    potential = LennardJones({"Ar": 3.4}, {"Ar": 0.0104}, cutoff=7.0, shift=True)
    factor = insertion_factor(trajectory, potential, "Ar", places=4, temperature=TEMPERATURE)
    samples = Reweighting(trajectory, potential, temperature=TEMPERATURE, at_once=1)
    values = samples.frames.map(factor, samples.potential, samples.plan)
    assert math.isnan(values[0])
    assert math.isfinite(values[1])


def test_errors_of_windows_add_up_with_their_weights() -> None:
    """The integral is Σ w_k of independent windows: its error is √Σ (w_k e_k)², to rounding."""
    from jaxelyte.free_energy import free_energy
    from jaxelyte.gradients import free_energy_gradient

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few samples
        result = free_energy(
            HarmonicRestraint(ANCHORS, 1.0),
            HarmonicRestraint(ANCHORS, 2.0),
            wells(),
            LANGEVIN,
            windows=2,
            steps=600,
            timestep=2.0,
            every=20,
            check=False,
            progress=False,
        )
        found = free_energy_gradient(result, method="TI", at_once=30)
    for part, total in ((0, found.initial_error), (1, found.final_error)):
        each = [w * float(errors[part].k) for w, (_, errors) in zip(result.weights, found.windows, strict=True)]
        assert float(total.k) == pytest.approx(math.hypot(*each), rel=1e-12)


def test_the_best_parameters_are_those_of_the_best_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the right k with steps of 0.5 Å⁻² eV: the first row is the best, and its k the one it was made with."""
    used = []
    simulated = fitting.simulate

    def simulate(potential: HarmonicRestraint, *arguments: Any, **options: Any) -> Any:
        used.append(float(potential.k))
        return simulated(potential, *arguments, **options)

    monkeypatch.setattr(fitting, "simulate", simulate)
    fit = fit_observables(
        HarmonicRestraint(ANCHORS, K),
        [Target(spread, 3.0 * THERMAL / K, scale=3.0 * THERMAL / K, explicit=False)],
        wells(),
        LANGEVIN,
        iterations=2,
        steps=1000,
        every=10,
        timestep=2.0,
        replicas=2,
        seed=7,
        learning_rate=0.5,
        effective=0.999999,
        at_once=40,
        trainable=lambda path: path.endswith(".k"),
        progress=False,
    )
    assert len(used) == len(fit.history) == 3
    assert fit.best < 2  # after the last row there is no step
    assert float(fit.potential.k) == used[fit.best]
    assert abs(used[fit.best + 1] - used[fit.best]) > 0.1


def test_several_targets_pull_together(rng: np.random.Generator) -> None:
    """Gradient and loss of two targets are the sums of those of each alone, their errors add up as squares."""
    potential = HarmonicRestraint(ANCHORS, K)
    samples = Reweighting(exact_frames(rng, 40), potential, temperature=TEMPERATURE)
    first = Target(spread, 0.1, scale=0.1, explicit=False, name="first")
    second = Target(spread, 0.2, scale=0.3, weight=2.0, explicit=False, name="second")
    rows, slopes = [], []
    for targets in ([first], [second], [first, second]):
        found = fitting._evaluate(samples, potential, targets, None, 0.5)
        assert found is not None
        rows.append(found[0])
        slopes.append(float(found[1].k))
    assert abs(slopes[1]) > 0.1 * abs(slopes[0]) > 0.0
    assert slopes[2] == pytest.approx(slopes[0] + slopes[1], rel=1e-12)
    assert rows[2]["loss"] == pytest.approx(rows[0]["loss"] + rows[1]["loss"], rel=1e-12)
    assert rows[2]["error"] == pytest.approx(math.hypot(rows[0]["error"], rows[1]["error"]), rel=1e-12)
    assert (rows[2]["first"], rows[2]["second"]) == pytest.approx((rows[0]["first"], rows[1]["second"]), rel=1e-12)


def test_insertion_leaves_out_the_first_frames(rng: np.random.Generator) -> None:
    """Two frames of four are left out, of both replicas; energies of the cell alone, so to rounding."""
    edges = np.where(np.arange(4) < 2, 20.0, 10.0)
    frames = Trajectory(
        positions=rng.random((4, 2, 3, 3)) * 10.0,
        numbers=np.full(3, 18),
        masses=np.full(3, 39.9),
        cells=edges[:, None, None, None] * np.broadcast_to(np.eye(3), (4, 2, 3, 3)),
        pbc=(True, True, True),
        steps=np.arange(4),
        times=np.arange(4) * 10.0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few insertions
        found = widom(frames, Squeezed(0.04), "Ar", temperature=TEMPERATURE, per_frame=3, discard=2)
    assert found.insertions == 2 * 2 * 3
    assert found.value == pytest.approx(0.04, abs=1e-10)


def test_frames_of_replicas_keep_their_cells(rng: np.random.Generator) -> None:
    """Replica by replica, each frame with its own cell: energies that are the volume, by hand."""
    edges = 10.0 + np.arange(6.0).reshape(3, 2)  # (frames, replicas)
    frames = Trajectory(
        positions=rng.random((3, 2, 4, 3)) * 10.0,
        numbers=np.full(4, 18),
        masses=np.full(4, 39.9),
        cells=edges[:, :, None, None] * np.eye(3),
        pbc=(True, True, True),
        steps=np.arange(3),
        times=np.arange(3) * 10.0,
    )
    samples = Reweighting(frames, Squeezed(0.25), temperature=TEMPERATURE, at_once=4)
    np.testing.assert_allclose(samples.energies, edges.T.ravel() ** 3 / 1000.0, rtol=1e-12)


def test_equilibration_is_not_sampled() -> None:
    """300 of 900 steps are left out, samples each 10 steps of 2 fs: 60 of them, the first at 620 fs."""
    from jaxelyte.free_energy import free_energy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few samples
        result = free_energy(
            HarmonicRestraint(ANCHORS, 1.0),
            HarmonicRestraint(ANCHORS, 2.0),
            wells(),
            LANGEVIN,
            windows=2,
            steps=900,
            equilibration=300,
            timestep=2.0,
            check=False,
            progress=False,
        )
    assert result.run is not None
    series: Any = result.run.observables["energies"]
    assert (len(series), series.start) == (60, 620.0)


def test_hysteresis_is_a_difference(rng: np.random.Generator) -> None:
    """Upwards minus downwards, by hand; exact samples of windows near to each other have none."""
    lam, weights = nodes_and_weights(5, "trapezoid")
    # U1 - U0 = 2 k_B T x of a Gaussian of width one about -2 λ: ΔF = -2 k_B T.
    series = [2.0 * THERMAL * rng.normal(-2.0 * one, 1.0, 1000) for one in lam]
    found = difference(series, lam, TEMPERATURE, weights=weights)
    (up, up_error), (down, down_error) = (found.estimates[f"Zwanzig {name}"] for name in ("forward", "backward"))
    value, error = found.hysteresis
    assert value == pytest.approx(up - down, rel=1e-12, abs=1e-15)
    assert error == pytest.approx(math.hypot(up_error, down_error), rel=1e-12)
    assert abs(value) < 4.0 * error
    assert found.value == pytest.approx(-2.0 * THERMAL, abs=4.0 * found.error)


def test_errors_at_the_ends_are_those_of_a_mean(rng: np.random.Generator) -> None:
    """<∂U/∂k> of 2000 independent frames: 3N k_B T/2k, width √(2/3N) of it; 10 stretches know it to 24 %."""
    from jaxelyte.gradients.frames import Frames
    from jaxelyte.gradients.free_energies import _mean

    frames = Frames.from_trajectory(exact_frames(rng, 2000), at_once=200)
    (value,), (error,) = _mean(frames, (HarmonicRestraint(ANCHORS, K), None), -1.0)
    exact = 1.5 * COUNT * THERMAL / K
    width = exact * math.sqrt(2.0 / (3 * COUNT)) / math.sqrt(2000)
    assert abs(float(value.k) + exact) < 4.0 * width
    assert float(error.k) == pytest.approx(width, rel=0.7)


def test_the_longest_of_several_lists_decides() -> None:
    """All scaled by 0.9: with a skin of 0.5, 2.5 Å become 2.25 > 2, but 6.5 Å become 5.85 < 6."""
    atoms = Atoms("Na2", [[3.0, 10.0, 10.0], [9.6, 10.0, 10.0]], cell=[20.0] * 3, pbc=True)
    system, specs = jax.tree.map(np.asarray, System.from_atoms(atoms)), (NeighborSpec(2.0), NeighborSpec(6.0))
    kept = KeptLists(0.5)
    kept.follow(system, np.zeros(3), specs)
    kept.follow(system.replace(cell=0.9 * system.cell, positions=0.9 * system.positions), np.zeros(3), specs)
    assert kept.builds == 2
    assert [int(np.sum(np.asarray(one.mask))) for one in kept.state().lists] == [0, 2]  # 5.94 Å


def test_what_is_cut_along_the_replicas() -> None:
    """Arrays with a leading axis of replicas are divided, all others are copies."""
    from jax.sharding import PartitionSpec

    from jaxelyte.neighbors.loop import ListPlan
    from jaxelyte.parallel.replicas import over_devices

    plan = over_devices(ListPlan((), 1.0), 8, (jax.devices()[0],))
    assert plan.sharding(np.zeros((8, 3))).spec == PartitionSpec("replicas")
    for other in (np.zeros((3, 8)), np.zeros(5), np.zeros(())):
        assert plan.sharding(other).spec == PartitionSpec()
