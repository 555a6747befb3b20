"""Reweighting refuses, or warns, where it cannot be right: tails, few frames, correlation, other potentials."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from scipy import stats
from scipy.signal import lfilter

from jaxelyte.dynamics import simulate
from jaxelyte.errors import InputError, JaxelyteError
from jaxelyte.gradients import Reweighting
from jaxelyte.gradients.trust import (
    halves_apart,
    inefficiency,
    spread_of_influence,
    stretches_of,
    tail_of,
    warn_if_apart,
    why_unsupported,
)
from jaxelyte.observables.tails import deciding, independent_sums, largest_k, pareto_k
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.trajectory import Trajectory
from wells import ANCHORS, LANGEVIN, TEMPERATURE, THERMAL, K, exact_frames, spread, wells


def test_the_shape_of_a_tail(rng: np.random.Generator) -> None:
    """Pareto samples u^-k have the shape k; the fit of one tail of 190 scatters by about (1 + k)/√190."""
    for shape in (0.2, 0.5, 0.9):
        found = [pareto_k(rng.random(4000) ** -shape) for _ in range(20)]
        assert np.mean(found) == pytest.approx(shape, abs=0.08)
    assert pareto_k(np.ones(100)) == -math.inf
    assert pareto_k(rng.random(20)) == math.inf  # a tail of four
    assert pareto_k(rng.random(400)) < 0.2  # bounded
    assert largest_k(100.0) == pytest.approx(0.5)
    assert largest_k(1e6) == 0.7


def test_deciding_samples_by_hand() -> None:
    """(1 + 1 + 2)²/(1 + 1 + 4) samples; with weights of mean one F = (1·0.5 + 1·0.5 + 2·2)/4 = 1.25."""
    assert deciding(np.array([1.0, -1.0, 2.0])) == pytest.approx(16.0 / 6.0)
    assert deciding(np.array([1.0, -1.0, 2.0]), np.array([0.5, 0.5, 2.0])) == pytest.approx(16.0 / 6.0 / 1.25**2)
    # Where the average comes from has been sampled more often than needed: no bonus.
    assert deciding(np.array([2.0, 1.0, 1.0]), np.array([0.5, 2.0, 2.0])) == pytest.approx(16.0 / 6.0)
    assert deciding(np.zeros(5)) == 5.0


def one_oscillator(frames: np.ndarray) -> Trajectory:
    """Frames of displacements (frames, 3) in units of the width at k = K, of one atom."""
    moved = ANCHORS[:1] + frames[:, None, :] * math.sqrt(THERMAL / K)
    count = len(frames)
    return Trajectory(
        positions=moved[:, None],
        numbers=np.array([18]),
        masses=np.array([39.9]),
        cells=np.eye(3) * 30.0,
        pbc=(True, True, True),
        steps=np.arange(count),
        times=np.arange(count) * 10.0,
    )


def samples_of(frames: np.ndarray) -> Reweighting:
    trajectory = one_oscillator(frames)
    return Reweighting(trajectory, HarmonicRestraint(ANCHORS[:1], K), temperature=TEMPERATURE, at_once=400)


def square(potential: Any, system: Any, neighbors: Any) -> Any:
    return ((system.positions - ANCHORS[:1]) ** 2).sum()


def test_weights_of_infinite_variance_are_refused_or_have_wide_errors() -> None:
    """k = 0.45 of that of the run: weights have no variance, and 30 to 60 % effective samples did not show it.

    The derivative was -0.24 for -0.38 without a word, five of its errors off.
    """
    softer, exact = HarmonicRestraint(ANCHORS[:1], 0.45 * K), -3.0 * THERMAL / (0.45 * K) ** 2
    for seed in range(3):
        samples = samples_of(np.random.default_rng(seed).normal(size=(400, 3)))
        assert samples.effective(softer) > 0.1 * 400
        try:
            found: Any = samples.gradient(square, softer, explicit=False)
        except JaxelyteError:
            continue
        assert abs(float(found.gradient.k) - exact) < 3.0 * float(found.gradient_error.k)
    with pytest.raises(JaxelyteError, match="Pareto shape k"):
        samples_of(np.random.default_rng(0).normal(size=(20, 3))).average(
            square, HarmonicRestraint(ANCHORS[:1], 0.6 * K)
        )


def test_what_is_near_passes_in_silence(rng: np.random.Generator) -> None:
    """Derivatives at the parameters of the run and averages a little away, of six atoms and 400 frames."""
    samples = Reweighting(exact_frames(rng, 400), HarmonicRestraint(ANCHORS, K), temperature=TEMPERATURE, at_once=400)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        samples.gradient(spread, explicit=False)
        samples.average(spread, HarmonicRestraint(ANCHORS, 1.1 * K))
        samples.average(spread)


def test_few_frames_are_said(rng: np.random.Generator) -> None:
    """20 frames of one oscillator gave derivatives ten errors off; three have no error bar at all."""
    with pytest.warns(UserWarning, match=r"derivative over 20 frames: \d+ are independent, and an error bar takes 80"):
        found: Any = samples_of(rng.normal(size=(20, 3))).gradient(square, explicit=False)
    assert math.isnan(float(found.gradient_error.k))
    assert math.isfinite(found.error)
    with pytest.warns(UserWarning, match="average over 3 frames: 3 are independent"):
        few: Any = samples_of(rng.normal(size=(3, 3))).gradient(square, explicit=False)
    assert math.isnan(few.error)
    assert math.isfinite(float(few.gradient.k))


def test_the_spread_by_hand() -> None:
    """Influences 1, 1, 1, -3, …: Σx³ = -24 n/4, Σx² = 12 n/4, Σx⁴ = 84 n/4."""
    x = np.tile([1.0, 1.0, 1.0, -3.0], 10)
    found = spread_of_influence(x, None, 1.0, 16, "average")
    assert found.widening == pytest.approx(math.sqrt(1.0 + 2.0 * 240.0**2 / 120.0**3))
    # A symmetric one of ±1 has less kurtosis than a normal distribution: the freedom is that of the stretches.
    assert found.freedom == pytest.approx(15.0)
    y = np.array([*np.ones(60), *-np.ones(60), 8.0, -8.0])
    excess = (120.0 + 2.0 * 8.0**4) / 248.0**2 - 3.0 / 122.0
    assert spread_of_influence(y, None, 1.0, 16, "average") == pytest.approx((1.0, 2.0 / (2.0 / 15.0 + excess)))
    # Consecutive frames that are worth one are summed.
    assert np.array_equal(independent_sums(np.arange(5.0), 2.2), [1.0, 5.0, 4.0])
    # ln w = ±1/2, without skewness: exp(-1/4) effective samples are expected, cosh²(1/2)/cosh(1) found.
    weight = np.exp(0.5 * np.tile([1.0, 1.0, -1.0, -1.0], 10))
    weight /= weight.sum()
    ratio, lopsided = math.cosh(0.5) ** 2 / math.cosh(1.0) * math.exp(0.25), (24.0 / 30.0) ** 2
    for kind, power in (("average", 1), ("derivative", 2)):
        expected = math.sqrt(found.widening**2 + lopsided * (ratio**power - 1.0))
        assert spread_of_influence(x, weight, 1.0, 16, kind).widening == pytest.approx(expected)
    # Symmetric influences of such weights need no more.
    assert spread_of_influence(np.tile([1.0, -1.0], 20), weight, 1.0, 16, "average").widening == pytest.approx(1.0)
    assert why_unsupported(np.zeros(400), None, 1.0, "average") == ""


def test_what_all_weights_say_about_the_largest(rng: np.random.Generator) -> None:
    """ln w = θ x with x of a gamma distribution: a Pareto tail of the shape θ, and <w>²/<w²> in closed form."""
    x = rng.gamma(1.5, size=100_000)
    for theta in (0.1, 0.25, -0.5):
        found = tail_of(np.exp(theta * x), 1e9)
        assert found.share == pytest.approx(((1.0 - 2.0 * theta) / (1.0 - theta) ** 2) ** 1.5, rel=0.03)
        assert found.shape == pytest.approx(max(theta, 0.0), rel=0.05)
    # No variance, and fifty frames, which leave more open.
    assert tail_of(np.exp(0.55 * x), 1e9) == (0.0, pytest.approx(0.55, rel=0.05))
    assert tail_of(np.exp(0.25 * x), 50.0).share == pytest.approx(0.72, abs=0.02)
    assert tail_of(np.exp(0.5 * rng.normal(size=100_000)), 1e9).share == pytest.approx(math.exp(-0.25), rel=0.01)
    assert tail_of(np.full(10, 0.1), 10.0) == (1.0, 0.0)


def test_errors_hold_what_was_not_sampled() -> None:
    """Averages of r² over 400 exact frames at 0.6 of the spring, where 0.41 of the samples are effective.

    Deviations over their errors, through Student's t, have a root mean square of 1.0 to 1.2 over 200 repeats. Without
    the tail of the weights it is 1.5, and with a refusal below one half 1.3 of what is left.
    """
    rng, z = np.random.default_rng(3), []
    for _ in range(200):
        squares = 2.0 * rng.gamma(1.5, size=400)
        weight = np.exp(0.2 * squares)
        weight /= weight.sum()
        mean = float(weight @ squares)
        influence = weight * (squares - mean)
        found = spread_of_influence(influence, weight, 1.0, 16, "average")
        parts = influence.reshape(16, 25).sum(axis=1)
        error = found.widening * 4.0 * float(parts.std(ddof=1))
        z.append(stats.norm.isf(stats.t.sf(abs(mean - 5.0) / error, found.freedom)))
    assert 0.85 < math.sqrt(np.mean(np.square(z))) < 1.3


def light(count: int) -> np.ndarray:
    """Bounded weights, ln w skewed to the left; their share of effective samples is 0.63."""
    weight = np.tile([2.0, 2.0, 2.0, 0.1], -(-count // 4))[:count]
    return weight / weight.sum()


def heavy(count: int) -> np.ndarray:
    """The reciprocal weights: skewed to the right, a share of 0.65."""
    weight = np.tile([1.0, 1.0, 1.0, 4.0], -(-count // 4))[:count]
    return weight / weight.sum()


@pytest.mark.parametrize(
    ("kind", "weights", "needed"),
    [
        ("average", None, 6),
        ("average", light, 40),
        ("average", heavy, 160),
        ("derivative", None, 80),
        ("derivative", light, 80),
        ("derivative", heavy, 160),
    ],
)
def test_how_many_independent_frames_an_error_takes(kind: str, weights: Any, needed: int) -> None:
    """Exactly so many, correlated ones by what they are worth."""
    for worth in (1.0, 1.25):
        for more in (0, 1):
            count = math.ceil(needed * worth) - 1 + more
            influence = np.tile([1.0, -1.0], count)[:count]
            found = why_unsupported(influence, None if weights is None else weights(count), worth, kind)
            assert (found == "") == bool(more), (count, found)
            assert more or f"an error bar takes {needed};" in found


def test_what_else_has_no_error() -> None:
    """Correlated runs of fewer than 20 independent frames, five frames that decide, and derivatives of few weights."""
    influence = np.tile([1.0, -1.0], 600)
    assert why_unsupported(influence, None, 60.0, "average") == ""
    assert "so that 19 are left" in why_unsupported(influence, None, 64.0, "average")
    for number, good in ((6, True), (5, False)):
        few = np.zeros(400)
        few[:number] = 1.0
        found = why_unsupported(few, None, 1.0, "average")
        assert (found == "") == good
        assert good or found.startswith("5 independent frames decide it (6 are needed)")
    # ln w = -c t² of an even t from 0 to 1: shares of 0.28 and 0.32.
    for steep, good in ((20.0, False), (15.0, True)):
        weight = np.exp(-steep * np.linspace(0.0, 1.0, 400) ** 2)
        found = why_unsupported(influence[:400], weight / weight.sum(), 1.0, "derivative")
        assert (found == "") == good
        assert good or "the weights leave 28% of them, and an error bar takes 30%" in found
        assert why_unsupported(influence[:400], weight / weight.sum(), 1.0, "average") == ""


def test_a_tail_of_large_weights_widens_errors() -> None:
    """Derivatives by 480 k²/n^0.6, and the ratio of effective samples found and expected, which is bounded.

    Where the logarithm is nearly normal, also by 0.9 and 1.8 times the share that does not count.
    """
    x = np.tile([-1.0, -1.0, -1.0, 3.0], 100)
    lopsided, skewness = (24.0 / 30.0) ** 2, 2.0 * (100 * 24.0) ** 2 / (100 * 12.0) ** 3
    # ln w = 0, 0, 0, s: width s √3/4 and skewness 2/√3, so k = s/4.
    for s, expected in ((0.4, None), (4.0, {"average": 0.02, "derivative": 0.05})):
        weight = np.exp(s * np.tile([0.0, 0.0, 0.0, 1.0], 100))
        weight /= weight.sum()
        tail, share = tail_of(weight, 400.0), 1.0 / (400.0 * float(np.sum(weight**2)))
        assert tail.shape == pytest.approx(s / 4.0)
        for kind, power, strength, many in (("average", 1, 0.0, 0.9), ("derivative", 2, 480.0, 1.8)):
            ratio = max(1.0, share / (tail.share if expected is None else expected[kind]))
            widening = math.sqrt(1.0 + skewness + lopsided * (ratio**power - 1.0))
            widening *= math.sqrt(1.0 + lopsided * strength * (s / 4.0) ** 2 / 400.0**0.6)
            widening *= 1.0 + many * lopsided * (1.0 - tail.share) * max(0.0, 1.0 - s / 2.0) ** 2
            assert spread_of_influence(x, weight, 1.0, 16, kind).widening == pytest.approx(widening)
    # Weights that are even within 5 % have no tail to speak of.
    for s, needed in ((0.45, 40), (0.6, 160)):
        weight = np.exp(s * np.tile([0.0, 0.0, 0.0, 1.0], 25))
        found = why_unsupported(np.tile([1.0, -1.0], 50), weight / weight.sum(), 1.0, "average")
        assert (found == "") == (needed < 100)


def test_halves_are_apart_beyond_four_and_a_half_errors() -> None:
    """Sums of three stretches ± 0.1 √(3/2) t/… apart by t of their errors."""
    noise = np.array([-0.1, 0.0, 0.1])
    for apart, told in ((4.4, False), (4.6, True)):
        shift = apart * math.sqrt(6.0) * 0.1 / 6.0
        parts = np.concatenate([noise + shift, noise - shift])
        assert halves_apart(parts) == pytest.approx(apart)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_if_apart(parts, "average")
        assert bool(caught) == told


def correlated(rng: np.random.Generator, frames: int, time: float) -> np.ndarray:
    """(frames, 3) of unit width, of a correlation that decays by e in ``time`` frames."""
    stay = math.exp(-1.0 / time)
    noise = rng.normal(size=(frames + 1000, 3)) * math.sqrt(1.0 - stay**2)
    return np.asarray(lfilter([1.0], [1.0, -stay], noise, axis=0))[-frames:]


def test_correlated_frames_are_counted(rng: np.random.Generator) -> None:
    """A correlation time of a quarter of the run: no error bar. Of twelve frames in 1200: error bars of fewer."""
    slow = correlated(rng, 400, 100.0)
    with pytest.warns(UserWarning, match=r"are worth one independent, so that \d+ are left; there is no error bar"):
        found = samples_of(slow).average(square)
    assert math.isnan(float(found.error))
    faster = correlated(rng, 1200, 12.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        once, many = (samples_of(x).average(square) for x in (faster, faster[rng.permutation(1200)]))
    # x² of an AR(1) series has the correlation time 6: 12 frames are worth one, errors √12 times as large.
    assert 2.0 < float(once.error) / float(many.error) < 6.5


def test_stretches_and_halves_by_hand() -> None:
    assert [len(one) for one in stretches_of(100, 1.0)] == [7] * 4 + [6] * 12
    assert [len(one) for one in stretches_of(100, 4.8)] == [20] * 5
    assert len(stretches_of(100, 40.0)) == 4
    assert len(stretches_of(3, 1.0)) == 3
    assert inefficiency(np.ones(40), 2) == 1.0
    # Sums 2.1 and -2.1 of halves whose stretches scatter by 0.1: 4.2/(0.1 √6) = 17.1 standard errors.
    assert halves_apart(np.array([0.6, 0.7, 0.8, -0.6, -0.7, -0.8])) == pytest.approx(4.2 / (0.1 * math.sqrt(6.0)))


def test_halves_that_differ_are_said(rng: np.random.Generator) -> None:
    """A width that grows by 60 % in the middle of the run."""
    frames = rng.normal(size=(800, 3)) * np.where(np.arange(800) < 400, 1.0, 1.6)[:, None]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        samples_of(frames).average(square)
    assert any(
        "two halves of the frames differ" in str(one.message) or "no error bar" in str(one.message) for one in told
    )


def test_frames_of_another_potential_are_refused(tmp_path: Path) -> None:
    """By the energies that the run recorded, in memory and from its folder."""
    potential = HarmonicRestraint(ANCHORS, K)
    atoms: Atoms = wells()
    options: dict[str, Any] = dict(steps=200, timestep=2.0, every=10, replicas=2, progress=False)
    run = simulate(potential, atoms, LANGEVIN, output=tmp_path / "run", **options)
    assert Reweighting(tmp_path / "run", potential).temperature == TEMPERATURE
    for source, discard in ((run, 0), (tmp_path / "run", 3)):
        with pytest.raises(InputError, match="this potential did not make these frames"):
            Reweighting(source, HarmonicRestraint(ANCHORS, 1.5 * K), discard=discard)
