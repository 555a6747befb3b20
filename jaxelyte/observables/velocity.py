"""Velocity autocorrelation functions: diffusion by Green and Kubo, and the vibrational density of states.

C(t) = <v_i(s) · v_i(s + t)> over atoms and origins, by the Fourier transform; D = ∫ C dt / 3. The integral up to t is
the slope of the mean squared displacement at t, MSD(t) = 2 ∫ (t - s) C(s) ds, so that both are judged alike, see
`jaxelyte.observables.diffusive`. The spectrum of the mass-weighted velocities is the density of vibrational states
(Wiener-Khinchin).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.integrate import cumulative_trapezoid

from jaxelyte import checks
from jaxelyte.arrays import finite
from jaxelyte.checks import caution
from jaxelyte.errors import InputError
from jaxelyte.observables.center import follow_velocities
from jaxelyte.observables.diffusion import SI, MSDResult
from jaxelyte.observables.sampling import analysed, check_finite
from jaxelyte.observables.series import autocorrelation, members_of, spread, spread_freedom, stretches_of
from jaxelyte.plots.rich import Rich
from jaxelyte.storage import saving, write_text
from jaxelyte.wording import counted, plus_minus

COARSE = 0.1
"""Relative error of D by the spacing of frames, beyond which no value is given."""

WAVENUMBER = 33356.40951981521
"""1/cm in one 1/fs."""


@dataclass(frozen=True)
class VACFResult(Rich):
    """Velocity autocorrelation function of one species.

    Attributes:
        species: chemical symbol.
        lags: (lags,), fs.
        value: (lags,), Å²/fs².
        error: (lags,), standard error from the spread between stretches; NaN for a single one.
        stretches: (stretches, lags), Å²/fs².
        share: of <v²> of free atoms that ``value`` has: less than one where the total momentum is fixed, see
            `jaxelyte.observables.center`. `diffusivity` corrects for it.
    """

    species: str
    lags: np.ndarray
    value: np.ndarray
    error: np.ndarray
    stretches: np.ndarray
    share: float = 1.0

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the errors (Student's t): stretches less one; 0 without errors."""
        return spread_freedom(self.stretches)

    def displacements(self, step: int = 1) -> MSDResult:
        """Mean squared displacement by integrating twice, corrected for `share`.

        Args:
            step: use each so many lags only.
        """
        lags = self.lags[::step]
        rows = np.array([_twice(lags, row[::step]) for row in self.stretches]) / self.share
        rows = np.maximum(rows, 0.0)  # noise may win at the end of short runs
        speed = float(self.value[0]) / self.share
        return MSDResult(self.species, lags, rows.mean(axis=0), spread(rows), rows, speed=speed)

    def diffusivity(self, *, until: float | None = None) -> tuple[float, float]:
        """Self-diffusion coefficient in m²/s and its standard error, D = ∫ C dt / 3 (Green and Kubo).

        By default it is the mean of the integral over the window that `jaxelyte.diffusivity` would take, with the same
        conditions: behind the decay of the velocity, atoms that have moved by 2.4 Å, no slope. Dense frames of a few
        ps do not meet them. The error has a part for the distance of the frames, by leaving out each other one.

        Args:
            until: fs, upper limit of the integral, which may end before the motion is diffusive: with a warning then.

        Returns:
            Both are NaN where the motion is not diffusive, or the frames are too far apart.

        Raises:
            InputError: a limit beyond the function.

        Warns:
            UserWarning: the motion is not diffusive, or the frames are too far apart.
        """
        curve = self.displacements()
        if until is None:
            found = curve.diffusivity()
            value, error, window = found.value / SI, found.error / SI, found.fit
        else:
            limit = checks.positive("until", until, "fs")
            if not self.lags[1] <= limit <= self.lags[-1]:
                raise InputError(f"until = {until} fs has to lie between {self.lags[1]:g} and {self.lags[-1]:g} fs")
            window = (limit, limit)
            rows = np.array([_mean_integral(self.lags, row, window) for row in self.stretches]) / self.share
            value, error = float(rows.mean()), float(spread(rows[:, None])[0])
        if math.isnan(value):
            return math.nan, math.nan
        fine, half = (_mean_integral(self.lags[::k], self.value[::k], window) / self.share for k in (1, 2))
        coarse = abs(half - fine) / 3.0  # the error of trapezoids goes with the square of the step
        if coarse > COARSE * abs(value):
            caution(
                f"VACF of {self.species}: frames are {self.lags[1]:g} fs apart, too far for the decay of the "
                "velocities, so that D is not given; store velocities more often, or use diffusivity"
            )
            return math.nan, math.nan
        return value * SI, math.hypot(error, coarse) * SI

    def density_of_states(self, *, width: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
        """Vibrational density of states: wavenumbers in 1/cm, and the density in cm, normalised to one.

        Args:
            width: 1/cm, standard deviation of the Gaussian that the finite length is smoothed with.

        Raises:
            InputError: a width that is not positive.
        """
        width = checks.number("width", width, "1/cm", above=0.0, most=1e4)
        step = float(self.lags[1] - self.lags[0])
        # A Gaussian in time is one in frequency: σ_t = 1 / (2π σ_ν).
        window = np.exp(-0.5 * (2.0 * math.pi * self.lags * width / WAVENUMBER) ** 2)
        padded = 8 * len(self.lags)
        even = np.concatenate([self.value * window, np.zeros(padded - 2 * len(self.lags) + 1)])
        even = np.concatenate([even, (self.value * window)[:0:-1]])
        spectrum = np.fft.rfft(even).real * step
        wavenumbers = np.fft.rfftfreq(len(even), step) * WAVENUMBER
        return wavenumbers, spectrum / (spectrum.sum() * (wavenumbers[1] - wavenumbers[0]))

    def plot(self, ax: Any = None) -> Any:
        """Draw the function, normalised, with a band of one standard error; returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.vacf(self, ax)

    def to_csv(self, path: str | Path) -> None:
        """Write a table: lag in fs, C and its error in Å²/fs²."""
        table = np.column_stack([self.lags, self.value, self.error])
        with saving(path) as temporary:
            np.savetxt(temporary, table, delimiter=",", header="lag_fs,vacf_A2_fs2,error_A2_fs2", comments="")

    def to_json(self, path: str | Path) -> None:
        """Write the diffusion coefficient of the default limit; NaN is stored as null."""
        value, error = self.diffusivity()
        content = {
            "species": self.species,
            "diffusivity_m2_s": finite(value),
            "error_m2_s": finite(error),
            "degrees_of_freedom": self.freedom,
        }
        write_text(path, json.dumps(content, indent=1) + "\n")

    def __repr__(self) -> str:
        return (
            f"VACF of {self.species}: {counted(len(self.lags), 'lag')} to {self.lags[-1] / 1e3:.4g} ps, "
            f"{counted(len(self.stretches), 'stretch', 'stretches')}; <v²> = "
            f"{plus_minus(self.value[0], self.error[0], unit='Å²/fs²')}"
        )


def _twice(lags: np.ndarray, row: np.ndarray) -> np.ndarray:
    """2 ∫ (t - s) C(s) ds up to each lag, by trapezoids."""
    return 2.0 * cumulative_trapezoid(cumulative_trapezoid(row, lags, initial=0.0), lags, initial=0.0)


def _mean_integral(lags: np.ndarray, row: np.ndarray, window: tuple[float, float]) -> float:
    """Mean over a window of ∫ C dt / 3 up to its times, Å²/fs."""
    integral = cumulative_trapezoid(row, lags, initial=0.0) / 3.0
    return float(np.mean(np.interp(np.linspace(*window, 100), lags, integral)))


def vacf(
    source: Any,
    species: str | None = None,
    *,
    discard: int | None = None,
    stretches: int | None = None,
    weighted: bool = False,
) -> VACFResult:
    """Velocity autocorrelation function, over all time origins.

    Velocities are relative to the centre of mass, unless it moves as independent atoms move it.

    It needs frames that are denser than the fastest vibration (a frame each 2 fs for O-H) and velocities in them.

    Args:
        source: a run, a `Trajectory` with velocities, a file or a run folder; frames equally spaced in time.
        species: chemical symbol; all atoms by default.
        discard: frames left out at the start; by default what a run counts as its equilibration, and none of a
            trajectory or file.
        stretches: parts of each replica whose spread gives the errors; eight parts in all by default.
        weighted: by the mass of the atoms relative to their mean, as the density of states of a mixture asks for.

    Raises:
        InputError: no velocities, no such species, too few frames, or frames that are not equally spaced.
    """
    weighted = checks.flag("weighted", weighted)
    trajectory = analysed(source, discard)
    if trajectory.velocities is None:
        raise InputError(
            "the frames hold no velocities; simulate with save_velocities=True, or read a file that holds them"
        )
    everyone = np.tile(np.arange(trajectory.num_atoms), (trajectory.replicas, 1))
    members = everyone if species is None else members_of(trajectory, species)
    slices, lags = stretches_of(trajectory, stretches, "a velocity autocorrelation")
    rows, shares = [], []
    for replica, chosen in enumerate(members):
        masses = trajectory.masses[replica, chosen]
        factor = np.sqrt(masses / masses.mean()) if weighted else np.ones(len(chosen))
        velocities = np.asarray(trajectory.velocities[:, replica], np.float64)
        check_finite(velocities, trajectory, 0, replica, "velocity")
        everything = np.asarray(trajectory.masses[replica], np.float64)
        followed = follow_velocities(velocities, everything, float(lags[1]), len(lags) // 2)
        shares.append(float(np.mean(followed.share[chosen])))
        velocities = followed.positions[:, chosen] * factor[:, None]
        rows += [autocorrelation(velocities[part])[: len(lags)] for part in slices]
    table = np.array(rows)
    return VACFResult(species or "all", lags, table.mean(axis=0), spread(table), table, float(np.mean(shares)))
