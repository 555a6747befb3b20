"""Pictures of recorded series and of biased sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte import units
from jaxelyte.plots.curves import pmf
from jaxelyte.plots.style import BLACK, COLORS, band, draws, labelled, new_axes, whole_numbers
from jaxelyte.wording import counted, plus_minus

if TYPE_CHECKING:
    from jaxelyte.free_energy import FreeEnergyResult, MetadynamicsResult, UmbrellaResult
    from jaxelyte.gradients import ObservablesFit
    from jaxelyte.observables import SeriesResult, ViscosityResult

MOST_POINTS = 2000


@draws("SeriesResult")
def series(result: SeriesResult, ax: Any = None) -> Any:
    """Draw recorded numbers against time, every replica; long series are thinned. Returns the axes."""
    ax = new_axes(ax)
    step = max(1, len(result) // MOST_POINTS)
    for number, name in enumerate(result.columns):
        for replica in range(result.values.shape[1]):
            label = name if replica == 0 else None
            color = COLORS[number % len(COLORS)]
            values = result.values[::step, replica, number]
            ax.plot(result.times[::step] / 1e3, values, color=color, linewidth=0.8, alpha=0.8, label=label)
    return labelled(ax, "time / ps", f"value / {result.unit}")


@draws("UmbrellaResult")
def umbrella(result: UmbrellaResult, ax: Any = None) -> Any:
    """Draw w(r) over the histograms of the windows; returns the axes."""
    ax = pmf(result.pmf, ax)
    finite = result.pmf.value[np.isfinite(result.pmf.value)] * 1e3
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    top = max(1.0, float(result.counts.max()))
    for number, counts in enumerate(result.counts):
        # In the lowest third of the picture: shares, whose height means nothing.
        heights = low + 0.3 * (high - low) * counts / top
        label = None if number else f"samples of {counted(len(result.counts), 'window')}"
        color = COLORS[number % len(COLORS)]
        ax.fill_between(result.pmf.r, low, heights, color=color, alpha=0.2, linewidth=0, label=label)
    return labelled(ax)


@draws("MetadynamicsResult")
def metadynamics(result: MetadynamicsResult, ax: Any = None) -> Any:
    """Draw w(r) from the reweighted samples, and from the bias, moved to lie on it; returns the axes."""
    ax = pmf(result.pmf, ax)
    inside = (result.grid >= result.pmf.r[0]) & (result.grid <= result.pmf.r[-1])
    other = np.interp(result.pmf.r, result.grid, result.from_bias)
    good = np.isfinite(result.pmf.value)
    shift = float(np.median((result.pmf.value - other)[good])) if np.any(good) else 0.0
    curve = 1e3 * (result.from_bias[inside] + shift)
    ax.plot(result.grid[inside], curve, color=BLACK, linewidth=1.0, linestyle="--", label="from the bias")
    return labelled(ax)


@draws("ViscosityResult")
def viscosity(result: ViscosityResult, ax: Any = None) -> Any:
    """Draw the running Green-Kubo integral and the result, with their errors; returns the axes."""
    ax = new_axes(ax)
    times = result.lags / 1e3
    band(ax, times, 1e3 * result.running, 1e3 * result.running_error, color=COLORS[0], label="running integral")
    level, error = np.full(len(times), 1e3 * result.value), np.full(len(times), 1e3 * result.error)
    value = plus_minus(1e3 * result.value, 1e3 * result.error, unit="mPa s")
    band(ax, times, level, error, color=COLORS[1], label=f"spectrum at zero frequency: {value}")
    return labelled(ax, "upper limit / ps", "viscosity / mPa s")


@draws("FreeEnergyResult")
def free_energy(result: FreeEnergyResult, ax: Any = None) -> Any:
    """Draw <dU/dλ> of the windows with errors, and its slope -Var(dU/dλ)/k_B T as short lines; returns the axes."""
    ax = new_axes(ax)
    bars = {"color": COLORS[0], "fmt": "o", "capsize": 3, "label": "mean of a window"}
    ax.errorbar(result.lam, result.gradient, result.gradient_error, **bars)
    half = 0.3 * float(np.min(np.diff(result.lam), initial=1.0))
    slope = -result.variance / (units.BOLTZMANN * result.temperature)
    for number, (lam, value, tangent) in enumerate(zip(result.lam, result.gradient, slope, strict=True)):
        ends = np.array([-half, half])
        label = None if number else "slope by its fluctuations"
        ax.plot(lam + ends, value + tangent * ends, color=COLORS[1], linewidth=1.0, label=label)
    ax.set_xlim(-0.02, 1.02)
    return labelled(ax, "λ", "⟨dU/dλ⟩ / eV")


@draws("FreeEnergyResult")
def convergence(result: FreeEnergyResult, ax: Any = None) -> Any:
    """Draw ΔF against the share of the run, from both of its ends, with the final error; returns the axes."""
    ax = new_axes(ax)
    value, error = result.estimates["TI"]
    if np.isfinite(error):
        label = f"whole run: {plus_minus(value, error, unit='eV')}"
        ax.axhspan(value - error, value + error, color="#dddddd", label=label)
    for curve, label, color in ((result.forward, "beginning", COLORS[0]), (result.backward, "end", COLORS[1])):
        ax.plot(result.fractions, curve, "o-", markersize=3, linewidth=1.2, color=color, label=f"from the {label}")
    return labelled(ax, "share of the run", "ΔF / eV")


@draws("ObservablesFit")
def observables_fit(result: ObservablesFit, ax: Any = None) -> Any:
    """Draw the loss of a fit to observables against its steps; dots are new simulations. Returns the axes."""
    ax = new_axes(ax)
    steps = np.array([row["step"] for row in result.history])
    loss = np.array([row["loss"] for row in result.history])
    band(ax, steps, loss, np.array([row["error"] for row in result.history]), color=COLORS[0], label="loss")
    fresh = np.array([row["simulated"] for row in result.history], bool)
    ax.plot(steps[fresh], loss[fresh], "o", color=COLORS[0], markersize=4, label="new simulation")
    ax.set(yscale="log")
    whole_numbers(ax)
    return labelled(ax, "step", "loss")
