"""Error bars of free energies over repeats of exact samples: right, or not given; see also `benchmarks/honesty.py`."""

from __future__ import annotations

import math
import sys
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter

from jaxelyte.errors import InputError
from jaxelyte.free_energy import difference, integration
from jaxelyte.free_energy.estimators import bar, mbar_pulls, solve_mbar
from jaxelyte.free_energy.joint import JointError, joint_error
from jaxelyte.free_energy.quadrature import (
    even_nodes,
    integral_with_slopes,
    nodes_and_weights,
    sensitivities,
    thermodynamic_length,
)

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
honesty: Any = pytest.importorskip("honesty")
cases: Any = pytest.importorskip("honesty_free_energies")
exchanges: Any = pytest.importorskip("honesty_exchange")
sys.path.remove(str(BENCHMARKS))
springs, spring, ESTIMATORS = cases.springs, cases.spring, cases.ESTIMATORS
TEMPERATURE, THERMAL = cases.TEMPERATURE, cases.THERMAL


@pytest.mark.parametrize("repeats", [40, pytest.param(400, marks=pytest.mark.more)])
def test_deviations_are_as_large_as_the_error_bars(repeats: int) -> None:
    """Springs 1:3: root mean square 1 ± 1/√(2 repeats); above the limit if 400 errors were 1.3 times too small."""
    noise = 1.0 / math.sqrt(2.0 * repeats)
    settings = {"ratio": 3.0, "windows": 3, "rule": "clenshaw-curtis", "count": 150}
    for name in ESTIMATORS:
        row = honesty.assess(name, partial(spring, estimator=name, **settings), repeats)
        assert row.refused < 0.05, row
        assert 0.93 - 2.5 * noise < row.rms < 1.06 + 2.5 * noise, row
        assert abs(row.share - 0.70) < 0.03 + 2.5 * 0.46 / math.sqrt(repeats), row


def test_an_error_of_several_windows_is_that_of_one_series(rng: np.random.Generator) -> None:
    """Independent windows: squares add up. The same series in all of them: errors do. Lengths need not be alike."""
    lengths = (4000, 4000, 3000, 300)
    found = [joint_error([rng.normal(size=n) for n in lengths]).error for _ in range(30)]
    exact = math.sqrt(sum(1.0 / n for n in lengths))
    assert np.median(found) == pytest.approx(exact, rel=0.1)  # each is 10 % off, some a factor of two
    rows = [rng.normal(size=n) for n in lengths]
    assert joint_error([rows[0]] * 3).error == pytest.approx(3.0 * joint_error(rows[:1]).error, rel=0.3)
    # Correlated ten times as long as independent values are worth: variance of the mean (1 + a)/(1 - a)/n.
    slow = lfilter([1.0], [1.0, -0.9], rng.normal(size=(2, 20_000)))
    assert joint_error(list(slow)).error == pytest.approx(math.sqrt(2.0 / 20_000) / 0.1, rel=0.5)
    assert math.isnan(joint_error([np.arange(400.0), rows[0]]).error)  # as long as its memory
    assert math.isnan(joint_error([np.arange(3.0)] * 2).error)
    assert joint_error([np.full(50, 0.3)] * 2).error == 0.0  # nothing moves
    assert joint_error([np.full(4000, 0.3), rows[0]]).error == pytest.approx(joint_error(rows[:1]).error, rel=1e-9)


def test_walkers_remember_what_windows_forget(rng: np.random.Generator) -> None:
    """Walkers of memory 20 are dealt out to twelve windows anew at each sample: these are white, their sum is not.

    The variance of the sum of the means is 12 (1 + a)/(1 - a)/n; of windows without walkers it was half of that.
    """
    stay, count, windows = math.exp(-1.0 / 20.0), 1200, 12

    def dealt() -> tuple[list[np.ndarray], np.ndarray]:
        noise = math.sqrt(1.0 - stay**2) * rng.normal(size=(windows, count))
        walkers = np.argsort(rng.random((count, windows)), axis=1)
        series: Any = lfilter([1.0], [1.0, -stay], noise)
        return list(np.take_along_axis(series.T, walkers, axis=1).T), walkers

    several = [dealt() for _ in range(16)]
    found = [(joint_error(rows, walkers).error, joint_error(rows).error) for rows, walkers in several]
    exact = math.sqrt(windows * (1.0 + stay) / (1.0 - stay) / count)
    carried, unknown = np.nanmedian(found, axis=0)
    assert carried == pytest.approx(exact, rel=0.15)
    assert unknown < 0.88 * exact
    # A window that starts later, and one too short to be taken with the others.
    cut = [joint_error([*rows[:-2], rows[-2][200:], rows[-1][1000:]], walkers).error for rows, walkers in several]
    assert np.nanmedian(cut) > 0.75 * exact


