"""Steps from state to state along λ by Bennett's ratio and exponential averages, and how many samples decide them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxelyte.free_energy.estimators import bar, zwanzig
from jaxelyte.free_energy.joint import joint_error
from jaxelyte.observables.tails import deciding

CROSSING = 30.0
"""Independent samples that decide a step of BAR, at least. Of exact samples of springs the root mean square deviation
in standard errors is 1.0 to 1.1 from 30 on, 1.3 at 20, and 2.3 at 9."""

DECIDING = 15.0
"""The same of an exponential average to an end without samples; see `jaxelyte.observables.tails.deciding`."""

NOTHING = 1e-12
"""Σ f (1 - f) of a step below which the equations of MBAR have no unique solution in floating point."""


@dataclass(frozen=True)
class Steps:
    """Sums over the steps.

    Attributes:
        estimates: value and standard error in eV: "BAR", "Zwanzig forward", "Zwanzig backward".
        freedom: degrees of freedom of these errors.
        hysteresis: difference of the last two, and its standard error.
        one_sided: of the last two, why they have no honest error; empty where they have.
        pulls: of each window, (samples,), how much each sample moves the sum of BAR, reduced.
        states: (states,), λ: 0, the windows, and 1.
        overlaps: (states - 1,), ∫ p q/(p + q) of the distributions of neighbouring states.
        support: (states - 1,), independent samples that decide the step.
        needed: (states - 1,), how many have to.
        differences: (states - 1,), reduced free energy of each step by BAR.
        walkers: (samples, windows), of the samples of the steps; see `joint_error`.
    """

    estimates: dict[str, tuple[float, float]]
    freedom: dict[str, float]
    hysteresis: tuple[float, float]
    one_sided: dict[str, str]
    pulls: list[np.ndarray]
    states: np.ndarray
    overlaps: np.ndarray
    support: np.ndarray
    needed: np.ndarray
    differences: np.ndarray
    walkers: np.ndarray | None

    @property
    def weak(self) -> np.ndarray:
        """Numbers of the steps that too few samples decide."""
        return np.flatnonzero(~(self.support >= self.needed))

    @property
    def apart(self) -> bool:
        """Whether some windows share nothing, so that their relative free energy is not defined by their samples."""
        return bool(np.any(self.support[self.needed == CROSSING] == 0.0))

    @property
    def reason(self) -> str:
        """Why the sums have no honest error, empty where they have."""
        texts = []
        for n in self.weak:
            first, last = self.states[n], self.states[n + 1]
            if self.needed[n] == DECIDING:
                end, window = (first, last) if first == 0.0 else (last, first)
                texts.append(
                    f"λ = {end:g} is extrapolated from the window at λ = {window:.3g}, where {self.support[n]:.1f} "
                    f"independent samples decide ({DECIDING:g} are needed)"
                )
            else:
                texts.append(
                    f"{self.support[n]:.1f} independent samples decide the step from λ = {first:.3g} to {last:.3g} "
                    f"({CROSSING:g} are needed)"
                )
        return "; ".join(texts)


def steps_between(
    dense: Sequence[np.ndarray],
    lam: np.ndarray,
    beta: float,
    worth: np.ndarray,
    walkers: np.ndarray | None,
) -> Steps:
    """Sums over the steps between windows: BAR, and exponential averages upwards and downwards.

    To λ = 0 and 1, where they are no windows, the step is an exponential average in all three. Standard errors follow
    from how much each sample pulls the sum (for one step that is Bennett's own formula); a sample of a window pulls at
    the steps on both sides of it. They are those of `joint_error`.

    Args:
        dense: samples of U1 - U0 in eV of each window, in the order of time.
        lam: (windows,), rising.
        beta: 1/eV.
        worth: (windows,), how many of these samples are worth one that is independent.
        walkers: (samples, windows), of as many samples; see `joint_error`.
    """
    names: tuple[str, ...] = ("BAR", "Zwanzig forward", "Zwanzig backward")
    total: dict[str, float] = dict.fromkeys(names, 0.0)
    pulls = {name: [np.zeros(len(one)) for one in dense] for name in names}
    rows: list[tuple[float, float, float, float]] = []
    one_sided: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names[1:]}

    def add(name: str, sign: float, step: float, *parts: tuple[int, np.ndarray]) -> None:
        total[name] += sign * step
        for window, pull in parts:
            pulls[name][window] += sign * pull

    def extrapolate(window: int, end: float, sign: float) -> None:
        step, pull = zwanzig(beta * (end - lam[window]) * dense[window])
        for name in names:
            add(name, sign, step, (window, pull))
        weight = 1.0 - pull * len(pull)  # of the samples in the state at the end, mean one
        overlap = float(np.mean(weight / (1.0 + weight)))
        found = deciding(pull, weight) / worth[window]
        rows.append((overlap, found, DECIDING, sign * step))
        for ends in one_sided.values():
            ends.append((found, lam[window], end))

    if lam[0] > 0.0:
        extrapolate(0, 0.0, -1.0)
    for n, width in enumerate(np.diff(lam)):
        up, down = beta * width * dense[n], -beta * width * dense[n + 1]
        found = bar(up, down)
        add("BAR", 1.0, found.difference, (n, found.ahead), (n + 1, found.back))
        rows.append((found.overlap, crossing_samples(found.crossing, worth[n : n + 2]), CROSSING, found.difference))
        for name, work, window, other in ((names[1], up, n, n + 1), (names[2], down, n + 1, n)):
            step, pull = zwanzig(work)
            add(name, float(other - window), step, (window, pull))
            decide = deciding(pull, 1.0 - pull * len(pull)) / worth[window]
            one_sided[name].append((decide, lam[window], lam[other]))
    if lam[-1] < 1.0:
        extrapolate(len(lam) - 1, 1.0, 1.0)
    errors = {n: joint_error(as_rows(pulls[n]), walkers) for n in names}
    estimates = {n: (total[n] / beta, errors[n].error / beta) for n in names}
    freedom = {n: errors[n].freedom for n in names}
    apart = [ahead - back for ahead, back in zip(pulls[names[1]], pulls[names[2]], strict=True)]
    hysteresis = (total[names[1]] - total[names[2]]) / beta, joint_error(as_rows(apart), walkers).error / beta
    reasons = {name: _few(least) for name, ends in one_sided.items() if (least := min(ends))[0] < DECIDING}
    if reasons:
        hysteresis = hysteresis[0], math.nan
    states = np.concatenate([[0.0] * int(lam[0] > 0.0), lam, [1.0] * int(lam[-1] < 1.0)])
    table = np.array(rows).reshape(-1, 4)
    return Steps(estimates, freedom, hysteresis, reasons, pulls["BAR"], states, *table.T, walkers=walkers)


def _few(step: tuple[float, float, float]) -> str:
    """Why an exponential average has no error."""
    found, window, other = step
    return (
        f"{found:.1f} independent samples at λ = {window:.3g} decide the step to {other:.3g} ({DECIDING:g} are needed)"
    )


def as_rows(pulls: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Series whose means move a sum as all pulls together do."""
    return [pull * len(pull) for pull in pulls]


def crossing_samples(sides: tuple[np.ndarray, np.ndarray], worth: np.ndarray) -> float:
    """Independent samples that carry Σ f (1 - f) of a step, f their chance to be of the other window.

    The sum is one over the variance of the step; below one, where its error is above k_B T, it is what counts, and none
    below `NOTHING`.

    Args:
        sides: f (1 - f) of the samples of both windows; see `Bennett.crossing`.
        worth: (2,), how many samples of each are worth one that is independent.
    """
    pairs = list(zip(sides, worth, strict=True))
    total = sum(float(np.sum(side)) / g for side, g in pairs)
    if total < 1.0:
        return total if total > NOTHING else 0.0
    return sum(float(np.sum(side)) for side in sides) ** 2 / sum(float(np.sum(side**2)) * g for side, g in pairs)
