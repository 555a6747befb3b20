"""From samples of U1 - U0 in windows of λ to a free energy difference, by every usual estimator."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxelyte import checks
from jaxelyte.arrays import finite
from jaxelyte.checks import caution
from jaxelyte.dynamics import Run
from jaxelyte.errors import InputError
from jaxelyte.free_energy.contents import OF_SAMPLES, Contents
from jaxelyte.free_energy.estimators import equilibrated, mbar_pulls, overlap_matrix, solve_mbar
from jaxelyte.free_energy.integration import thermodynamic_integral
from jaxelyte.free_energy.joint import each_error, joint_error
from jaxelyte.free_energy.quadrature import thermodynamic_length
from jaxelyte.free_energy.steps import Steps, as_rows, steps_between
from jaxelyte.plots.rich import Rich
from jaxelyte.storage import saving, write_text
from jaxelyte.units import BOLTZMANN
from jaxelyte.wording import counted, plus_minus

ESTIMATORS = ("MBAR", "TI", "BAR")

SHORT = "the samples of all windows together are too few against their memory for a standard error"
"""Why an estimate has none."""

LEAST_OVERLAP = 0.03
"""Of neighbouring windows (Klimovich, Shirts and Mobley, J. Comput.-Aided Mol. Des. 29, 397 (2015))."""

DENSE = 4.0
"""Samples per statistical inefficiency that BAR and MBAR are computed from; all of them would say hardly more."""

FEWEST = 50
"""Independent samples of a window below which a warning is given."""

FALL = 3.0
"""How many times further than its fluctuations account for <dU/dλ> may fall between windows without a warning."""

DISTANCE = 2.5
"""Thermodynamic distance of neighbouring windows, in k_B T, at which they share enough: a fifth of their samples."""

KJ_MOL = 96.48533212
"""kJ/mol in one eV."""


@dataclass(frozen=True)
class FreeEnergyResult(Rich):
    """A free energy difference F1 - F0.

    Attributes:
        value: eV, of ``estimator``.
        error: standard error in eV.
        estimator: "MBAR", "TI" or "BAR".
        estimates: value and error in eV by name: TI, BAR, MBAR, and exponential averages over steps upwards and
            downwards ("Zwanzig forward", "Zwanzig backward"), whose difference is the hysteresis.
        freedom: degrees of freedom of these errors by name (Student's t): few where the windows are short against their
            memory.
        temperature: K.
        lam: (windows,).
        weights: (windows,), of the quadrature over λ.
        gradient: (windows,), <dU/dλ> in eV.
        gradient_error: (windows,), eV; NaN where a window is too short against its memory.
        gradient_freedom: (windows,), degrees of freedom of these errors.
        variance: (windows,), eV², of dU/dλ; -variance/k_B T is the slope of the gradient.
        inefficiency: (windows,), correlated samples that are worth one independent.
        discarded: (windows,), samples left out at the start.
        counts: (windows,), how many independent samples the others are worth.
        overlap: (states, states), overlap matrix of MBAR; ``states`` are λ = 0, the windows, and 1.
        states: (states,), λ.
        overlaps: (states - 1,), of neighbouring windows, and of λ = 0 and 1 with the windows next to them.
        support: (states - 1,), independent samples that decide the steps between neighbouring states.
        quadrature: eV, error of the quadrature, part of that of TI.
        refused: estimators without an error bar (NaN), and why.
        fractions: shares of the run that the convergence is shown for.
        forward: (fractions,), eV, TI of that much of the beginning (after equilibration).
        backward: (fractions,), eV, of the end.
        run: the run, where there was one.
        reference: eV, the part of ``value`` that is constant reference energies of the species; levels of theory differ
            in it by as much as their zeros of energy do.
        contents: what ``value`` is of: process and sign, standard state, corrections.
        hysteresis: eV, difference of exponential averages upwards and downwards, and its standard error. Far from zero
            where the windows are too few for such averages, or not in equilibrium.
    """

    value: float
    error: float
    estimator: str
    estimates: dict[str, tuple[float, float]]
    freedom: dict[str, float]
    temperature: float
    lam: np.ndarray
    weights: np.ndarray
    gradient: np.ndarray
    gradient_error: np.ndarray
    gradient_freedom: np.ndarray
    variance: np.ndarray
    inefficiency: np.ndarray
    discarded: np.ndarray
    counts: np.ndarray
    overlap: np.ndarray
    states: np.ndarray
    overlaps: np.ndarray
    support: np.ndarray
    quadrature: float
    refused: dict[str, str]
    fractions: np.ndarray
    forward: np.ndarray
    backward: np.ndarray
    run: Run | None = field(default=None, repr=False)
    reference: float = 0.0
    contents: Contents = OF_SAMPLES
    hysteresis: tuple[float, float] = (math.nan, math.nan)

    @property
    def biased(self) -> list[str]:
        """Exponential averages that are off BAR by more than three standard errors.

        They take one side of each step only, and miss what neither their samples nor these samples' weights show; the
        windows are then too far apart for them, though maybe not for BAR and MBAR.
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
            "free_energy_eV": finite(self.value),
            "error_eV": finite(self.error),
            "contents": self.contents.as_dict(),
            "reference_energies_eV": self.reference,
            "estimator": self.estimator,
            "estimates_eV": {name: [finite(v), finite(e)] for name, (v, e) in self.estimates.items()},
            "degrees_of_freedom": {name: finite(v) for name, v in self.freedom.items()},
            "temperature_K": self.temperature,
            "lambda": self.lam.tolist(),
            "gradient_eV": self.gradient.tolist(),
            "gradient_error_eV": [finite(e) for e in self.gradient_error],
            "inefficiency": self.inefficiency.tolist(),
            "discarded": self.discarded.tolist(),
            "samples": self.counts.tolist(),
            "overlaps": [finite(o) for o in self.overlaps],
            "deciding_samples": [finite(v) for v in self.support],
            "quadrature_error_eV": finite(self.quadrature),
            "refused": self.refused,
            "hysteresis_eV": [finite(v) for v in self.hysteresis],
        }
        write_text(path, json.dumps(content, indent=1) + "\n")

    def __repr__(self) -> str:
        lines = [f"{summary(self.value, self.error)} at {self.temperature:g} K by {self.estimator}"]
        lines += self.contents.lines()
        if self.reference:
            rest = self.value - self.reference
            lines.append(
                f"  of it {self.reference:.5f} eV of reference energies, {plus_minus(rest, self.error, unit='eV')} left"
            )
        lines += [
            f"  {name:16s} {plus_minus(value, error, unit='eV')}"
            + "  (biased: few samples decide)" * (name in self.biased)
            for name, (value, error) in self.estimates.items()
        ]
        lines += [f"  {name}: no error bar, {reason}" for name, reason in self.refused.items()]
        least = float(np.min(self.overlaps, initial=1.0))
        lines.append(
            f"  {counted(len(self.lam), 'window')}, {counted(int(self.counts.min()), 'independent sample')} and an "
            f"overlap of {least:.2f} at least"
        )
        lines += [f"  λ = {end:g} is extrapolated" for end in (0.0, 1.0) if end not in self.lam]
        return "\n".join(lines)


