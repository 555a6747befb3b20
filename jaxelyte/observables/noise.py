"""How far an average of correlated values can be off: noise models of a few parameters, weighted by the data.

A series is averaged to at most `MOST` blocks in time. The covariance of the blocks is taken as

    C_ij = s² ((1 - q) δ_ij + q exp(-|i - j| / τ)),

independent noise and a part that decays exponentially. The weakest of these correlations are there with both signs,
2 δ_ij - C_ij: independent values look anticorrelated by chance as often as correlated, and models of one sign alone
would make their errors too large on average. Each model of the grid is weighted by its marginal
likelihood (flat priors for the mean and ln s; Harville, Biometrika 61, 383 (1974)), and the variances of the average
under all of them are combined with these weights. The error bar therefore contains the uncertainty of the correlation
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
from scipy.special import digamma, polygamma

MOST = 64
"""Blocks of one replica, with up to four replicas; 16 at least with more."""

SHARES = (0.3, 0.6, 1.0)
"""Values of q."""

TIMES = 9
"""Number of values of τ, from half a block to three times the run."""

MIRRORED = 0.5
"""Least eigenvalue of a covariance of anticorrelated noise."""

WALKS = 15
"""Number of values of r, from 1e-4 to 1e3."""

HALVES = np.geomspace(0.05, 5000.0, 1000)
"""Half the degrees of freedom of inverse χ² distributions, to invert the trigamma function."""


CHUNK = 2**22
"""Numbers in one matrix product, which bounds the memory."""


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
        error: standard error of the estimate.
        independent: number of independent blocks that the series is worth.
    """

    error: np.ndarray
    independent: np.ndarray


