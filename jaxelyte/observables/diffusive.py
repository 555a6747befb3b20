"""Whether displacements are those of diffusion: beyond free flight, beyond the cage of the neighbours, and straight.

Atoms fly freely until their velocity has decayed, with a time τ = D m / k_B T = 3 D / <v²> (10 to 20 fs for ions in
water), and in liquids rattle in a cage for some picoseconds after that. In between, the displacement may look linear in
time over a factor of three: its exponent passes through one. So a window has to begin `FLOOR` decay times from the
start at least, and the curve has to be straight over the decade of lags that ends with it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from jaxelyte.observables.blocks import FEWEST, jackknife, naive_error
from jaxelyte.observables.series import exponent, line

FLOOR = 20.0
"""Decay times of the velocity before which no window begins: 0.05 is left in the exponent there."""

BALLISTIC = 1.3
"""Exponent between the first two lags above which they show free flight."""

TOLERANCE, BEND = 0.15, 0.15
"""Of the exponent in the window; of the slope in the first half of the decade against the second half, relative."""

WIDE = 0.25
"""Of the exponent in the first half of the decade, which lies before the window in part."""

SURE = 4.0
"""Standard errors (of seven degrees of freedom, as a rule) that a deviation needs: 1 in 200 by chance."""

NOISE = 1.5
"""Standard errors of the slope behind the window that count as noise; the rest of its change is part of the error."""


class Shape(NamedTuple):
    """What a curve looks like over the decade that ends with a window.

    Attributes:
        exponent: α of displacement ~ t^α in the window.
        reason: why it is not diffusive; empty where it is.
    """

    exponent: float
    reason: str


def first_time(lags: np.ndarray, values: np.ndarray, speed: float | None, diffusivity: float) -> float:
    """Lag in fs from which on a window may begin: `FLOOR` decay times of the velocity; 0 where nothing is known of it.

    Args:
        lags: (lags,), fs.
        values: (lags,), Å², mean squared displacement.
        speed: <v²> in Å²/fs²; if None it is read from the first two lags, should they show free flight.
        diffusivity: Å²/fs, a first estimate.
    """
    start = lags[lags > 0][:2]
    first = values[lags > 0][:2]
    flying = len(start) == 2 and first[0] > 0 and exponent(start, first) > BALLISTIC
    if flying:
        speed = max(speed or 0.0, float(first[0] / start[0] ** 2))
    return 0.0 if not speed else FLOOR * 3.0 * max(diffusivity, 0.0) / speed


def too_early(first: float, window: tuple[float, float]) -> str:
    """Why a window holds no diffusion, or nothing; ``first`` as by `first_time`."""
    if first <= 0.5 * window[1]:
        return ""
    return (
        f"is wanted from {first / 1e3:.2g} ps on ({FLOOR:g} decay times of the velocity) and known to "
        f"{window[1] / 1e3:.2g} ps"
    )


def remedy(lags: np.ndarray) -> str:
    """What users can do, for messages."""
    return (
        f"run longer (lags go to {lags[-1] / 1e3:g} ps, half a stretch: fewer of them, by stretches=…, make it "
        "longer), or choose the window by fit=(from, to) in fs"
    )


def change_of_slope(lags: np.ndarray, rows: np.ndarray, window: tuple[float, float]) -> float:
    """How far the slope behind the window differs from that within it, beyond its noise, in Å²/fs.

    Args:
        lags: (lags,), fs.
        rows: (stretches, lags), Å²; 0 for fewer than four of them.
        window: of the straight line, fs.
    """
    inside, behind = _between(lags, window), _between(lags, (window[1], lags[-1]))
    if len(rows) < FEWEST or behind.sum() < 3:
        return 0.0
    changes = np.array([line(lags[behind], row[behind])[0] - line(lags[inside], row[inside])[0] for row in rows])
    return max(0.0, abs(float(changes.mean())) - NOISE * float(naive_error(changes[None])))


def shape_of(lags: np.ndarray, rows: np.ndarray, window: tuple[float, float]) -> Shape:
    """Judge mean squared displacements.

    Args:
        lags: (lags,), fs.
        rows: (stretches, lags), Å², independent of each other; from four on their spread says what is noise.
        window: of the straight line, fs.
    """
    middle = window[1] / math.sqrt(10.0)
    inside = _between(lags, window)
    early, late = _between(lags, (window[1] / 10.0, middle)), _between(lags, (middle, window[1]))
    split = early.sum() >= 2 and late.sum() >= 2
    # None of these numbers depends on the scale of the curve, so that sums over stretches do.

    def numbers(total: np.ndarray) -> np.ndarray:
        power = exponent(lags[inside], total[inside])
        if not split:
            return np.array([power, 1.0, 0.0])
        slopes = [line(lags[part], total[part])[0] for part in (early, late)]
        mean = max(abs(line(lags[inside], total[inside])[0]), 1e-300)
        return np.array([power, exponent(lags[early], total[early]), (slopes[0] - slopes[1]) / mean])

    value, error = jackknife(rows / len(rows), numbers)
    error = np.nan_to_num(error)
    power, before, bend = (float(x) for x in value)
    off = np.abs([power - 1.0, before - 1.0, bend])
    wrong = (off > [TOLERANCE, WIDE, BEND]) & (off > SURE * error)
    if len(rows) < FEWEST:  # noise is not known, and largest in differences
        wrong[1:] = False
    span = f"{window[1] / 1e4:g} and {window[1] / 1e3:g} ps"
    if wrong[0]:
        confined = "; it hardly grows: the atoms are confined, or wrapped into a box" if power < 0.3 else ""
        return Shape(power, f"grows as t^{power:.2f} between {window[0] / 1e3:g} and {window[1] / 1e3:g} ps{confined}")
    if wrong[1]:
        return Shape(power, f"grows as t^{before:.2f} at the start of the decade between {span}")
    if wrong[2]:
        return Shape(power, f"is not straight between {span} (its slope changes by {abs(bend):.0%})")
    return Shape(power, "")


def _between(lags: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    return (lags >= window[0] * (1 - 1e-9)) & (lags <= window[1] * (1 + 1e-9)) & (lags > 0)
