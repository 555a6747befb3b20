"""Mean squared displacements over all time origins, and the self-diffusion coefficients that follow.

MSD(t) = <|r_i(s + t) - r_i(s)|²> over atoms i and origins s, by the Fourier transform of positions (Calandrini et al.,
Collection SFN 12, 201 (2011)): as exact as the double sum, in N log N. D = slope / 6 (Einstein). Finite cells slow
diffusion down by the hydrodynamic interaction with the images (Yeh and Hummer, J. Phys. Chem. B 108, 15873 (2004)).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxelyte import checks, units
from jaxelyte.arrays import finite
from jaxelyte.checks import caution
from jaxelyte.errors import InputError
from jaxelyte.observables.center import follow
from jaxelyte.observables.diffusive import Start, change_of_slope, choose_window, first_time, remedy, shape_of
from jaxelyte.observables.provenance import warn_of_thermostat
from jaxelyte.observables.sampling import LEAST_VOLUME, analysed
from jaxelyte.observables.series import (
    exponent,
    line,
    mean_squared_displacement,
    members_of,
    spread,
    spread_freedom,
    stretches_of,
    temperature_of,
    window_of,
    within,
)
from jaxelyte.observables.unwrapping import unwrapped
from jaxelyte.plots.rich import Rich
from jaxelyte.storage import saving, write_text
from jaxelyte.system import perpendicular_widths
from jaxelyte.trajectory import Trajectory
from jaxelyte.wording import counted, plus_minus

SI = 1e-5
"""m²/s in one Å²/fs."""

WINDOW = (0.1, 0.5)
"""Of the longest lag; where the straight line is fitted by default, if the motion is diffusive there."""

TABLE_WINDOW = (0.01, 0.3)
"""The same for tables, which often are of a single origin, as long as the run, and noise at their end."""

SOME = 20
"""Frames that the mean squared velocity is taken from."""


@dataclass(frozen=True)
class MSDResult(Rich):
    """Mean squared displacement of one species.

    Attributes:
        species: chemical symbol.
        lags: (lags,), fs.
        value: (lags,), Å².
        error: (lags,), standard error from the spread between stretches; NaN where there are fewer than four.
        stretches: (stretches, lags), Å², of independent parts of the run.
        cell: (3, 3), Å, mean cell; None where it is not known.
        temperature: K, where it is known.
        window: of the longest lag, where a line is fitted by default.
        mass: g/mol, of an atom; None where it is not known.
        speed: Å²/fs², mean squared velocity; None where it is not known.
    """

    species: str
    lags: np.ndarray
    value: np.ndarray
    error: np.ndarray
    stretches: np.ndarray
    cell: np.ndarray | None = None
    temperature: float | None = None
    window: tuple[float, float] = WINDOW
    mass: float | None = None
    speed: float | None = None

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the errors (Student's t): stretches less one; 0 without errors."""
        return spread_freedom(self.stretches)

    @classmethod
    def from_arrays(
        cls,
        lags: np.ndarray,
        msd: np.ndarray,
        *,
        species: str = "X",
        cell: Any = None,
        temperature: float | None = None,
    ) -> MSDResult:
        """A result from a table.

        Args:
            lags: (lags,), fs, rising.
            msd: (lags,) or (stretches, lags), Å²; several rows are independent runs.
            species: what moves.
            cell: edge of a cube or (3, 3) lattice vectors, Å.
            temperature: K.

        Raises:
            InputError: arrays of different lengths, lags that do not rise, values that are not finite.
        """
        lags, rows = checks.array("lags", lags, (None,), "fs"), np.atleast_2d(checks.array("msd", msd, None, "Å²"))
        if not isinstance(species, str) or not species:
            raise InputError(f"species must be a name, not {checks.shown(species)}")
        if temperature is not None:
            temperature = checks.quantity("temperature", temperature, "temperature")
        if lags.ndim != 1 or rows.ndim != 2 or rows.shape[1] != len(lags) or len(lags) < 3:
            raise InputError(
                f"lags {lags.shape} and msd {rows.shape} have to be (lags,) and (lags,) or (stretches, lags)"
            )
        if np.any(np.diff(lags) <= 0) or lags[0] < 0.0 or np.any(rows < 0.0):
            raise InputError("lags have to rise from 0 on, in fs, and squared displacements, in Å², are never negative")
        box = None if cell is None else _box(cell)
        return cls(species, lags, rows.mean(axis=0), spread(rows), rows, box, temperature, TABLE_WINDOW)

    def diffusivity(
        self,
        *,
        fit: tuple[float, float] | None = None,
        viscosity: float | None = None,
        temperature: float | None = None,
    ) -> DiffusivityResult:
        """Self-diffusion coefficient by a straight line; see `diffusivity`.

        Raises:
            InputError: a window that holds fewer than three lags; a viscosity without cell or temperature.

        Warns:
            UserWarning: the motion is not diffusive in the window; the default window gives no value then (NaN).
        """
        if temperature is None:
            temperature = self.temperature
        else:
            temperature = checks.quantity("temperature", temperature, "temperature")
        if viscosity is not None:
            viscosity = checks.quantity("viscosity", viscosity, "viscosity")
        if fit is None:
            window, reason = choose_window(self.lags, [self.stretches], self._start(temperature), self.window)
        else:
            window, reason = window_of(fit, (0.0, 0.0)), ""
        inside = within(self.lags, window)
        if fit is not None:
            reason = shape_of(self.lags, self.stretches, window).reason
        slopes = np.array([line(self.lags[inside], row[inside])[0] for row in self.stretches])
        slope, intercept = line(self.lags[inside], self.value[inside])
        error = math.hypot(float(spread(slopes[:, None])[0]), change_of_slope(self.lags, self.stretches, window))
        if reason:
            self._warn(reason, fit is None)
        if reason and fit is None:
            slope = intercept = error = math.nan
        correction = 0.0
        if viscosity is not None:
            correction = _correction(self.cell, temperature, viscosity)
        return DiffusivityResult(
            species=self.species,
            value=slope / 6.0 * SI + correction,
            error=error / 6.0 * SI,
            uncorrected=slope / 6.0 * SI,
            correction=correction,
            fit=window,
            intercept=intercept,
            exponent=exponent(self.lags[inside], self.value[inside]),
            msd=self,
        )

    def _start(self, temperature: float | None) -> Start:
        """Where the default window may begin."""
        usual = self.window[0] * float(self.lags[-1]), self.window[1] * float(self.lags[-1])
        inside = within(self.lags, usual)
        slope = line(self.lags[inside], self.value[inside])[0]
        speed = self.speed
        if speed is None and self.mass is not None and temperature is not None:
            speed = 3.0 * units.BOLTZMANN * temperature * units.ACCELERATION / self.mass
        return first_time(self.lags, self.value, speed, slope / 6.0)

    def _warn(self, reason: str, refused: bool) -> None:
        caution(
            f"MSD of {self.species} {reason}: not diffusive, so that D "
            f"{'is not given' if refused else 'means nothing yet'}; {remedy(self.lags)}"
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw the curve with a band of one standard error; returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.msd(self, ax)

    def to_csv(self, path: str | Path) -> None:
        """Write a table: lag in fs, MSD and its error in Å²."""
        columns = np.column_stack([self.lags, self.value, self.error])
        with saving(path) as temporary:
            np.savetxt(temporary, columns, delimiter=",", header="lag_fs,msd_A2,error_A2", comments="")

    def __repr__(self) -> str:
        at = len(self.lags) // 2
        middle = plus_minus(self.value[at], self.error[at], unit="Å²")
        return (
            f"MSD of {self.species}: {counted(len(self.lags), 'lag')} to {self.lags[-1] / 1e3:.4g} ps, "
            f"{counted(len(self.stretches), 'stretch', 'stretches')}; {middle} at {self.lags[at] / 1e3:.4g} ps"
        )


def _box(cell: Any) -> np.ndarray:
    """Lattice vectors (3, 3) in Å, of the edge of a cube or as given.

    Raises:
        InputError: neither, or a cell without volume.
    """
    found = checks.array("cell", cell, None, "Å")
    if found.ndim == 0:
        found = np.eye(3) * checks.quantity("cell", cell, "edge")
    if found.shape != (3, 3) or abs(np.linalg.det(found)) < LEAST_VOLUME:
        raise InputError("cell must be the edge of a cube or lattice vectors (3, 3) in Å, with a volume")
    return found


@dataclass(frozen=True)
class DiffusivityResult(Rich):
    """A self-diffusion coefficient.

    Attributes:
        species: chemical symbol.
        value: m²/s, finite-size correction included where a viscosity was given; NaN where the motion is not diffusive.
        error: standard error in m²/s, from the spread between stretches of the run; NaN for fewer than four.
        uncorrected: m²/s.
        correction: m²/s.
        fit: window of the straight line in fs.
        intercept: of the straight line, Å².
        exponent: α of MSD ~ t^α within the window; one where the motion is diffusive.
        msd: the curve.
        freedom: degrees of freedom of the error (Student's t): stretches less one; 0 without an error.
    """

    species: str
    value: float
    error: float
    uncorrected: float
    correction: float
    fit: tuple[float, float]
    intercept: float
    exponent: float
    msd: MSDResult

    @property
    def freedom(self) -> int:
        return len(self.msd.stretches) - 1 if math.isfinite(self.error) else 0

    def plot(self, ax: Any = None) -> Any:
        """Draw the MSD and the line fitted to it; returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.diffusivity(self, ax)

    def to_csv(self, path: str | Path) -> None:
        """Write the MSD; see `MSDResult.to_csv`."""
        self.msd.to_csv(path)

    def to_json(self, path: str | Path) -> None:
        """Write the numbers; NaN is stored as null."""
        content = {
            "species": self.species,
            "diffusivity_m2_s": finite(self.value),
            "error_m2_s": finite(self.error),
            "degrees_of_freedom": self.freedom,
            "uncorrected_m2_s": finite(self.uncorrected),
            "finite_size_correction_m2_s": self.correction,
            "fit_fs": list(self.fit),
            "exponent": self.exponent,
        }
        write_text(path, json.dumps(content, indent=1) + "\n")

    def __repr__(self) -> str:
        if math.isnan(self.value):
            return f"D({self.species}) is not known: MSD ~ t^{self.exponent:.2f}, not diffusive"
        with_images = f" (finite-size correction of {self.correction:.3g} m²/s included)" if self.correction else ""
        return (
            f"D({self.species}) = {plus_minus(self.value, self.error, unit='m²/s')}{with_images}; fit from "
            f"{self.fit[0] / 1e3:.4g} to {self.fit[1] / 1e3:.4g} ps, MSD ~ t^{self.exponent:.2f}"
        )


def msd(
    source: Any,
    species: str,
    *,
    discard: int | None = None,
    stretches: int | None = None,
    drift: bool = True,
    temperature: float | None = None,
) -> MSDResult:
    """Mean squared displacement of the atoms of a species, over all time origins.

    The run is cut into stretches, each with origins of its own; lags go to half a stretch.

    Args:
        source: a run, a `Trajectory`, ``ase.Atoms`` in a list, a trajectory file or a run folder. Frames have to be
            equally spaced in time. Positions that keep to one cell and jump across it are unwrapped, which needs
            frames so dense that no atom moves half a cell between two.
        species: chemical symbol.
        discard: frames left out at the start; by default what a run counts as its equilibration, and none of a
            trajectory or file.
        stretches: parts of each replica; eight parts in all by default.
        drift: take out the motion of the centre of mass, unless it is that of independent atoms, and correct for what
            single atoms lack then, see `jaxelyte.observables.center`. False takes positions as they are.
        temperature: K, kept for the finite-size correction; that of the run by default.

    Raises:
        InputError: too few frames, a species that is not there, or frames that are not equally spaced.
    """
    drift = checks.flag("drift", drift)
    trajectory = analysed(source, discard)
    chosen = members_of(trajectory, species)
    slices, lags = stretches_of(trajectory, stretches, "a mean squared displacement")
    rows = []
    for replica in range(trajectory.replicas):
        atoms = chosen[replica]
        if drift:
            followed = follow(trajectory, replica, len(lags) // 2)
            positions = followed.positions[:, atoms] / np.sqrt(followed.share[atoms])[:, None]
        else:
            positions = unwrapped(trajectory, replica, drift=False)[:, atoms]
        rows += [mean_squared_displacement(positions[part])[: len(lags)] for part in slices]
    table = np.array(rows)
    cell = trajectory.cells.reshape(-1, 3, 3).mean(axis=0) if all(trajectory.pbc) else None
    if temperature is None:
        found = temperature_of(source)
    else:
        found = checks.quantity("temperature", temperature, "temperature")
    mass = float(np.mean([trajectory.masses[replica, atoms] for replica, atoms in enumerate(chosen)]))
    speed = _mean_square_speed(trajectory, chosen)
    return MSDResult(species, lags, table.mean(axis=0), spread(table), table, cell, found, mass=mass, speed=speed)


def _mean_square_speed(trajectory: Trajectory, chosen: np.ndarray) -> float | None:
    """Of the chosen atoms in Å²/fs², from some frames; None without velocities."""
    if trajectory.velocities is None:
        return None
    frames = np.unique(np.linspace(0, len(trajectory) - 1, SOME).astype(int))
    parts = [np.asarray(trajectory.velocities[f])[r, atoms] for f in frames for r, atoms in enumerate(chosen)]
    found = float(np.mean(np.sum(np.asarray(parts, np.float64) ** 2, axis=-1)))
    return found if math.isfinite(found) and found > 0.0 else None


def diffusivity(
    source: Any,
    species: str | None = None,
    *,
    viscosity: float | None = None,
    temperature: float | None = None,
    fit: tuple[float, float] | None = None,
    discard: int | None = None,
    stretches: int | None = None,
) -> DiffusivityResult:
    """Self-diffusion coefficient by Einstein's relation, D = lim MSD / 6t.

    With a viscosity, the Yeh-Hummer correction k_B T ξ / (6π η L) is added; for a cube ξ = 2.837297, for other cells
    the sum over the lattice itself is taken.

    It fails in short runs: until atoms have left their cages (a few ps in water) the MSD is not linear. The default
    window therefore begins no earlier than 20 decay times of the velocity, and not before the atoms have moved by 2.4
    Å, beyond their cage; a run has to be 32 times longer than that takes (160 ps for D = 2e-9 m²/s), or half of it with
    ``stretches=4``. Where the MSD is not straight over the decade of lags that the window ends with, a later window is
    tried. See `jaxelyte.observables.diffusive`. Where no window is left there is a warning and no value (NaN). A window
    that is given is used, with a warning. Thermostats that act on single atoms (Langevin, massive chains) change
    diffusion: runs and run folders name theirs, and a warning follows; trajectories do not. A slow process that the run
    is too short to show is not noticed.

    Args:
        source: see `msd`; or a `MSDResult`.
        species: chemical symbol.
        viscosity: of the solution, Pa s (that of water at 25 °C is 0.89e-3); None for no correction.
        temperature: K; that of the run by default.
        fit: window of the straight line in fs; 10 to 50 % of the longest lag by default (of a table, see
            `MSDResult.from_arrays`, 1 to 30 %).
        discard: frames left out at the start; by default what a run counts as its equilibration, and none of a
            trajectory or file.
        stretches: see `msd`.

    Raises:
        InputError: see `msd`; a correction without a periodic cell or a temperature.

    Warns:
        UserWarning: no value, a doubtful window, or a run whose thermostat changes motion.
    """
    if isinstance(source, MSDResult):
        return source.diffusivity(fit=fit, viscosity=viscosity, temperature=temperature)
    if species is None:
        raise InputError("name the species, diffusivity(run, 'Na')")
    curve = msd(source, species, discard=discard, stretches=stretches, temperature=temperature)
    warn_of_thermostat(source, "diffusion")
    return curve.diffusivity(fit=fit, viscosity=viscosity)


def finite_size_correction(cell: np.ndarray | None, temperature: float | None, viscosity: float) -> float:
    """What the images take away from a self-diffusion coefficient, in m²/s (Yeh and Hummer 2004, Eq. 12).

    The mean mobility in a periodic cell lacks 1/(6π η) times the potential that the lattice of images and a
    neutralising background have at a particle, since the trace of the Oseen tensor is 1/(2π η r): in any cell.

    Args:
        cell: (3, 3), Å.
        temperature: K.
        viscosity: Pa s.

    Raises:
        InputError: one of them is missing or not positive.
    """
    viscosity = checks.quantity("viscosity", viscosity, "viscosity")
    if temperature is not None:
        temperature = checks.quantity("temperature", temperature, "temperature")
    return _correction(cell, temperature, viscosity)


def _correction(cell: np.ndarray | None, temperature: float | None, viscosity: float) -> float:
    """`finite_size_correction` of values that have been checked."""
    if cell is None or temperature is None:
        missing = "a periodic cell" if cell is None else "a temperature: pass temperature= in K"
        raise InputError(f"the finite-size correction needs {missing}")
    potential = lattice_potential(np.asarray(cell, np.float64))  # 1/Å, negative
    boltzmann = units.BOLTZMANN * 1.602176634e-19  # J/K
    return -potential * 1e10 * boltzmann * temperature / (6.0 * math.pi * viscosity)


def lattice_potential(cell: np.ndarray) -> float:
    """Potential in 1/Å at a unit charge, of its images and a neutralising background (Ewald, to twelve digits)."""
    volume = abs(np.linalg.det(cell))
    alpha = math.sqrt(math.pi) / volume ** (1.0 / 3.0)
    reach = 6.0
    inverse = 2.0 * math.pi * np.linalg.inv(cell).T
    total = -2.0 * alpha / math.sqrt(math.pi) - math.pi / (alpha**2 * volume)
    for lattice, cutoff in ((cell, reach / alpha), (inverse, 2.0 * reach * alpha)):
        widths = perpendicular_widths(lattice)
        counts = np.ceil(cutoff / widths).astype(int)
        steps = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in counts], indexing="ij"), axis=-1).reshape(-1, 3)
        length = np.linalg.norm(steps @ lattice, axis=1)
        length = length[(length > 1e-9) & (length <= cutoff)]
        if lattice is cell:
            from scipy.special import erfc

            total += np.sum(erfc(alpha * length) / length)
        else:
            total += 4.0 * math.pi / volume * np.sum(np.exp(-(length**2) / (4.0 * alpha**2)) / length**2)
    return float(total)
