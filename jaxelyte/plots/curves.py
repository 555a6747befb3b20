"""Pictures of radial distribution functions and of what follows from them, and of mean squared displacements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte import units
from jaxelyte.checks import quantity
from jaxelyte.plots.style import COLORS, band, draws, new_axes, quiet

if TYPE_CHECKING:
    from jaxelyte.observables.curve import RDFResult
    from jaxelyte.observables.diffusion import DiffusivityResult, MSDResult
    from jaxelyte.observables.kirkwood_buff import KirkwoodBuffResult
    from jaxelyte.observables.pmf import PMFResult
    from jaxelyte.observables.velocity import VACFResult
    from jaxelyte.theory.hnc import HNCResult


@draws("RDFResult")
def rdf(result: RDFResult, ax: Any = None, *, coordination: bool = False) -> Any:
    """Draw g(r) of all pairs with bands of one standard error; returns the axes.

    Args:
        result: one or several pairs.
        ax: matplotlib axes to draw into; a new figure by default.
        coordination: add the running coordination numbers on a second axis, dashed.
    """
    ax = new_axes(ax)
    _level(ax, 1.0)
    second = ax.twinx() if coordination else None
    for number, pair in enumerate(result.pairs):
        one, color = result[number], COLORS[number % len(COLORS)]
        band(ax, one.r, one.g, one.error, color=color, label="–".join(pair))
        if second is not None:
            second.plot(one.edges[1:], one.coordination, color=color, linewidth=1.0, linestyle="--")
    ax.set_xlim(0.0, result.edges[-1])
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel("r / Å")
    ax.set_ylabel("g(r)")
    if second is not None:
        quiet(second)
        second.grid(visible=False)
        second.spines["right"].set_visible(True)
        second.set_ylabel("coordination number (dashed)")
        second.set_ylim(0.0, _useful_number(result))
    return _labelled(ax)


@draws("KirkwoodBuffResult")
def running_integrals(result: KirkwoodBuffResult, ax: Any = None) -> Any:
    """Draw Kirkwood-Buff integrals against their upper limit, errors at the end of each; returns the axes."""
    ax = new_axes(ax)
    _level(ax, 0.0)
    for number, pair in enumerate(result.pairs):
        color = COLORS[number % len(COLORS)]
        missing = "" if np.isfinite(result.value[number]) else ": not sampled"
        ax.plot(result.radius, result.running[number], color=color, label="–".join(pair) + missing)
        ax.errorbar(result.limit, result.value[number], result.error[number], color=color, capsize=3)
    ax.set_xlim(0.0, result.limit * 1.02)
    return _labelled(ax, "upper limit / Å", "Kirkwood-Buff integral / Å³")


@draws("MSDResult")
def msd(result: MSDResult, ax: Any = None) -> Any:
    """Draw a mean squared displacement with a band of one standard error; returns the axes."""
    ax = new_axes(ax)
    band(ax, result.lags / 1000.0, result.value, result.error, color=COLORS[0], label=result.species)
    ax.set_xlim(left=0.0)
    ax.set_ylim(bottom=0.0)
    return _labelled(ax, "lag / ps", "mean squared displacement / Å²")


@draws("VACFResult")
def vacf(result: VACFResult, ax: Any = None) -> Any:
    """Draw a velocity autocorrelation function relative to its start, with a band of one standard error."""
    ax = new_axes(ax)
    _level(ax, 0.0)
    start = result.value[0]
    band(ax, result.lags, result.value / start, result.error / start, color=COLORS[0], label=result.species)
    ax.set_xlim(0.0, result.lags[-1])
    return _labelled(ax, "lag / fs", "velocity autocorrelation / its value at 0")


@draws("DiffusivityResult")
def diffusivity(result: DiffusivityResult, ax: Any = None) -> Any:
    """Draw a mean squared displacement, and the straight line in the window that was fitted; returns the axes."""
    ax = msd(result.msd, ax)
    start, end = (t / 1000.0 for t in result.fit)
    slope = 6.0 * result.uncorrected / 1e-8  # Å²/ps
    line = [result.intercept + slope * t for t in (start, end)]
    ax.plot([start, end], line, color=COLORS[1], linestyle="--", label=f"D = {result.value * 1e9:.3g}e-9 m²/s")
    return _labelled(ax)


@draws("HNCResult", "IonResult")
def correlations(result: HNCResult, ax: Any = None, *, r_max: float = 20.0) -> Any:
    """Draw g(r) of all pairs of ions of a theory, to ``r_max`` Å; returns the axes."""
    r_max = quantity("r_max", r_max, "reach")
    ax = new_axes(ax)
    _level(ax, 1.0)
    pairs = [(a, b) for n, a in enumerate(result.species) for b in result.species[n:]]
    for number, pair in enumerate(pairs):
        ax.plot(result.r, result.pair(*pair), color=COLORS[number], label="–".join(pair))
    ax.set_xlim(0.0, r_max)
    ax.set_ylim(bottom=0.0)
    return _labelled(ax, "r / Å", "g(r)")


@draws("PMFResult")
def pmf(result: PMFResult, ax: Any = None) -> Any:
    """Draw a potential of mean force in meV with a band of one standard error, its short-range part dashed."""
    ax = new_axes(ax)
    _level(ax, 0.0)
    seen = np.isfinite(result.value)
    r, name = result.r[seen], "–".join(result.pair)
    band(ax, r, 1e3 * result.value[seen], 1e3 * result.error[seen], color=COLORS[0], label=name)
    if result.short_range is not None:
        ax.plot(r, 1e3 * result.short_range[seen], color=COLORS[1], linestyle="--", label="without screened Coulomb")
    highest = 5.0 * 1e3 * units.BOLTZMANN * result.temperature
    if np.any(seen):  # a pair that never met has no curve
        ax.set_ylim(top=min(highest, float(1e3 * result.value[seen].max()) + 10.0))
    return _labelled(ax, "r / Å", "potential of mean force / meV")


def _level(ax: Any, value: float) -> None:
    """The line that a curve tends to."""
    ax.axhline(value, color="#999999", linewidth=0.8)


def _labelled(ax: Any, x: str | None = None, y: str | None = None) -> Any:
    """The axes with a legend, and what they show if it is not written there yet."""
    if x is not None and y is not None:
        ax.set_xlabel(x)
        ax.set_ylabel(y)
    ax.legend(frameon=False, fontsize=9)
    return ax


def _useful_number(result: RDFResult) -> float:
    """Upper end of the coordination axis: a little more than the shells in the lower half of the range."""
    inside = result.edges[1:] <= 0.6 * result.edges[-1]
    highest = max(float(result[k].coordination[inside].max(initial=0.0)) for k in range(len(result)))
    return max(1.0, 1.1 * highest)
