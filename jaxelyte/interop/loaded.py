"""Frames as a file has them, and what is done with all of them alike: times, repeated steps, the cell, plausibility."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from jaxelyte.checks import RANGES, caution, quantity
from jaxelyte.errors import InputError
from jaxelyte.interop.file_units import as_cell
from jaxelyte.interop.plausible import check_plausible
from jaxelyte.trajectory import Trajectory

FARTHEST = 1e7
"""Å from the origin; farther away there is no atom."""

SINGLE_PRECISION = 4e-7
"""Relative rounding of times that files hold in single precision."""


class Loaded(NamedTuple):
    """What a reader returns.

    Attributes:
        trajectory: times are NaN unless the file states them.
        steps_known: the steps are the file's, not a count of the frames.
        stated: the units of length are stated or those of the format, so that they cannot be others.
        resolution: of the times, fs: they were rounded to about this.
    """

    trajectory: Trajectory
    steps_known: bool = False
    stated: bool = True
    resolution: float = 0.0


def rounding_of(times: np.ndarray) -> float:
    """Fs that times stored in single precision may be off; 0 where there are none."""
    known = np.abs(times[np.isfinite(times)])
    return SINGLE_PRECISION * float(known.max()) if len(known) else 0.0


def completed(loaded: Loaded, source: str, *, interval: float | None = None, cell: Any = None) -> Trajectory:
    """The frames with times and cell that the user gives, repeated steps of restarts left out.

    Args:
        loaded: from a reader.
        source: the file, for messages.
        interval: fs between frames; replaces the times of the file.
        cell: see `as_cell`; replaces the cell of the file, periodic in all directions.

    Raises:
        InputError: an interval that is not positive, a cell without volume, an interval for several runs in one file.

    Warns:
        UserWarning: steps that were written twice; times or a cell of the file that are replaced; distances and
            densities that no matter has.
    """
    _check_positions(loaded.trajectory, source)
    trajectory, restarted = _without_repeats(loaded, source)
    if interval is None:
        trajectory = replace(
            trajectory, times=np.full(len(trajectory), np.nan) if restarted else _even(trajectory, loaded)
        )
        _check_spacing(trajectory, source)
    elif restarted:
        raise InputError(f"{source} holds several runs one after the other, so that no interval= fits; split the file")
    else:
        trajectory = replace(
            trajectory, times=_given(trajectory, loaded, source, quantity("interval", interval, "interval"))
        )
    if cell is not None:
        trajectory = _with_cell(trajectory, as_cell(cell), source)
    _check_lengths(trajectory, loaded, source)
    return trajectory


def _check_positions(trajectory: Trajectory, source: str) -> None:
    """Raise `InputError` where positions are not finite or absurdly large; those of mapped files are not read here."""
    positions = trajectory.positions
    if not isinstance(positions, np.ndarray) or isinstance(positions, np.memmap) or not positions.size:
        return
    for frame, one in enumerate(positions):
        largest = np.max(np.abs(one))
        if not largest <= FARTHEST:
            atom = int(np.argwhere(~(np.abs(one) <= FARTHEST))[0][-2])
            raise InputError(
                f"{source}: frame {frame}: the position of atom {atom} is {one[0, atom].tolist()} Å: the file is "
                "damaged, in other units, or from a simulation that diverged"
            )


def _without_repeats(loaded: Loaded, source: str) -> tuple[Trajectory, bool]:
    """Each step once, as it was written last; and whether the file holds several runs, whose steps start again."""
    trajectory = loaded.trajectory
    clock = np.asarray(trajectory.steps if loaded.steps_known else trajectory.times, np.float64)
    if len(clock) < 2 or not np.all(np.isfinite(clock)) or np.all(np.diff(clock) > 0):
        return trajectory, False
    name, unit = ("step", "") if loaded.steps_known else ("time", " fs")
    back = np.flatnonzero(np.diff(clock) <= 0) + 1
    first = int(back[0])
    if len(back) == len(clock) - 1 and np.all(clock == clock[0]):
        if not loaded.steps_known:
            caution(f"{source}: all frames have the same time; pass interval= (fs between frames)")
            return replace(trajectory, times=np.full(len(trajectory), np.nan)), False
        caution(f"{source}: all {len(clock)} frames have the same step {clock[0]:g}")
        return trajectory, True
    if np.any(clock[back] <= clock[0]):
        start = int(back[np.argmax(clock[back] <= clock[0])])
        caution(
            f"{source}: the {name}s start again at frame {start} ({name} {clock[start]:g}{unit} after "
            f"{clock[start - 1]:g}): several runs in one file; all frames are kept, without times, since motion can "
            "only be followed in one run: split the file for it"
        )
        return trajectory, True
    # Behind a restart all is newer than the same steps before it.
    later = np.minimum.accumulate(clock[::-1])[::-1]
    kept = np.flatnonzero(np.append(clock[:-1] < later[1:], True))
    gone = np.setdiff1d(np.arange(len(clock)), kept)
    caution(
        f"{source}: {name}s {clock[first]:g} to {clock[gone].max():g}{unit} were written more than once, as after "
        f"a restart; the last of each is kept: {len(gone)} of {len(clock)} frames are left out, from frame {gone[0]} on"
    )
    return _picked(trajectory, kept), False


def _picked(trajectory: Trajectory, frames: np.ndarray) -> Trajectory:
    return replace(
        trajectory,
        positions=np.asarray(trajectory.positions)[frames],
        velocities=None if trajectory.velocities is None else np.asarray(trajectory.velocities)[frames],
        cells=trajectory.cells[frames] if trajectory.cells.ndim == 4 else trajectory.cells,
        steps=trajectory.steps[frames],
        times=trajectory.times[frames],
    )


def _even(trajectory: Trajectory, loaded: Loaded) -> np.ndarray:
    """Times of the file; exactly even ones where they are even but for rounding."""
    times = np.asarray(trajectory.times, np.float64)
    if len(times) < 3 or not np.all(np.isfinite(times)) or loaded.resolution <= 0:
        return times
    count = trajectory.steps - trajectory.steps[0] if loaded.steps_known else np.arange(len(times))
    if not count[-1] > 0:
        return times
    even = times[0] + (times[-1] - times[0]) * count / count[-1]
    return even if np.max(np.abs(even - times)) <= loaded.resolution else times


def _check_spacing(trajectory: Trajectory, source: str) -> None:
    """Warn of times that are so close that they are hardly in fs."""
    gaps = np.diff(np.asarray(trajectory.times, np.float64))
    spacing = float(np.median(gaps)) if len(gaps) else np.nan
    if 0.0 < spacing < RANGES["interval"].low:
        caution(
            f"{source} states times {spacing:g} apart, which are taken for fs; if they are in ps, pass "
            f"interval={1e3 * spacing:g}"
        )


def _given(trajectory: Trajectory, loaded: Loaded, source: str, interval: float) -> np.ndarray:
    count = np.arange(len(trajectory), dtype=np.float64)
    _tell_of_copies(trajectory, source)
    if loaded.steps_known and len(count) > 1:
        gaps = np.diff(trajectory.steps)
        usual = float(np.median(gaps))
        if usual > 0:
            count = (trajectory.steps - trajectory.steps[0]) / usual
        if usual > 0 and np.any(gaps != usual):
            odd = int(np.argmax(gaps != usual)) + 1
            caution(
                f"{source}: frames are mostly {usual:g} steps apart, but frame {odd} lies {gaps[odd - 1]:g} steps "
                f"behind the one before it: frames are missing; interval = {interval:g} fs is taken for {usual:g} steps"
            )
    own = np.asarray(trajectory.times, np.float64)
    if len(own) > 1 and np.all(np.isfinite(own)):
        spacing = float(np.median(np.diff(own)))
        if abs(spacing - interval) > max(1e-3 * interval, 2 * loaded.resolution):
            caution(
                f"{source} states times {spacing:g} fs apart, which interval = {interval:g} fs replaces; leave "
                "interval out if the file is right"
            )
    return count * interval


def _tell_of_copies(trajectory: Trajectory, source: str) -> None:
    """Warn of frames that are the one before again, as where a restart wrote its first frame once more."""
    positions = trajectory.positions
    if not isinstance(positions, np.ndarray) or isinstance(positions, np.memmap):
        return
    copies = [n for n in range(1, len(positions)) if np.array_equal(positions[n], positions[n - 1])]
    if copies:
        others = f", like {len(copies) - 1} more" if copies[1:] else ""
        caution(
            f"{source}: frame {copies[0]} is a copy of the one before it{others}, as where a restart writes its first "
            "frame again: times by interval= are wrong behind it; take the copies out"
        )


def _with_cell(trajectory: Trajectory, cell: np.ndarray, source: str) -> Trajectory:
    own = trajectory.cells.reshape(-1, 3, 3)
    if any(trajectory.pbc) and not np.allclose(own, cell, rtol=1e-4, atol=1e-3):
        lengths = " x ".join(f"{x:.4g}" for x in np.linalg.norm(own[0], axis=1))
        caution(f"{source} holds a cell of {lengths} Å, which cell= replaces; leave cell out if the file is right")
    return replace(trajectory, cells=np.broadcast_to(cell, (trajectory.replicas, 3, 3)), pbc=(True, True, True))


def _check_lengths(trajectory: Trajectory, loaded: Loaded, source: str) -> None:
    """`check_plausible` of the first frame; those of mapped files were written by jaxelyte."""
    if len(trajectory) and not isinstance(trajectory.positions, np.memmap):
        check_plausible(
            np.asarray(trajectory.positions[0, 0], np.float64),
            trajectory.numbers[0],
            trajectory.cells.reshape(-1, 3, 3)[0],
            trajectory.pbc,
            source,
            stated=loaded.stated,
        )