def summary(value: float, error: float) -> str:
    """ΔF in eV and kJ/mol."""
    molar = plus_minus(value * KJ_MOL, error * KJ_MOL, unit="kJ/mol")
    return f"ΔF = {plus_minus(value, error, unit='eV')} ({molar})"


def difference(
    gaps: Sequence[np.ndarray],
    lam: np.ndarray,
    temperature: float,
    *,
    weights: np.ndarray,
    estimator: str = "MBAR",
    run: Run | None = None,
    reference: float = 0.0,
    contents: Contents = OF_SAMPLES,
    walkers: np.ndarray | None = None,
) -> FreeEnergyResult:
    """Free energy difference from samples of U1 - U0 of any program; see `free_energy`.

    An estimate gets an error bar only where its samples can give one: see `FreeEnergyResult.refused`.

    Errors come from one series over all windows (`joint_error`), so that what windows share counts, provided that their
    samples are of the same times. Where windows have exchanged structures the errors need ``walkers``: without them
    they were 1.3 times too small in runs of fifty correlation times.

    Args:
        gaps: of each window, (samples,), eV, in the order of time.
        lam: (windows,), rising.
        temperature: K.
        weights: (windows,), of the quadrature.
        estimator: which estimate ``value`` is.
        run: kept with the result.
        reference: eV, the constant part of the gaps.
        contents: what the free energy is of, kept with the result.
        walkers: (samples, windows), number of the structure (of the replica of the run) that each sample is from, where
            windows have exchanged them; None where they have not.

    Raises:
        InputError: another estimator, samples that are not finite, or ``walkers`` that do not fit them.

    Warns:
        UserWarning: few independent samples, poor overlap, a gradient that rises with λ, or no error bar for the
            estimator that was asked for.
    """
    if estimator not in ESTIMATORS:
        raise InputError(f"estimator = {estimator!r}; choose one of {', '.join(ESTIMATORS)}")
    if any(not np.all(np.isfinite(gap)) for gap in gaps):
        raise InputError("an energy difference is not finite: one of the potentials does not know such structures")
    walkers = None if walkers is None else _checked_walkers(walkers, gaps)
    beta = 1.0 / (BOLTZMANN * temperature)
    starts = [equilibrated(gap) for gap in gaps]
    kept = [gap[start:] for gap, start in zip(gaps, starts, strict=True)]
    gradient = np.array([gap.mean() for gap in kept])
    blocks = each_error(kept)
    bounds = np.array([float(one.bound) for one in blocks])
    inefficiency = np.array([max(1.0, float(one.inefficiency)) for one in blocks])
    # Samples much closer than an inefficiency say hardly more; one stride for all keeps their times alike.
    stride = max(1, int(np.min(inefficiency) / DENSE))
    dense = [gap[(len(gap) - 1) % stride :: stride] for gap in kept]
    at = None if walkers is None else walkers[(len(walkers) - 1) % stride :: stride]
    steps = steps_between(dense, lam, beta, np.maximum(1.0, inefficiency / stride), at)
    integral = thermodynamic_integral(kept, dense, lam, weights, beta, steps, walkers)
    estimates = {"TI": (integral.value, integral.error), "BAR": steps.estimates["BAR"]}
    estimates["MBAR"], mbar_freedom, overlap = _mbar(dense, steps, lam, beta)
    freedom = {"TI": integral.freedom, "MBAR": mbar_freedom, **steps.freedom}
    estimates |= {name: value for name, value in steps.estimates.items() if name != "BAR"}
    refused = {name: steps.reason for name in ("MBAR", "BAR") if steps.reason}
    refused |= {"TI": integral.reason} if integral.reason else {}
    refused |= steps.one_sided
    refused |= {name: SHORT for name in ESTIMATORS if name not in refused and math.isnan(estimates[name][1])}
    if steps.apart:
        estimates["BAR"] = math.nan, math.nan
    estimates |= {name: (estimates[name][0], math.nan) for name in refused}
    sampled = np.isin(steps.states[:-1], lam) & np.isin(steps.states[1:], lam) & ~steps.apart
    overlaps = np.where(sampled, np.diagonal(overlap, 1), steps.overlaps)
    counts = np.array([max(1, int(len(gap) / g)) for gap, g in zip(kept, inefficiency, strict=True)])
    variance = np.array([gap.var() for gap in kept])
    _warn(lam, gradient, bounds, counts, variance, 1.0 / beta, steps, overlaps)
    if estimator in refused:
        warn_refused(estimator, refused, lam, np.sqrt(variance), beta)
    fractions = np.linspace(0.1, 1.0, 10)
    shift = integral.value - float(integral.by_mean @ gradient)
    value, error = estimates[estimator]
    return FreeEnergyResult(
        value=value,
        error=error,
        estimator=estimator,
        estimates=estimates,
        freedom=freedom,
        temperature=temperature,
        lam=lam,
        weights=weights,
        gradient=gradient,
        gradient_error=np.array([float(one.error) for one in blocks]),
        gradient_freedom=np.array([float(one.freedom) for one in blocks]),
        variance=variance,
        inefficiency=inefficiency,
        discarded=np.array(starts),
        counts=counts,
        overlap=overlap,
        states=steps.states,
        overlaps=overlaps,
        support=steps.support,
        quadrature=integral.quadrature,
        refused=refused,
        fractions=fractions,
        forward=shift + np.array([_part(integral.by_mean, kept, f, 1) for f in fractions]),
        backward=shift + np.array([_part(integral.by_mean, kept, f, -1) for f in fractions]),
        run=run,
        reference=reference,
        contents=contents,
        hysteresis=steps.hysteresis,
    )


