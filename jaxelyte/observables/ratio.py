"""Ratios of accumulated sums, with standard errors that know of correlation."""

from __future__ import annotations

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.observables.blocks import FEWEST, BlockError, block_error, naive_error
from jaxelyte.wording import counted


def ratio_of_sums(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum over blocks and replicas of ``sums`` over that of ``weights``; NaN where nothing was sampled."""
    total, weight = np.asarray(sums, np.float64).sum(axis=(0, 1)), np.asarray(weights, np.float64).sum(axis=(0, 1))
    return np.where(weight > 0, total, np.nan) / np.where(weight > 0, weight, 1.0)


def ratio_series(sums: np.ndarray, weights: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """What each block adds to a ratio of sums: its mean is the ratio, its spread the error to first order.

        x_b = x + (s_b - x w_b) / <w>,   x = Σ s / Σ w.

    Blocks in which nothing was sampled (w_b = 0) are no trouble, and one with a large weight counts for more.

    Args:
        sums: (blocks, replicas, …).
        weights: the same shape, or one that broadcasts to it.
        samples: (blocks, replicas); blocks that are shorter than the longest have no part in errors, only in values.
    """
    weights = np.broadcast_to(np.asarray(weights, np.float64), np.shape(sums))
    value = np.nan_to_num(ratio_of_sums(sums, weights))
    full = samples[:, 0] == samples.max()
    kept, weight = np.asarray(sums, np.float64)[full], weights[full]
    mean = weight.mean(axis=(0, 1))
    return value + (kept - value * weight) / np.where(mean > 0, mean, 1.0)


def series_error(series: np.ndarray, blocks: int | None) -> BlockError:
    """Standard error of the mean of a series (n, replicas, …).

    Args:
        series: equally spaced in time.
        blocks: fixed number of blocks of each replica, taken as independent; no error from fewer than four in all. By
            default the error is that of `block_error`.

    Raises:
        InputError: more blocks than values.
    """
    if blocks is None:
        return block_error(series)
    if len(series) < blocks:
        raise InputError(
            f"blocks={blocks}, but there are only {counted(len(series), 'stretch', 'stretches')} to share among them"
        )
    each = len(series) // blocks
    kept = series[len(series) - each * blocks :]
    means = kept.reshape(blocks, each, *series.shape[1:]).mean(axis=1)
    bound, first = naive_error(means), naive_error(series)
    ratio = (bound / np.where(first > 0, first, 1.0)) ** 2
    enough = np.full(bound.shape, blocks * series.shape[1] >= FEWEST)
    freedom = np.full(bound.shape, blocks * series.shape[1] - 1.0)
    return BlockError(np.where(enough, bound, np.nan), ratio, enough, bound, freedom)
