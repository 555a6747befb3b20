"""Whether displacements are those of diffusion: beyond free flight, beyond the cage of the neighbours, and straight.

Atoms fly freely until their velocity has decayed, with a time τ = D m / k_B T = 3 D / <v²> (10 to 20 fs for ions in
water), and in liquids rattle in a cage for some picoseconds after that. In between, the displacement may look linear in
time over a factor of three: its exponent passes through one. And a cage that relaxes without a vibration cannot be
distinguished from diffusion at all by a run that is shorter than the relaxation. So a window begins `FLOOR` decay times
from the start at least, and not before the atoms have moved by about the distance between neighbours (`REACH`); and the
curve has to be straight over the decade of lags that ends with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxelyte.observables.blocks import FEWEST, jackknife, naive_error
from jaxelyte.observables.series import exponent, line

FLOOR = 20.0
"""Decay times of the velocity before which no window begins: 0.05 is left in the exponent there."""

REACH = 6.0
"""Å², mean squared displacement before which no window begins: 2.4 Å, while cages are 1 Å wide at most (an atom that
rattles by 0.4 Å in each direction adds 1 Å²)."""

BALLISTIC = 1.3
"""Exponent between the first two lags above which they show free flight."""

LATER = 0.25
"""Of the longest lag, where the window begins that is tried if the usual one is not straight; it ends with the lags."""

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


class Start(NamedTuple):
    """Where a window may begin.

    Attributes:
        time: fs; infinite if the displacements end before.
        reason: for it, for messages.
    """

    time: float
    reason: str


class Chosen(NamedTuple):
    """A default window.

    Attributes:
        window: fs.
        reason: why the motion is not diffusive there; empty where it is.
    """

    window: tuple[float, float]
    reason: str


def first_time(lags: np.ndarray, values: np.ndarray, speed: float | None, diffusivity: float) -> Start:
    """Lag in fs from which on a window may begin: `FLOOR` decay times of the velocity, and a displacement of `REACH`.

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
    decay = 0.0 if not speed else FLOOR * 3.0 * max(diffusivity, 0.0) / speed
    far = values >= REACH
    reached = float(lags[np.argmax(far)]) if np.any(far) else math.inf
    if decay >= reached:
        return Start(decay, f"{decay / 1e3:.2g} ps, {FLOOR:g} decay times of the velocity")
    when = f"so far, {math.sqrt(values.max()):.2g} Å" if math.isinf(reached) else f"after {reached / 1e3:.2g} ps"
    return Start(reached, f"the time in which atoms move by {math.sqrt(REACH):.2g} Å, out of their cage ({when})")


def choose_window(lags: np.ndarray, curves: Sequence[np.ndarray], start: Start, share: tuple[float, float]) -> Chosen:
    """The earliest default window in which displacements are those of diffusion.

    Args:
        lags: (lags,), fs.
        curves: (stretches, lags) each, Å², all of which have to be straight.
        start: where it may begin; it has to lie in the first half of the lags.
        share: of the longest lag, where the window lies if it may.
    """
    last = float(lags[-1])
    usual = share[0] * last, share[1] * last
    if start.time > 0.5 * last:
        power = min(shape_of(lags, rows, usual).exponent for rows in curves)
        reason = f"is needed from {start.reason}, to twice that time; lags go to {last / 1e3:.2g} ps"
        return Chosen(usual, reason + _confined(power))
    begin = max(usual[0], start.time)
    windows = [(begin, max(usual[1], min(2.0 * begin, last)))]
    if all(len(rows) >= FEWEST for rows in curves):
        windows.append((max(begin, LATER * last), last))
    reasons = [next((s.reason for rows in curves if (s := shape_of(lags, rows, w)).reason), "") for w in windows]
    at = next((k for k, reason in enumerate(reasons) if not reason), 0)
    return Chosen(windows[at], reasons[at])


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
        between = f"{window[0] / 1e3:g} and {window[1] / 1e3:g} ps"
        return Shape(power, f"grows as t^{power:.2f} between {between}{_confined(power)}")
    if wrong[1]:
        return Shape(power, f"grows as t^{before:.2f} at the start of the decade between {span}")
    if wrong[2]:
        return Shape(power, f"is not straight between {span} (its slope changes by {abs(bend):.0%})")
    return Shape(power, "")


def _confined(power: float) -> str:
    return "; it hardly grows: the atoms are confined, or wrapped into a box" if power < 0.3 else ""


def _between(lags: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    return (lags >= window[0] * (1 - 1e-9)) & (lags <= window[1] * (1 + 1e-9)) & (lags > 0)