def test_free_energies_count_what_walkers_carry() -> None:
    """All estimates and their hysteresis; samples are thinned, and walkers with them."""
    lam, weights = nodes_and_weights(8, "clenshaw-curtis")
    gaps, walkers = exchanges.exchanging(np.random.default_rng(1), lam, count=1500, memory=30.0, seeds=4)
    ratios, gap, walker = [], gaps[0], walkers[0]
    for gap, walker in zip(gaps, walkers, strict=True):
        known, not_known = (
            difference(list(gap.T), lam, TEMPERATURE, weights=weights, walkers=one) for one in (walker, None)
        )
        assert known.value == not_known.value
        ratios.append([known.estimates[name][1] / not_known.estimates[name][1] for name in ESTIMATORS])
    assert np.all(np.nanmedian(ratios, axis=0) > 1.15), np.nanmedian(ratios, axis=0)
    wrongs: list[Any] = [walker[:-1], walker[:, :-1], np.zeros_like(walker), walker - 1, walker + 0.5]
    for wrong in wrongs:
        with pytest.raises(InputError, match="walkers"):
            difference(list(gap.T), lam, TEMPERATURE, weights=weights, walkers=wrong)


@pytest.mark.slow
@pytest.mark.parametrize("exchange", [False, True])
def test_errors_know_what_is_slow(rng: np.random.Generator, exchange: bool) -> None:
    """Fast noise does not hide it, nor does it get lost where walkers carry it from window to window.

    Deviations in units of their errors have a root mean square of one, ± 0.11 of 40 repeats.
    """
    lam, weights = nodes_and_weights(8, "clenshaw-curtis")
    gaps, walkers = exchanges.exchanging(rng, lam, count=3000, memory=30.0, seeds=40, exchange=exchange)
    off = []
    for gap, walker in zip(gaps, walkers, strict=True):
        found = difference(list(gap.T), lam, TEMPERATURE, weights=weights, walkers=walker)
        off.append([(value + 0.49 * THERMAL) / error for value, error in (found.estimates[n] for n in ESTIMATORS)])
    spread = np.sqrt(np.nanmean(np.square(off), axis=0))
    assert np.all((spread > 0.65) & (spread < 1.4)), spread


def test_pulls_of_mbar_are_its_error(rng: np.random.Generator) -> None:
    """To first order the solution follows the weights of samples; also for ends without samples."""
    for rule in ("clenshaw-curtis", "gauss-legendre"):
        lam, _ = nodes_and_weights(3, rule)
        samples = springs(rng, lam, 3.0, 200)
        states = np.unique(np.concatenate([[0.0], lam, [1.0]]))
        energies = states[:, None] * np.concatenate(samples) / THERMAL

        def solved(energies: np.ndarray, states: np.ndarray, lam: np.ndarray, more: int) -> tuple[Any, float]:
            counts = np.zeros(len(states), int)
            counts[np.isin(states, lam)] = [200 + more, 200, 200]
            solution = solve_mbar(energies, counts)
            return solution, float(solution.f_k[-1] - solution.f_k[0])

        solution, value = solved(energies, states, lam, 0)
        pulls = mbar_pulls(energies, solution)
        assert abs(pulls[:200].sum()) < 1e-9  # about the mean of each window
        # Sample 7 of the first window once more: its pull, but for one in 200.
        _, after = solved(np.insert(energies, 7, energies[:, 7], axis=1), states, lam, 1)
        assert after - value == pytest.approx(pulls[7], rel=0.05, abs=1e-5)


def test_ends_without_samples_are_not_made_up() -> None:
    """Ratio 100 by four Gauss windows was 5.6 errors off, ratio 10,000 by eight 32: neither has an error bar now."""
    for ratio, windows in ((100.0, 4), (1e4, 8)):
        lam, weights = nodes_and_weights(windows, "gauss-legendre")
        samples = springs(np.random.default_rng(0), lam, ratio, 400)
        with pytest.warns(UserWarning, match=r"MBAR has no error bar: λ = 0 is extrapolated .* adapt=True"):
            found = difference(samples, lam, TEMPERATURE, weights=weights)
        assert math.isnan(found.error)
        assert {"TI", "BAR", "MBAR"} <= set(found.refused)
        assert all(math.isnan(found.estimates[name][1]) for name in found.refused)
        assert "no error bar" in repr(found)
        assert "λ = 0 is extrapolated" in repr(found)
        # What was sampled lacks the softest springs: too low, by more than the error bar that there was (0.011 eV).
        assert found.value < 4.5 * THERMAL * math.log(ratio) - 0.04


