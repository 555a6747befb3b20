"""Ionic conductivity from the displacement of charge, with and without the correlations between ions.

    σ_ab = lim d/dt <ΔP_a(t) · ΔP_b(t)> / (6 V k_B T),   P_a = Σ q_i r_i over the ions of species a,

relative to the centre of mass (Einstein and Helfand). σ = Σ_ab σ_ab; without correlations it is the sum of
q² N D / (V k_B T) (Nernst and Einstein). The share t_a = Σ_b σ_ab / σ is the transport number of a in that frame.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxelyte import checks, units
from jaxelyte.arrays import finite
from jaxelyte.build import CHARGES
from jaxelyte.checks import caution
from jaxelyte.errors import InputError
from jaxelyte.observables.blocks import FEWEST
from jaxelyte.observables.center import follow
from jaxelyte.observables.diffusion import WINDOW
from jaxelyte.observables.diffusive import Chosen, change_of_slope, choose_window, first_time, remedy, shape_of
from jaxelyte.observables.provenance import warn_of_thermostat
from jaxelyte.observables.sampling import analysed
from jaxelyte.observables.series import (
    Stretches,
    exponent,
    line,
    mean_squared_displacement,
    members_of,
    spread,
    stretches_of,
    temperature_of,
    window_of,
    within,
)
from jaxelyte.plots.rich import Rich
from jaxelyte.storage import saving, write_text
from jaxelyte.trajectory import Trajectory
from jaxelyte.wording import plus_minus

SIEMENS_PER_METRE = 1.602176634e6
"""S/m in one e²/(Å fs eV)."""


@dataclass(frozen=True)
class ConductivityResult(Rich):
    """Ionic conductivity of a solution.

    Attributes:
        species: the ions, in the order of the arrays.
        value: S/m, correlations of the ions included; NaN, like all that follows, where the ions do not diffuse.
        error: standard error in S/m, from the spread between stretches of the run; NaN for a single one.
        nernst_einstein: S/m, of ions that move independently.
        nernst_einstein_error: S/m.
        partial: (species, species), S/m, σ_ab.
        transport: (species,), transport numbers relative to the centre of mass; they add up to one.
        transport_error: (species,).
        fit: window of the straight lines in fs.
        exponent: α of the displacement ~ t^α there; one where the motion is diffusive.
        lags: (lags,), fs.
        displacement: (lags,), e² Å², mean squared displacement of the charge.
        displacement_error: (lags,), its standard error from the spread between stretches; NaN for fewer than four.
        freedom: degrees of freedom of the errors (Student's t): stretches less one; 0 without errors.
    """

    species: tuple[str, ...]
    value: float
    error: float
    nernst_einstein: float
    nernst_einstein_error: float
    partial: np.ndarray
    transport: np.ndarray
    transport_error: np.ndarray
    fit: tuple[float, float]
    exponent: float
    lags: np.ndarray
    displacement: np.ndarray
    displacement_error: np.ndarray
    freedom: int = 0

    def to_json(self, path: str | Path) -> None:
        """Write the numbers; NaN is stored as null."""
        content = {
            "species": list(self.species),
            "conductivity_S_m": finite(self.value),
            "error_S_m": finite(self.error),
            "nernst_einstein_S_m": finite(self.nernst_einstein),
            "nernst_einstein_error_S_m": finite(self.nernst_einstein_error),
            "transport_numbers": [finite(x) for x in self.transport],
            "transport_errors": [finite(x) for x in self.transport_error],
            "fit_fs": list(self.fit),
            "exponent": self.exponent,
            "degrees_of_freedom": self.freedom,
        }
        write_text(path, json.dumps(content, indent=1) + "\n")

    def to_csv(self, path: str | Path) -> None:
        """Write a table: lag in fs, mean squared displacement of the charge and its error in e² Å²."""
        table, header = (self.lags, self.displacement, self.displacement_error), "lag_fs,displacement_e2_A2,error_e2_A2"
        with saving(path) as temporary:
            np.savetxt(temporary, np.column_stack(table), delimiter=",", header=header, comments="")

    def plot(self, ax: Any = None) -> Any:
        """Draw the displacement of the charge with a band of one standard error, and the window that was fitted."""
        from jaxelyte import plots

        return plots.conductivity(self, ax)

    def __repr__(self) -> str:
        if math.isnan(self.value):
            return f"σ is not known: the charge is displaced as t^{self.exponent:.2f}, not diffusive"
        numbers = ", ".join(f"t({s}) = {plus_minus(t, e)}" for s, t, e in self._rows())
        alone = plus_minus(self.nernst_einstein, self.nernst_einstein_error, unit="S/m")
        return (
            f"σ = {plus_minus(self.value, self.error, unit='S/m')}; without correlations {alone}; {numbers}; fit from "
            f"{self.fit[0] / 1e3:.4g} to {self.fit[1] / 1e3:.4g} ps, displacement ~ t^{self.exponent:.2f}"
        )

    def _rows(self) -> Any:
        return zip(self.species, self.transport, self.transport_error, strict=True)


def conductivity(
    source: Any,
    charges: Mapping[str, float],
    *,
    temperature: float | None = None,
    fit: tuple[float, float] | None = None,
    discard: int | None = None,
    stretches: int | None = None,
) -> ConductivityResult:
    """Ionic conductivity, Nernst-Einstein conductivity and transport numbers from the displacements of ions.

    It fails in short runs sooner than a diffusion coefficient does: there is one charge displacement for a whole box,
    not one for each ion, so that errors of tens of percent are usual below some ns. Self-diffusion in the
    Nernst-Einstein part is not corrected for the finite size of the cell, to which the conductivity itself hardly
    is sensitive.

    Args:
        source: see `msd`.
        charges: formal charge in e of each species of ions; solvent is left out.
        temperature: K; that of the run by default.
        fit: window of the straight lines in fs; by default 10 to 50 % of the longest lag, or later, see `diffusivity`;
            where the ions do not diffuse there is a warning and no value (NaN).
        discard: frames left out at the start; by default what a run counts as its equilibration, and none of a
            trajectory or file.
        stretches: parts of each replica whose spread gives the errors; eight parts in all by default.

    Raises:
        InputError: see `msd`; no temperature, no periodic cell, or charges that do not add up to zero.

    Warns:
        UserWarning: no value, doubtful charges or lines, or a run whose thermostat changes motion.
    """
    trajectory = analysed(source, discard)
    temperature = temperature_of(source) if temperature is None else temperature
    if temperature is None:
        raise InputError("a conductivity needs a temperature: pass temperature= in K")
    temperature = checks.quantity("temperature", temperature, "temperature")
    charges = _checked(charges)
    if not all(trajectory.pbc):
        raise InputError("a conductivity needs a volume, so a cell that is periodic in all directions")
    chosen = {name: members_of(trajectory, name) for name in charges}
    net = sum(charges[name] * members.shape[1] for name, members in chosen.items())
    if abs(net) > 1e-6:
        raise InputError(f"the ions carry {net:+g} e together; give the charges of all of them")
    parts = stretches_of(trajectory, stretches, "a conductivity")
    lags = parts.lags
    window = window_of(fit, (WINDOW[0] * float(lags[-1]), WINDOW[1] * float(lags[-1])))
    within(lags, window)  # before anything is computed
    moved = _displacements(trajectory, charges, chosen, parts)
    sizes = {name: members.shape[1] * charges[name] ** 2 for name, members in chosen.items()}
    curves = {name: moved.free[:, n] / sizes[name] for n, name in enumerate(charges) if charges[name]}
    if fit is None:
        masses = {name: float(trajectory.masses[0, chosen[name][0]].mean()) for name in curves}
        window, reason = _default_window(curves, lags, masses, temperature)
    else:
        shapes = {name: shape_of(lags, rows, window) for name, rows in curves.items()}
        reason = next((f"{name} {shape.reason}" for name, shape in shapes.items() if shape.reason), "")
    inside = within(lags, window)
    volume = float(np.mean(np.abs(np.linalg.det(trajectory.cells.reshape(-1, 3, 3)))))
    scale = SIEMENS_PER_METRE / (6.0 * volume * units.BOLTZMANN * temperature)
    table, free = scale * _slopes(moved.mixed, lags, inside), scale * _slopes(moved.free, lags, inside).sum(axis=1)
    partial, total = table.mean(axis=0), table.sum(axis=(1, 2))
    displacement = moved.mixed.sum(axis=(1, 2)).mean(axis=0)
    late = [
        scale * change_of_slope(lags, rows, window) for rows in (moved.mixed.sum(axis=(1, 2)), moved.free.sum(axis=1))
    ]
    value, error = float(total.mean()), math.hypot(float(spread(total[:, None])[0]), late[0])
    if reason and fit is None:
        value = error = late[1] = math.nan
        table, free, partial = (np.full_like(array, np.nan) for array in (table, free, partial))
    _warn(value, error, reason, lags)
    warn_of_thermostat(source, "conductivity")
    return ConductivityResult(
        species=tuple(charges),
        value=value,
        error=error,
        nernst_einstein=float(free.mean()),
        nernst_einstein_error=math.hypot(float(spread(free[:, None])[0]), late[1]),
        partial=partial,
        transport=partial.sum(axis=1) / partial.sum(),
        transport_error=_share_errors(table),
        fit=window,
        exponent=exponent(lags[inside], displacement[inside]),
        lags=lags,
        displacement=displacement,
        displacement_error=spread(moved.mixed.sum(axis=(1, 2))),
        freedom=len(total) - 1 if math.isfinite(error) else 0,
    )


class _Displacements(NamedTuple):
    """Mean squared displacements of stretches in e² Å².

    Attributes:
        mixed: (stretches, species, species, lags), of the charge, <ΔP_a · ΔP_b>.
        free: (stretches, species, lags), as if each ion moved alone, N q² MSD.
    """

    mixed: np.ndarray
    free: np.ndarray


def _checked(charges: Mapping[str, float]) -> dict[str, float]:
    """Charges of ions in e.

    Raises:
        InputError: no charge at all, or one that no ion has.
    """
    found = {
        name: checks.quantity(f"charges[{name!r}]", charge, "charge", zero=True, signed=True)
        for name, charge in checks.mapping("charges", charges, "{'Na': 1.0, 'Cl': -1.0}").items()
    }
    if not any(found.values()):
        raise InputError(f"charges = {found}: give those of the ions in e, such as {{'Na': 1.0, 'Cl': -1.0}}")
    _doubt(found)
    return found


def _doubt(charges: dict[str, float]) -> None:
    """Warn of charges that ions do not have in water (scaled ones from 0.6 on are usual), and of atoms of molecules."""
    odd = [
        f"{name} has {q:+g} e instead of {CHARGES[name]:+d} e"
        for name, q in charges.items()
        if name in CHARGES and not 0.6 <= q / CHARGES[name] <= 1.01
    ]
    if odd:
        checks.caution(f"conductivity: {', '.join(odd)}; the result goes with the square of the charges")
    bound = [name for name in ("H", "C", "N", "O") if charges.get(name)]
    if bound:
        checks.caution(
            f"conductivity: {', '.join(bound)} are atoms of molecules; transport numbers and the value without "
            "correlations have no meaning for them: leave neutral molecules out"
        )


def _displacements(
    trajectory: Trajectory, charges: Mapping[str, float], chosen: Mapping[str, np.ndarray], stretches: Stretches
) -> _Displacements:
    """All displacements of all stretches; the frames of a replica are read once."""
    names, count, mixed, free = list(charges), len(stretches.lags), [], []
    for replica in range(trajectory.replicas):
        followed = follow(trajectory, replica, count // 2)
        alone = followed.positions / np.sqrt(followed.share)[:, None]
        ions = [(charges[name], chosen[name][replica]) for name in names]
        for part in stretches.slices:
            each = [charge * alone[part][:, atoms] for charge, atoms in ions]
            free.append([x.shape[1] * mean_squared_displacement(x)[:count] for x in each])
            moments = [charge * followed.relative[part][:, atoms].sum(axis=1, keepdims=True) for charge, atoms in ions]
            square = np.empty((len(names), len(names), count))
            for i, a in enumerate(moments):
                square[i, i] = mean_squared_displacement(a)[:count]
                for j in range(i):  # mixed ones by the square of the sum
                    both = mean_squared_displacement(a + moments[j])[:count]
                    square[i, j] = square[j, i] = 0.5 * (both - square[i, i] - square[j, j])
            mixed.append(square)
    return _Displacements(np.array(mixed), np.array(free))


def _slopes(curves: np.ndarray, lags: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Slopes of curves (..., lags) within the window."""
    return np.apply_along_axis(lambda curve: line(lags[inside], curve[inside])[0], -1, curves)


def _default_window(
    curves: Mapping[str, np.ndarray], lags: np.ndarray, masses: Mapping[str, float], temperature: float
) -> Chosen:
    """The default window, in which all ions diffuse, and why there is none.

    Args:
        curves: (stretches, lags), Å², mean squared displacement of each species of ions.
        lags: fs.
        masses: g/mol, of each species.
        temperature: K.
    """
    inside = within(lags, (WINDOW[0] * float(lags[-1]), WINDOW[1] * float(lags[-1])))
    starts = []
    for name, rows in curves.items():
        speed = 3.0 * units.BOLTZMANN * temperature * units.ACCELERATION / masses[name]
        slope = line(lags[inside], rows.mean(axis=0)[inside])[0]
        starts.append(first_time(lags, rows.mean(axis=0), speed, slope / 6.0))
    latest = max(starts, key=lambda start: start.time)
    found = choose_window(lags, list(curves.values()), latest, WINDOW)
    return Chosen(found.window, f"ions {found.reason}" if found.reason else "")


def _warn(value: float, error: float, reason: str, lags: np.ndarray) -> None:
    """Warn where the ions do not diffuse yet, or the error is large."""
    if reason:
        end = "no value is given" if math.isnan(value) else "the value means nothing yet"
        caution(f"conductivity: MSD of {reason}: not diffusive, so that {end}; {remedy(lags)}")
    if math.isfinite(error) and error > 0.3 * abs(value):
        caution(f"conductivity: {plus_minus(value, error, unit='S/m')}: the run is too short for it")


def _share_errors(table: np.ndarray) -> np.ndarray:
    """Standard errors of the transport numbers by the jackknife over stretches."""
    count = len(table)
    if count < FEWEST:
        return np.full(table.shape[1], np.nan)
    others = (table.sum(axis=0) - table) / (count - 1)
    shares = others.sum(axis=2) / others.sum(axis=(1, 2))[:, None]
    return np.sqrt((count - 1) / count * np.sum((shares - shares.mean(axis=0)) ** 2, axis=0))