def uncertainty(series: np.ndarray, *, slope: bool = False) -> Uncertainty:
    """Standard error of the mean of a series, or of its slope per value by least squares.

    Args:
        series: shape (n, replicas, …), equally spaced in time; four values at least, of each replica for a slope.
            Replicas are independent and share the mean, or the slope.
        slope: of the slope instead; each replica has an offset of its own.
    """
    values = np.asarray(series, np.float64)
    replicas = values.shape[1]
    length = -(-len(values) // max(16, min(MOST, 4 * MOST // replicas)))
    count = len(values) // length
    # What is left over is dropped at the start, where equilibration may linger.
    blocks = values[len(values) - count * length :].reshape(count, length, *values.shape[1:]).mean(axis=1)
    blocks = blocks - blocks.mean(axis=0 if slope else (0, 1), keepdims=True)
    flat = blocks.reshape(count, replicas, -1)
    freedom = count * replicas - (replicas + 1 if slope else 1)
    known = models(count, slope)
    columns = max(1, CHUNK // (replicas * known.inverse.size // count))
    parts = [_weigh(known, flat[..., k : k + columns], freedom, slope) for k in range(0, flat.shape[2], columns)]
    error, inefficiency = (np.concatenate(part).reshape(values.shape[2:]) for part in zip(*parts, strict=True))
    return Uncertainty(error / (length if slope else 1), count * replicas / inefficiency)


class Integral(NamedTuple):
    """Integral of a correlation function.

    Attributes:
        value: ∫ C(t) dt from 0, in units of the spacing of the values.
        error: its standard error.
        independent: number of independent blocks that one series is worth.
    """

    value: float
    error: float
    independent: float


def correlation_integral(series: np.ndarray, blocks: int) -> Integral:
    """∫ C(t) dt of stationary series that share one correlation function, from the variance of their long averages.

    Half the spectral density at zero frequency: n times the variance of the average of n values is 2 ∫ C dt, if n is
    long against the memory. No correlation function has to be cut off.

    Args:
        series: shape (n, series), equally spaced in time, independent of each other.
        blocks: that each of them is averaged to; the shorter the blocks, the more of the shape of C is seen.
    """
    count = min(blocks, len(series))
    length = len(series) // count
    flat = series[len(series) - count * length :].reshape(count, length, -1).mean(axis=1)[..., None]
    known, freedom = models(count, False, True), flat.size - 1
    shares, square = _shares(known, flat, freedom)
    mean, width = _moments(shares, np.log(square * (known.variance / freedom)[:, None]), freedom)
    mean = mean + np.log(0.5 * freedom) - digamma(0.5 * freedom)
    value = 0.5 * count * length * math.exp(float(mean[0]))
    inefficiency = math.exp(float((np.log(known.inefficiency) @ shares)[0]))
    return Integral(value, value * math.sqrt(float(width[0])), count / inefficiency)


def _weigh(known: NoiseModels, flat: np.ndarray, freedom: int, slope: bool) -> tuple[np.ndarray, np.ndarray]:
    """Standard error and mean inefficiency of blocks (n, replicas, columns) under all models by their weights."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares, square = _shares(known, flat, freedom)
        variances = np.log(square * (known.variance / (flat.shape[1] * freedom))[:, None])
        inefficiency = np.exp(np.log(known.inefficiency) @ shares)
        # A walk cannot be told from a drift where it is weak: the mean over the models errs on the safe side.
        error = np.sum(shares * np.exp(0.5 * variances), axis=0) if slope else _scale(shares, variances, freedom)
    return error, inefficiency


def _shares(known: NoiseModels, flat: np.ndarray, freedom: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the models, and their Σ y'C⁻¹y, both (models, columns)."""
    square, size = _residuals(known, flat)
    fixed = known.log_prior - 0.5 * (flat.shape[1] * known.log_size + size)
    weights = fixed[:, None] - 0.5 * freedom * np.log(square)
    shares = np.exp(weights - np.max(weights, axis=0))
    return shares / shares.sum(axis=0), square


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


def _scale(shares: np.ndarray, variances: np.ndarray, freedom: int) -> np.ndarray:
    """Standard error from the variances, as logarithms, of models with these shares, (models, columns).

    Under one model the variance has an inverse χ² distribution of ``freedom`` degrees. The mixture is replaced by the
    one of this form with the same mean and variance of the logarithm; its scale is the squared error.
    """
    mean, width = _moments(shares, variances, freedom)
    half = np.exp(np.interp(-np.log(width), -np.log(polygamma(1, HALVES)), np.log(HALVES)))
    shift = (np.log(0.5 * freedom) - digamma(0.5 * freedom)) - (np.log(half) - digamma(half))
    return np.exp(0.5 * (mean + shift))


def _moments(shares: np.ndarray, variances: np.ndarray, freedom: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the models of ln variance, and the variance of ln variance, each model's own included; (columns,)."""
    mean = np.sum(shares * variances, axis=0)
    return mean, np.sum(shares * (variances - mean) ** 2, axis=0) + polygamma(1, 0.5 * freedom)


@lru_cache(maxsize=64)
def models(count: int, slope: bool, fine: bool = False) -> NoiseModels:
    """The noise models of ``count`` blocks; independent noise and the grid over q and τ have the same prior.

    The mirror images of the weakest correlations have each the prior of what they mirror.

    Args:
        count: of blocks.
        slope: for a slope, with random walks, in place of a mean.
        fine: on a grid whose steps are smaller than the uncertainty of many series together, and with the covariance
            of averages over blocks in place of that of values.
    """
    times = np.arange(count) - 0.5 * (count - 1)
    design = np.stack([np.ones(count), times], axis=1) if slope else np.ones((count, 1))
    weights = times / np.sum(times**2) if slope else np.full(count, 1.0 / count)
    white = np.eye(count)
    if slope:
        steps = np.arange(1.0, count + 1)
        # Means of a walk over blocks, in place of its values at their ends (Working, Econometrica 28, 916, 1960).
        walk = np.minimum(steps[:, None], steps) - 0.5 - white / 6.0
        families = [[white + r * walk for r in np.geomspace(1e-4, 1e3, WALKS)]]
    else:
        lags, taus = np.abs(times[:, None] - times), np.geomspace(0.5, 3.0 * count, 3 * TIMES if fine else TIMES)
        shares = np.arange(1, 11) / 10.0 if fine else SHARES
        parts = [_averaged(lags, tau) if fine else np.exp(-lags / tau) for tau in taus]
        families = [[white], [(1.0 - q) * white + q * part for part in parts for q in shares]]
    prior = np.concatenate([np.full(len(family), 1.0 / len(family)) for family in families])
    if not (slope or fine):
        mirrored = [2.0 * white - one for one in families[1]]
        families.append([one for one in mirrored if np.linalg.eigvalsh(one)[0] >= MIRRORED])
        prior = np.append(prior, np.full(len(families[2]), 1.0 / len(mirrored)))
    covariance = np.array([one for family in families for one in family])
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


def _averaged(lags: np.ndarray, tau: float) -> np.ndarray:
    """Correlation of averages over consecutive blocks of unit length of a process with exp(-|t| / τ)."""
    own = 2.0 * (1.0 / tau - 1.0 + math.exp(-1.0 / tau))
    apart = (1.0 - math.exp(-1.0 / tau)) ** 2 * np.exp(-(np.maximum(lags, 1.0) - 1.0) / tau)
    return np.where(lags < 0.5, 1.0, apart / own)
