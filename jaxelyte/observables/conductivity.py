"""Ionic conductivity from the displacement of charge, with and without the correlations between ions.

    σ_ab = lim d/dt <ΔP_a(t) · ΔP_b(t)> / (6 V k_B T),   P_a = Σ q_i r_i over the ions of species a,

relative to the centre of mass (Einstein and Helfand). σ = Σ_ab σ_ab; without correlations it is the sum of
q² N D / (V k_B T) (Nernst and Einstein). The share t_a = Σ_b σ_ab / σ is the transport number of a in that frame.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from jaxelyte import units
from jaxelyte.errors import InputError
from jaxelyte.observables.diffusion import (
    STRETCHES,
    WINDOW,
    MSDResult,
    _interval,
    _line,
    _msd_fft,
    _positions,
    _spread,
    _temperature,
    msd,
)
from jaxelyte.observables.sampling import as_trajectory

SIEMENS_PER_METRE = 1.602176634e6
"""S/m in one e²/(Å fs eV)."""


@dataclass(frozen=True)
class ConductivityResult:
    """Ionic conductivity of a solution.

    Attributes:
        species: the ions, in the order of the arrays.
        value: S/m, correlations of the ions included.
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

    def to_json(self, path: str | Path) -> None:
        """Write the numbers; NaN is stored as null."""
        content = {
            "species": list(self.species),
            "conductivity_S_m": self.value,
            "error_S_m": _number(self.error),
            "nernst_einstein_S_m": self.nernst_einstein,
            "nernst_einstein_error_S_m": _number(self.nernst_einstein_error),
            "transport_numbers": self.transport.tolist(),
            "transport_errors": [_number(x) for x in self.transport_error],
            "fit_fs": list(self.fit),
            "exponent": self.exponent,
        }
        Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def to_csv(self, path: str | Path) -> None:
        """Write a table: lag in fs, mean squared displacement of the charge in e² Å²."""
        table = np.column_stack([self.lags, self.displacement])
        np.savetxt(path, table, delimiter=",", header="lag_fs,displacement_e2_A2", comments="")

    def plot(self, ax: Any = None) -> Any:
        """Draw the displacement of the charge; returns the matplotlib axes."""
        from jaxelyte import plots

        curve = MSDResult(
            "charge", self.lags, self.displacement, np.full(len(self.lags), np.nan), self.displacement[None]
        )
        ax = plots.msd(curve, ax)
        ax.set_ylabel("displacement of the charge / e² Å²")
        return ax

    def __repr__(self) -> str:
        numbers = ", ".join(f"t({s}) = {t:.2f} ± {e:.2f}" for s, t, e in self._rows())
        return (
            f"σ = {self.value:.2f} ± {self.error:.2f} S/m; without correlations {self.nernst_einstein:.2f} ± "
            f"{self.nernst_einstein_error:.2f} S/m; {numbers}; "
            f"fit from {self.fit[0] / 1e3:g} to {self.fit[1] / 1e3:g} ps, displacement ~ t^{self.exponent:.2f}"
        )

    def _rows(self) -> Any:
        return zip(self.species, self.transport, self.transport_error, strict=True)