def _checked_walkers(walkers: np.ndarray, gaps: Sequence[np.ndarray]) -> np.ndarray:
    """Whole numbers of (samples, windows), each of them once a sample."""
    found = checks.array("walkers", walkers, (None, len(gaps)))
    counts = sorted({len(gap) for gap in gaps})
    if counts != [len(found)]:
        raise InputError(f"walkers of {len(found)} samples must be those of the gaps, of {counts} samples")
    numbers = found.astype(int)
    if np.any(numbers != found) or np.any(numbers < 0) or np.any(np.diff(np.sort(numbers), axis=1) == 0):
        raise InputError("walkers must hold whole numbers from 0 on, at each sample another one for each window")
    return numbers


def _part(weights: np.ndarray, kept: Sequence[np.ndarray], fraction: float, side: int) -> float:
    """Weighted means of a share of the samples of each window, from the beginning (1) or the end (-1)."""
    counts = [max(1, round(fraction * len(gap))) for gap in kept]
    return float(weights @ [(gap[:n] if side > 0 else gap[-n:]).mean() for gap, n in zip(kept, counts, strict=True)])


def _mbar(
    dense: Sequence[np.ndarray], steps: Steps, lam: np.ndarray, beta: float
) -> tuple[tuple[float, float], float, np.ndarray]:
    """Value in eV and its standard error, the degrees of freedom of this error, and the overlap matrix.

    All NaN where windows share nothing: the equations have no unique solution there, and solvers take minutes.
    """
    count = len(steps.states)
    if steps.apart:
        return (math.nan, math.nan), math.nan, np.full((count, count), math.nan)
    guess = np.concatenate([[0.0], np.cumsum(steps.differences)])
    counts = np.zeros(count, int)  # the ends may be states without samples
    counts[np.isin(steps.states, lam)] = [len(one) for one in dense]
    # The part of U0 that all states share drops out.
    energies = beta * steps.states[:, None] * np.concatenate(dense)
    solution = solve_mbar(energies, counts, guess)
    pulls = np.split(mbar_pulls(energies, solution), np.cumsum(counts[counts > 0])[:-1])
    value = float(solution.f_k[-1] - solution.f_k[0])
    error, freedom = joint_error(as_rows(pulls), steps.walkers)
    return (value / beta, error / beta), freedom, overlap_matrix(solution)


