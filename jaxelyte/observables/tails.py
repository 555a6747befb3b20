"""Whether a weighted average can be trusted: the tail of its contributions, and how many samples decide it."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtrit

ONE_SIGMA = 0.8413447
"""Probability below one standard deviation of a normal variable."""

FEWEST_IN_TAIL = 5
"""Samples in the tail below which no shape is fitted."""


def pareto_k(values: np.ndarray) -> float:
    """Shape k of the generalised Pareto distribution fitted to the largest values.

    Moments of the distribution exist up to the order 1/k: from k = 0.5 on the variance is infinite, from 1 on the mean.
    The tail has min(S/5, 3√S) of S values (Vehtari et al., J. Mach. Learn. Res. 25, 1 (2024)); the fit is that of Zhang
    and Stephens, Technometrics 51, 316 (2009), with the weak prior about 0.5 of the former.

    Args:
        values: (samples,), not negative; their scale does not matter.

    Returns:
        k; minus infinity where the largest values are all alike, infinity where there are too few of them.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    count = int(min(0.2 * len(ordered), 3.0 * math.sqrt(len(ordered))))
    if count < FEWEST_IN_TAIL:
        return math.inf
    excess = ordered[-count:] - ordered[-count - 1]
    excess = excess[excess > 0.0]
    if len(excess) < FEWEST_IN_TAIL:
        return -math.inf if len(excess) == 0 else math.inf
    shape = _zhang_stephens(excess)
    return (len(excess) * shape + 10.0 * 0.5) / (len(excess) + 10.0)


def _zhang_stephens(excess: np.ndarray) -> float:
    """Posterior mean of the shape, of sorted positive values."""
    count = len(excess)
    grid = 30 + int(math.sqrt(count))
    quartile = excess[max(int(count / 4 + 0.5) - 1, 0)]
    steps = 1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
    theta = 1.0 / excess[-1] + steps / (3.0 * quartile)
    shape = np.mean(np.log1p(-theta[:, None] * excess), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        likelihood = count * (np.log(-theta / shape) - shape - 1.0)
    likelihood = np.where(np.isfinite(likelihood), likelihood, -np.inf)
    weight = np.exp(likelihood - likelihood.max())
    best = float(np.sum(theta * weight) / np.sum(weight))
    return float(np.mean(np.log1p(-best * excess)))


def largest_k(samples: float) -> float:
    """Shape up to which an average of so many independent samples can be used: min(0.7, 1 - 1/log10 S).

    (Vehtari et al., J. Mach. Learn. Res. 25, 1 (2024).)
    """
    return min(0.7, 1.0 - 1.0 / math.log10(samples)) if samples > 10.0 else 0.0


def independent_sums(influence: np.ndarray, correlated: float) -> np.ndarray:
    """Sums over as many consecutive samples as are worth one independent, of (samples,)."""
    return np.add.reduceat(influence, np.arange(0, len(influence), max(1, round(correlated))))


def spread_freedom(sums: np.ndarray, degrees: float) -> float:
    """Degrees of freedom ν of a standard error from the scatter of independent contributions: few large ones decide it.

    The variance of the squared error is that of a χ² distribution of ν degrees, 2/ν = 2/``degrees`` + κ/n, with the
    excess kurtosis κ of n contributions; negative ones count as zero.

    Args:
        sums: (n,), contributions of mean zero.
        degrees: of normal contributions.
    """
    square = float(np.sum(sums**2))
    if not square > 0.0:
        return degrees
    excess = max(0.0, float(np.sum(sums**4)) / square**2 - 3.0 / len(sums))
    return 2.0 / (2.0 / degrees + excess)


def half_width(freedom: float) -> float:
    """Half of the interval of 68 % of Student's t distribution, of one degree of freedom at least."""
    return float(stdtrit(max(freedom, 1.0), ONE_SIGMA))


def skewed(sums: np.ndarray, more: float = 0.0) -> float:
    """By how much the skewness of independent contributions widens a standard error: √(1 + 2γ²/n + more).

    To first order the second moment of deviation over standard error is 1 + 2γ²/n for a mean of n contributions of
    skewness γ.

    Args:
        sums: (n,), contributions of mean zero.
        more: what else is added to the variance, relative to it.
    """
    square = float(np.sum(sums**2))
    skewness = float(np.sum(sums**3)) ** 2 / square**3 if square > 0.0 else 0.0
    return math.sqrt(1.0 + 2.0 * skewness + more)


def deciding(influence: np.ndarray, weight: np.ndarray | None = None) -> float:
    """How many samples decide an average, less where they stand for many that are missing.

    (Σ|x|)²/Σx² of the influences x of the samples on the average is the number that decides. Where these have on
    average F times the mean weight, the region they come from was sampled 1/F as often as the average needs; the number
    is divided by F². (F is at least one.) In repeats of exact samples of oscillators the root mean square deviation in
    units of the error bar is below 1.15 from 25 on for averages, from 40 on for derivatives of averages.

    Args:
        influence: (samples,), what each sample adds to the deviation of the average from its value.
        weight: (samples,), positive; all alike if None.
    """
    size = np.abs(np.asarray(influence, np.float64))
    top = size.max(initial=0.0)
    if not top > 0.0:
        return float(len(size))
    size = size / top
    count = float(np.sum(size) ** 2 / np.sum(size**2))
    if weight is None:
        return count
    excess = float(np.sum(size * weight) / np.sum(size) / np.mean(weight))
    return count / max(1.0, excess) ** 2
