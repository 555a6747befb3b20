"""Pictures of local structure: g(r) beside experiment, structure factors, angles, and how long neighbours stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.checks import mapping
from jaxelyte.plots.style import COLORS, band, draws, new_axes, quiet

if TYPE_CHECKING:
    from jaxelyte.observables import RDFResult
    from jaxelyte.observables.angles import AnglesResult
    from jaxelyte.observables.partials import StructureFactorResult
    from jaxelyte.observables.residence import ResidenceResult


@draws("RDFResult")
def compared(result: RDFResult, measured: Mapping[str, tuple[float, tuple[float, float] | None]]) -> Any:
    """Draw each pair into a panel of its own, with a band of one standard error, and mark the measured first peak.

    Args:
        result: of one or more pairs.
        measured: by pair, such as "Na-O": position in Å, and height with its error, or None where it was not measured.

    Returns:
        The axes, one for each pair, of a new figure.

    Raises:
        InputError: ``measured`` is no dictionary.
    """
    import matplotlib.pyplot as plt

    known = mapping("measured", measured, "{'Na-O': (2.384, None)}")
    count = len(result.pairs)
    _, axes = plt.subplots(1, count, figsize=(3.1 * count, 3.0), dpi=120, layout="constrained", squeeze=False)
    for number, (pair, ax) in enumerate(zip(result.pairs, axes[0], strict=True)):
        quiet(ax)
        one, color = result[number], COLORS[number % len(COLORS)]
        band(ax, one.r, one.g, one.error, color=color)
        ax.axhline(1.0, color="#999999", linewidth=0.8)
        position, height = known.get("-".join(pair), (None, None))
        if position is not None:
            label = f"measured, {position:g} Å"
            ax.axvline(position, color="#222222", linewidth=0.9, linestyle="--", label=label)
        if position is not None and height is not None:
            bar = {"color": "#222222", "marker": "o", "markersize": 3, "capsize": 2, "linewidth": 0.9}
            ax.errorbar([position], [height[0]], [height[1]], label=f"measured height, {height[0]:g}", **bar)
        seen = one.r[one.g > 0.0]
        ax.set_xlim(max(0.0, seen[0] - 0.4) if len(seen) else 0.0, one.r[-1])
        ax.set_ylim(bottom=0.0)
        ax.set_title("–".join(pair), fontsize=10)
        ax.set_xlabel("r / Å")
        if position is not None:
            ax.legend(frameon=False, fontsize=8, loc="upper right")
    axes[0, 0].set_ylabel("g(r)")
    return axes[0]


@draws("StructureFactorResult")
def structure_factor(result: StructureFactorResult, ax: Any = None, *, partials: bool | None = None) -> Any:
    """Draw structure factors with bands of one standard error; returns the axes.

    Args:
        result: partials, and perhaps a total.
        ax: matplotlib axes to draw into; a new figure by default.
        partials: draw the pairs; by default where there is no total.
    """
    ax = new_axes(ax)
    if result.total is not None:
        band(ax, result.k, result.total, result.total_error, color="#222222", label=result.weighting)
    if partials or (partials is None and result.total is None):
        for number, pair in enumerate(result.pairs):
            color = COLORS[number % len(COLORS)]
            band(ax, result.k, result.value[number], result.error[number], color=color, label="–".join(pair))
    ax.axhline(1.0, color="#999999", linewidth=0.8)
    ax.set_xlim(0.0, result.k[-1])
    return _labelled(ax, "k / Å⁻¹", "S(k)")


@draws("AnglesResult")
def angles(result: AnglesResult, ax: Any = None, *, relative: bool = False) -> Any:
    """Draw a distribution of angles with a band of one standard error; returns the axes.

    Args:
        result: of one kind of triplets.
        ax: matplotlib axes to draw into; a new figure by default.
        relative: to random directions, p(θ) / (sin θ / 2), instead of p(θ).
    """
    ax = new_axes(ax)
    name = "–".join(result.triplet)
    if relative:
        ax.axhline(1.0, color="#999999", linewidth=0.8)
        band(ax, result.theta, result.relative, result.relative_error, color=COLORS[0], label=name)
    else:
        band(ax, result.theta, result.value, result.error, color=COLORS[0], label=name)
    ax.set_xlim(0.0, 180.0)
    ax.set_ylim(bottom=0.0)
    return _labelled(ax, "θ / °", "p(θ) / p of random directions" if relative else "p(θ) / 1/°")


@draws("ResidenceResult")
def residence(result: ResidenceResult, ax: Any = None) -> Any:
    """Draw how many neighbours survive, with the exponential fitted and the intermittent function; returns the axes."""
    ax = new_axes(ax)
    time = result.lags / 1000.0
    tolerated = np.isfinite(result.tolerance)
    kind = f"absent at most {result.tolerance / 1000.0:g} ps" if tolerated else "intermittent"
    band(ax, time, result.survival, result.survival_error, color=COLORS[0], label=kind)
    if tolerated:
        band(ax, time, result.intermittent, result.intermittent_error, color=COLORS[2], label="intermittent")
    start, end = result.fit
    part = np.linspace(start, end, 50)
    label = f"τ = {result.value / 1000.0:.3g} ps"
    ax.plot(part / 1000.0, result.fitted(part), color=COLORS[1], linestyle="--", label=label)
    ax.set_xlim(0.0, time[-1])
    ax.set_ylim(0.0, 1.02)
    return _labelled(ax, "lag / ps", f"{result.neighbor} that stay at {result.center}")


def _labelled(ax: Any, x: str, y: str) -> Any:
    """The axes with a legend and what they show."""
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.legend(frameon=False, fontsize=9)
    return ax
