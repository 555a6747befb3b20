"""Shear viscosity from the fluctuations of the pressure tensor (Green and Kubo).

    η = V/(10 k_B T) ∫ Σ_ab <P'_ab(0) P'_ab(t)> dt,   P' the symmetric traceless part of the pressure tensor

uses all components, five of which are independent (Daivis and Evans, J. Chem. Phys. 100, 541 (1994)). The integral is
half of the spectral density of the stress at zero frequency, see `jaxelyte.observables.spectrum`: no end of the
integral has to be chosen. (A fit to the running integral, as by Zhang, Otani and Maginn, J. Chem. Theory Comput. 11,
3537 (2015), ends where noise takes over, and cuts a slow mode off that is hidden in the noise.) The running integral is
for the eye.
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
from jaxelyte.errors import InputError
from jaxelyte.observables.recorded import PressureTensor, SeriesResult
from jaxelyte.observables.series import STRETCHES, autocorrelation, spread, spread_freedom, temperature_of
from jaxelyte.observables.spectrum import at_zero_frequency
from jaxelyte.plots.rich import Rich
from jaxelyte.storage import saving, write_text
from jaxelyte.wording import counted, plus_minus

SCALE = 1e-30 * 1e18 * 1e-15 / (units.BOLTZMANN * 1.602176634e-19)
"""Pa s K in one Å³ GPa² fs / k_B."""


@dataclass(frozen=True)
class ViscosityResult(Rich):
    """A shear viscosity.

    Attributes:
        value: Pa s.
        error: standard error in Pa s; NaN where the stress remembers as long as the run.
        freedom: degrees of freedom of the error (Student's t); 0 without one.
        temperature: K.
        volume: Å³.
        lags: (lags,), fs.
        correlation: (lags,), GPa², Σ_ab <P'_ab(0) P'_ab(t)> / 10.
        running: (lags,), Pa s, the integral up to each lag.
        running_error: (lags,), Pa s, standard error from the spread between stretches.
        running_freedom: its degrees of freedom (Student's t): stretches less one; 0 without errors.
    """

    value: float
    error: float
    freedom: float
    temperature: float
    volume: float
    lags: np.ndarray
    correlation: np.ndarray
    running: np.ndarray
    running_error: np.ndarray
    running_freedom: int

    def plot(self, ax: Any = None) -> Any:
        """Draw the running integral with its error, and the result; returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.viscosity(self, ax)

    def to_csv(self, path: str | Path) -> None:
        """Write a table: lag in fs, correlation in GPa², running integral and its error in Pa s."""
        table = np.column_stack([self.lags, self.correlation, self.running, self.running_error])
        header = "lag_fs,correlation_GPa2,running_Pa_s,error_Pa_s"
        with saving(path) as temporary:
            np.savetxt(temporary, table, delimiter=",", header=header, comments="")

    def to_json(self, path: str | Path) -> None:
        """Write the numbers; NaN is stored as null."""
        content = {
            "viscosity_Pa_s": self.value,
            "error_Pa_s": finite(self.error),
            "degrees_of_freedom": self.freedom,
            "temperature_K": self.temperature,
            "volume_A3": self.volume,
        }
        write_text(path, json.dumps(content, indent=1) + "\n")

    def __repr__(self) -> str:
        return f"η = {_milli(self.value, self.error)} at {self.temperature:g} K"


def _milli(value: float, error: float) -> str:
    return plus_minus(1e3 * value, 1e3 * error, unit="mPa s")


def viscosity(
    source: Any,
    *,
    temperature: float | None = None,
    volume: float | None = None,
    longest: float | None = None,
    stretches: int | None = None,
) -> ViscosityResult:
    """Shear viscosity of a run that recorded its pressure tensor.

    Record it densely (each 5 fs of water) with ``simulate(…, observables={"pressure": jxl.PressureTensor()},
    sample_every=…)``. Water needs some ns for ten percent.

    Each replica has to be at least 60 times longer than the stress takes to relax. A slower mode (ionic liquids, cold
    glycerol) is found and refused where it is strong. One that contributes half of the viscosity, or less, is cut off,
    with an error bar that is too small: by 1.5 where the run is 30 times longer, by 2 and 3 with 20 and 10 times. It
    fails as well under a thermostat that disturbs the motion: Langevin with a coupling below some ps.

    Args:
        source: a run with a `PressureTensor` among its observables; or a `SeriesResult` of six columns xx, yy, zz, yz,
            xz, xy in GPa, of any program.
        temperature: K; that of the run by default.
        volume: Å³; that of the run's cell by default.
        longest: fs, longest lag of the running integral; half a stretch by default, 20 ps at most. It does not matter
            for the value.
        stretches: parts of each replica whose spread gives the errors of the running integral; eight parts in all by
            default.

    Raises:
        InputError: no pressure tensor, temperature or volume; a run that is too short; a stress that is constant.

    Warns:
        UserWarning: an error above 30 %, or none.
    """
    series = pressure_of(source)
    temperature = temperature_of(source) if temperature is None else temperature
    volume = _volume_of(source) if volume is None else volume
    for name, value, unit in (("temperature", temperature, "K"), ("volume", volume, "Å³")):
        if value is None:
            raise InputError(f"a viscosity needs a {name}: pass {name}= in {unit}")
    temperature = checks.quantity("temperature", temperature, "temperature")
    volume = checks.quantity("volume", volume, "volume")
    if not np.all(np.isfinite(series.values)):
        sample, replica, column = (int(i) for i in np.argwhere(~np.isfinite(series.values))[0])
        raise InputError(
            f"sample {sample} of replica {replica} of the pressure tensor is not finite ({series.columns[column]}): "
            "the simulation broke down, or the file is damaged"
        )
    if not np.any(np.ptp(series.values, axis=0)):
        raise InputError("all samples of the pressure tensor are the same: a viscosity comes from its fluctuations")
    rows, lags = _correlations(series, longest, stretches)
    scale = SCALE * volume / temperature * series.interval
    running = scale * (np.cumsum(rows, axis=1) - 0.5 * (rows[:, :1] + rows))
    level = at_zero_frequency(_components(series), series.interval)
    value, error = 0.5 * scale * level.value, 0.5 * scale * level.error
    _warn(value, error, level.resolved, series)
    if not level.resolved:
        error = math.nan
    return ViscosityResult(
        value=value,
        error=error,
        freedom=level.freedom if math.isfinite(error) else 0.0,
        temperature=temperature,
        volume=volume,
        lags=lags,
        correlation=rows.mean(axis=0),
        running=running.mean(axis=0),
        running_error=spread(running),
        running_freedom=spread_freedom(running),
    )


def _warn(value: float, error: float, resolved: bool, series: SeriesResult) -> None:
    """Warn where the error is large, or where the slowest mode is not resolved."""
    length = f"{len(series) * series.interval / 1e3:.3g} ps of {counted(series.values.shape[1], 'replica')}"
    if not resolved:
        checks.caution(
            f"viscosity: in {length} the stress does not become uncorrelated, so that {1e3 * value:.3g} mPa s has no "
            "error and is too low, if anything; run longer, by a factor of ten"
        )
    elif error > 0.3 * value:
        checks.caution(
            f"viscosity: {_milli(value, error)} from {length}: the run is too short for it; run longer, or use more "
            "replicas"
        )


def _components(series: SeriesResult) -> np.ndarray:
    """The five independent components of the traceless stress of all replicas, (samples, 5 replicas), GPa."""
    xx, yy, zz, yz, xz, xy = np.moveaxis(series.values, -1, 0)
    return np.concatenate([yz, xz, xy, 0.5 * (xx - yy), (2.0 * zz - xx - yy) / math.sqrt(12.0)], axis=1)


def pressure_of(source: Any) -> SeriesResult:
    """The recorded pressure tensor of a run, or the series itself.

    Raises:
        InputError: there is none.
    """
    wanted = PressureTensor().columns
    found = [source] if isinstance(source, SeriesResult) else list(getattr(source, "observables", {}).values())
    for one in found:
        if isinstance(one, SeriesResult) and one.columns == wanted:
            if one.unit != "GPa":
                raise InputError(f"the pressure tensor has to be in GPa, not in {one.unit}")
            return one
    raise InputError(
        "no pressure tensor was recorded; simulate with observables={'pressure': jxl.PressureTensor()} and a "
        "sample_every of some fs"
    )


def _volume_of(source: Any) -> float | None:
    trajectory = getattr(source, "trajectory", None)
    if trajectory is None or not all(trajectory.pbc):
        return None
    return float(np.mean(np.abs(np.linalg.det(trajectory.cells.reshape(-1, 3, 3)))))


def _correlations(series: SeriesResult, longest: float | None, stretches: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of each stretch, (stretches, lags) in GPa², and the lags in fs."""
    replicas = series.values.shape[1]
    each = max(1, STRETCHES // replicas) if stretches is None else checks.count("stretches", stretches)
    length = len(series) // each
    if length < 20:
        raise InputError(
            f"{counted(len(series), 'sample')} in {each} stretches are too few for a viscosity (20 in each at least)"
        )
    limit = 20_000.0 if longest is None else checks.positive("longest", longest, "fs")
    if not limit > 2 * series.interval:
        raise InputError(f"longest = {longest} fs is too short for samples each {series.interval:g} fs")
    if longest is not None and limit > length * series.interval:
        checks.caution(
            f"longest = {limit:g} fs is longer than a stretch of the run, {length * series.interval:g} fs, half of "
            "which is the longest lag"
        )
    lags = min(length // 2, math.floor(limit / series.interval)) + 1
    # Traceless part: mean pressure out of the diagonal; each component off it stands for two.
    tensor = series.values.copy()
    tensor[..., :3] -= tensor[..., :3].mean(axis=-1, keepdims=True)
    tensor[..., 3:] *= math.sqrt(2.0)
    first = len(series) - each * length
    rows = []
    for replica in range(replicas):
        for k in range(each):
            part = tensor[first + k * length : first + (k + 1) * length, replica]
            rows.append(6.0 / 10.0 * autocorrelation(part[..., None])[:lags])
    return np.array(rows), series.interval * np.arange(lags)