def conductivity(
    source: Any,
    charges: Mapping[str, float],
    *,
    temperature: float | None = None,
    fit: tuple[float, float] | None = None,
    discard: int = 0,
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
        fit: window of the straight lines in fs; 10 to 50 % of the longest lag by default.
        discard: frames left out at the start, as equilibration.
        stretches: parts of each replica whose spread gives the errors; eight parts in all by default.

    Raises:
        InputError: see `msd`; no temperature, no periodic cell, or charges that do not add up to zero.
    """
    from ase.data import atomic_numbers

    trajectory = as_trajectory(source)[discard:]
    temperature = _temperature(source) if temperature is None else temperature
    if temperature is None or not temperature > 0:
        raise InputError("a conductivity needs a temperature: pass temperature= in K")
    if not all(trajectory.pbc):
        raise InputError("a conductivity needs a volume, so a cell that is periodic in all directions")
    species = tuple(charges)
    chosen = {s: np.flatnonzero(trajectory.numbers[0] == atomic_numbers.get(s, -1)) for s in species}
    for name, members in chosen.items():
        if len(members) == 0:
            raise InputError(f"there is no {name} in the trajectory")
    net = sum(charges[s] * len(chosen[s]) for s in species)
    if abs(net) > 1e-6:
        raise InputError(f"the ions carry {net:+g} e together; give the charges of all of them")
    interval = _interval(trajectory)
    each = max(1, STRETCHES // trajectory.replicas) if stretches is None else stretches
    length = len(trajectory) // each
    if length < 6:
        raise InputError(f"{len(trajectory)} frames in {each} stretches are too few for a conductivity")
    lags = interval * np.arange(length // 2 + 1)
    window = (
        (WINDOW[0] * float(lags[-1]), WINDOW[1] * float(lags[-1])) if fit is None else (float(fit[0]), float(fit[1]))
    )
    inside = (lags >= window[0]) & (lags <= window[1]) & (lags > 0)
    if np.sum(inside) < 3:
        raise InputError(
            f"fit = {window} fs holds {int(np.sum(inside))} lags of 0 to {lags[-1]:g} fs; at least "
            "three are needed: run longer, or pass fewer stretches=, whose half is the longest lag"
        )
    begin = len(trajectory) - each * length
    bounds = list(range(begin, len(trajectory) + 1, length))
    slopes, curves = [], []
    for replica in range(trajectory.replicas):
        positions = _positions(trajectory, replica, drift=True)
        moments = {s: charges[s] * positions[:, chosen[s]].sum(axis=1, keepdims=True) for s in species}
        for a, b in pairwise(bounds):
            parts = {s: moments[s][a:b] for s in species}
            slopes.append(_slopes(parts, lags, inside))
            curves.append(_msd_fft(np.sum(list(parts.values()), axis=0))[: len(lags)])
    volume = float(np.mean(np.abs(np.linalg.det(trajectory.cells.reshape(-1, 3, 3)))))
    scale = SIEMENS_PER_METRE / (6.0 * volume * units.BOLTZMANN * temperature)
    table = scale * np.array(slopes)
    partial, total = table.mean(axis=0), table.sum(axis=(1, 2))
    single = [msd(trajectory, s, stretches=each, temperature=temperature).stretches[:, inside] for s in species]
    rows = np.array([[_line(lags[inside], row)[0] for row in part] for part in single])
    factor = np.array([charges[s] ** 2 * len(chosen[s]) for s in species])
    free = scale * factor @ rows
    shares = partial.sum(axis=1) / partial.sum()
    value, error = float(total.mean()), float(_spread(total[:, None])[0])
    displacement = np.mean(curves, axis=0)
    logs = np.log(np.maximum(displacement[inside], 1e-300))
    exponent = _line(np.log(lags[inside]), logs)[0]
    free_exponent = np.mean([_line(np.log(lags[inside]), np.log(part.mean(axis=0)))[0] for part in single])
    if abs(free_exponent - 1.0) > 0.15:
        warnings.warn(
            f"conductivity: displacements of the ions grow as t^{free_exponent:.2f} between {window[0] / 1e3:g} and "
            f"{window[1] / 1e3:g} ps, so that the value means nothing yet; run longer, or pass fewer stretches= for "
            "longer lags",
            stacklevel=2,
        )
    if math.isfinite(error) and error > 0.3 * abs(value):
        warnings.warn(
            f"conductivity: {value:.2f} ± {error:.2f} S/m from {len(trajectory)} frames of {trajectory.replicas} "
            "replica(s): the run is too short for it",
            stacklevel=2,
        )
    return ConductivityResult(
        species=species,
        value=value,
        error=error,
        nernst_einstein=float(free.mean()),
        nernst_einstein_error=float(_spread(free[:, None])[0]),
        partial=partial,
        transport=shares,
        transport_error=_share_errors(table),
        fit=window,
        exponent=float(exponent),
        lags=lags,
        displacement=displacement,
    )


def _slopes(parts: Mapping[str, np.ndarray], lags: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Slopes of <ΔP_a · ΔP_b> in e² Å²/fs, (species, species); mixed ones by the square of the sum."""
    names = list(parts)
    own = [_msd_fft(parts[s])[: len(lags)] for s in names]
    out = np.zeros((len(names), len(names)))
    for i, a in enumerate(names):
        out[i, i] = _line(lags[inside], own[i][inside])[0]
        for j in range(i):
            mixed = 0.5 * (_msd_fft(parts[a] + parts[names[j]])[: len(lags)] - own[i] - own[j])
            out[i, j] = out[j, i] = _line(lags[inside], mixed[inside])[0]
    return out


def _share_errors(table: np.ndarray) -> np.ndarray:
    """Standard errors of the transport numbers by the jackknife over stretches."""
    count = len(table)
    if count < 2:
        return np.full(table.shape[1], np.nan)
    others = (table.sum(axis=0) - table) / (count - 1)
    shares = others.sum(axis=2) / others.sum(axis=(1, 2))[:, None]
    return np.sqrt((count - 1) / count * np.sum((shares - shares.mean(axis=0)) ** 2, axis=0))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
