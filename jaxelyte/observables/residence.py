"""How long neighbours stay: survival functions and residence times (Impey, Madden and McDonald).

    n(t) = <Σ_j P_j(s, s + t; t*)> over origins s and centres,

P_j = 1 where neighbour j is within the cut-off at s and at s + t, and is never absent for longer than t* in between (J.
Phys. Chem. 87, 5071 (1983)). n(0) is the coordination number and n(t)/n(0) ~ exp(-t/τ) at long times. t* = 0 counts
every crossing of the cut-off as a departure, t* = ∞ none: the intermittent function, which forgets nothing.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxelyte import checks
from jaxelyte.arrays import finite
from jaxelyte.errors import InputError
from jaxelyte.observables.blocks import block_error, jackknife
from jaxelyte.observables.sampling import analysed
from jaxelyte.observables.series import line, members_of, spread_freedom, stretches_of, window_of, within
from jaxelyte.observables.survival import check_reach, find_presence, survivors
from jaxelyte.observables.unwrapping import check_continuous
from jaxelyte.plots.rich import Rich
from jaxelyte.storage import saving, write_text
from jaxelyte.trajectory import Trajectory
from jaxelyte.wording import plus_minus

TOLERANCE = 2000.0
"""fs, absences that Impey, Madden and McDonald forgive."""

DECAYED = math.exp(-2.0)
"""Share of neighbours at which the window of the fit ends by default."""

FEW = 10.0
"""Residence times in a run below which the result warns."""


@dataclass(frozen=True)
class ResidenceResult(Rich):
    """Residence time of neighbours in the shell of a centre.

    Attributes:
        center: chemical symbol.
        neighbor: chemical symbol.
        r_max: Å, edge of the shell.
        tolerance: t* in fs; infinite for the intermittent function.
        value: residence time τ in fs, of the exponential fitted to the survival function.
        error: its standard error in fs, by the jackknife over stretches of the run; NaN below four.
        integral: ∫ of the survival function in fs, its tail beyond the last lag by the exponential.
        integral_error: its standard error in fs.
        number: neighbours in the shell.
        number_error: its standard error, correlation taken into account, see `block_error`; NaN where the number
            hardly changes in the run.
        fit: window of the exponential in fs.
        intercept: of the exponential at t = 0.
        plateau: what the survival function tends to, as neighbours are few and come back: the number in the shell over
            that of all neighbours for an infinite tolerance, else 0.
        lags: (lags,), fs, from 0 to half a stretch.
        survival: (lags,), n(t)/n(0).
        survival_error: (lags,).
        intermittent: (lags,), the same for t* = ∞.
        intermittent_error: (lags,).
        duration: fs, of each replica.
        replicas: independent replicas.
        freedom: degrees of freedom of the errors (Student's t): stretches less one; 0 without errors.
    """

    center: str
    neighbor: str
    r_max: float
    tolerance: float
    value: float
    error: float
    integral: float
    integral_error: float
    number: float
    number_error: float
    fit: tuple[float, float]
    intercept: float
    plateau: float
    lags: np.ndarray
    survival: np.ndarray
    survival_error: np.ndarray
    intermittent: np.ndarray
    intermittent_error: np.ndarray
    duration: float
    replicas: int
    freedom: int = 0

    def fitted(self, times: np.ndarray) -> np.ndarray:
        """The exponential at times in fs."""
        times = checks.array("times", times, None, "fs")
        return self.plateau + (1.0 - self.plateau) * self.intercept * np.exp(-times / self.value)

    def plot(self, ax: Any = None) -> Any:
        """Draw the survival function with a band of one standard error, and the fit; returns the matplotlib axes."""
        from jaxelyte.plots import structure

        return structure.residence(self, ax)

    def to_csv(self, path: str | Path) -> None:
        """Write a table: lag in fs, survival function and intermittent function with their errors."""
        names = ("survival", "survival_error", "intermittent", "intermittent_error")
        columns = np.column_stack([self.lags, *(getattr(self, name) for name in names)])
        with saving(path) as temporary:
            np.savetxt(temporary, columns, delimiter=",", header=",".join(["lag_fs", *names]), comments="")

    def to_json(self, path: str | Path) -> None:
        """Write the numbers; NaN, and an infinite tolerance, are stored as null."""
        content = {
            "center": self.center,
            "neighbor": self.neighbor,
            "r_max_A": self.r_max,
            "tolerance_fs": finite(self.tolerance),
            "residence_time_fs": self.value,
            "error_fs": finite(self.error),
            "integral_fs": self.integral,
            "integral_error_fs": finite(self.integral_error),
            "number": self.number,
            "number_error": finite(self.number_error),
            "fit_fs": list(self.fit),
            "plateau": self.plateau,
            "duration_fs": self.duration,
            "replicas": self.replicas,
            "degrees_of_freedom": self.freedom,
        }
        write_text(path, json.dumps(content, indent=1) + "\n")

    def __repr__(self) -> str:
        number = plus_minus(self.number, self.number_error)
        time = plus_minus(self.value / 1e3, self.error / 1e3, unit="ps")
        return (
            f"τ({self.neighbor} at {self.center}) = {time} within {self.r_max:.4g} Å, absences up to "
            f"{self.tolerance / 1e3:g} ps; "
            f"{number} neighbours; fit from {self.fit[0] / 1e3:.4g} to {self.fit[1] / 1e3:.4g} ps"
        )


class _Counts(NamedTuple):
    """Surviving neighbours of one centre, mean over origins, (stretches, lags) each; the number, (frames, replicas)."""

    tolerated: np.ndarray
    intermittent: np.ndarray
    number: np.ndarray


def residence_time(
    source: Any,
    center: str,
    neighbor: str,
    r_max: float,
    *,
    tolerance: float = TOLERANCE,
    fit: tuple[float, float] | None = None,
    discard: int | None = None,
    stretches: int | None = None,
) -> ResidenceResult:
    """Residence time of neighbours in the shell of a centre, mean number in it, and survival functions.

    A neighbour that is missing in m frames in a row was absent for m intervals. The run is cut into stretches, each
    with origins of its own; lags go to half a stretch. The cost is centres times neighbours in each frame.

    It fails where frames are so far apart that departures are not seen (a few in t*, many in τ, are needed), and in
    runs of less than some residence times: those of water at Mg are longer than most runs. Errors at different lags
    are correlated.

    Args:
        source: a run, a `Trajectory`, ``ase.Atoms`` in a list, a trajectory file or a run folder. Frames have to be
            equally spaced in time.
        center: chemical symbol.
        neighbor: chemical symbol.
        r_max: Å, edge of the shell, such as the first minimum of the radial distribution function; at most half the
            smallest width of the cell.
        tolerance: t* in fs; ``math.inf`` for the intermittent function.
        fit: window of the exponential in fs. By default it ends where the survival function falls below e⁻², or at the
            last lag, and starts at t*, but not behind half its end.
        discard: frames left out at the start; by default what a run counts as its equilibration, and none of a
            trajectory or file.
        stretches: parts of each replica whose spread gives the errors; eight parts in all by default.

    Raises:
        InputError: too few frames, or not equally spaced; a species that is not there; a cut-off or a tolerance that is
            not positive, or a cut-off beyond half the cell; no neighbours, or none that stay long enough for a fit.
    """
    r_max = checks.positive("r_max", r_max, "Å")
    tolerance = checks.number("tolerance", tolerance, "fs", least=0.0, infinite=True)
    trajectory = analysed(source, discard)
    centers, neighbors = members_of(trajectory, center), members_of(trajectory, neighbor)
    check_reach(trajectory, r_max)
    check_continuous(trajectory)
    slices, lags = stretches_of(trajectory, stretches, "a residence time")
    interval = float(lags[1])
    absent = None if tolerance == math.inf else math.floor(tolerance / interval * (1.0 + 1e-9))
    counts = _survival(trajectory, centers, neighbors, r_max, slices, len(lags), absent)
    number = float(counts.tolerated[:, 0].mean())
    if number == 0.0:
        raise InputError(f"no {neighbor} came within {r_max} Å of a {center}; raise r_max")
    plateau = number / (neighbors.shape[1] - (center == neighbor)) if absent is None else 0.0
    curve = _decay(counts.tolerated.mean(axis=0), plateau)
    window = _window(lags, curve, tolerance) if fit is None else window_of(fit, (0.0, 0.0))
    inside = within(lags, window)
    if np.any(curve[inside] <= 0):
        raise InputError(f"no {neighbor} stays as long as {window[1]:g} fs; choose an earlier window by fit=")
    result = _estimate(counts, lags, inside, plateau)
    duration = interval * (len(trajectory) - 1)
    _warn(f"residence time of {neighbor} at {center}", result.value, duration, float(lags[-1]))
    return ResidenceResult(
        center=center,
        neighbor=neighbor,
        r_max=float(r_max),
        tolerance=float(tolerance),
        **result._asdict(),
        fit=window,
        plateau=plateau,
        lags=lags,
        duration=duration,
        replicas=trajectory.replicas,
        freedom=spread_freedom(counts.tolerated),
    )


class _Estimate(NamedTuple):
    """The numbers of `ResidenceResult` that come from the counts."""

    value: float
    error: float
    integral: float
    integral_error: float
    number: float
    number_error: float
    intercept: float
    survival: np.ndarray
    survival_error: np.ndarray
    intermittent: np.ndarray
    intermittent_error: np.ndarray


def _survival(
    trajectory: Trajectory,
    centers: np.ndarray,
    neighbors: np.ndarray,
    r_max: float,
    slices: tuple[slice, ...],
    lags: int,
    absent: int | None,
) -> _Counts:
    """Counts of all stretches; each frame is read once. ``centers`` and ``neighbors``: see `members_of`."""
    tolerated, intermittent, number = [], [], []
    for replica in range(trajectory.replicas):
        for part in slices:
            presence = find_presence(trajectory, replica, centers[replica], neighbors[replica], r_max, part)
            origins = centers.shape[1] * (presence.frames - np.arange(lags))
            everyone = survivors(presence, lags, None) / origins
            intermittent.append(everyone)
            tolerated.append(everyone if absent is None else survivors(presence, lags, absent) / origins)
            number.append(np.bincount(presence.frame, minlength=presence.frames) / centers.shape[1])
    series = np.reshape(number, (trajectory.replicas, -1)).T
    return _Counts(np.array(tolerated), np.array(intermittent), series)


def _decay(counts: np.ndarray, plateau: float) -> np.ndarray:
    """What falls from one to zero: the share that survives, without its plateau."""
    return (counts / counts[0] - plateau) / (1.0 - plateau) if plateau < 1.0 else np.ones_like(counts)


def _window(lags: np.ndarray, curve: np.ndarray, tolerance: float) -> tuple[float, float]:
    """Where an exponential is fitted by default."""
    low = np.flatnonzero(curve < DECAYED)
    last = int(low[0]) - 1 if len(low) else len(lags) - 1
    if last < 3:
        raise InputError(
            f"neighbours leave within {lags[last + 1]:g} fs, and frames are {lags[1]:g} fs apart; store frames more "
            "often, or give the window by fit="
        )
    end = float(lags[last])
    start = min(tolerance, 0.5 * end) if math.isfinite(tolerance) else 0.0
    # Lag 0 has no part in a fit; three lags at least have.
    return max(float(lags[1]), min(start, float(lags[last - 2]))), end


def _estimate(counts: _Counts, lags: np.ndarray, inside: np.ndarray, plateau: float) -> _Estimate:
    """All estimates, with standard errors by leaving out one stretch at a time."""

    def numbers(total: np.ndarray) -> np.ndarray:
        # The plateau goes with the number in the shell, of these stretches: with that of all it would not cancel.
        decay = _decay(total[0], plateau * total[0, 0] / (total[2, 0] * mean) if mean else plateau)
        slope, intercept = line(lags[inside], np.log(np.maximum(decay[inside], 1e-300)))
        time = -1.0 / slope if slope < 0 else math.inf
        area = (lags[1] - lags[0]) * (decay.sum() - 0.5 * (decay[0] + decay[-1]))
        tail = decay[-1] * time if decay[-1] > 0 else 0.0
        return np.array([time, area + tail, math.exp(intercept)])

    mean = float(counts.tolerated[:, 0].mean())
    # The last row counts the stretches that are in a total.
    stacked = np.stack([counts.tolerated, counts.intermittent, np.ones_like(counts.tolerated)], axis=1)
    parts = stacked / len(stacked)

    def both(total: np.ndarray) -> np.ndarray:
        total = np.maximum(total, 0.0)
        share = total / np.where(total[:, :1] > 0, total[:, :1], 1.0)
        return np.concatenate([numbers(total), share[0], share[1]])

    with np.errstate(invalid="ignore"):  # infinite times of functions that do not decay
        value, error = jackknife(parts, both)
    count = len(lags)
    return _Estimate(
        value=float(value[0]),
        error=float(error[0]),
        integral=float(value[1]),
        integral_error=float(error[1]),
        number=float(counts.tolerated[:, 0].mean()),
        number_error=float(block_error(counts.number).error),
        intercept=float(value[2]),
        survival=value[3 : 3 + count],
        survival_error=error[3 : 3 + count],
        intermittent=value[3 + count :],
        intermittent_error=error[3 + count :],
    )


def _warn(what: str, time: float, duration: float, longest: float) -> None:
    """Warn where the run is short against the residence time."""
    if not math.isfinite(time):
        checks.caution(f"{what}: no neighbour leaves in {duration / 1e3:g} ps; run longer")
    elif duration < FEW * time:
        checks.caution(
            f"{what}: {time / 1e3:.3g} ps, and the run of {duration / 1e3:.4g} ps holds {duration / time:.1f} of them; "
            f"at least {FEW:g} are needed for a value to trust: run longer"
        )
    elif longest < time:
        checks.caution(
            f"{what}: {time / 1e3:.3g} ps is longer than the longest lag, {longest / 1e3:.3g} ps, so the exponential "
            "is extrapolated; run longer"
        )
