"""From samples of U1 - U0 in windows of λ to a free energy difference, by every usual estimator."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxelyte.arrays import finite
from jaxelyte.dynamics import Run
from jaxelyte.errors import InputError
from jaxelyte.free_energy.estimators import (
    bar,
    decorrelated,
    mbar_differences,
    overlap_matrix,
    solve_mbar,
    zwanzig,
)
from jaxelyte.observables.blocks import standard_error
from jaxelyte.storage import saving, write_text
from jaxelyte.units import BOLTZMANN

ESTIMATORS = ("MBAR", "TI", "BAR")
LEAST_OVERLAP = 0.03
"""Of neighbouring windows (Klimovich, Shirts and Mobley, J. Comput.-Aided Mol. Des. 29, 397 (2015))."""

DENSE = 4.0
"""Samples per statistical inefficiency that values are computed from; all of them would say hardly more."""
FEWEST = 50
"""Independent samples of a window below which a warning is given."""

KJ_MOL = 96.48533212
"""kJ/mol in one eV."""


@dataclass(frozen=True)
class FreeEnergyResult:
    """A free energy difference F1 - F0.

    Attributes:
        value: eV, of ``estimator``.
        error: standard error in eV.
        estimator: "MBAR", "TI" or "BAR".
        estimates: value and error in eV by name: TI, BAR, MBAR, and exponential averages over steps upwards and
            downwards ("Zwanzig forward", "Zwanzig backward"), whose difference is the hysteresis.
        temperature: K.
        lam: (windows,).
        weights: (windows,), of the quadrature over λ.
        gradient: (windows,), <dU/dλ> in eV.
        gradient_error: (windows,), eV.
        variance: (windows,), eV², of dU/dλ; -variance/k_B T is the slope of the gradient.
        inefficiency: (windows,), correlated samples that are worth one independent.
        discarded: (windows,), samples left out at the start.
        counts: (windows,), independent samples used.
        overlap: (states, states), overlap matrix of MBAR; ``states`` are λ = 0, the windows, and 1.
        states: (states,), λ.
        fractions: shares of the run that the convergence is shown for.
        forward: (fractions,), eV, TI of that much of the beginning (after equilibration).
        backward: (fractions,), eV, of the end.
        run: the run, where there was one.
        reference: eV, the part of ``value`` that is constant reference energies of the species; levels of theory differ
            in it by as much as their zeros of energy do.
    """

    value: float
    error: float
    estimator: str
    estimates: dict[str, tuple[float, float]]
    temperature: float
    lam: np.ndarray
    weights: np.ndarray
    gradient: np.ndarray
    gradient_error: np.ndarray
    variance: np.ndarray
    inefficiency: np.ndarray
    discarded: np.ndarray
    counts: np.ndarray
    overlap: np.ndarray
    states: np.ndarray
    fractions: np.ndarray
    forward: np.ndarray
    backward: np.ndarray
    run: Run | None = field(default=None, repr=False)
    reference: float = 0.0

    @property
    def overlaps(self) -> np.ndarray:
        """(windows - 1,), overlap of neighbouring windows; below `LEAST_OVERLAP` BAR and MBAR mean nothing."""
        return _between(self.overlap, self.states, self.lam)

    @property
    def hysteresis(self) -> tuple[float, float]:
        """Difference in eV of exponential averages upwards and downwards, and its standard error as of independents.

        Far from zero where the windows are too few for such averages, or not in equilibrium.
        """
        (up, up_error), (down, down_error) = (self.estimates[f"Zwanzig {name}"] for name in ("forward", "backward"))
        return up - down, math.hypot(up_error, down_error)

    @property
    def biased(self) -> list[str]:
        """Exponential averages that are off BAR by more than three standard errors.

        They take one side of each step only. Where rare samples would have to decide and are missing, their standard
        error does not know it; the windows are then too far apart for them, though maybe not for BAR and MBAR.
        """
        right, error = self.estimates["BAR"]
        names = [name for name in self.estimates if name.startswith("Zwanzig")]
        return [n for n in names if abs(self.estimates[n][0] - right) > 3.0 * math.hypot(self.estimates[n][1], error)]

    def plot(self, ax: Any = None) -> Any:
        """Draw <dU/dλ> against λ with its errors; returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.free_energy(self, ax)

    def plot_convergence(self, ax: Any = None) -> Any:
        """Draw ΔF of growing shares of the run, from its beginning and from its end; returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.convergence(self, ax)

    def to_csv(self, path: str | Path) -> None:
        """Write a table: λ, <dU/dλ> and its error in eV, inefficiency, independent samples."""
        table = np.column_stack([self.lam, self.gradient, self.gradient_error, self.inefficiency, self.counts])
        header = "lambda,gradient_eV,error_eV,inefficiency,samples"
        with saving(path) as temporary:
            np.savetxt(temporary, table, delimiter=",", header=header, comments="")

    def to_json(self, path: str | Path) -> None:
        """Write all estimates; NaN is stored as null."""
        content = {
            "free_energy_eV": self.value,
            "error_eV": finite(self.error),
            "reference_energies_eV": self.reference,
            "estimator": self.estimator,
            "estimates_eV": {name: [finite(v), finite(e)] for name, (v, e) in self.estimates.items()},
            "temperature_K": self.temperature,
            "lambda": self.lam.tolist(),
            "gradient_eV": self.gradient.tolist(),
            "gradient_error_eV": [finite(e) for e in self.gradient_error],
            "inefficiency": self.inefficiency.tolist(),
            "discarded": self.discarded.tolist(),
            "samples": self.counts.tolist(),
            "overlaps": [finite(o) for o in self.overlaps],
            "hysteresis_eV": [finite(v) for v in self.hysteresis],
        }
        write_text(path, json.dumps(content, indent=1) + "\n")

    def __repr__(self) -> str:
        lines = [f"{summary(self.value, self.error)} at {self.temperature:g} K by {self.estimator}"]
        if self.reference:
            rest = self.value - self.reference
            lines.append(
                f"  of it {self.reference:.5f} eV of reference energies, {rest:.5f} ± {self.error:.5f} eV left"
            )
        lines += [
            f"  {name:16s} {value:.5f} ± {error:.5f} eV" + "  (biased: few samples decide)" * (name in self.biased)
            for name, (value, error) in self.estimates.items()
        ]
        least = float(np.min(self.overlaps, initial=1.0))
        lines.append(
            f"  {len(self.lam)} windows, {int(self.counts.min())} independent samples and an overlap of "
            f"{least:.2f} at least"
        )
        return "\n".join(lines)


def summary(value: float, error: float) -> str:
    """ΔF in eV and kJ/mol."""
    return f"ΔF = {value:.5f} ± {error:.5f} eV ({value * KJ_MOL:.2f} ± {error * KJ_MOL:.2f} kJ/mol)"


def difference(
    gaps: Sequence[np.ndarray],
    lam: np.ndarray,
    temperature: float,
    *,
    weights: np.ndarray,
    estimator: str = "MBAR",
    exchanged: bool = False,
    run: Run | None = None,
    reference: float = 0.0,
) -> FreeEnergyResult:
    """Free energy difference from samples of U1 - U0 of any program; see `free_energy`.

    Windows that exchange their structures share what is slow in them: each series looks less correlated than it is, and
    errors of windows do not add up as squares. With ``exchanged`` the error of TI is that of the one series Σ_k w_k
    (U1 - U0)_k over windows at the same time, and those of the other estimators are widened by the same factor.

    Args:
        gaps: of each window, (samples,), eV, in the order of time.
        lam: (windows,), rising.
        temperature: K.
        weights: (windows,), of the quadrature.
        estimator: which estimate ``value`` is.
        exchanged: the windows exchanged structures, sampled at the same times.
        run: kept with the result.
        reference: eV, the constant part of the gaps.

    Raises:
        InputError: another estimator, or samples that are not finite.

    Warns:
        UserWarning: few independent samples, poor overlap, or a gradient that rises with λ.
    """
    if estimator not in ESTIMATORS:
        raise InputError(f"estimator = {estimator!r}; choose one of {', '.join(ESTIMATORS)}")
    if any(not np.all(np.isfinite(gap)) for gap in gaps):
        raise InputError("an energy difference is not finite: one of the potentials does not know such structures")
    beta = 1.0 / (BOLTZMANN * temperature)
    starts = [decorrelated(gap) for gap in gaps]
    kept = [gap[start:] for gap, (start, _) in zip(gaps, starts, strict=True)]
    gradient = np.array([gap.mean() for gap in kept])
    # The larger of two estimates: blocks, and the autocorrelation time, which is found too short as often as too long.
    errors = np.array(
        [
            np.nanmax([float(standard_error(gap)), math.sqrt(float(np.var(gap)) * g / len(gap))])
            for gap, (_, g) in zip(kept, starts, strict=True)
        ]
    )
    inefficiency = np.array(
        [max(1.0, len(gap) * e**2 / max(float(np.var(gap)), 1e-300)) for gap, e in zip(kept, errors, strict=True)]
    )
    # Samples one inefficiency apart are as many as independent ones but not quite independent: they give the errors of
    # MBAR; the values come from all samples (of those that are alike, some), whose variance is what is stated.
    free = [gap[_every(len(gap), g)] for gap, g in zip(kept, inefficiency, strict=True)]
    strides = np.maximum(1, (inefficiency / DENSE).astype(int))
    dense = [gap[::stride] for gap, stride in zip(kept, strides, strict=True)]
    estimates = {"TI": (float(weights @ gradient), float(np.sqrt(weights**2 @ errors**2)))}
    steps = _steps(dense, lam, beta, np.maximum(1.0, inefficiency / strides))
    estimates["BAR"] = steps["BAR"]
    states, solution = _mbar(free, lam, beta)
    delta, spread = mbar_differences(_mbar(dense, lam, beta)[1])[0], mbar_differences(solution)[1]
    estimates["MBAR"] = (float(delta[0, -1]) / beta, float(spread[0, -1]) / beta)
    estimates |= {name: value for name, value in steps.items() if name != "BAR"}
    if exchanged and estimates["TI"][1] > 0:
        wider = max(1.0, _joint_error(gaps, weights, min(start for start, _ in starts)) / estimates["TI"][1])
        estimates = {name: (value, error * wider) for name, (value, error) in estimates.items()}
    overlap = overlap_matrix(solution)
    counts = np.array([len(one) for one in free])
    _warn(lam, gradient, errors, counts, states, overlap)
    fractions = np.linspace(0.1, 1.0, 10)
    value, error = estimates[estimator]
    return FreeEnergyResult(
        value=value,
        error=error,
        estimator=estimator,
        estimates=estimates,
        temperature=temperature,
        lam=lam,
        weights=weights,
        gradient=gradient,
        gradient_error=errors,
        variance=np.array([gap.var() for gap in kept]),
        inefficiency=inefficiency,
        discarded=np.array([start for start, _ in starts]),
        counts=counts,
        overlap=overlap,
        states=states,
        fractions=fractions,
        forward=np.array([weights @ [g[: max(1, round(f * len(g)))].mean() for g in kept] for f in fractions]),
        backward=np.array([weights @ [g[-max(1, round(f * len(g))) :].mean() for g in kept] for f in fractions]),
        run=run,
        reference=reference,
    )


def _joint_error(gaps: Sequence[np.ndarray], weights: np.ndarray, start: int) -> float:
    """Standard error of the thermodynamic integral as the mean of one series over all windows."""
    length = min(len(gap) for gap in gaps)
    joint = weights @ np.array([gap[:length] for gap in gaps])
    joint = joint[start:]
    _, inefficiency = decorrelated(joint)
    return float(np.nanmax([float(standard_error(joint)), math.sqrt(float(np.var(joint)) * inefficiency / len(joint))]))


def _every(count: int, inefficiency: float) -> np.ndarray:
    """Indices of about independent values."""
    return np.unique(np.round(np.arange(0.0, count - 0.5, inefficiency)).astype(int))


def _steps(
    dense: Sequence[np.ndarray], lam: np.ndarray, beta: float, worth: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Sums in eV over the steps between windows: BAR, and exponential averages upwards and downwards.

    To λ = 0 and 1, where they are no windows, the step is an exponential average in all three. Standard errors follow
    from how much each sample pulls the sum (for one step that is Bennett's own formula); a sample of a window pulls at
    the steps on both sides of it.

    Args:
        dense: samples of each window.
        lam: (windows,), rising.
        beta: 1/eV.
        worth: (windows,), how many of these samples are worth one that is independent.
    """
    names: tuple[str, ...] = ("BAR", "Zwanzig forward", "Zwanzig backward")
    total: dict[str, float] = dict.fromkeys(names, 0.0)
    pulls = {name: [np.zeros(len(one)) for one in dense] for name in names}

    def add(name: str, sign: float, step: float, *parts: tuple[int, np.ndarray]) -> None:
        total[name] += sign * step
        for window, pull in parts:
            pulls[name][window] += sign * pull

    for name in names:
        for window, end, sign in ((0, 0.0, -1.0), (len(lam) - 1, 1.0, 1.0)):
            if lam[window] != end:
                step, pull = zwanzig(beta * (end - lam[window]) * dense[window])
                add(name, sign, step, (window, pull))
    for n, width in enumerate(np.diff(lam)):
        up, down = beta * width * dense[n], -beta * width * dense[n + 1]
        step, ahead, back = bar(up, down)
        add("BAR", 1.0, step, (n, ahead), (n + 1, back))
        step, ahead = zwanzig(up)
        add("Zwanzig forward", 1.0, step, (n, ahead))
        step, back = zwanzig(down)
        add("Zwanzig backward", -1.0, step, (n + 1, back))
    return {name: (total[name] / beta, math.sqrt(_variance(pulls[name], worth)) / beta) for name in names}


