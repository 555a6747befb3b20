"""Time series of frames: stretches, time origins, and averages over all of them by the Fourier transform."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from jaxelyte import checks
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.observables.blocks import FEWEST
from jaxelyte.trajectory import Trajectory
from jaxelyte.wording import counted

STRETCHES = 8
"""Parts of a run, each with origins of its own, whose spread gives the standard errors."""

ATOMS_AT_ONCE = 256


class Stretches(NamedTuple):
    """Consecutive stretches of equal length, the same in each replica.

    Attributes:
        slices: of frames.
        lags: (lags,), fs, from 0 to half a stretch.
    """

    slices: tuple[slice, ...]
    lags: np.ndarray


def stretches_of(trajectory: Trajectory, wanted: int | None, what: str) -> Stretches:
    """Cut a trajectory into stretches; what is left over at the start is not used.

    Args:
        trajectory: frames equally spaced in time.
        wanted: stretches of each replica; `STRETCHES` in all by default.
        what: is computed, for the error.

    Raises:
        InputError: too few frames, or frames without times or not equally spaced.
    """
    interval = trajectory.interval(what)
    each = max(1, STRETCHES // trajectory.replicas) if wanted is None else checks.count("stretches", wanted)
    length = len(trajectory) // each
    if length < 6:
        fewer = len(trajectory) // 6
        way = f", or pass stretches={fewer}" if 0 < fewer < each else ""
        raise InputError(
            f"{counted(len(trajectory), 'frame')} in {each} stretches are too few for {what}, which needs 6 in each; "
            f"run longer, or store frames more often{way}"
        )
    bounds = range(len(trajectory) - each * length, len(trajectory) + 1, length)
    return Stretches(tuple(slice(a, b) for a, b in pairwise(bounds)), interval * np.arange(length // 2 + 1))


def members_of(trajectory: Trajectory, species: str) -> np.ndarray:
    """Indices of the atoms of a species, (replicas, atoms of the species): replicas may list their atoms in any order.

    Raises:
        InputError: no chemical symbol, or one that is not there.
        UnsupportedError: replicas that hold different numbers of these atoms.
    """
    from ase.data import atomic_numbers

    found = trajectory.numbers == atomic_numbers[checks.symbol("species", species)]
    counts = found.sum(axis=1)
    if not np.any(counts):
        raise InputError(f"there is no {species} in the trajectory")
    if np.any(counts != counts[0]):
        other = int(np.argmax(counts != counts[0]))
        raise UnsupportedError(
            f"replica 0 holds {counts[0]} {species} and replica {other} holds {counts[other]}: replicas of different "
            "composition have no common average; analyse them one by one"
        )
    return np.nonzero(found)[1].reshape(len(counts), counts[0])


def window_of(fit: Any, default: tuple[float, float]) -> tuple[float, float]:
    """Window of a fit in fs, as given or by default.

    Raises:
        InputError: no two numbers of which the second is larger.
    """
    if fit is None:
        return default
    ends = checks.sequence("fit", fit, "two times in fs")
    if len(ends) != 2:
        raise InputError(f"fit = {checks.shown(fit)} must be two times in fs, such as (1000.0, 5000.0)")
    first, last = (checks.not_negative("fit", end, "fs") for end in ends)
    if not first < last:
        raise InputError(f"fit = {checks.shown(fit)} fs: the second time has to be later than the first")
    return first, last


def within(lags: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Which lags lie in a window, both in fs; lag 0 never does.

    Raises:
        InputError: fewer than three of them.
    """
    inside = (lags >= window[0] * (1 - 1e-9)) & (lags <= window[1] * (1 + 1e-9)) & (lags > 0)
    if np.sum(inside) < 3:
        thousand = (lags >= 1e3 * window[0]) & (lags <= 1e3 * window[1]) & (lags > 0)
        unit = "; times are in fs: is this window in ps?" if np.sum(thousand) >= 3 else ""
        raise InputError(
            f"the window of the fit, {window[0]:g} to {window[1]:g} fs, holds {counted(int(np.sum(inside)), 'lag')} "
            f"(they go to {lags[-1]:g} fs, in steps of {lags[1] - lags[0]:g} "
            "fs); at least three are needed: run "
            f"longer (the longest lag is half a stretch), or choose another window{unit}"
        )
    return inside


def exponent(lags: np.ndarray, values: np.ndarray) -> float:
    """α of values ~ lag^α."""
    return line(np.log(lags), np.log(np.maximum(values, 1e-300)))[0]


def mean_squared_displacement(positions: np.ndarray) -> np.ndarray:
    """MSD at every lag of positions (frames, atoms, 3), averaged over origins and atoms."""
    frames = len(positions)
    moved = positions - positions[:1]
    square = np.sum(moved**2, axis=(1, 2))
    # Σ over origins of r²(s) + r²(s + t), from both ends.
    ends = 2.0 * square.sum() - np.concatenate([[0.0], np.cumsum(square[::-1] + square)[:-1]])
    total = ends - 2.0 * _overlaps(moved)
    return np.maximum(total / (frames - np.arange(frames)) / positions.shape[1], 0.0)


def autocorrelation(values: np.ndarray) -> np.ndarray:
    """<x(s) · x(s + t)> at every lag of (frames, atoms, 3), averaged over origins and atoms."""
    frames = len(values)
    return _overlaps(values) / (frames - np.arange(frames)) / values.shape[1]


def _overlaps(values: np.ndarray) -> np.ndarray:
    """Σ over origins and atoms of x(s) · x(s + t) at every lag."""
    frames, total = len(values), np.zeros(len(values))
    for part in _chunks(values):
        transform = np.fft.rfft(part, n=2 * frames, axis=0)
        total += np.fft.irfft(np.sum(np.abs(transform) ** 2, axis=(1, 2)), n=2 * frames)[:frames]
    return total


def _chunks(values: np.ndarray) -> Iterator[np.ndarray]:
    """Some atoms at a time, which bounds the memory of their transforms."""
    for start in range(0, values.shape[1], ATOMS_AT_ONCE):
        yield values[:, start : start + ATOMS_AT_ONCE]


def temperature_of(source: Any) -> float | None:
    """Temperature of a run in K: that of its thermostat, which has no error; the mean without one."""
    summary = getattr(source, "summary", None)
    found = summary.get("temperature", {}) if isinstance(summary, dict) else {}
    value = found.get("thermostat") or found.get("value")
    return None if value is None else float(value)


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the straight line through points."""
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(intercept)


def spread(rows: np.ndarray) -> np.ndarray:
    """Standard error of the mean of independent rows; NaN for fewer than four."""
    if len(rows) < FEWEST:
        return np.full(rows.shape[1:], np.nan)
    return rows.std(axis=0, ddof=1) / math.sqrt(len(rows))


def spread_freedom(rows: Sized) -> int:
    """Degrees of freedom of `spread` (Student's t); 0 where it gives no error."""
    return len(rows) - 1 if len(rows) >= FEWEST else 0