def _warn(
    lam: np.ndarray,
    gradient: np.ndarray,
    errors: np.ndarray,
    counts: np.ndarray,
    variance: np.ndarray,
    thermal: float,
    steps: Steps,
    overlaps: np.ndarray,
) -> None:
    if counts.min() < FEWEST:
        at = int(np.argmin(counts))
        caution(
            f"free energy: {counted(counts[at], 'independent sample')} of the window at λ = {lam[at]:.3g} ({FEWEST} "
            "are needed): run longer"
        )
    for n in np.flatnonzero(overlaps < LEAST_OVERLAP):
        if n not in steps.weak:  # those get a warning of their own
            first, last = steps.states[n : n + 2]
            caution(
                f"free energy: windows at λ = {first:.3g} and {last:.3g} overlap by {overlaps[n]:.3f} only (at least "
                f"{LEAST_OVERLAP} are needed): take more windows, or adapt=True"
            )
    rise, error = np.diff(gradient), np.hypot(errors[1:], errors[:-1])
    for n in np.flatnonzero(rise > 4.0 * error):
        caution(
            f"free energy: <dU/dλ> rises by {plus_minus(rise[n], error[n], unit='eV')} from λ = {lam[n]:.3g} to "
            f"{lam[n + 1]:.3g}, which it cannot in equilibrium: these windows are not; run longer, or with exchange="
        )
    reach = np.maximum(variance[1:], variance[:-1]) / thermal * np.diff(lam)
    for n in np.flatnonzero(-rise > FALL * reach + 4.0 * error):
        caution(
            f"free energy: <dU/dλ> falls by {plus_minus(-rise[n], error[n], unit='eV')} from λ = {lam[n]:.3g} to "
            f"{lam[n + 1]:.3g}, but its fluctuations in these windows account for {reach[n]:.2g} "
            "eV at most: something changes between them, or they are not in equilibrium; take windows between them, or "
            "run longer, or with exchange="
        )


def warn_refused(estimator: str, refused: dict[str, str], lam: np.ndarray, spread: np.ndarray, beta: float) -> None:
    """Say that an estimate has no error bar, why, and what to do."""
    needed = windows_needed(lam, spread, beta)
    place = (
        "the windows evenly placed by adapt=True"
        if len(lam) >= needed
        else f"about {counted(needed, 'window')} with adapt=True"
    )
    others = [name for name in ESTIMATORS if name not in refused]
    instead = f", or take the estimate of {others[0]}, which has one" if others else ""
    caution(f"free energy: {estimator} has no error bar: {refused[estimator]}. Take {place}, or run longer{instead}")


def windows_needed(lam: np.ndarray, spread: np.ndarray, beta: float) -> int:
    """Windows at equal thermodynamic distances `DISTANCE`, both ends included."""
    return math.ceil(beta * thermodynamic_length(lam, spread) / DISTANCE) + 1