def _variance(pulls: Sequence[np.ndarray], worth: np.ndarray) -> float:
    """Of the sum of the pulls of all samples, those of a window correlated; NaN for less than two independent ones."""
    parts = [
        float(np.sum((one - one.mean()) ** 2)) * g / (1.0 - g / len(one)) if len(one) > g else math.nan
        for one, g in zip(pulls, worth, strict=True)
    ]
    return float(np.sum(parts))


def _mbar(free: Sequence[np.ndarray], lam: np.ndarray, beta: float) -> tuple[np.ndarray, Any]:
    """λ of all states, and the solution for them; the ends may be states without samples."""
    before, behind = int(lam[0] > 0.0), int(lam[-1] < 1.0)
    states = np.concatenate([[0.0] * before, lam, [1.0] * behind])
    counts = np.array([0] * before + [len(one) for one in free] + [0] * behind)
    gap = np.concatenate(free)
    # The part of U0 that all states share drops out.
    return states, solve_mbar(beta * states[:, None] * gap, counts)


def _warn(
    lam: np.ndarray,
    gradient: np.ndarray,
    errors: np.ndarray,
    counts: np.ndarray,
    states: np.ndarray,
    overlap: np.ndarray,
) -> None:
    if counts.min() < FEWEST:
        at = int(np.argmin(counts))
        warnings.warn(
            f"free energy: {counts[at]} independent samples of the window at λ = {lam[at]:.3g} ({FEWEST} are wanted): "
            "run longer",
            stacklevel=4,
        )
    for n, value in enumerate(_between(overlap, states, lam)):
        if value < LEAST_OVERLAP:
            warnings.warn(
                f"free energy: windows at λ = {lam[n]:.3g} and {lam[n + 1]:.3g} overlap by {value:.3f} only (at least "
                f"{LEAST_OVERLAP} are needed): take more windows, or adapt=True",
                stacklevel=4,
            )
    rise, error = np.diff(gradient), np.hypot(errors[1:], errors[:-1])
    for n in np.flatnonzero(rise > 4.0 * error):
        warnings.warn(
            f"free energy: <dU/dλ> rises by {rise[n]:.3g} ± {error[n]:.2g} eV from λ = {lam[n]:.3g} to "
            f"{lam[n + 1]:.3g}, which it cannot in equilibrium: these windows are not; run longer, or with exchange=",
            stacklevel=4,
        )


def _between(overlap: np.ndarray, states: np.ndarray, lam: np.ndarray) -> np.ndarray:
    """Overlaps of neighbouring windows; states without samples overlap with nothing by construction."""
    inner = np.isin(states, lam)
    return np.diagonal(overlap[np.ix_(inner, inner)], 1)
