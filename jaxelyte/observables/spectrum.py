"""The spectral density of stationary series at zero frequency, from which transport coefficients follow.

∫ C(t) dt = S(0) / 2 (Wiener and Khinchin). No correlation function has to be cut off; instead S is extrapolated from
the lowest frequencies f = k / T of a run of length T. Its logarithm is described by

    ln S(k) = θ + Σ_j d_j r_j(k),   r_j = u(k / 2^j) - u(k / 2^(j+1)),   u(x) = ½ log2(1 + x²),

one slope d_j for each octave; the spectrum of a mode that decays exponentially has d_j = 0 below its corner and -2 ln 2
above. Which octaves have a slope at all is not known: all subsets are fitted to the periodogram (whose ordinates are
independent and have a χ² distribution about S), with a normal prior of width one for the slopes, and weighted by their
marginal likelihood. The lowest octave with a slope, where the slowest mode shows, is the less likely beforehand the
lower it is (`PRIOR`). The spread of θ over the subsets is part of the error, so that a slow mode which the data allow,
but do not show, counts.

Only the lowest frequencies are used: with many of them a weak slow mode drowns in the precision of what lies above it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import digamma, ndtr, polygamma

LOWEST = 48
"""Frequencies that are used."""

SLOWEST = 2e4
"""fs; of long runs all frequencies below the inverse of this time are used."""

MOST = 1024
"""Frequencies that are used at most, which bounds the number of subsets."""

SINGLE, PER_OCTAVE = 16, 8
"""Frequencies that are taken one by one, and averages of the others in each octave."""

BELOW = -2
"""Lowest octave in which a slope is allowed for, 2^BELOW of the lowest frequency."""


PRIOR = 0.5
"""What an octave more adds to the logarithm of the prior of the lowest slope: between uniform in frequency (0.69), with
which weak slow modes are missed, and uniform in its logarithm (0), with which errors are twice too large without
any."""

RESOLVED = 2.0
"""Frequency, in those of the run: slopes in this octave or below mean that the slowest mode is not resolved."""


class Level(NamedTuple):
    """A spectral density at zero frequency.

    Attributes:
        value: mean of its distribution given the data.
        error: standard deviation.
        freedom: degrees of freedom of a χ² distribution with this relative error.
        resolved: probability that the slowest mode is faster than the run by a factor of about 12, so that the
            spectrum has become flat.
    """

    value: float
    error: float
    freedom: float
    resolved: float


def at_zero_frequency(series: np.ndarray, interval: float) -> Level:
    """Spectral density at zero frequency of stationary series that share one spectrum.

    Its distribution is log-normal as a rule. The mean is given, since (mean - truth) / deviation has a mean square of
    one then; it is too high on average, by (error / value)².

    Args:
        series: shape (n, series), independent of each other, sixteen values at least; an offset of each does not
            matter.
        interval: fs between values.

    Returns:
        In the unit of the squared values: the sum of the correlation over all lags, of both signs.
    """
    power = periodogram(series)
    wanted = max(LOWEST, min(MOST, int(len(series) * interval / SLOWEST)))
    power = power[:wanted]
    frequency, mean, count = _binned(power)
    shape = count * series.shape[1]
    logarithm = np.log(np.maximum(mean, 1e-300)) - (digamma(shape) - np.log(shape))
    weight, lowest, level, variance = _models(frequency, logarithm, 1.0 / polygamma(1, shape), len(power))
    center = float(weight @ level)
    away, deviation = level - center, np.sqrt(variance)
    # Mean absolute deviation of the mixture of normal distributions, as the standard deviation of a normal one.
    size = deviation * math.sqrt(2.0 / math.pi) * np.exp(-0.5 * (away / deviation) ** 2)
    size += away * (1.0 - 2.0 * ndtr(-away / deviation))
    square = math.pi / 2.0 * float(weight @ size) ** 2
    value = math.exp(center + 0.5 * square)
    resolved = float(weight[lowest > math.log2(RESOLVED)].sum())
    return Level(value, value * math.sqrt(math.expm1(square)), 2.0 / square, resolved)


def periodogram(series: np.ndarray) -> np.ndarray:
    """Mean over the series (n, series) of |FFT|² / n at the frequencies 1/n, 2/n, … below the highest one."""
    values = series - series.mean(axis=0)
    transform = np.fft.rfft(values, axis=0)[1 : (len(values) + 1) // 2]
    return np.mean(np.abs(transform) ** 2, axis=1) / len(values)


def _binned(power: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of the frequency (geometric mean), mean and count of ordinates, singly at first and in bins later."""
    edges, last = [float(k) for k in range(min(SINGLE, len(power)))], float(SINGLE)
    while last < len(power):
        edges.append(round(last))
        last = max(last * 2.0 ** (1.0 / PER_OCTAVE), last + 1.0)
    bounds = np.unique(np.array([*edges, len(power)], int))
    count = np.diff(bounds)
    names = np.log(np.arange(1, len(power) + 1))
    frequency = np.exp(np.add.reduceat(names, bounds[:-1]) / count)
    return frequency, np.add.reduceat(power, bounds[:-1]) / count, count


@lru_cache(maxsize=4)
def _subsets(octaves: int) -> tuple[np.ndarray, np.ndarray]:
    """All subsets (subsets, octaves) as 0 and 1, and the number of the lowest octave in each; ``octaves`` for none."""
    included = ((np.arange(2**octaves)[:, None] >> np.arange(octaves)) & 1).astype(float)
    return included, np.where(included.any(axis=1), included.argmax(axis=1), octaves)


def _models(
    frequency: np.ndarray, logarithm: np.ndarray, precision: np.ndarray, highest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weights of all subsets of octaves, the lowest octave of each, and θ with its variance under each."""
    corners = np.arange(BELOW, math.log2(highest))
    ramps = 0.5 * np.log2(1.0 + (frequency[:, None] / 2.0 ** np.append(corners, corners[-1] + 1.0)) ** 2)
    design = np.concatenate([np.ones((len(frequency), 1)), ramps[:, :-1] - ramps[:, 1:]], axis=1)
    normal, moment = (design * precision[:, None]).T @ design, design.T @ (precision * logarithm)
    included, lowest = _subsets(len(corners))
    # Above the lowest octave with a slope each one has a slope or not with equal weights.
    prior = PRIOR * lowest - math.log(2.0) * np.maximum(len(corners) - lowest - 1, 0)
    mask = np.concatenate([np.ones((len(included), 1)), included], axis=1)
    matrix = normal * mask[:, :, None] * mask[:, None, :]
    slopes = np.arange(1, design.shape[1])
    matrix[:, slopes, slopes] += 1.0
    inverse, right = np.linalg.inv(matrix), moment * mask
    fitted = np.einsum("mij,mj->mi", inverse, right)
    evidence = 0.5 * np.einsum("mi,mi->m", right, fitted) - 0.5 * np.linalg.slogdet(matrix)[1] + prior
    weight = np.exp(evidence - evidence.max())
    return weight / weight.sum(), lowest + BELOW, fitted[:, 0], inverse[:, 0, 0]
