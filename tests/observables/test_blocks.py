"""Standard errors against closed forms: independent values, an AR(1) signal, the jackknife."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter

from jaxelyte.observables import SeriesResult
from jaxelyte.observables.blocks import (
    block_error,
    group_blocks,
    jackknife,
    standard_error,
    warn_if_short,
)
from jaxelyte.observables.noise import _residuals, models
from jaxelyte.observables.ratio import series_error


def ar1(phi: float, count: int, columns: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """x_t = φ x_{t-1} + noise of variance 1, started in its stationary distribution."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count, *columns))
    noise[0] /= np.sqrt(1.0 - phi**2)
    return lfilter([1.0], [1.0, -phi], noise, axis=0)


def exact_error(phi: float, count: int) -> float:
    """Standard error of the mean of ``count`` values of an AR(1) signal, all lags summed."""
    lags = np.arange(1, count)
    inefficiency = 1.0 + 2.0 * np.sum((1.0 - lags / count) * phi**lags)
    return np.sqrt(inefficiency / count / (1.0 - phi**2))


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, 0.97])
def test_error_of_an_ar1_signal(phi: float) -> None:
    """400 independent signals: the exact error over the estimated one has a mean square of one."""
    count = 8192
    estimate = block_error(ar1(phi, count, (1, 400)))
    assert estimate.converged.mean() > 0.98
    # 0.97 to 1.01 in five repeats with other numbers.
    assert 0.93 < np.sqrt(np.nanmean((exact_error(phi, count) / estimate.error) ** 2)) < 1.06
    assert np.nanstd(estimate.error) / np.nanmean(estimate.error) < 0.6


def test_an_oscillation_makes_the_mean_more_certain() -> None:
    """Damped oscillations of ten periods in the series: the exact error is a fifth of the one without their memory."""
    decay, omega, count = 1.0 / 100.0, 2.0 * np.pi / 30.0, 1000
    feedback = [1.0, -2.0 * np.exp(-decay) * np.cos(omega), np.exp(-2.0 * decay)]
    noise = np.random.default_rng(6).normal(size=(count + 800, 1, 400))
    signals = lfilter([1.0], feedback, noise, axis=0)[800:]
    z = signals.mean(axis=(0, 1)) / block_error(signals).error
    assert 0.8 < np.sqrt(np.nanmean(z**2)) < 1.2


def test_rare_visits_give_no_error() -> None:
    """A state that was visited once or twice: how often it is visited is not known."""
    values = np.zeros((2000, 1, 3))
    values[500:530, :, :2] = 1.0
    values[1500:1540, :, 1] = 1.0
    values[100::200, :, 2] = 1.0
    found = block_error(values)
    assert np.isnan(found.error).tolist() == [True, True, False]
    assert np.all(found.bound > 0)


def test_the_estimate_predicts_the_scatter_of_means() -> None:
    signals = ar1(0.9, 4096, (1, 600), seed=5)
    z = signals.mean(axis=(0, 1)) / block_error(signals).error
    # 600 signals: 1 within 0.03, and share within one error within 0.02.
    assert np.sqrt(np.nanmean(z**2)) == pytest.approx(1.0, abs=0.12)
    assert np.mean(np.abs(z) < 1.0) == pytest.approx(0.683, abs=0.07)


def test_replicas_reduce_the_error_by_their_root() -> None:
    alone, together = block_error(ar1(0.9, 4096, (1, 200))).error, block_error(ar1(0.9, 4096, (16, 200))).error
    # 4.05 to 4.23 in five repeats: an error from one series alone is less certain.
    assert np.sqrt(np.nanmean(together**-2.0) / np.nanmean(alone**-2.0)) == pytest.approx(4.1, rel=0.1)


def test_replicas_alone_give_an_error() -> None:
    values = np.random.default_rng(0).normal(size=(1, 25, 2000))
    estimate = block_error(values)
    assert estimate.converged.all()
    assert np.sqrt(np.mean(estimate.error**2)) == pytest.approx(0.2, rel=0.02)


