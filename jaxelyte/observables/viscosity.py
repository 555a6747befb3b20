"""Shear viscosity from the fluctuations of the pressure tensor (Green and Kubo).

    η = V/(10 k_B T) ∫ Σ_ab <P'_ab(0) P'_ab(t)> dt,   P' the symmetric traceless part of the pressure tensor

uses all components, five of which are independent (Daivis and Evans, J. Chem. Phys. 100, 541 (1994)). There are two
estimates of the integral. The first is the time decomposition of Zhang, Otani and Maginn, J. Chem. Theory Comput. 11,
3537 (2015): a fit to the running integral up to where noise takes over. It is precise, but a slow mode that is hidden
in the noise is cut off without a trace. The second is the spectral density at zero frequency, from averages of the
stress over long blocks (`jaxelyte.observables.noise`): noisier, but without a cut-off. The result is their weighted
mean, with the difference of the two in the error of the first.
"""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxelyte import checks, units
from jaxelyte.arrays import finite
from jaxelyte.errors import InputError
from jaxelyte.observables.blocks import FEWEST, INDEPENDENT, plus_minus
from jaxelyte.observables.noise import correlation_integral
from jaxelyte.observables.recorded import PressureTensor, SeriesResult
from jaxelyte.observables.series import STRETCHES, autocorrelation, spread, temperature_of
from jaxelyte.storage import saving, write_text

NOISE = 0.15
"""Share of the running integral that its spread between stretches may reach; later times are not fitted. (Zhang et al.
take 0.4 for some thirty runs; for eight stretches the fit is less noisy and less biased with less.)"""

MOST_BLOCKS, BLOCK = 128, 500.0
"""Averages of the stress in time, and the fs that each takes at least, for the spectral density at zero frequency."""

SCALE = 1e-30 * 1e18 * 1e-15 / (units.BOLTZMANN * 1.602176634e-19)
"""Pa s K in one Å³ GPa² fs / k_B."""


@dataclass(frozen=True)
class ViscosityResult:
    """A shear viscosity.

    Attributes:
        value: Pa s, weighted mean of the two estimates below.
        error: standard error in Pa s; NaN for fewer than four stretches, or a stress that remembers as long as the run.
        green_kubo: limit of the fitted running integral, and its standard error by the jackknife over stretches of the
            run, the end of the fit included; Pa s.
        zero_frequency: from the spectral density at zero frequency, and its standard error; Pa s.
        temperature: K.
        volume: Å³.
        lags: (lags,), fs.
        correlation: (lags,), GPa², Σ_ab <P'_ab(0) P'_ab(t)> / 10.
        running: (lags,), Pa s, the integral up to each lag.
        running_error: (lags,), Pa s, standard error from the spread between stretches.
        fit: (lags,), Pa s, the function fitted to the running integral.
        cutoff: fs, end of the fit.
    """

    value: float
    error: float
    green_kubo: tuple[float, float]
    zero_frequency: tuple[float, float]
    temperature: float
    volume: float
    lags: np.ndarray
    correlation: np.ndarray
    running: np.ndarray
    running_error: np.ndarray
    fit: np.ndarray
    cutoff: float

    def plot(self, ax: Any = None) -> Any:
        """Draw the running integral with its error, and the fit; returns the matplotlib axes."""
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
            "green_kubo_Pa_s": [finite(x) for x in self.green_kubo],
            "zero_frequency_Pa_s": [finite(x) for x in self.zero_frequency],
            "temperature_K": self.temperature,
            "volume_A3": self.volume,
            "cutoff_fs": self.cutoff,
        }
        write_text(path, json.dumps(content, indent=1) + "\n")

    def __repr__(self) -> str:
        return (
            f"η = {_milli(self.value, self.error)} mPa s at {self.temperature:g} K; running integral fitted to "
            f"{self.cutoff / 1e3:g} ps: {_milli(*self.green_kubo)}, zero frequency: {_milli(*self.zero_frequency)}"
        )


def _milli(value: float, error: float) -> str:
    return plus_minus(1e3 * value, 1e3 * error, form=".3f")


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

    It fails where the stress relaxes more slowly than a tenth of the run (ionic liquids, cold glycerol), and under a
    thermostat that disturbs the motion: Langevin with a coupling below some ps.

    Args:
        source: a run with a `PressureTensor` among its observables; or a `SeriesResult` of six columns xx, yy, zz, yz,
            xz, xy in GPa, of any program.
        temperature: K; that of the run by default.
        volume: Å³; that of the run's cell by default.
        longest: fs, longest lag; half a stretch by default, 20 ps at most.
        stretches: parts of each replica whose spread gives the errors; eight parts in all by default. No error is
            given for fewer than four in all.

    Raises:
        InputError: no pressure tensor, temperature or volume; a run that is too short.

    Warns:
        UserWarning: an error above 30 % or none, a running integral without a plateau, or a limit that disagrees with
            the spectral density at zero frequency.
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
    rows, lags = _correlations(series, longest, stretches)
    scale = SCALE * volume / temperature * series.interval
    running = scale * (np.cumsum(rows, axis=1) - 0.5 * (rows[:, :1] + rows))
    mean, error = running.mean(axis=0), spread(running)
    end = _end_of_fit(mean, running)
    limit, fitted = _limit(lags, mean, end)
    kubo = (limit, _jackknife(lags, running))
    memory = correlation_integral(_components(series), _blocks(series))
    low = (scale * memory.value, scale * memory.error)
    value, own = _combine(kubo, low)
    if memory.independent <= INDEPENDENT:
        own = math.nan
    _warn(value, own, kubo, low, series)
    if end > 1 and fitted[end - 1] < 0.7 * limit:
        warnings.warn(
            f"viscosity: at {lags[end - 1] / 1e3:.3g} ps the integral has reached {fitted[end - 1] / limit:.0%} of its "
            "limit only, which is an extrapolation; run longer, or raise longest=",
            stacklevel=2,
        )
    return ViscosityResult(
        value, own, kubo, low, temperature, volume, lags, rows.mean(axis=0), mean, error, fitted, float(lags[end - 1])
    )


