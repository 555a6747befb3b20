"""Thermodynamic integration with the error of its quadrature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxelyte.free_energy.joint import joint_error
from jaxelyte.free_energy.quadrature import integral_with_slopes, sensitivities
from jaxelyte.free_energy.steps import Steps, as_rows
from jaxelyte.observables.tails import pareto_k
from jaxelyte.wording import counted

HEAVIEST = 1.0
"""Shape k of the tail of U1 - U0 from which on its average does not exist."""


CERTAIN = 1.5
"""How many times its noise a difference between two rules has to be."""


@dataclass(frozen=True)
class Integral:
    """A thermodynamic integral.

    Attributes:
        value: eV.
        statistical: standard error in eV of the samples.
        freedom: its degrees of freedom.
        quadrature: eV, what the rule over λ is off by, as far as it exceeds its own noise.
        by_mean: (windows,), its derivatives with respect to <U1 - U0> of each window.
        reason: why it has no honest error, empty where it has.
    """

    value: float
    statistical: float
    freedom: float
    quadrature: float
    by_mean: np.ndarray
    reason: str

    @property
    def error(self) -> float:
        """Standard error in eV, statistical and of the quadrature; NaN where it cannot be given."""
        return math.nan if self.reason else math.hypot(self.statistical, self.quadrature)


def thermodynamic_integral(
    kept: Sequence[np.ndarray],
    dense: Sequence[np.ndarray],
    lam: np.ndarray,
    weights: np.ndarray,
    beta: float,
    steps: Steps,
    walkers: np.ndarray | None,
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
        lam: (windows,), rising.
        weights: (windows,), of the rule.
        beta: 1/eV.
        steps: Bennett's steps.
        walkers: (samples, windows), of the samples in ``kept``; see `joint_error`.
    """
    ends = bool(lam[0] == 0.0 and lam[-1] == 1.0)
    value, rows, by_mean = _integrate(kept, lam, weights, beta, ends)
    statistical, freedom = joint_error(rows, walkers)
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
            others = [w * (gap - gap.mean()) for w, gap in zip(weights, dense, strict=True)]
        else:
            off = again - steps.estimates["BAR"][0]
            others = [row / beta for row in as_rows(steps.pulls)]
        noise = joint_error([a - b for a, b in zip(pulls, others, strict=True)], steps.walkers).error
        # Of what chance alone gives in a third of all cases, nothing is added: errors would be too large on average.
        quadrature = math.sqrt(off**2 - noise**2) if abs(off) > CERTAIN * noise else 0.0
        if quadrature > statistical:
            reason = (
                f"the quadrature over {counted(len(lam), 'window')} is off by about {quadrature:.2g} eV, more than the "
                f"statistical error of {statistical:.2g} eV"
            )
    return Integral(value, statistical, freedom, quadrature, by_mean, reason)


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
