"""Standard errors of correlated time series, and of derived quantities by the jackknife."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from jaxelyte.arrays import finite
from jaxelyte.checks import caution
from jaxelyte.observables.noise import uncertainty
from jaxelyte.observables.tails import skewed
from jaxelyte.wording import counted

FEWEST = 4
"""Independent values below which no standard error is given: its own relative error is 1/sqrt(2 (n - 1))."""


INDEPENDENT = 4.0
"""Independent values that a correlated series must be worth for a standard error."""

DECIDING = 4.0
"""Blocks that must decide the variance for a standard error, with 32 values or more; an eighth of fewer values.
One or two visits of a rare state do not say how often it is visited, nor for how long."""


class BlockError(NamedTuple):
    """Result of `block_error`; every array has the shape of one value of the series.

    Attributes:
        error: standard error of the mean; NaN where there are too few values, or too few independent ones. The mean is
            off by less with a probability of 68 %.
        inefficiency: correlated values that are worth one independent value, (bound / naive error)².
        converged: True where the series is long enough for a standard error.
        bound: the estimate itself: the standard error where converged, otherwise a lower bound of it.
        freedom: degrees of freedom of the Student distribution that gives the interval of 95 % from the error. Single
            series have few, since their correlation time is uncertain.
    """

    error: np.ndarray
    inefficiency: np.ndarray
    converged: np.ndarray
    bound: np.ndarray
    freedom: np.ndarray


def block_error(series: np.ndarray, parts: np.ndarray | None = None) -> BlockError:
    """Standard error of the mean of a correlated stationary series.

    Blocks of the series are described by independent noise and a part that decays exponentially; strength and
    correlation time are weighted by their likelihood, see `jaxelyte.observables.noise`. Replicas are independent and
    share one mean. Where the series is worth no more than `INDEPENDENT` independent values the error is NaN: its memory
    is about as long as the series itself, and what the values say about their own scatter is a lower bound. So it is
    where one or two visits of a rare state make up all of the variance, see `DECIDING`.

    It fails, unnoticed, where a series has not yet visited a state that matters: nothing in the values shows it. It is
    too small where the memory decays by a power law, without a longest time.

    Args:
        series: shape (n, replicas, …), equally spaced in time.
        parts: shape (n, parts), series that a series of one replica is the sum of; see `noise.uncertainty`.
    """
    series = np.asarray(series, np.float64)
    count, shape = series.shape[0] * series.shape[1], series.shape[2:]
    if count < FEWEST:
        nothing = np.full(shape, np.nan)
        return BlockError(nothing, nothing, np.zeros(shape, bool), nothing, nothing)
    first = naive_error(series)
    if len(series) == 1:
        return BlockError(first, np.ones(shape), np.ones(shape, bool), first, np.full(shape, count - 1.0))
    found = uncertainty(series, parts)
    constant = first == 0
    converged = constant | ((found.independent > INDEPENDENT) & (found.deciding > min(DECIDING, count / 8.0)))
    bound = np.where(constant, 0.0, found.error)
    ratio = np.where(constant, 1.0, bound / np.where(constant, 1.0, first)) ** 2
    return BlockError(np.where(converged, bound, np.nan), ratio, converged, bound, found.freedom)


def error_entries(
    error: np.ndarray | float, bound: np.ndarray | float, freedom: np.ndarray | float
) -> dict[str, float | None]:
    """A standard error for a file, under the same keys whatever is known.

    Args:
        error: the standard error, NaN if it is not known.
        bound: a lower bound of an unknown error, NaN if there is none.
        freedom: degrees of freedom of the error (Student's t).

    Returns:
        ``error``, null if it is not known; ``error_at_least``, its lower bound then, else null; ``degrees_of_freedom``
        of a known error.
    """
    known = finite(float(error))
    return {
        "error": known,
        "error_at_least": finite(float(bound)) if known is None else None,
        "degrees_of_freedom": None if known is None else finite(float(freedom)),
    }


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
        The shape of one value; NaN where fewer than four values are there, or the series is too short against its
        memory.
    """
    return of_series(values).error


def of_series(values: np.ndarray) -> BlockError:
    """As `block_error`, also of a series of shape (n,)."""
    values = np.asarray(values)
    return block_error(values[:, None] if values.ndim == 1 else values)


def warn_if_short(estimate: BlockError, *, blocks: int, replicas: int, what: str) -> None:
    """Warn where most error bars are missing because the run is short, by itself or against its correlation time."""
    if blocks * replicas < FEWEST:
        caution(
            f"{what}: no standard error from {counted(blocks, 'block')} of {counted(replicas, 'replica')}, at least "
            f"{FEWEST} are needed; run longer, sample more often or use more replicas"
        )
        return
    used = estimate.bound > 0
    missing = float(np.mean(~estimate.converged[used])) if np.any(used) else 0.0
    if missing > 0.5:
        worst = float(np.median(estimate.inefficiency[used]))
        caution(
            f"{what}: the run is too short against its correlation time (or visits are too rare) for standard errors "
            f"of {missing:.0%} of the values ({counted(blocks, 'block')} of {counted(replicas, 'replica')}, "
            f"{worst:.1f} blocks per independent one at least): they are left out; run longer"
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


def jackknife(
    totals: np.ndarray, function: Callable[[np.ndarray], np.ndarray], *, skewness: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Value of a function of accumulated totals and its standard error by leaving out one stretch at a time.

    Args:
        totals: shape (stretches, …), additive.
        function: maps the sum over stretches, shape (…), to an array.
        skewness: widen errors by the skewness of what the stretches contribute; see `tails.skewed`.

    Returns:
        value of all data, and error (NaN for fewer than four stretches).
    """
    whole = totals.sum(axis=0)
    value = np.asarray(function(whole), np.float64)
    count = len(totals)
    if count < FEWEST:
        return value, np.full(value.shape, np.nan)
    others = np.stack([np.asarray(function(whole - one), np.float64) for one in totals])
    moved = others - others.mean(axis=0)
    error = np.sqrt(np.sum(moved**2, axis=0) * (count - 1) / count)
    return value, error * np.apply_along_axis(skewed, 0, moved) if skewness else error