def test_adapted_windows_reach_over_four_decades(rng: np.random.Generator) -> None:
    """Windows at equal thermodynamic distance: springs 1:10,000 by ten, within errors by all estimators."""
    pilot, _ = nodes_and_weights(10, "clenshaw-curtis")
    spread = np.array([gap.std() for gap in springs(rng, pilot, 1e4, 100)])
    lam = even_nodes(pilot, spread, 10)
    stiffness = 1.0 + lam * (1e4 - 1.0)
    np.testing.assert_allclose(stiffness[1:] / stiffness[:-1], 1e4 ** (1 / 9), rtol=0.4)
    _, weights = nodes_and_weights(10, lam.tolist())
    found = difference(springs(rng, lam, 1e4, 400), lam, TEMPERATURE, weights=weights)
    for name in ("TI", "BAR", "MBAR"):
        assert name not in found.refused
        value, error = found.estimates[name]
        assert abs(value - 4.5 * THERMAL * math.log(1e4)) < 3.5 * error, name
        assert error < 0.03


def test_windows_that_share_nothing_have_no_estimate(rng: np.random.Generator) -> None:
    """And it is found at once; equations of MBAR without a unique solution took minutes."""
    lam, weights = nodes_and_weights(8, "clenshaw-curtis")
    with pytest.warns(UserWarning, match="0.0 independent samples decide the step from λ = 0 to 0.0495") as told:
        found = difference(springs(rng, lam, 1e4, 200), lam, TEMPERATURE, weights=weights)
    assert len(told) == 1
    assert math.isnan(found.value)
    assert found.support[0] == 0.0
    assert np.all(found.support[1:] > 30.0)


def test_a_quadrature_error_is_found(rng: np.random.Generator) -> None:
    """Two states with U1 - U0 = 0 and -6 k_B T, weights 1 and e⁻² at λ = 0: <dU/dλ> is a sigmoid between two windows.

    ΔF = -k_B T ln((1 + e⁴)/(1 + e⁻²)) by Bennett's step, which needs no quadrature; with more windows TI has it, too.
    """
    exact = -THERMAL * math.log((1.0 + math.exp(4.0)) / (1.0 + math.exp(-2.0)))
    for windows in (2, 12):
        lam, weights = nodes_and_weights(windows, "trapezoid")
        chance = 1.0 / (1.0 + np.exp(2.0 - 6.0 * lam))
        gaps = [-6.0 * THERMAL * (rng.random(4000) < p) for p in chance]
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = difference(gaps, lam, TEMPERATURE, weights=weights, estimator="TI")
        assert abs(found.estimates["BAR"][0] - exact) < 3.0 * found.estimates["BAR"][1]
        if windows == 2:
            assert math.isnan(found.error)
            assert found.quadrature == pytest.approx(abs(found.value - exact), rel=0.3)
            assert any("the quadrature over 2 windows is off by about" in str(one.message) for one in told)
        else:
            assert not told
            assert abs(found.value - exact) < 3.0 * found.error