def _combine(kubo: tuple[float, float], low: tuple[float, float]) -> tuple[float, float]:
    """Mean of both estimates by inverse variances, and its error; the first one's error includes the difference.

    A bias of the fit by a slow mode shows in the difference alone, so that the second one counts the more the larger it
    is. Both come from the same stress: their errors add up as if fully correlated. Only the first one, without an
    error, where it has no error of its own.
    """
    wide = math.hypot(kubo[1], kubo[0] - low[0])
    if not (math.isfinite(wide) and math.isfinite(low[1])):
        return kubo[0], math.nan
    weights = wide**-2, low[1] ** -2
    total = sum(weights)
    return (weights[0] * kubo[0] + weights[1] * low[0]) / total, (weights[0] * wide + weights[1] * low[1]) / total


def _jackknife(lags: np.ndarray, running: np.ndarray) -> float:
    """Standard error of the fitted limit by leaving out one stretch at a time; each time the fit finds its own end."""
    count = len(running)
    if count < FEWEST:
        return math.nan
    rests = [np.delete(running, k, axis=0) for k in range(count)]
    limits = np.array([_limit(lags, rest.mean(axis=0), _end_of_fit(rest.mean(axis=0), rest))[0] for rest in rests])
    return math.sqrt((count - 1) / count * float(np.sum((limits - limits.mean()) ** 2)))


def _warn(
    value: float, error: float, kubo: tuple[float, float], low: tuple[float, float], series: SeriesResult
) -> None:
    """Warn where the error is large or missing, or the two estimates disagree."""
    if not error < 0.3 * abs(value):
        warnings.warn(
            f"viscosity: {_milli(value, error)} mPa s from {len(series) * series.interval / 1e3:.3g} ps of "
            f"{series.values.shape[1]} replica(s): the run is too short for it",
            stacklevel=3,
        )
    if abs(kubo[0] - low[0]) > 3.0 * math.hypot(kubo[1], low[1]):
        warnings.warn(
            f"viscosity: the running integral seems to end at {_milli(*kubo)} mPa s, but the stress at zero frequency "
            f"gives {_milli(*low)}: a slow mode is hidden in its noise; the result relies on the latter. Run longer",
            stacklevel=3,
        )


def _components(series: SeriesResult) -> np.ndarray:
    """The five independent components of the traceless stress of all replicas, (samples, 5 replicas), GPa."""
    xx, yy, zz, yz, xz, xy = np.moveaxis(series.values, -1, 0)
    return np.concatenate([yz, xz, xy, 0.5 * (xx - yy), (2.0 * zz - xx - yy) / math.sqrt(12.0)], axis=1)


def _blocks(series: SeriesResult) -> int:
    """Blocks of a replica: `MOST_BLOCKS`, but none shorter than `BLOCK`, to average vibrations out; 16 at least."""
    return int(min(MOST_BLOCKS, max(16, len(series) * series.interval // BLOCK)))


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
        raise InputError(f"{len(series)} samples in {each} stretches are too few for a viscosity (20 in each at least)")
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


def _end_of_fit(mean: np.ndarray, rows: np.ndarray) -> int:
    """Number of lags until the spread between stretches is `NOISE` of the running integral, ten at least."""
    deviation = rows.std(axis=0, ddof=1) if len(rows) > 1 else np.full(len(mean), np.nan)
    noisy = ~(deviation < NOISE * np.abs(mean))
    noisy[:10] = False
    return int(np.argmax(noisy)) if np.any(noisy) else len(mean)


def _limit(lags: np.ndarray, running: np.ndarray, end: int) -> tuple[float, np.ndarray]:
    """Limit of A (α (1 - exp(-t/τ1)) + (1 - α) (1 - exp(-t/τ2))) fitted to a running integral, and that function.

    Early times, known better, weigh more: deviations grow about as the square root of time.
    """
    from scipy.optimize import least_squares

    t, y = lags[1:end], running[1:end]
    top = float(np.max(np.abs(y))) or 1.0

    def curve(p: np.ndarray, t: np.ndarray) -> np.ndarray:
        share = 1.0 / (1.0 + math.exp(-p[1]))
        fast, slow = np.exp(p[2]), np.exp(p[2]) + np.exp(p[3])
        return p[0] * top * (share * (1 - np.exp(-t / fast)) + (1 - share) * (1 - np.exp(-t / slow)))

    def residual(p: np.ndarray) -> np.ndarray:
        return (curve(p, t) - y) / (top * np.sqrt(t / t[-1]))

    begin = np.array([1.0, 0.0, math.log(t[-1] / 20.0), math.log(t[-1] / 5.0)])
    # Times from a tenth of a sample to the length of the fit, so that the limit is no extrapolation to infinity.
    low, high = math.log(0.1 * t[0]), math.log(t[-1])
    found = least_squares(residual, begin, bounds=([-10, -12, low, low], [10, 12, high, high]))
    return float(found.x[0]) * top, np.concatenate([[0.0], curve(found.x, lags[1:])])
