"""Pictures of mean squared displacements, velocities, integrals of distribution functions and mean forces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte import units
from jaxelyte.checks import quantity
from jaxelyte.plots.palette import element_color, pair_color
from jaxelyte.plots.style import BLACK, GREY, band, draws, labelled, level, new_axes
from jaxelyte.wording import plus_minus

if TYPE_CHECKING:
    from jaxelyte.observables.conductivity import ConductivityResult
    from jaxelyte.observables.diffusion import DiffusivityResult, MSDResult
    from jaxelyte.observables.kirkwood_buff import KirkwoodBuffResult
    from jaxelyte.observables.pmf import PMFResult
    from jaxelyte.observables.velocity import VACFResult
    from jaxelyte.theory.hnc import HNCResult

GUIDE = "slope 1, as of diffusion"


@draws("KirkwoodBuffResult")
def running_integrals(result: KirkwoodBuffResult, ax: Any = None) -> Any:
    """Draw Kirkwood-Buff integrals against their upper limit, errors at the end of each; returns the axes."""
    ax = new_axes(ax)
    level(ax, 0.0)
    for number, pair in enumerate(result.pairs):
        color, name = pair_color(*pair), "–".join(pair)
        if not np.isfinite(result.value[number]):
            ax.plot([], [], color=color, linestyle=":", label=f"{name}: not sampled")
            continue
        ax.plot(result.radius, result.running[number], color=color, label=name)
        ax.errorbar(result.limit, result.value[number], result.error[number], color=color, capsize=3)
    ax.set_xlim(0.0, result.limit * 1.02)
    return labelled(ax, "upper limit / Å", "Kirkwood-Buff integral / Å³")


@draws("MSDResult")
def msd(result: MSDResult, ax: Any = None) -> Any:
    """Draw a mean squared displacement on logarithmic axes with a band of one standard error; returns the axes.

    The motion is diffusive where the slope is one.
    """
    color = element_color(result.species)
    ax = _displacement(ax, result.lags, result.value, result.error, color, result.species)
    return labelled(ax, "lag / ps", "mean squared displacement / Å²")


@draws("VACFResult")
def vacf(result: VACFResult, ax: Any = None) -> Any:
    """Draw a velocity autocorrelation function relative to its start, with a band of one standard error."""
    ax = new_axes(ax)
    level(ax, 0.0)
    start, color = result.value[0], element_color(result.species)
    band(ax, result.lags, result.value / start, result.error / start, color=color, label=result.species)
    ax.set_xlim(0.0, result.lags[-1])
    return labelled(ax, "lag / fs", "velocity autocorrelation / its value at 0")


@draws("DiffusivityResult")
def diffusivity(result: DiffusivityResult, ax: Any = None) -> Any:
    """Draw a mean squared displacement on logarithmic axes, and the line in the window that was fitted.

    The legend gives the slope there, one where the motion is diffusive, and D, or that the motion is not diffusive. A
    grey line of slope one serves as a guide. Several species may be drawn into the same axes.
    """
    curve, color = result.msd, element_color(result.species)
    ax = _displacement(ax, curve.lags, curve.value, curve.error, color)
    times = np.linspace(*result.fit, 50) / 1e3
    line, found = np.interp(times, curve.lags / 1e3, curve.value), "not diffusive"
    if np.isfinite(result.value):
        line = result.intercept + 6.0 * result.uncorrected / 1e-8 * times  # 1e-8 m²/s is one Å²/ps
        found = f"D = {plus_minus(result.value, result.error, unit='m²/s')}"
    _window(ax, times, line, color, f"{result.species}: {found}, {_slope(result)}")
    return labelled(ax, "lag / ps", "mean squared displacement / Å²")


@draws("ConductivityResult")
def conductivity(result: ConductivityResult, ax: Any = None) -> Any:
    """Draw the mean squared displacement of the charge on logarithmic axes, and the window of the fit."""
    color = BLACK
    ax = _displacement(ax, result.lags, result.displacement, result.displacement_error, color)
    times = np.linspace(*result.fit, 50) / 1e3
    line, found = np.interp(times, result.lags / 1e3, result.displacement), "not diffusive"
    if np.isfinite(result.value):
        found = f"σ = {plus_minus(result.value, result.error, unit='S/m')}"
    _window(ax, times, line, color, f"{found}, {_slope(result)}")
    return labelled(ax, "lag / ps", "displacement of the charge / e² Å²")


def _displacement(ax: Any, lags: Any, value: Any, error: Any, color: str, label: str | None = None) -> Any:
    """The axes, with a curve on logarithmic scales, which have no zero; lags in fs."""
    ax = new_axes(ax)
    seen = (lags > 0.0) & (value > 0.0)
    # Nor has a band that reaches below zero a lower end there.
    band(ax, lags[seen] / 1e3, value[seen], np.minimum(error, 0.95 * value)[seen], color=color, label=label)
    ax.set(xscale="log", yscale="log")
    return ax


def _slope(result: DiffusivityResult | ConductivityResult) -> str:
    """Exponent and window of a fit."""
    return f"slope {result.exponent:.2f} from {result.fit[0] / 1e3:.3g} to {result.fit[1] / 1e3:.3g} ps"


def _window(ax: Any, times: np.ndarray, line: np.ndarray, color: str, label: str) -> None:
    """The window of a fit as a thick line over the curve, and below it a guide of slope one, once in each picture."""
    shown = line > 0.0
    ax.plot(times[shown], line[shown], color=color, label=label, linewidth=4.0, alpha=0.35, solid_capstyle="butt")
    if GUIDE not in {one.get_label() for one in ax.lines} and np.any(shown):
        guide = 0.5 * line[-1] * times / times[-1]
        ax.plot(times, guide, color=GREY, linewidth=0.8, linestyle="--", label=GUIDE)


@draws("HNCResult", "IonResult")
def correlations(result: HNCResult, ax: Any = None, *, r_max: float = 20.0) -> Any:
    """Draw g(r) of all pairs of ions of a theory.

    Args:
        result: of the hypernetted chain.
        ax: axes of matplotlib; new ones by default.
        r_max: Å, end of the distance axis.

    Returns:
        The axes.
    """
    r_max = quantity("r_max", r_max, "reach")
    ax = new_axes(ax)
    level(ax, 1.0)
    pairs = [(a, b) for n, a in enumerate(result.species) for b in result.species[n:]]
    for pair in pairs:
        ax.plot(result.r, result.pair(*pair), color=pair_color(*pair), label="–".join(pair))
    ax.set_xlim(0.0, r_max)
    ax.set_ylim(bottom=0.0)
    return labelled(ax, "r / Å", "g(r)")


@draws("PMFResult")
def pmf(result: PMFResult, ax: Any = None) -> Any:
    """Draw a potential of mean force in meV with a band of one standard error, its short-range part dashed."""
    ax = new_axes(ax)
    level(ax, 0.0)
    seen = np.isfinite(result.value)
    r, name, color = result.r[seen], "–".join(result.pair), pair_color(*result.pair)
    name += "" if np.any(seen) else ": not sampled"
    band(ax, r, 1e3 * result.value[seen], 1e3 * result.error[seen], color=color, label=name)
    if result.short_range is not None and np.any(seen):
        ax.plot(r, 1e3 * result.short_range[seen], color=color, linestyle="--", label="without screened Coulomb")
    highest = 5.0 * 1e3 * units.BOLTZMANN * result.temperature
    if np.any(seen):  # a pair that never met has no curve
        ax.set_ylim(top=min(highest, float(1e3 * result.value[seen].max()) + 10.0))
    return labelled(ax, "r / Å", "potential of mean force / meV")
