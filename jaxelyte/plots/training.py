"""Pictures of training: errors over epochs, predictions against labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.plots.style import COLORS, draws, new_axes, quiet

if TYPE_CHECKING:
    from jaxelyte.training.evaluate import Evaluation
    from jaxelyte.training.fit import Fit
    from jaxelyte.training.stability import Stability


@draws("Fit")
def learning(fit: Fit, axes: Any = None) -> Any:
    """Draw force and energy errors of training (thin) and validation (thick), and the learning rate, over epochs.

    Args:
        fit: a result of `train`, or of `load_fit`.
        axes: three matplotlib axes, or None for a new figure.

    Returns:
        The three axes.

    Raises:
        InputError: no epoch was trained, or axes that are not three.
    """
    if not fit.metrics:
        raise InputError("the fit has no metrics; nothing was trained yet")
    axes = _three(axes)
    epochs = np.array([row["epoch"] for row in fit.metrics])
    species = list(fit.metrics[0]["validation"]["forces_by_species"])
    for number, name in enumerate(species):
        color = COLORS[number % len(COLORS)]
        for part, style in (("train", {"linewidth": 0.7, "alpha": 0.7}), ("validation", {"linewidth": 1.5})):
            values = [row[part]["forces_by_species"][name] for row in fit.metrics]
            label = name if part == "validation" else None
            axes[0].plot(epochs, _milli(values), color=color, label=label, **style)
    for part, style in (("train", {"linewidth": 0.7, "alpha": 0.7}), ("validation", {"linewidth": 1.5})):
        axes[1].plot(epochs, _milli([row[part]["energy"] for row in fit.metrics]), color=COLORS[0], label=part, **style)
    axes[2].plot(epochs, [row["learning_rate"] for row in fit.metrics], color=COLORS[0], linewidth=1.2)
    labels = ("force RMSE / meV Å⁻¹", "energy RMSE / meV atom⁻¹", "learning rate")
    for ax, label in zip(axes, labels, strict=True):
        ax.set(yscale="log", ylabel=label, xlabel="epoch")
        ax.axvline(fit.best["epoch"], color="#999999", linewidth=0.8, zorder=0)
    for ax in axes[:2]:
        ax.legend(frameon=False, fontsize=8)
    return axes


@draws("Evaluation")
def parity(evaluation: Evaluation, axes: Any = None) -> Any:
    """Draw predicted against labelled energies per atom and forces, and the force errors by species.

    Args:
        evaluation: see `jaxelyte.evaluate`.
        axes: three matplotlib axes, or None for a new figure.

    Returns:
        The three axes.

    Raises:
        InputError: axes that are not three.
    """
    axes = _three(axes)
    energies = evaluation.energies / evaluation.sizes[:, None]
    # Frames of another composition lie hundreds of eV apart; what is compared is the rest.
    for number, name in enumerate(sorted(set(evaluation.formulas.tolist()))):
        own = energies[evaluation.formulas == name]
        own = 1e3 * (own - np.nanmean(own[:, 0]))
        axes[0].plot(own[:, 0], own[:, 1], ".", color=COLORS[number % len(COLORS)], markersize=4)
    largest = 0.0
    for number, name in enumerate(sorted(set(evaluation.symbols.tolist()))):
        color = COLORS[number % len(COLORS)]
        own = evaluation.forces[evaluation.symbols == name].reshape(-1, 2)
        own = own[np.isfinite(own).all(axis=1)]
        if not len(own):
            continue
        largest = max(largest, float(np.abs(own).max()))
        axes[1].plot(own[:, 0], own[:, 1], ".", color=color, markersize=1.5, label=name, rasterized=True)
        errors = 1e3 * (own[:, 1] - own[:, 0])
        width = float(np.quantile(np.abs(errors), 0.995))
        counts, edges = np.histogram(errors, bins=61, range=(-width, width), density=True)
        axes[2].plot(0.5 * (edges[1:] + edges[:-1]), counts, color=color, linewidth=1.2, label=name)
    axes[1].plot([-largest, largest], [-largest, largest], color="#999999", linewidth=0.8, zorder=0)
    low, high = axes[0].get_xlim()
    axes[0].plot([low, high], [low, high], color="#999999", linewidth=0.8, zorder=0)
    axes[0].set(xlabel="label − mean / meV atom⁻¹", ylabel="prediction − mean of labels / meV atom⁻¹")
    axes[1].set(xlabel="labelled force / eV Å⁻¹", ylabel="predicted force / eV Å⁻¹")
    axes[2].set(xlabel="force error / meV Å⁻¹", ylabel="density", yscale="log")
    for ax in axes[1:]:
        ax.legend(frameon=False, fontsize=8, markerscale=4)
    return axes


@draws("Evaluation")
def spread(evaluation: Evaluation, ax: Any = None) -> Any:
    """Draw force errors against the spread of a committee: each atom, and the root mean square error of equal shares.

    A spread that means something lies along the diagonal; what it says is right if it sorts the errors.

    Args:
        evaluation: see `jaxelyte.evaluate`, of a committee.
        ax: matplotlib axes, or None for a new figure.

    Returns:
        The axes.

    Raises:
        InputError: an evaluation without a committee.
    """
    if evaluation.force_spread is None:
        raise InputError("there is no spread without a committee; train one: train(…, committee=4)")
    ax = new_axes(ax)
    errors = np.linalg.norm(evaluation.force_errors, axis=1)
    known = np.isfinite(errors)
    found, errors = 1e3 * evaluation.force_spread[known], 1e3 * errors[known]
    ax.plot(found, errors, ".", color=COLORS[0], markersize=1.5, alpha=0.4, rasterized=True, label="atoms")
    shares = np.array_split(np.argsort(found), min(20, len(found)))
    middle = [np.sqrt(np.mean(found[share] ** 2)) for share in shares]
    ax.plot(middle, [np.sqrt(np.mean(errors[share] ** 2)) for share in shares], "o-", color=COLORS[1], label="RMS")
    ends = [min(middle), max(middle)]
    ax.plot(ends, ends, color="#999999", linewidth=0.8, zorder=0)
    ax.set(xscale="log", yscale="log", xlabel="spread of the committee / meV Å⁻¹", ylabel="force error / meV Å⁻¹")
    ax.legend(frameon=False, fontsize=8)
    return ax


@draws("Stability")
def stability(card: Stability, ax: Any = None) -> Any:
    """Draw the share of runs without an unphysical event against time, a curve for each temperature.

    Args:
        card: see `jaxelyte.stability`.
        ax: matplotlib axes, or None for a new figure.

    Returns:
        The axes.
    """
    ax = new_axes(ax)
    temperatures = sorted({trial.temperature for trial in card.trials})
    for number, temperature in enumerate(temperatures):
        own = [trial for trial in card.trials if trial.temperature == temperature]
        ends = np.sort([trial.time for trial in own if trial.event is not None])
        share = 1.0 - np.arange(len(ends) + 1) / len(own)
        times = np.concatenate([[0.0], ends, [card.length]])
        color = COLORS[number % len(COLORS)]
        ax.step(times, [*share, share[-1]], where="post", color=color, linewidth=1.5, label=f"{temperature:g} K")
    ax.set(xlabel="time / ps", ylabel="runs without an event", ylim=(-0.03, 1.03))
    ax.legend(frameon=False, fontsize=8)
    return ax


def _milli(values: list[float | None]) -> np.ndarray:
    return 1e3 * np.array([np.nan if v is None else v for v in values], np.float64)


def _three(axes: Any) -> np.ndarray:
    if axes is None:
        import matplotlib.pyplot as plt

        _, axes = plt.subplots(1, 3, figsize=(11.0, 3.4), dpi=120, layout="constrained")
    axes = np.atleast_1d(np.asarray(axes, object)).ravel()
    if len(axes) != 3:
        raise InputError(f"the picture is drawn into three axes, not {len(axes)}; leave axes out for new ones")
    for ax in axes:
        quiet(ax)
    return axes
