"""Thermodynamic integration with the error of its quadrature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxelyte.free_energy.estimators import decorrelated
from jaxelyte.free_energy.quadrature import integral_with_slopes, sensitivities
from jaxelyte.free_energy.steps import Steps, variance_of
from jaxelyte.observables.blocks import of_series
from jaxelyte.observables.tails import pareto_k

HEAVIEST = 1.0
"""Shape k of the tail of U1 - U0 from which on its average does not exist."""

WINDOW = 5
"""Autocorrelation times that the autocorrelation is summed over."""

LEAST_WORTH = 0.7
"""Statistical inefficiency that independent samples are found to have at least, but for noise."""

APART = 1.5
"""Factor between two estimates of a standard error from which on the larger one counts."""


@dataclass(frozen=True)
class Integral:
    """A thermodynamic integral.

    Attributes:
        value: eV.
        statistical: standard error in eV of the samples.
        quadrature: eV, what the rule over λ is off by, as far as it exceeds its own noise.
        by_mean: (windows,), its derivatives with respect to <U1 - U0> of each window.
        reason: why it has no honest error, empty where it has.
        rows: of each window, (samples,), eV, whose means add up to the deviation of the integral.
    """

    value: float
    statistical: float
    quadrature: float
    by_mean: np.ndarray
    reason: str
    rows: list[np.ndarray]

    @property
    def error(self) -> float:
        """Standard error in eV, statistical and of the quadrature; NaN where it cannot be given."""
        return math.nan if self.reason else math.hypot(self.statistical, self.quadrature)


def thermodynamic_integral(
    kept: Sequence[np.ndarray],
    dense: Sequence[np.ndarray],
    inefficiency: np.ndarray,
    worth: np.ndarray,
    lam: np.ndarray,
    weights: np.ndarray,
    beta: float,
    steps: Steps,
) -> Integral:
    """∫ <U1 - U0>_λ dλ from samples in windows.

    With windows at λ = 0 and 1 the integrand is interpolated through its values and slopes -β Var(U1 - U0) (see
    `integral_with_slopes`); without them it is the rule of the weights. The error of the quadrature is the difference
    from the sum of Bennett's steps over the same samples, where enough samples decide these, otherwise the difference
    from the rule of the weights. Up to the statistical error it is added to it, as squares; from there on deviations
    would follow the quadrature instead of chance, and the integral gets no error.

    Args:
        kept: of each window, samples of U1 - U0 in eV after equilibration.
        dense: the samples that ``steps`` is of.
        inefficiency: (windows,), of ``kept``.
        worth: (windows,), of ``dense``.
        lam: (windows,), rising.
        weights: (windows,), of the rule.
        beta: 1/eV.
        steps: Bennett's steps.
    """
    ends = bool(lam[0] == 0.0 and lam[-1] == 1.0)
    value, rows, by_mean = _integrate(kept, lam, weights, beta, ends)
    errors = [mean_error(row, g) for row, g in zip(rows, inefficiency, strict=True)]
    statistical = float(np.sqrt(np.sum(np.square(errors))))
    reason, quadrature = "", 0.0
    heavy = [n for n, gap in enumerate(kept) if pareto_k(np.abs(gap - np.median(gap))) > HEAVIEST]
    if heavy:
        reason = f"single samples of U1 - U0 decide its average at λ = {lam[heavy[0]]:.3g}: it diverges there"
    elif len(steps.weak) and not ends:
        reason = f"the quadrature cannot be checked: {steps.reason}"
    else:
        again, pulls, _ = _integrate(dense, lam, weights, beta, ends)
        if len(steps.weak):
            off = again - float(weights @ [gap.mean() for gap in dense])
            others = [w * (gap - gap.mean()) / len(gap) for w, gap in zip(weights, dense, strict=True)]
        else:
            off = again - steps.estimates["BAR"][0]
            others = [pull / beta for pull in steps.pulls]
        noise = variance_of([a / len(a) - b for a, b in zip(pulls, others, strict=True)], worth)
        quadrature = math.sqrt(max(0.0, off**2 - noise)) if math.isfinite(noise) else 0.0
        if quadrature > statistical:
            reason = (
                f"the quadrature over {len(lam)} windows is off by about {quadrature:.2g} eV, more than the "
                f"statistical error of {statistical:.2g} eV"
            )
    return Integral(value, statistical, quadrature, by_mean, reason, rows)


def mean_error(series: np.ndarray, inefficiency: float) -> float:
    """Standard error of the mean from two estimates, by blocks and by the autocorrelation time.

    Each is found too small as often as too large: the mean of their squares where they agree, and the larger one where
    they differ by more than `APART`, since something slow is missed more easily than invented. NaN for fewer than four
    values.

    Args:
        series: (samples,).
        inefficiency: at least one. An estimate that is cut off there is too large on average for independent samples:
            where it is one but for its noise, one that is not cut off takes its place.
    """
    blocked = float(of_series(series).bound)
    inefficiency = _not_cut_off(series, inefficiency)
    direct = math.sqrt(float(np.var(series)) * inefficiency / len(series))
    if not blocked > 0.0:
        return direct if math.isnan(blocked) else max(blocked, direct)
    larger, smaller = max(blocked, direct), min(blocked, direct)
    return larger if larger > APART * smaller else math.sqrt(0.5 * (larger**2 + smaller**2))


def _not_cut_off(series: np.ndarray, inefficiency: float) -> float:
    """1 + 2 Σ ρ(t) up to 5 times the autocorrelation time, where that is one within twice its noise 2 (M/S)^½.

    (Madras and Sokal, J. Stat. Phys. 50, 109 (1988).) Deviations from a mean of the same S samples are correlated by
    -1/S on average, which the factor 1 + (2M + 1)/S makes up for.
    """
    count = len(series)
    if count < 2 * WINDOW or np.ptp(series) == 0.0:
        return inefficiency
    transform = np.fft.rfft(series - np.mean(series), 2 * count)
    correlation = np.fft.irfft(np.abs(transform) ** 2)[:count]
    sums = 1.0 + 2.0 * np.cumsum(correlation[1:] / correlation[0])
    last = int(np.argmax(np.arange(1, count) >= 0.5 * WINDOW * np.maximum(sums, 0.5)))
    found = float(sums[last]) * (1.0 + (2.0 * last + 3.0) / count)
    noise = 2.0 * math.sqrt((last + 1) / count)
    return max(found, LEAST_WORTH) if inefficiency < 1.0 + 2.0 * noise else inefficiency


def joint_error(rows: Sequence[np.ndarray]) -> float:
    """Standard error of the integral as the mean of one series over all windows, sampled at the same times."""
    length = min(len(row) for row in rows)
    joint = np.sum([row[-length:] for row in rows], axis=0)
    return mean_error(joint, decorrelated(joint)[1])


def _integrate(
    gaps: Sequence[np.ndarray], lam: np.ndarray, weights: np.ndarray, beta: float, ends: bool
) -> tuple[float, list[np.ndarray], np.ndarray]:
    """The integral; of each window the series whose mean is its share of the deviation; derivatives by the means."""
    means = np.array([gap.mean() for gap in gaps])
    if not ends:
        return float(weights @ means), [w * (gap - m) for w, gap, m in zip(weights, gaps, means, strict=True)], weights
    variances = np.array([gap.var(ddof=1) for gap in gaps])
    by_mean, by_slope = sensitivities(lam, means, -beta * variances)
    rows = [
        a * (gap - m) - beta * b * ((gap - m) ** 2 - v)
        for a, b, gap, m, v in zip(by_mean, by_slope, gaps, means, variances, strict=True)
    ]
    return integral_with_slopes(lam, means, -beta * variances), rows, by_mean
