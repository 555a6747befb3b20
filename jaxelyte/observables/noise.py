"""How far an average of correlated values can be off: noise models of a few parameters, weighted by the data.

A series is averaged to at most `MOST` blocks in time. Their covariance is s² times one of these:

- independent noise;
- (1 - q) δ_ij + q ρ(|i - j|), a part q that decays exponentially with the time τ (averaged over blocks);
- the same with the reciprocal spectrum, so that what makes the average more certain is considered like what makes it
  less certain;
- a damped oscillation, exp(-t/τ) (cos ωt + sin ωt / ωτ), with independent noise.

Each model is weighted by its prior and its marginal likelihood (flat priors for the mean and ln s; Harville, Biometrika
61, 383 (1974)). Under one model the average has a Student distribution about the truth; the standard error is half of
the interval that holds 68.27 % of the mixture of all of them. It therefore contains the uncertainty of the correlation
time itself. An error from blocks of a single length does not, and is much too small for runs of some ten correlation
times or fewer.

For the slope of a drifting quantity the correlated part is a random walk, C_ij = s² (δ_ij + r min(i, j)): rounding adds
up this way in a conserved energy, and a walk looks like a drift.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.linalg import toeplitz
from scipy.special import erf, erfinv, logsumexp, stdtrit

MOST = 64
"""Blocks of one replica, with up to four replicas; 16 at least with more."""

SHARES = (0.2, 0.5, 0.8, 1.0)
"""Values of q."""

TIMES = 9
"""Number of values of τ, from half a block to three times the run."""

PERIODS = np.geomspace(2.5, 25.0, 14)
"""Periods of oscillations in blocks, which are damped within one or four of them."""

PRIORS = (0.5, 0.3, 0.1, 0.1)
"""Of independent noise, decaying, reciprocal and oscillating models."""

HYPOTHESES = (0.5, 0.25, 0.25)
"""Prior of several series: all independent noise, all of one memory, each of its own."""

WALKS = 15
"""Number of values of r, from 1e-4 to 1e3."""

CONTINUOUS = 5
"""Values in a block from which on its average is taken as an integral."""

CHUNK = 2**22
"""Numbers in one matrix product, which bounds the memory."""

SIGMA, TWO_SIGMA = 0.6826894921370859, 0.9544997361036416
"""Probabilities of intervals of one and two standard deviations of a normal distribution."""

FREEDOMS = np.geomspace(0.5, 3000.0, 400)
"""Degrees of freedom among which the one of an error is found."""


class NoiseModels(NamedTuple):
    """Covariance matrices C, for s = 1, and what follows from each for a linear estimate a·y of one replica.

    Attributes:
        inverse: C⁻¹, (models, n, n).
        projected: X'C⁻¹, (models, parameters, n), with the design X.
        normal: X'C⁻¹X, (models, parameters, parameters).
        log_size: ln |C|, (models,).
        variance: a'Ca, (models,).
        inefficiency: a'Ca over a'a, its value for independent noise of variance 1.
        log_prior: ln of the prior weights.
    """

    inverse: np.ndarray
    projected: np.ndarray
    normal: np.ndarray
    log_size: np.ndarray
    variance: np.ndarray
    inefficiency: np.ndarray
    log_prior: np.ndarray


class Uncertainty(NamedTuple):
    """Result of `uncertainty`; arrays of the shape of one value.

    Attributes:
        error: standard error of the estimate: it is off by less with a probability of 68 %.
        freedom: degrees of freedom of the Student distribution that gives the interval of 95.45 % from this error.
        independent: number of independent blocks that the series is worth.
        deciding: blocks that decide the variance, (Σ d²)² / Σ d⁴ of their deviations d: a third of them for normal
            noise, the number of visits for a state that is visited a few times.
    """

    error: np.ndarray
    freedom: np.ndarray
    independent: np.ndarray
    deciding: np.ndarray


def uncertainty(series: np.ndarray, parts: np.ndarray | None = None) -> Uncertainty:
    """Standard error of the mean of a series.

    Args:
        series: shape (n, replicas, …), equally spaced in time; four values at least. Replicas are independent and share
            the mean.
        parts: shape (n, parts), series that ``series`` is the sum of: all of them together say much better than their
            sum alone whether they are independent noise, and how long their memory is if it is the same in all.
    """
    values = np.asarray(series, np.float64)
    blocks, length = _blocked(values)
    blocks = blocks - blocks.mean(axis=(0, 1), keepdims=True)
    count, replicas = blocks.shape[:2]
    flat = blocks.reshape(count, replicas, -1)
    known = models(count, False, points=min(length, CONTINUOUS))
    several = None if parts is None else _of_parts(known, _blocked(parts[:, None])[0])
    columns = max(1, CHUNK // (replicas * known.inverse.size // count))
    found = [_weigh(known, flat[..., k : k + columns], several) for k in range(0, flat.shape[2], columns)]
    error, wide, inefficiency = (np.concatenate(part).reshape(values.shape[2:]) for part in zip(*found, strict=True))
    ratio = np.where(error > 0, wide / np.where(error > 0, error, 1.0), 2.0)
    degrees = np.interp(-ratio, -stdtrit(FREEDOMS, 0.5 + 0.5 * TWO_SIGMA), FREEDOMS)
    squares = np.sum(blocks**2, axis=(0, 1))
    deciding = squares**2 / np.maximum(np.sum(blocks**4, axis=(0, 1)), np.finfo(float).tiny)
    return Uncertainty(error, degrees, count * replicas / inefficiency, deciding)


def slope_error(series: np.ndarray) -> float:
    """Standard error of the slope per value by least squares under the most likely strength of a random walk.

    It is about right where nothing walks and where the walk prevails. In between a walk hides in the noise but decides
    the slope, and the error is up to three times too small.

    Args:
        series: shape (n, replicas), four values at least. Replicas share the slope; each has an offset of its own.
    """
    blocks, length = _blocked(np.asarray(series, np.float64))
    flat = (blocks - blocks.mean(axis=0))[..., None]
    count, replicas = flat.shape[:2]
    known, freedom = models(count, True), count * replicas - replicas - 1
    weights, square = _log_weights(known, flat, freedom)
    best = int(np.argmax(weights[:, 0]))
    return math.sqrt(float(square[best, 0] * known.variance[best]) / (replicas * freedom)) / length


def _blocked(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Averages over blocks, (blocks, replicas, …), and their length; what is left over is dropped at the start."""
    length = -(-len(values) // max(16, min(MOST, 4 * MOST // values.shape[1])))
    count = len(values) // length
    return values[len(values) - count * length :].reshape(count, length, *values.shape[1:]).mean(axis=1), length


def _weigh(
    known: NoiseModels, flat: np.ndarray, several: tuple[np.ndarray, float] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half of the 68 and of the 95 % interval and mean inefficiency of blocks (n, replicas, columns), by all models."""
    freedom = flat.shape[0] * flat.shape[1] - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        weights, square = _log_weights(known, flat, freedom)
        shares = _normalized(weights) if several is None else _shares_with_parts(known, weights, *several)
        scales = np.sqrt(square * (known.variance / (flat.shape[1] * freedom))[:, None])
        inefficiency = np.exp(np.log(known.inefficiency) @ shares)
        one, two = (_half_width(shares, scales, freedom, p) for p in (SIGMA, TWO_SIGMA))
        return one, two, inefficiency


def _half_width(shares: np.ndarray, scales: np.ndarray, freedom: int, probability: float) -> np.ndarray:
    """Half of the central interval of a mixture of Student distributions of these scales, (models, columns).

    Each is replaced by the normal distribution that has the same interval: it is evaluated many times faster.
    """
    wide = scales * (stdtrit(freedom, 0.5 + 0.5 * probability) / (math.sqrt(2.0) * erfinv(probability)))
    low, high = np.log(scales.min(axis=0)), np.log(10.0 * wide.max(axis=0))
    # The interval is between the narrowest and the widest: a factor of some 1000, halved to a precision of 0.1 %.
    for _ in range(13):
        middle = 0.5 * (low + high)
        inside = np.sum(shares * erf(np.exp(middle) / (math.sqrt(2.0) * wide)), axis=0)
        low, high = np.where(inside < probability, middle, low), np.where(inside < probability, high, middle)
    return np.exp(0.5 * (low + high))


def _of_parts(known: NoiseModels, blocks: np.ndarray) -> tuple[np.ndarray, float]:
    """Logarithms of the likelihoods of several series, blocks (n, 1, series).

    Returns:
        (models,), of all of them under the same model; and of all of them, each under a model of its own.
    """
    flat = blocks - blocks.mean(axis=0)
    flat = flat[..., np.ptp(flat[:, 0], axis=0) > 0.0]
    if not flat.size:
        return np.zeros(len(known.log_prior)), 0.0
    weights = _log_weights(known, flat, len(flat) - 1)[0]
    return np.sum(weights - known.log_prior[:, None], axis=1), float(np.sum(logsumexp(weights, axis=0)))


def _shares_with_parts(known: NoiseModels, weights: np.ndarray, same: np.ndarray, own: float) -> np.ndarray:
    """Weights of the models, (models, columns), that contain what the parts of a sum say.

    Three hypotheses: all parts and their sum are independent noise; all have the memory of one model; each is of a
    model of its own. Windows of λ or of a distance mostly are systems of one kind, and each of them alone says little
    about a memory that is not short against the run. Where they exchange structures, their sum remembers for longer
    than they do: it is one of the series that are compared.

    Args:
        known: the models.
        weights: (models, columns), logarithms of prior times likelihood of the sums.
        same: (models,), see `_of_parts`.
        own: see `_of_parts`.
    """
    together = weights + same[:, None]
    white = together[0] - known.log_prior[0]
    evidence = np.array([white, logsumexp(together, axis=0), own + logsumexp(weights, axis=0)])
    evidence = _normalized(evidence + np.log(HYPOTHESES)[:, None])
    shares = evidence[1] * _normalized(together) + evidence[2] * _normalized(weights)
    shares[0] += evidence[0]
    return shares


def _normalized(weights: np.ndarray) -> np.ndarray:
    """Shares from their logarithms but for a constant, along the first axis."""
    shares = np.exp(weights - np.max(weights, axis=0))
    return shares / shares.sum(axis=0)


def _log_weights(known: NoiseModels, flat: np.ndarray, freedom: int) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of prior times marginal likelihood but for a constant, and Σ y'C⁻¹y, both (models, columns)."""
    square, size = _residuals(known, flat)
    fixed = known.log_prior - 0.5 * (flat.shape[1] * known.log_size + size)
    return fixed[:, None] - 0.5 * freedom * np.log(square), square


def _residuals(known: NoiseModels, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σ y'C⁻¹y about the fit shared by the replicas, (models, columns), and ln |X'C⁻¹X| of all of them, (models,)."""
    count, replicas = flat.shape[:2]
    rows = flat.reshape(count, -1)
    several = len(known.inverse)
    product = (known.inverse.reshape(-1, count) @ rows).reshape(several, *flat.shape)
    square = np.einsum("irk,mirk->mk", flat, product)
    moments = (known.projected.reshape(-1, count) @ rows).reshape(several, -1, *flat.shape[1:]).sum(axis=2)
    normal = replicas * known.normal
    fitted = np.einsum("mpk,mpk->mk", moments, np.linalg.solve(normal, moments))
    return square - fitted, np.linalg.slogdet(normal)[1]


@lru_cache(maxsize=64)
def models(count: int, slope: bool, points: int = CONTINUOUS) -> NoiseModels:
    """The noise models of ``count`` blocks.

    Args:
        count: of blocks.
        points: values in a block, at most `CONTINUOUS`.
        slope: for a slope, with random walks, in place of a mean.
    """
    times = np.arange(count) - 0.5 * (count - 1)
    design = np.stack([np.ones(count), times], axis=1) if slope else np.ones((count, 1))
    weights = times / np.sum(times**2) if slope else np.full(count, 1.0 / count)
    families = _walks(count) if slope else _stationary(count, points)
    covariance = np.array([one for _, family in families for one in family])
    prior = np.concatenate([np.full(len(family), share / len(family)) for share, family in families])
    inverse = np.linalg.inv(covariance)
    projected = design.T @ inverse
    variance = weights @ covariance @ weights
    return NoiseModels(
        inverse,
        projected,
        projected @ design,
        np.linalg.slogdet(covariance)[1],
        variance,
        variance / (weights @ weights),
        np.log(prior),
    )


Families = list[tuple[float, list[np.ndarray]]]
"""Prior weights and covariance matrices."""


def _walks(count: int) -> Families:
    """Independent noise with a random walk."""
    steps, white = np.arange(1.0, count + 1), np.eye(count)
    # Means of a walk over blocks, in place of its values at their ends (Working, Econometrica 28, 916, 1960).
    walk = np.minimum(steps[:, None], steps) - 0.5 - white / 6.0
    return [(1.0, [white + r * walk for r in np.geomspace(1e-4, 1e3, WALKS)])]


def _stationary(count: int, points: int) -> Families:
    """Independent, decaying, reciprocal and oscillating noise; each matrix from its first row."""
    lags = np.arange(count)
    white, taus = (lags == 0).astype(float), np.geomspace(0.5, 3.0 * count, TIMES)
    decaying = [(1.0 - q) * white + q * _averaged(lags, tau, points) for tau in taus for q in SHARES]
    reciprocal = [_reciprocal(count, q, tau) for tau in taus[taus <= count] for q in SHARES[:-1]]
    oscillating = [
        (1.0 - q) * white + q * _oscillation(lags, period, damping * period)
        for period in PERIODS
        for damping in (1.0, 4.0)
        for q in (0.7, 1.0)
        if period < 0.5 * count
    ]
    families = zip(PRIORS, ([white], decaying, reciprocal, oscillating), strict=True)
    return [(share, [toeplitz(row) for row in family]) for share, family in families if family]


def _averaged(lags: np.ndarray, tau: float, points: int) -> np.ndarray:
    """Correlation of averages over consecutive blocks of unit length of a process with exp(-|t| / τ).

    Args:
        lags: 0, 1, ….
        tau: in blocks.
        points: values in a block; from `CONTINUOUS` on an integral.
    """
    if points >= CONTINUOUS:
        own = 2.0 * tau**2 * (1.0 / tau - 1.0 + math.exp(-1.0 / tau))
        apart = 4.0 * tau**2 * math.sinh(0.5 / tau) ** 2
    else:
        steps = np.arange(points) / (points * tau)
        own = float(np.mean(np.exp(-np.abs(steps[:, None] - steps))))
        apart = float(np.mean(np.exp(steps[:, None] - steps)))
    return np.where(lags == 0, 1.0, apart / own * np.exp(-lags / tau))


def _reciprocal(count: int, q: float, tau: float) -> np.ndarray:
    """Correlation of noise whose spectrum is the reciprocal of 1 - q and q of exp(-t / τ)."""
    keep = math.exp(-1.0 / tau)
    turns = np.linspace(0.0, math.pi, 32 * count + 1)
    spectrum = 1.0 - q + q * (1.0 - keep**2) / (1.0 - 2.0 * keep * np.cos(turns) + keep**2)
    row = np.fft.irfft(1.0 / spectrum)[:count]
    return row / row[0]


def _oscillation(lags: np.ndarray, period: float, damping: float) -> np.ndarray:
    """Correlation of a damped harmonic oscillator."""
    omega = 2.0 * math.pi / period
    return np.exp(-lags / damping) * (np.cos(omega * lags) + np.sin(omega * lags) / (omega * damping))
