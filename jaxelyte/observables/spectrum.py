"""The spectral density of stationary series at zero frequency, from which transport coefficients follow.

∫ C(t) dt = S(0) / 2 (Wiener and Khinchin). No correlation function has to be cut off; instead S is taken from the
lowest frequencies f = k / T of a run of length T, where it is flat. The ordinates of the periodogram are independent
there, and each has an exponential distribution with mean S(k), as in cepstral analysis (Ercole, Marcolongo and Baroni,
Sci. Rep. 7, 15835 (2017)). The average of n of them has a gamma distribution: the error is known once n is.

How many frequencies are flat is found from the logarithm D of the average over 1 … K divided by that over K+1 … 2K: a
slope between them is accepted by Akaike's criterion, one parameter more, where D² exceeds twice its variance. K grows
by factors of √2 until then. A third of the last K is used ("undersmoothing", P. Hall, Ann. Stat. 20, 675 (1992)): the
bias of a spectrum that is even in frequency falls by nine, the standard error grows by √3 only. What remains of the
bias, a fifth of D, is a part of the error.

A mode that decays in the time τ shows as a step at k = T / (2πτ). With fewer frequencies than that no mode is missed,
however weak. This is why there is an upper limit to their number, although the spectrum may look flat beyond: a slow
mode that is not seen would be cut off, with an error that does not know of it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import polygamma

ORDINATES = 15
"""Ordinates of the periodogram that are averaged at least (28 % of error), from two frequencies at least: the first is
biased where the correlation is not short beside the run."""

TESTED = 20
"""Ordinates on either side of the first test of a slope, at least."""

FREQUENCIES = 8
"""Frequencies that are used at most in short runs: resolves modes that decay 50 times in the run."""

SLOWEST = 5e4
"""fs; in long runs all frequencies below the inverse of this time may be used: resolves modes of 8 ps."""

AKAIKE = math.sqrt(2.0)
"""Standard deviations of D above which the spectrum has a slope, for the choice of the number of frequencies."""

UNDERSMOOTHING = 3
"""Ratio of the number of frequencies without a slope to that which is averaged."""

BIAS = 0.2
"""Logarithm of the average divided by S(0), in units of D, for a mode that decays exponentially and is just resolved; a
sixth for a parabola."""

UNRESOLVED = 2.33
"""Standard deviations of D (1 % of flat spectra) above which not even the lowest frequencies are flat."""


class Level(NamedTuple):
    """A spectral density at zero frequency.

    Attributes:
        value: mean of its distribution given the data.
        error: standard deviation.
        freedom: degrees of freedom of the average, two for each ordinate of the periodogram.
        frequencies: how many were averaged.
        resolved: whether the spectrum is flat at the lowest frequencies; if not, the error means nothing.
    """

    value: float
    error: float
    freedom: float
    frequencies: int
    resolved: bool


def at_zero_frequency(series: np.ndarray, interval: float) -> Level:
    """Spectral density at zero frequency of stationary series that share one spectrum.

    The mean of the distribution of S given the data is returned, as (mean - truth) / deviation has a mean square of one
    then; it is too high on average, by (error / value)².

    Args:
        series: shape (n, series), independent of each other, twenty values at least; an offset of each does not matter.
        interval: fs between values.

    Returns:
        In the unit of the squared values: the sum of the correlation over all lags, of both signs.
    """
    power, columns = periodogram(series), series.shape[1]
    highest = max(FREQUENCIES, math.ceil(TESTED / columns), int(len(series) * interval / SLOWEST))
    flat, resolved = _flat(power, columns, UNDERSMOOTHING * highest)
    count = min(highest, max(2, math.ceil(ORDINATES / columns), flat // UNDERSMOOTHING), len(power))
    number = columns * count
    # S has an inverse gamma distribution given the average of exponential ordinates: the deviation in units of this
    # error has a mean square of (n - 1)/(n - 2), as Student's t with 2 n degrees of freedom has nearly.
    value = float(np.mean(power[:count])) * number / (number - 1.0)
    bias = 0.0
    if len(power) >= 2 * count:
        step, deviation = _step(power, columns, count)
        bias = max(0.0, step**2 - deviation**2) * BIAS**2
    error = value * math.sqrt(1.0 / (number - 1.0) + bias)
    return Level(value, error, 2.0 * number, count, resolved)


def periodogram(series: np.ndarray) -> np.ndarray:
    """Mean over the series (n, series) of |FFT|² / n at the frequencies 1/n, 2/n, … below the highest one."""
    values = series - series.mean(axis=0)
    transform = np.fft.rfft(values, axis=0)[1 : (len(values) + 1) // 2]
    return np.mean(np.abs(transform) ** 2, axis=1) / len(values)


def _step(power: np.ndarray, columns: int, count: int) -> tuple[float, float]:
    """Logarithm of the average over ``count`` frequencies over that of as many above; its standard deviation."""
    below, above = np.mean(power[:count]), np.mean(power[count : 2 * count])
    return math.log(max(below, 1e-300) / max(above, 1e-300)), math.sqrt(2.0 * polygamma(1, columns * count))


def _flat(power: np.ndarray, columns: int, highest: int) -> tuple[int, bool]:
    """Number of frequencies, at most ``highest``, over which the spectrum has no slope; whether it has any such."""
    lowest = max(2, math.ceil(TESTED / columns))
    if len(power) < 2 * lowest:
        return 0, False
    step, deviation = _step(power, columns, lowest)
    resolved = step < UNRESOLVED * deviation
    flat, size = lowest, float(lowest)
    highest = min(highest, len(power) // 2)
    while flat < highest:
        size *= math.sqrt(2.0)
        count = min(round(size), highest)
        step, deviation = _step(power, columns, count)
        if abs(step) > AKAIKE * deviation:
            break
        flat = count
    return flat, resolved