def test_a_signal_that_is_too_short_says_so() -> None:
    few = block_error(np.arange(3.0)[:, None])
    assert np.isnan(few.error)
    assert not few.converged
    with pytest.warns(UserWarning, match=r"no standard error from 3 blocks of 1 replica"):
        warn_if_short(few, blocks=3, replicas=1, what="g")
    slow = block_error(ar1(0.99, 128, (1, 50)))
    assert slow.converged.mean() < 0.2
    # No error is given, only the bound of it.
    np.testing.assert_array_equal(np.isnan(slow.error), ~slow.converged)
    assert np.all(slow.bound > 0)
    with pytest.warns(UserWarning, match=r"too short against its correlation time .* run longer"):
        warn_if_short(slow, blocks=128, replicas=1, what="g")


def test_errors_that_are_not_known_are_marked(tmp_path: Path) -> None:
    """A memory as long as the series: no error in text and file, but a lower bound; never a plain number."""
    result = SeriesResult(("a",), "Å", 2.0, 2.0, ar1(0.999, 500, (1, 1), seed=3))
    assert np.isnan(result.error)
    assert "± more than" in repr(result)
    result.to_json(tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())["a"]
    assert content["error"] is None
    assert content["error_at_least"] == pytest.approx(result.error_bound[0])


def test_blocks_that_are_too_few_give_no_error() -> None:
    """Whoever sets their number: four values at least."""
    values = np.random.default_rng(0).normal(size=(90, 1, 2))
    assert np.isnan(series_error(values, 3).error).all()
    means = values[2:].reshape(4, 22, 2).mean(axis=1)
    np.testing.assert_allclose(series_error(values, 4).error, means.std(axis=0, ddof=1) / 2.0)


def test_the_mean_of_a_series_by_hand() -> None:
    """Three values, two models: weights and variances from full matrices, by the definition."""
    rng = np.random.default_rng(5)
    flat = rng.normal(size=(3, 2, 1))
    known = models(3, False)
    chosen = type(known)(*(part[[0, 20]] for part in known))
    square, size = _residuals(chosen, flat)
    y, ones = flat[:, :, 0].T.reshape(-1), np.ones(6)
    for k in range(2):
        full = np.kron(np.eye(2), np.linalg.inv(chosen.inverse[k]))
        inverse = np.linalg.inv(full)
        normal = ones @ inverse @ ones
        mean = ones @ inverse @ y / normal
        assert square[k, 0] == pytest.approx((y - mean) @ inverse @ (y - mean), rel=1e-10)
        assert size[k] == pytest.approx(np.log(normal), rel=1e-10)
        assert chosen.variance[k] / 2.0 == pytest.approx(ones @ full @ ones / 36.0, rel=1e-10)


def test_a_constant_has_no_error() -> None:
    assert standard_error(np.full(100, 3.0)) == 0.0


def test_one_series_without_replicas() -> None:
    signal = ar1(0.5, 1000, ())
    assert standard_error(signal) == standard_error(signal[:, None])
    assert standard_error(signal[:, None]).shape == ()


def test_jackknife_of_a_ratio_and_of_a_mean() -> None:
    rng = np.random.default_rng(1)
    parts = rng.normal(5.0, 1.0, (4000, 12, 2))
    found = [jackknife(p, lambda total: total[0] / total[1]) for p in parts]
    scatter = np.std([value for value, _ in found])
    assert np.sqrt(np.mean([error**2 for _, error in found])) == pytest.approx(scatter, rel=0.04)
    # For the mean the jackknife is the textbook formula.
    _, error = jackknife(parts[0], lambda total: total / 12.0)
    assert np.isnan(jackknife(parts[0][:3], lambda total: total)[1]).all()
    whole = parts[0]
    linear = np.sqrt(np.sum((whole - whole.mean(axis=0)) ** 2, axis=0) * 12 / 11)
    np.testing.assert_allclose(jackknife(whole, lambda total: total)[1], linear * 11 / 12, rtol=1e-9)
    assert error.shape == (2,)


def test_groups_hold_every_block_once() -> None:
    totals = np.random.default_rng(2).integers(0, 9, (37, 3, 5))
    groups = group_blocks(totals, 16)
    assert groups.shape == (15, 5)
    np.testing.assert_array_equal(groups.sum(axis=0), totals.sum(axis=(0, 1)))
    assert group_blocks(totals, 2).shape == (3, 5)