@pytest.mark.parametrize(
    ("off", "quadrature"),
    [(0.0, 0.0), (0.0149, 0.0), (0.0151, math.sqrt(0.0151**2 - 1e-4)), (-0.02, math.sqrt(3e-4)), (0.03, math.nan)],
)
def test_a_quadrature_error_is_what_exceeds_its_noise(
    off: float, quadrature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond 1.5 standard errors (0.01 eV) of the difference from BAR; added as squares up to the statistical one."""
    lam, weights = nodes_and_weights(3, "clenshaw-curtis")
    kept = [np.linspace(-0.1, 0.1, 40) - 0.1 * one for one in lam]
    errors = iter([JointError(0.021, 9.0), JointError(0.01, 9.0)])
    monkeypatch.setattr(integration, "joint_error", lambda *_: next(errors))
    value = integration._integrate(kept, lam, weights, 40.0, ends=True)[0]
    steps: Any = SimpleNamespace(
        weak=[], estimates={"BAR": (value - off, 0.01)}, pulls=[np.zeros(40)] * 3, walkers=None
    )
    found = integration.thermodynamic_integral(kept, kept, lam, weights, 40.0, steps, None)
    assert (found.statistical, found.freedom) == (0.021, 9.0)
    if math.isnan(quadrature):
        assert math.isnan(found.error)
        assert "off by about 0.028 eV, more than the statistical error of 0.021 eV" in found.reason
    else:
        assert found.reason == ""
        assert found.quadrature == pytest.approx(quadrature)
        assert found.error == pytest.approx(math.hypot(0.021, quadrature))


def test_a_diverging_integrand_has_no_error(rng: np.random.Generator) -> None:
    """U1 - U0 ~ r^-12 of a ghost: single samples decide its average at λ = 0."""
    lam, weights = nodes_and_weights(4, "clenshaw-curtis")
    gaps = [THERMAL * rng.normal(-one, 1.0, 500) for one in lam]
    gaps[0] = THERMAL * rng.random(500) ** -4.0  # r³ is uniform
    with pytest.warns(UserWarning, match="TI has no error bar: single samples of U1 - U0 decide its average at λ = 0"):
        found = difference(gaps, lam, TEMPERATURE, weights=weights, estimator="TI")
    assert math.isnan(found.error)


def test_interpolation_with_slopes() -> None:
    """Exact for lines and for 1/(λ + d), fourth order otherwise; derivatives by finite differences of itself."""
    lam = np.array([0.0, 0.3, 1.0])
    assert integral_with_slopes(lam, 2.0 - lam, -np.ones(3)) == pytest.approx(1.5, rel=1e-14)
    inverse = 1.0 / (lam + 0.2)
    assert integral_with_slopes(lam, inverse, -(inverse**2)) == pytest.approx(math.log(6.0), rel=1e-10)
    errors = []
    for count in (5, 9, 17):
        x = np.linspace(0.0, 1.0, count)
        errors.append(abs(integral_with_slopes(x, np.exp(-3.0 * x), -3.0 * np.exp(-3.0 * x)) + math.expm1(-3.0) / 3.0))
    assert np.all(np.diff(np.log2(errors)) < -3.5)
    values, slopes = np.array([3.0, 1.0, 0.5]), np.array([-9.0, -3.0, -0.2])
    by_value, by_slope = sensitivities(lam, values, slopes)
    assert by_value.sum() == pytest.approx(1.0, rel=1e-8)  # a constant
    assert by_value @ values + by_slope @ slopes == pytest.approx(integral_with_slopes(lam, values, slopes), rel=1e-8)
    # Secants that rise only by noise: the cubic.
    assert integral_with_slopes(np.array([0.0, 1.0]), np.array([0.0, 0.1]), np.array([-0.2, -0.1])) == pytest.approx(
        0.05 - 0.1 / 12.0
    )


def test_thermodynamic_length_of_springs() -> None:
    """σ = c/(λ + d): ∫ σ dλ = c ln((1 + d)/d), also where the ends are no windows."""
    for lam in (np.array([0.0, 0.1, 1.0]), np.array([0.07, 0.5, 0.9])):
        assert thermodynamic_length(lam, 2.0 / (lam + 0.1)) == pytest.approx(2.0 * math.log(11.0), rel=1e-9)
    np.testing.assert_allclose(even_nodes(np.array([0.0, 1.0]), np.ones(2), 5), np.linspace(0.0, 1.0, 5), atol=1e-12)


def test_bennett_counts_what_crosses(rng: np.random.Generator) -> None:
    """Gaussians a width d apart, ∫ p q/(p + q) by quadrature."""
    width = 2.0
    forward = width * (rng.normal(size=4000) - 0.0) * -1.0 + 0.5 * width**2
    backward = width * (rng.normal(size=4000) + width) - 0.5 * width**2
    found = bar(forward, backward)
    x = np.linspace(-10.0, 12.0, 20_001)
    p, q = (np.exp(-0.5 * (x - m) ** 2) / math.sqrt(2.0 * math.pi) for m in (0.0, width))
    overlap = float(np.sum(p * q / (p + q + 1e-300)) * (x[1] - x[0]))
    assert abs(found.difference) < 0.15
    assert found.overlap == pytest.approx(overlap, rel=0.05)


def test_windows_say_together_that_they_are_independent(rng: np.random.Generator) -> None:
    """Variance of a sum over 8 windows: as exact as their scatter is known, and as large as before if correlated.

    The sum of 90 values alone leaves open whether they are correlated: its errors are 5 to 10 % too large.
    """
    size = 120
    white = rng.normal(size=(90, 8, size))
    stay = 0.8
    slow = lfilter([math.sqrt(1.0 - stay**2)], [1.0, -stay], rng.normal(size=(500, 8, size)), axis=0)[-400:]
    for data, exact in ((white, 8.0 / 90.0), (slow, 8.0 / 400.0 * (1.0 + stay) / (1.0 - stay))):
        found = np.array([joint_error(list(data[..., n].T)).error for n in range(size)])
        assert np.nanmedian(found) == pytest.approx(math.sqrt(exact), rel=0.06 if data is white else 0.25)
        z = data.mean(axis=0).sum(axis=0) / found
        assert abs(np.mean(np.abs(z[np.isfinite(z)]) < 1.0) - 0.683) < 0.14  # 0.043 by chance
