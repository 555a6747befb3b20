"""Gradients and fits beside numbers found by hand: what simulations are too blunt to tell apart."""

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

from jaxelyte.gradients import (
    Reweighting,
    Target,
    effective_samples,
    fit_observables,
    fitting,
    free_energy_gradient,
    insertion_factor,
)
from jaxelyte.gradients.fit_folder import Progress, begin, describe, keep
from jaxelyte.gradients.frames import Frames
from jaxelyte.gradients.free_energies import _mean, _rows, _warn_if_shared
from jaxelyte.gradients.path import _horizon, mean_over_replicas
from jaxelyte.observables.recorded import SeriesResult
from jaxelyte.potentials.ladder import Ladder
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.potentials.restraints import HarmonicRestraint
from wells import (
    ANCHORS,
    COUNT,
    LANGEVIN,
    TEMPERATURE,
    THERMAL,
    K,
    Squeezed,
    boxes,
    exact_frames,
    spread,
    two_windows,
    wells,
)

SHORT: dict[str, Any] = {
    "iterations": 2,
    "steps": 1000,
    "every": 10,
    "timestep": 2.0,
    "replicas": 2,
    "seed": 7,
    "effective": 0.999999,
    "at_once": 40,
    "trainable": lambda path: path.endswith(".k"),
    "progress": False,
}
"""A fit that simulates anew for each step."""


def test_effective_samples_are_those_of_kish() -> None:
    """(1 + 1 + 2)²/(1 + 1 + 4) by hand, for weights of any size: to rounding."""
    for scale in (1.0, 1e-200, 1e200):
        assert effective_samples(scale * np.array([1.0, 1.0, 2.0])) == pytest.approx(16.0 / 6.0, rel=1e-12)


def test_a_logarithm_of_a_factor_has_an_exact_derivative(rng: np.random.Generator) -> None:
    """ln <k s> has the derivative 1/k whatever the samples of s: errors of <A> and of its derivative cancel.

    The temperature is so high that the ensemble does not move: its covariance is 1e-12 of the result. To first order
    nothing is left of the error, of which each part alone is 1/sqrt(9 · 160) = 3 %.
    """
    frames = Frames.from_trajectory(exact_frames(rng, 160), at_once=10)
    samples = Reweighting.of_frames(frames, HarmonicRestraint(ANCHORS, K), 1e15)  # not a temperature of any run

    def scaled(potential: Any, system: Any, neighbors: Any) -> jax.Array:
        return potential.k * spread(potential, system, neighbors)

    found = samples.gradient(scaled, function=jnp.log)
    assert float(found.gradient.k) == pytest.approx(1.0 / K, rel=1e-9)
    assert float(found.gradient_error.k) < 1e-9
    assert found.error > 0.01


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


def test_errors_and_horizons_by_hand() -> None:
    """Standard error of the mean of four; the last time at which the slopes are not noise."""
    mean, error, freedom = mean_over_replicas(np.array([1.0, 2.0, 3.0, 4.0]))
    assert mean == 2.5
    assert error == pytest.approx(math.sqrt(5.0 / 3.0) / 2.0, rel=1e-12)
    assert freedom == pytest.approx(3.0)
    assert math.isnan(mean_over_replicas(np.array([1.0, 2.0, 3.0]))[1])
    # Of 0, 0, 0, 4: Σx³ = 24 and Σx² = 12 about the mean, so 1 + 2 · 24²/12³ times the variance 4/4.
    assert mean_over_replicas(np.array([0.0, 0.0, 0.0, 4.0]))[1] == pytest.approx(math.sqrt(1.0 + 2.0 / 3.0))
    noise = np.array([-1.0, 1.0, -1.0, 1.0])
    # Mean over its standard error, 1/√3 = 0.577: 17, 1.7, 2.6, 0.2 at 1, 2, 3, 4 fs.
    slope = np.array([10.0, 1.0, -1.5, 0.1])[:, None] + noise
    assert _horizon(np.array([1.0, 2.0, 3.0, 4.0]), slope) == 3.0
    assert _horizon(np.array([1.0]), 0.1 + noise[None]) == 0.0
    assert math.isnan(_horizon(np.array([1.0]), np.ones((1, 3))))


def test_the_state_of_the_optimiser_is_kept(tmp_path: Path) -> None:
    """Moments and count of Adam after two steps come back to the bit, and the best of them, the first."""
    start, rule = HarmonicRestraint(ANCHORS, K), optax.adam(0.08)
    now, settings = Progress(start, rule.init(start), wells()), describe(start, [], LANGEVIN)
    for step, slope in enumerate((1.0, -3.0)):
        gradient = jax.tree.map(lambda x, s=slope: jnp.full_like(x, s), start)
        with jax.numpy_dtype_promotion("standard"):
            updates, now.state = rule.update(gradient, now.state, now.potential)
        now.potential = optax.apply_updates(now.potential, updates)
        now.judge({"step": step, "loss": 1.0, "simulated": True, "length": 1.0}, now.potential)
        keep(tmp_path, settings, now)
    back = begin(tmp_path, Progress(start, rule.init(start), wells()), settings, resume=True, iterations=6)
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
        learning_rate=0.08,
        **SHORT,
    )
    assert seeds == [7, 8, 9]
    assert set(frames) == {2 * (101 - 20)}


