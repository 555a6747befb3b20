"""Who is in whose shell at which frame, and how many pairs survive: sparse lists, so memory goes with the shells."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.observables.sampling import check_finite, complete_cells
from jaxelyte.system import perpendicular_widths
from jaxelyte.trajectory import Trajectory

NUMBERS_AT_ONCE = 2_000_000
"""Distances, or points of transforms, held in memory at a time."""


class Presence(NamedTuple):
    """Pairs within the cut-off, sorted by pair and then by frame.

    Attributes:
        pair: (entries,), number of the pair of centre and neighbour.
        frame: (entries,), frame in which it is within the cut-off.
        frames: number of frames that were looked at.
    """

    pair: np.ndarray
    frame: np.ndarray
    frames: int


def check_reach(trajectory: Trajectory, r_max: float) -> None:
    """Raise `InputError` where an atom could be a neighbour twice."""
    periodic = np.asarray(trajectory.pbc)
    if not np.any(periodic):
        return
    cells = complete_cells(np.unique(trajectory.cells.reshape(-1, 3, 3), axis=0), trajectory.pbc)
    half = 0.5 * min(float(perpendicular_widths(cell)[periodic].min()) for cell in cells)
    if r_max > half:
        raise InputError(
            f"r_max = {r_max} Å is more than half the smallest width of the cell, {half:.4g} Å: an atom and its image "
            "would be neighbours at once; lower r_max or use a larger cell"
        )


def find_presence(
    trajectory: Trajectory,
    replica: int,
    centers: np.ndarray,
    neighbors: np.ndarray,
    r_max: float,
    frames: slice = slice(None),
) -> Presence:
    """Look for pairs within r_max Å, nearest image, in frames of one replica.

    Args:
        trajectory: the frames; cells wider than twice r_max.
        replica: which of them.
        centers: indices of the centres.
        neighbors: indices of the neighbours; an atom is no neighbour of itself.
        r_max: Å.
        frames: consecutive ones; all by default.

    Raises:
        InputError: a position that is not finite.
    """
    periodic = np.asarray(trajectory.pbc)
    room = max(1, NUMBERS_AT_ONCE // (3 * len(centers) * len(neighbors)))
    other = centers[:, None] != neighbors[None, :]
    start, stop, _ = frames.indices(len(trajectory))
    pairs, present = [], []
    for begin in range(start, stop, room):
        part = slice(begin, min(begin + room, stop))
        positions = np.asarray(trajectory.positions[part, replica], np.float64)
        check_finite(positions, trajectory, begin, replica, "position")
        away = positions[:, None, neighbors] - positions[:, centers, None]
        if np.any(periodic):
            cells = complete_cells(trajectory.cells_of(part)[:, replica], trajectory.pbc)[:, None]
            steps = np.round(away @ np.linalg.inv(cells)) * periodic
            away -= steps @ cells
        frame, center, neighbor = np.nonzero((np.sum(away**2, axis=-1) < r_max**2) & other)
        pairs.append(center * len(neighbors) + neighbor)
        present.append(frame + begin - start)
    pair, frame = np.concatenate(pairs), np.concatenate(present)
    order = np.lexsort((frame, pair))
    return Presence(pair[order], frame[order], stop - start)


def survivors(presence: Presence, lags: int, tolerated: int | None) -> np.ndarray:
    """Pairs within the cut-off at the origin and a lag later, summed over all origins, (lags,) integers.

    Args:
        presence: of one stretch.
        lags: number of lags, from 0, in frames.
        tolerated: frames in a row in which a pair may be absent in between; None for any number.
    """
    total = np.zeros(lags)
    if len(presence.pair) == 0:
        return total
    ends = np.diff(presence.pair) != 0
    if tolerated is not None:
        ends |= np.diff(presence.frame) > tolerated + 1
    first = np.concatenate([[0], np.flatnonzero(ends) + 1])
    last = np.concatenate([first[1:], [len(presence.pair)]])
    # Within a stay each pair of presences counts: the autocorrelation of zeros and ones.
    begin = presence.frame[first]
    length = presence.frame[last - 1] - begin + 1
    size = 2 ** np.ceil(np.log2(length)).astype(int)
    for width in np.unique(size):
        chosen = np.flatnonzero(size == width)
        at_once = max(1, NUMBERS_AT_ONCE // (2 * int(width)))
        for start in range(0, len(chosen), at_once):
            stays = chosen[start : start + at_once]
            count = min(lags, int(width))
            total[:count] += _autocorrelation(presence.frame, begin, first, last, stays, int(width))[:count]
    return np.round(total)


def _autocorrelation(
    frame: np.ndarray, begin: np.ndarray, first: np.ndarray, last: np.ndarray, stays: np.ndarray, width: int
) -> np.ndarray:
    """Σ over stays and origins of h(s) h(s + t), (width,), for stays of at most ``width`` frames."""
    sizes = last[stays] - first[stays]
    row = np.repeat(np.arange(len(stays)), sizes)
    within = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    signal = np.zeros((len(stays), width))
    signal[row, frame[first[stays][row] + within] - begin[stays][row]] = 1.0
    transform = np.fft.rfft(signal, n=2 * width, axis=1)
    return np.fft.irfft(np.sum(np.abs(transform) ** 2, axis=0), n=2 * width)[:width]
