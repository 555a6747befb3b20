"""Pictures of local structure: g(r) beside experiment, structure factors, angles, and how long neighbours stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.checks import mapping
from jaxelyte.plots.palette import pair_color
from jaxelyte.plots.style import BLACK, band, draws, labelled, level, new_axes, quiet
from jaxelyte.wording import plus_minus

if TYPE_CHECKING:
    from jaxelyte.observables import RDFResult
    from jaxelyte.observables.angles import AnglesResult
    from jaxelyte.observables.partials import StructureFactorResult
    from jaxelyte.observables.residence import ResidenceResult


GONE = 0.02
"""Share of neighbours still there, behind which a survival function is not drawn."""


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
        one, color = result[number], pair_color(*pair)
        band(ax, one.r, one.g, one.error, color=color)
        level(ax, 1.0)
        position, height = known.get("-".join(pair), (None, None))
        if position is not None:
            label = f"measured, {position:g} Å"
            ax.axvline(position, color=BLACK, linewidth=0.9, linestyle="--", label=label)
        if position is not None and height is not None:
            bar = {"color": BLACK, "marker": "o", "markersize": 3, "capsize": 2, "linewidth": 0.9}
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

    The axis names the normalisation: partials of Ashcroft and Langreth tend to one for like pairs and to zero for
    unlike ones, totals of Faber and Ziman to one.

    Args:
        result: partials, and perhaps a total.
        ax: matplotlib axes to draw into; a new figure by default.
        partials: draw the pairs; by default where there is no total.
    """
    ax = new_axes(ax, size=(6.4, 3.4))
    level(ax, 1.0)
    shown = []
    if result.total is not None:
        band(ax, result.k, result.total, result.total_error, color=BLACK, label=f"{result.weighting}, total")
        shown.append("S(k), Faber–Ziman")
    if partials or (partials is None and result.total is None):
        level(ax, 0.0)
        for number, pair in enumerate(result.pairs):
            name, color = "–".join(pair), pair_color(*pair)
            band(ax, result.k, result.value[number], result.error[number], color=color, label=name)
        shown.append("S_ab(k), Ashcroft–Langreth")
    ax.set_xlim(0.0, result.k[-1])
    return labelled(ax, "k / Å⁻¹", "\n".join(shown), beside=True)


@draws("AnglesResult")
def angles(result: AnglesResult, ax: Any = None, *, relative: bool = False) -> Any:
    """Draw a distribution of angles with a band of one standard error; returns the axes.

    Args:
        result: of one kind of triplets.
        ax: matplotlib axes to draw into; a new figure by default.
        relative: to random directions, p(θ) / (sin θ / 2), instead of p(θ).
    """
    ax = new_axes(ax)
    name, color = "–".join(result.triplet), pair_color(*result.triplet[:2])
    if relative:
        level(ax, 1.0)
        band(ax, result.theta, result.relative, result.relative_error, color=color, label=name)
    else:
        band(ax, result.theta, result.value, result.error, color=color, label=name)
    ax.set_xlim(0.0, 180.0)
    ax.set_ylim(bottom=0.0)
    return labelled(ax, "θ / °", "p(θ) / p of random directions" if relative else "p(θ) / 1/°")


@draws("ResidenceResult")
def residence(result: ResidenceResult, ax: Any = None) -> Any:
    """Draw how many neighbours survive, with the exponential fitted and the intermittent function; returns the axes.

    Both axes show the range of the function itself. A time that is longer than the lags is extrapolated, and the legend
    says so.
    """
    ax = new_axes(ax)
    time, color = result.lags / 1000.0, pair_color(result.center, result.neighbor)
    tolerated = np.isfinite(result.tolerance)
    kind = f"absent at most {result.tolerance / 1000.0:g} ps" if tolerated else "intermittent"
    band(ax, time, result.survival, result.survival_error, color=color, label=kind)
    if tolerated:
        error = result.intermittent_error
        band(ax, time, result.intermittent, error, color="#777777", label="however long absent (intermittent)")
    fitted = 0.0
    if np.isfinite(result.value):
        start, end = result.fit
        part = np.linspace(start, end, 50)
        label = f"τ = {plus_minus(result.value / 1e3, result.error / 1e3, unit='ps')}"
        label += f", extrapolated from {end / 1e3:.3g} ps" if result.value > end else ""
        ax.plot(part / 1000.0, result.fitted(part), color=BLACK, linestyle="--", label=label)
        fitted = end / 1000.0
    # Behind what is left after some residence times there is noise only.
    gone = time[result.survival < GONE]
    last = max(float(gone[0]) if len(gone) else float(time[-1]), fitted)
    inside = time <= last
    lowest = float(np.nanmin((result.survival - np.nan_to_num(result.survival_error))[inside]))
    ax.set_xlim(0.0, last)
    ax.set_ylim(max(0.0, lowest - 0.08 * (1.0 - lowest)), 1.0 + 0.03 * (1.0 - lowest) + 1e-9)
    return labelled(ax, "lag / ps", f"share of {result.neighbor} that stays at {result.center}")