@pytest.mark.more
def test_a_crowd_beyond_the_room_of_the_lists_is_not_a_number(rng: np.random.Generator) -> None:
    """Lists are planned for the last frame, a thin gas; in the first all 64 atoms are within 5 Å: no room."""
    thin = (np.mgrid[0:4, 0:4, 0:4].reshape(3, -1).T + 0.5) * 6.0
    frames = np.array([12.0 + rng.uniform(-1.4, 1.4, (64, 3)), thin])
    trajectory = boxes(frames[:, None], np.array(24.0))
    potential = LennardJones({"Ar": 3.4}, {"Ar": 0.0104}, cutoff=7.0, shift=True)
    factor = insertion_factor(trajectory, potential, "Ar", places=4, temperature=TEMPERATURE)
    samples = Reweighting(trajectory, potential, temperature=TEMPERATURE, at_once=1)
    values = samples.frames.map(factor, samples.potential, samples.evaluator)
    assert math.isnan(values[0])
    assert math.isfinite(values[1])


@pytest.mark.more
def test_errors_of_windows_add_up_with_their_weights() -> None:
    """The integral is Σ w_k of independent windows: its error is √Σ (w_k e_k)², and that of the rule, to rounding.

    The trapezoid of two windows is a poor rule: from k0 = 1 to k1 = 2 eV/Å² its derivative with respect to k0 is
    -3N k_B T/2 · (1/k0 + 1/k1 + (k1 - k0)/k0²)/2, which is 1.25 times as large as that of 3N k_B T/2 ln(k1/k0).
    """
    result = two_windows(steps=60_000, every=100)  # 200 fs: independent frames, which have error bars
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few samples
        found = free_energy_gradient(result, method="TI", at_once=30)
        ends = free_energy_gradient(result, at_once=30)
    assert found.quadrature is not None
    for part, total in ((0, found.initial_error), (1, found.final_error)):
        each = [w * float(errors[part].k) for w, (_, errors) in zip(result.weights, found.windows, strict=True)]
        rule = float(found.quadrature[part].k)
        assert float(total.k) == pytest.approx(math.hypot(*each, rule), rel=1e-12)
        mean = (ends.initial, ends.final)[part], (ends.initial_error, ends.final_error)[part]
        off = float((found.initial, found.final)[part].k) - float(mean[0].k)
        noise = sum(e**2 for e in each) + float(mean[1].k) ** 2
        assert rule == pytest.approx(math.sqrt(max(0.0, off**2 - noise)), rel=1e-9)


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
        learning_rate=0.5,
        **SHORT,
    )
    assert len(used) == len(fit.history) == 3
    assert fit.best < 2  # after the last row there is no step
    assert float(fit.potential.k) == used[fit.best]
    assert abs(used[fit.best + 1] - used[fit.best]) > 0.1


def test_several_targets_pull_together(rng: np.random.Generator) -> None:
    """Gradient and loss of two targets are the sums of those of each alone, their errors add up as squares."""
    potential = HarmonicRestraint(ANCHORS, K)
    samples = Reweighting(exact_frames(rng, 200), potential, temperature=TEMPERATURE, at_once=50)
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


def test_frames_of_replicas_keep_their_cells(rng: np.random.Generator) -> None:
    """Replica by replica, each frame with its own cell: energies that are the volume, by hand."""
    edges = 10.0 + np.arange(6.0).reshape(3, 2)  # (frames, replicas)
    frames = boxes(rng.random((3, 2, 4, 3)) * 10.0, edges)
    samples = Reweighting(frames, Squeezed(0.25), temperature=TEMPERATURE, at_once=4)
    np.testing.assert_allclose(samples.energies, edges.T.ravel() ** 3 / 1000.0, rtol=1e-12)


def test_errors_at_the_ends_are_those_of_a_mean(rng: np.random.Generator) -> None:
    """<∂U/∂k> of 2000 independent frames: 3N k_B T/2k, width √(2/3N) of it; 16 stretches know it to 18 %."""
    frames = Frames.from_trajectory(exact_frames(rng, 2000), at_once=200)
    (value,), (error,), freedom = _mean(frames, (HarmonicRestraint(ANCHORS, K), None), -1.0)
    exact = 1.5 * COUNT * THERMAL / K
    width = exact * math.sqrt(2.0 / (3 * COUNT)) / math.sqrt(2000)
    assert abs(float(value.k) + exact) < 4.0 * width
    assert float(error.k) == pytest.approx(width, rel=0.7)
    assert 2.0 < freedom <= 15.0


@pytest.mark.parametrize("exchange", [0, 20])
def test_windows_that_share_structures_are_named(exchange: int) -> None:
    """The errors of their derivatives are added as those of independent windows."""
    ends = [HarmonicRestraint(np.zeros((1, 3)), k) for k in (0.5, 2.0)]
    ladder = Ladder(*ends, np.array([0.0, 1.0]), temperature=TEMPERATURE, exchange=exchange)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        _warn_if_shared(ladder)
    assert ["exchanged structures" in str(one.message) for one in told] == [True] * bool(exchange)
