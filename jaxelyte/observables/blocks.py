"""Standard errors of correlated time series by blocks, and of derived quantities by the jackknife."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

FEWEST = 4
"""Independent values below which no standard error is given: its own relative error is 1/sqrt(2 (n - 1))."""


class BlockError(NamedTuple):
    """Result of `block_error`; every array has the shape of one value of the series.

    Attributes:
        error: standard error of the mean; NaN where there are too few values.
        inefficiency: correlated values that are worth one independent value, (error / naive error)².
        converged: True where a block length was found beyond which the error no longer grows.
    """

    error: np.ndarray
    inefficiency: np.ndarray
    converged: np.ndarray


def block_error(series: np.ndarray) -> BlockError:
    """Standard error of the mean of a correlated stationary series by repeated halving.

    Neighbouring values are averaged in pairs again and again (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989)):
    the apparent error of the mean grows until blocks are longer than the correlation time. The block length B taken is
    the shortest with B³ > 2 n (s_B / s_1)⁴, n values per replica and s_B the apparent error at length B (Lee, Needs and
    Towler, Phys. Rev. E 83, 066706 (2011)), where bias and noise of the error balance. Replicas are independent and
    share one mean. Where no length qualifies the largest error found is returned and ``converged`` is False.

    Args:
        series: shape (n, replicas, …), equally spaced in time.
    """
    series = np.asarray(series, np.float64)
    errors = []
    blocks = series
    while blocks.shape[0] >= 1 and blocks.shape[0] * blocks.shape[1] >= FEWEST:
        errors.append(naive_error(blocks))
        if blocks.shape[0] < 2:
            break
        pairs = blocks.shape[0] // 2
        # An odd value is left out at the start, where equilibration may linger.
        kept = blocks[blocks.shape[0] - 2 * pairs :]
        blocks = 0.5 * (kept[0::2] + kept[1::2])
    shape = series.shape[2:]
    if not errors:
        return BlockError(np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, bool))
    stack = np.stack(errors)
    first = np.where(stack[0] > 0, stack[0], 1.0)
    length = 2.0 ** np.arange(len(stack)).reshape(-1, *(1,) * len(shape))
    enough = length**3 > 2.0 * series.shape[0] * (stack / first) ** 4
    # A replica that is averaged to one value cannot get any more correlated.
    if series.shape[1] >= FEWEST and series.shape[0] == 1:
        enough[-1] = True
    converged = np.any(enough, axis=0)
    chosen = np.take_along_axis(stack, np.argmax(enough, axis=0)[None], axis=0)[0]
    error = np.where(converged, chosen, np.max(stack, axis=0))
    return BlockError(error, (error / first) ** 2, converged)


def naive_error(values: np.ndarray) -> np.ndarray:
    """Standard error of the mean of independent values of shape (n, replicas, …)."""
    count = values.shape[0] * values.shape[1]
    mean = np.mean(values, axis=(0, 1))
    return np.sqrt(np.sum((values - mean) ** 2, axis=(0, 1)) / (count * max(count - 1, 1)))


def standard_error(values: np.ndarray) -> np.ndarray:
    """Standard error of the mean of a series, correlation taken into account; see `block_error`.

    Args:
        values: shape (n,) or (n, replicas, …), equally spaced in time.

    Returns:
        The shape of one value; NaN where fewer than four values are there.
    """
    values = np.asarray(values)
    return block_error(values[:, None] if values.ndim == 1 else values).error


def warn_if_short(estimate: BlockError, *, blocks: int, replicas: int, what: str) -> None:
    """Warn where an error bar is missing, or a lower bound because the run is short against its correlation time."""
    if blocks * replicas < FEWEST:
        warnings.warn(
            f"{what}: no standard error from {blocks} block(s) of {replicas} replica(s), at least {FEWEST} are needed; "
            "run longer, sample more often or use more replicas",
            stacklevel=3,
        )
        return
    used = estimate.error > 0
    open_fraction = float(np.mean(~estimate.converged[used])) if np.any(used) else 0.0
    if open_fraction > 0.5:
        worst = float(np.median(estimate.inefficiency[used]))
        warnings.warn(
            f"{what}: the standard error still grows with the block length in {open_fraction:.0%} of the values "
            f"({blocks} blocks of {replicas} replica(s), {worst:.1f} blocks per independent one): take it as a lower "
            "bound and run longer",
            stacklevel=3,
        )


def group_blocks(totals: np.ndarray, groups: int) -> np.ndarray:
    """Sum additive accumulators into about ``groups`` stretches, replicas apart.

    Args:
        totals: shape (blocks, replicas, …).
        groups: stretches wanted; more replicas than that are kept apart all the same.

    Returns:
        Shape (stretches, …); each block is in exactly one stretch.
    """
    blocks, replicas = totals.shape[:2]
    per_replica = max(1, min(blocks, groups // replicas))
    bounds = np.linspace(0, blocks, per_replica + 1).astype(int)
    sums = [totals[a:b].sum(axis=0) for a, b in pairwise(bounds)]
    return np.concatenate(sums)


def jackknife(totals: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Value of a function of accumulated totals and its standard error by leaving out one stretch at a time.

    Args:
        totals: shape (stretches, …), additive.
        function: maps the sum over stretches, shape (…), to an array.

    Returns:
        value of all data, and error (NaN for fewer than four stretches).
    """
    whole = totals.sum(axis=0)
    value = np.asarray(function(whole), np.float64)
    count = len(totals)
    if count < FEWEST:
        return value, np.full(value.shape, np.nan)
    others = np.stack([np.asarray(function(whole - one), np.float64) for one in totals])
    spread = np.sum((others - others.mean(axis=0)) ** 2, axis=0)
    return value, np.sqrt(spread * (count - 1) / count)
