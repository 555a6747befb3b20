"""Ratios of sums: values and errors where the weights fluctuate."""

from __future__ import annotations

import numpy as np
import pytest

from jaxelyte.errors import InputError
from jaxelyte.observables.blocks import naive_error
from jaxelyte.observables.ratio import ratio_of_sums, ratio_series, series_error


def test_fluctuating_weights_of_the_same_ratio_make_no_error(rng: np.random.Generator) -> None:
    weights = rng.uniform(0.0, 9.0, (50, 2, 3))
    weights[::7] = 0.0
    samples = np.ones((50, 2), int)
    np.testing.assert_allclose(ratio_of_sums(2.5 * weights, weights), 2.5)
    np.testing.assert_allclose(ratio_series(2.5 * weights, weights, samples), 2.5)


def test_error_is_the_spread_of_repeated_ratios(rng: np.random.Generator) -> None:
    """Sums that grow with their weights, and noise: 400 repetitions of 64 blocks."""
    weights = rng.poisson(3.0, (64, 1, 400)) * 1.0
    sums = weights * 1.7 + np.sqrt(weights) * rng.normal(size=weights.shape)
    series = ratio_series(sums, weights, np.ones((64, 1), int))
    np.testing.assert_allclose(series.mean(axis=(0, 1)), ratio_of_sums(sums, weights))
    spread = np.std(ratio_of_sums(sums, weights), ddof=1)
    assert np.sqrt(np.mean(naive_error(series) ** 2)) == pytest.approx(spread, rel=0.1)


def test_short_blocks_count_in_values_only_and_nothing_is_nan() -> None:
    sums, weights = np.array([1.0, 3.0, 100.0])[:, None, None], np.ones((3, 1, 1))
    samples = np.array([5, 5, 2])[:, None]
    assert ratio_of_sums(sums, weights)[0] == pytest.approx(104.0 / 3.0)
    assert len(ratio_series(sums, weights, samples)) == 2
    assert np.isnan(ratio_of_sums(0.0 * sums, 0.0 * weights)[0])
    assert np.all(ratio_series(0.0 * sums, 0.0 * weights, samples) == 0.0)
    with pytest.raises(InputError, match="blocks=4, but there are only 3 stretches"):
        series_error(sums, 4)
