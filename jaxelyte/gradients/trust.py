"""Whether reweighted frames can give an average and its error bar: even weights, tails, independent frames, halves."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from jaxelyte.checks import caution
from jaxelyte.errors import JaxelyteError
from jaxelyte.observables.blocks import block_error
from jaxelyte.observables.tails import deciding, independent_sums, largest_k, pareto_k, skewed, spread_freedom

EVEN = 0.95
"""Share of effective samples above which weights are too even to have a tail."""

SHARE = {"average": 0.5, "derivative": 0.9}
"""Share of effective samples below which there is no error bar."""

NEAR = 0.3
"""Error bars are widened by up to a half over this much of the way from the least share to even weights."""

INDEPENDENT = {"average": (6.0, 40.0, 160.0), "derivative": (80.0, 160.0, 160.0)}
"""Independent frames that an error bar takes: without weights, with even weights, with others."""

CORRELATED = 20.0
"""Independent frames of a correlated run below which there is no error bar: correlation is underestimated there."""

DECIDING = 6.0
"""Independent frames that have to decide the result, (Σ|x|)²/Σx² of their influences x."""

BLOCKS = 16
"""Stretches of the frames whose spread gives the standard errors, at most."""

LONG = 5.0
"""Length of a stretch in units of the inefficiency less one."""

FEWEST = 4
"""Stretches below which there is no standard error."""

HALVES = 4.5
"""Standard errors that two halves of the frames may differ by."""


class Spread(NamedTuple):
    """How far the spread of the stretches can be taken for a standard error.

    Attributes:
        widening: factor of the standard error.
        freedom: its degrees of freedom.
    """

    widening: float
    freedom: float


def inefficiency(series: np.ndarray, replicas: int) -> float:
    """Correlated frames that are worth one independent, of (frames of all replicas,) one replica after the other."""
    if len(series) < 2 * replicas or np.ptp(series) == 0.0:
        return 1.0
    found = block_error(series.reshape(replicas, -1).T).inefficiency
    return max(1.0, float(found)) if np.isfinite(found) else 1.0


def check_tail(values: np.ndarray, what: str, independent: float) -> None:
    """Refuse values whose largest decide their average.

    Args:
        values: (frames,), not negative.
        what: their name.
        independent: number of independent frames.

    Raises:
        JaxelyteError: the tail is too heavy.
    """
    shape, limit = pareto_k(values), largest_k(independent)
    if shape > limit:
        raise JaxelyteError(
            f"the largest of the {what} decide: their tail has the Pareto shape k = {shape:.2f}, and averages over "
            f"{independent:.0f} independent frames need k below {limit:.2f} (above 0.5 the variance is infinite). "
            "These parameters are too far from those of the run, or the frames too few; simulate again with the new "
            "ones"
        )


def stretches_of(count: int, correlated: float) -> list[np.ndarray]:
    """Rows of each stretch: sixteen, or as few as are long against the correlation of the frames, but four."""
    number = int(np.clip(count / (1.0 + LONG * (correlated - 1.0)), FEWEST, BLOCKS))
    return np.array_split(np.arange(count), min(number, count))


def spread_of_influence(
    influence: np.ndarray, weight: np.ndarray | None, correlated: float, stretches: int, kind: str
) -> Spread:
    """What skewness, heavy tails and uneven weights do to a standard error from the spread of stretches.

    With the skewness γ and the excess kurtosis κ of n independent influences the ratio of deviation and standard error
    has the second moment 1 + 2/ν + 2γ²/n to first order, and the variance of the squared error is that of a χ²
    distribution of ν degrees, 2/ν = 2/(stretches - 1) + κ/n (see `spread_freedom`). So the error is widened by
    √(1 + 2γ²/n), and goes with Student's t of ν degrees. Weights larger than all that were sampled are missing in it:
    half of the share of samples that the weights take is added to the variance. Close to the least share those frames
    pass whose weights happen to be even, with errors that are too small; the widening there makes up for that.

    Args:
        influence: (frames,), what each adds to the deviation of the result.
        weight: (frames,), adding up to one; None for those of the run itself.
        correlated: frames that are worth one independent; as many are summed first.
        stretches: whose spread is the error.
        kind: "average" or "derivative".
    """
    near, unseen = 0.0, 0.0
    if weight is not None:
        share, least = _share(weight), SHARE[kind]
        near = max(0.0, 1.0 - (share - least) / (NEAR * (1.0 - least)))
        unseen = 0.5 * (1.0 - share)
    sums = independent_sums(influence, correlated)
    square = float(np.sum(sums**2))
    if not square > 0.0:
        return Spread(1.0, stretches - 1.0)
    widening = (1.0 + 0.5 * min(near, 1.0)) * skewed(sums, unseen)
    return Spread(widening, spread_freedom(sums, stretches - 1.0))


def why_unsupported(influence: np.ndarray, weight: np.ndarray | None, correlated: float, kind: str) -> str:
    """Why these frames give no error bar; empty where they do.

    Args:
        influence: (frames,), what each adds to the deviation of the result.
        weight: (frames,), adding up to one; None for those of the run itself.
        correlated: frames that are worth one independent.
        kind: "average" or "derivative".
    """
    count = len(influence)
    independent = count / correlated
    if independent < CORRELATED and correlated > 2.0:
        return (
            f"{correlated:.0f} of them are worth one independent, so that {independent:.0f} are left; there is no "
            "error bar. Run longer"
        )
    if weight is not None:
        share = _share(weight)
        if share < SHARE[kind]:
            return (
                f"the weights leave {share:.0%} of them, and an error bar takes {SHARE[kind]:.0%}; there is none. "
                "Simulate nearer to these parameters"
            )
    needed = INDEPENDENT[kind][0 if weight is None else 1 if _share(weight) > EVEN else 2]
    if independent < needed:
        return f"{independent:.0f} are independent, and an error bar takes {needed:.0f}; there is none. Run longer"
    found = deciding(independent_sums(influence, correlated))
    if found < DECIDING:
        return (
            f"{found:.0f} independent frames decide it ({DECIDING:.0f} are needed); there is no error bar. Run longer"
        )
    return ""


def warn_if_apart(parts: np.ndarray, what: str) -> None:
    """Warn where the two halves of the stretches, (stretches,), differ by more than chance."""
    if (apart := halves_apart(parts)) > HALVES:
        caution(
            f"{what}: the two halves of the frames differ by {apart:.1f} standard errors: the run was not in "
            "equilibrium, or something slow changes in it; leave out its beginning, or run longer"
        )


def halves_apart(parts: np.ndarray) -> float:
    """Difference of the halves of the stretches in standard errors, of (stretches,)."""
    half = len(parts) // 2
    first, last = parts[:half], parts[len(parts) - half :]
    if half < 2:
        return 0.0
    error = math.sqrt(half * (float(np.var(first, ddof=1)) + float(np.var(last, ddof=1))))
    return abs(float(first.sum() - last.sum())) / error if error > 0.0 else 0.0


def _share(weight: np.ndarray) -> float:
    """Effective samples over samples, of weights that add up to one."""
    return 1.0 / (float(np.sum(weight**2)) * len(weight))
