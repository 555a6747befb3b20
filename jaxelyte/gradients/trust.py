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

LEAST_SHARE = 0.3
"""Share of effective samples below which derivatives have no error bar where weights are bounded."""

INDEPENDENT = {"average": (6.0, 40.0, 160.0), "derivative": (80.0, 80.0, 160.0)}
"""Independent frames that an error bar takes: without weights, with even or bounded ones, with a tail of large ones."""

HEAVY = {"average": 0.0, "derivative": 480.0}
"""C of a variance that grows by C k²/n^0.6 with the shape k of the weights' tail and n independent frames. Found by
repeats of exact frames of oscillators: what skewness of this kind does beyond the first order."""

MANY = {"average": 0.9, "derivative": 1.8}
"""Relative widening of errors for weights whose logarithm is normal and of which hardly any count, as of many terms
that change a little each; found by repeats of exact frames of thirty oscillators."""

POWER = {"average": 1, "derivative": 2}
"""Of the ratio of effective samples found and expected that errors are widened by: ∂U moves the tail further out."""

SMALLEST = {"average": 0.02, "derivative": 0.05}
"""Share of effective samples that is expected at least, which bounds this ratio."""

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

FLAT = 1e-3
"""Width, or skewness, of the logarithms of weights that counts as none."""


class Spread(NamedTuple):
    """How far the spread of the stretches can be taken for a standard error.

    Attributes:
        widening: factor of the standard error.
        freedom: its degrees of freedom.
    """

    widening: float
    freedom: float


class Tail(NamedTuple):
    """What all weights say about the largest ones, most of which were not sampled.

    Attributes:
        share: of effective samples among infinitely many frames, zero where the weights have no variance.
        shape: of the Pareto tail of the weights, zero where they have none.
    """

    share: float
    shape: float


def tail_of(weight: np.ndarray, independent: float) -> Tail:
    """The tail of weights w, from the distribution of ln w.

    A gamma distribution is fitted to ln w by mean, standard deviation σ and skewness g (for harmonic potentials it is
    exact, normal for small changes of many terms). With a = 4/g² and θ = σ g/2 it gives <w>²/<w²> =
    (1 - 2θ)^a (1 - θ)^(-2a), and weights with a Pareto tail of the shape θ where g > 0. All frames decide it, the share
    of effective samples itself those with the largest weights, which are absent in the samples that are most off. In
    the share a positive skewness counts one of its standard errors larger than it is.

    Args:
        weight: (frames,), positive.
        independent: number of independent frames.
    """
    exponent = np.log(np.maximum(weight, np.finfo(float).tiny))
    moved = exponent - exponent.mean()
    width = float(np.sqrt(np.mean(moved**2)))
    if width < FLAT:
        return Tail(1.0, 0.0)
    skewness = float(np.mean(moved**3)) / width**3
    shape = max(0.0, 0.5 * width * skewness)
    if skewness > 0.0:
        skewness += math.sqrt(6.0 / independent) * (1.0 + skewness)
    if abs(skewness) < FLAT:
        return Tail(math.exp(-(width**2)), shape)
    scale, number = 0.5 * width * skewness, 4.0 / skewness**2
    if 2.0 * scale >= 1.0:
        return Tail(0.0, shape)
    return Tail(math.exp(number * (math.log1p(-2.0 * scale) - 2.0 * math.log1p(-scale))), shape)


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
    where more effective samples are found than all weights together let expect (`tail_of`), the variance grows with
    their ratio, and for derivatives with the shape of the tail; errors of weights that are nearly log-normal grow with
    the share that does not count. All of it as far as influences are skewed, since a symmetric tail makes errors too
    large rather than too small. Refusal at a share of effective samples instead left those
    frames that had missed their largest weights, with errors up to 2.7 times too small.

    Args:
        influence: (frames,), what each adds to the deviation of the result.
        weight: (frames,), adding up to one; None for those of the run itself.
        correlated: frames that are worth one independent; as many are summed first.
        stretches: whose spread is the error.
        kind: "average" or "derivative".
    """
    sums = independent_sums(influence, correlated)
    square = float(np.sum(sums**2))
    if not square > 0.0:
        return Spread(1.0, stretches - 1.0)
    unseen, heavy, many = 0.0, 1.0, 1.0
    if weight is not None:
        independent = len(weight) / correlated
        tail = tail_of(weight, independent)
        lopsided = (float(np.sum(sums**3)) / float(np.sum(np.abs(sums) ** 3))) ** 2
        ratio = max(1.0, _share(weight) / max(tail.share, SMALLEST[kind]))
        unseen = lopsided * (ratio ** POWER[kind] - 1.0)
        heavy += lopsided * HEAVY[kind] * tail.shape**2 / independent**0.6
        if tail.shape > 0.0:
            many += MANY[kind] * lopsided * (1.0 - tail.share) * max(0.0, 1.0 - 2.0 * tail.shape) ** 2
    return Spread(many * skewed(sums, unseen) * math.sqrt(heavy), spread_freedom(sums, stretches - 1.0))


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
    needed = INDEPENDENT[kind][0]
    if weight is not None:
        share, tail = _share(weight), tail_of(weight, independent)
        if kind == "derivative" and tail.shape == 0.0 and share < LEAST_SHARE:
            return (
                f"the weights leave {share:.0%} of them, and an error bar takes {LEAST_SHARE:.0%}; there is none. "
                "Simulate nearer to these parameters"
            )
        needed = INDEPENDENT[kind][2 if tail.shape > 0.0 and share < EVEN else 1]
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
