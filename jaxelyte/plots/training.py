"""Pictures of training: errors over epochs, predictions against labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.plots.palette import element_color
from jaxelyte.plots.style import (
    BLACK,
    COLORS,
    GREY,
    draws,
    labelled,
    new_axes,
    plain_decades,
    png,
    quiet,
    whole_numbers,
)

if TYPE_CHECKING:
    from jaxelyte.training.evaluate import Evaluation
    from jaxelyte.training.fit import Fit
    from jaxelyte.training.stability import Stability

THIN, THICK = {"linewidth": 0.7, "alpha": 0.7}, {"linewidth": 1.5}
"""Errors of training and of validation."""

ACROSS = 4
"""Panels side by side."""

FEWEST_BINS, MOST_BINS = 9, 61
"""Of distributions of errors: rare species have few values."""

FEW = 6
"""Compositions that are named in a legend."""


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
    return learning_curves(fit.metrics, _panels(axes, 3))


def learning_curves(metrics: list[dict[str, Any]], axes: Any) -> Any:
    """`learning` from the rows of ``Fit.metrics``, at least one, on three axes."""
    epochs = np.array([row["epoch"] for row in metrics])
    best = max((row["epoch"] for row in metrics if row["best"]), default=0)
    species = list(metrics[0]["validation"]["forces_by_species"])
    for name in species:
        color = element_color(name)
        for part, style in (("train", THIN), ("validation", THICK)):
            values = [row[part]["forces_by_species"][name] for row in metrics]
            label = name if part == "validation" else None
            axes[0].plot(epochs, _milli(values), color=color, label=label, **style)
    for part, name, style in (("train", "training", THIN), ("validation", "validation", THICK)):
        axes[1].plot(epochs, _milli([row[part]["energy"] for row in metrics]), color=COLORS[0], label=name, **style)
    axes[2].plot(epochs, [row["learning_rate"] for row in metrics], color=COLORS[0], linewidth=1.2)
    labels = ("force RMSE / meV Å⁻¹", "energy RMSE / meV atom⁻¹", "learning rate")
    for ax, label in zip(axes, labels, strict=True):
        ax.set(yscale="log", ylabel=label, xlabel="epoch")
        ax.axvline(best, color=GREY, linewidth=0.8, zorder=0, label=f"best, epoch {best}" if ax is axes[1] else None)
        whole_numbers(ax)
    for ax in axes[:2]:
        plain_decades(ax)
    axes[0].plot([], [], color=BLACK, linewidth=0.7, label="training, thin")
    for ax in axes[:2]:
        labelled(ax)
    return axes


def learning_picture(metrics: list[dict[str, Any]]) -> bytes:
    """`learning_curves` side by side, as a PNG."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(9.0, 2.6), layout="constrained").subplots(1, 3)
    learning_curves(metrics, axes)
    return png(axes[0])


@draws("Evaluation")
def parity(evaluation: Evaluation, axes: Any = None) -> Any:
    """Draw predicted against labelled energies, forces of each species in a panel of their own, and force errors.

    Each panel gives the root mean square error and R², one less the share of the variance that is not predicted. Rare
    species come first, and lie on top where curves of several are in one panel.

    Args:
        evaluation: see `jaxelyte.evaluate`.
        axes: matplotlib axes, two more than there are species with labels; or None for a new figure.

    Returns:
        The axes: energies, one for each species, distribution of the force errors.

    Raises:
        InputError: another number of axes.
    """
    forces = _forces_by_species(evaluation)
    axes = _panels(axes, len(forces) + 2)
    _energies(evaluation, axes[0])
    for ax, (name, own) in zip(axes[1:-1], forces.items(), strict=True):
        ax.plot(own[:, 0], own[:, 1], ".", color=element_color(name), markersize=2.0, rasterized=True)
        _diagonal(ax)
        _quality(ax, name, own, 1e3, "meV/Å")
        ax.set(xlabel="labelled force / eV Å⁻¹", ylabel="predicted force / eV Å⁻¹")
    for order, (name, own) in enumerate(forces.items()):
        errors = 1e3 * (own[:, 1] - own[:, 0])
        width = float(np.quantile(np.abs(errors), 0.995)) or 1.0
        bins = int(np.clip(np.sqrt(len(errors)), FEWEST_BINS, MOST_BINS))
        counts, edges = np.histogram(errors, bins=bins, range=(-width, width), density=True)
        counts = np.where(counts > 0.0, counts, np.nan)  # empty bins have no place on a logarithmic axis
        style = {"color": element_color(name), "linewidth": 1.2, "zorder": 2.0 + 1.0 / (1 + order)}
        axes[-1].plot(0.5 * (edges[1:] + edges[:-1]), counts, label=name, **style)
    axes[-1].set_yscale("log")
    labelled(axes[-1], "force error / meV Å⁻¹", "density / Å meV⁻¹")
    return axes


def _forces_by_species(evaluation: Evaluation) -> dict[str, np.ndarray]:
    """Labelled and predicted components of each species that has labels, (components, 2), the rarest first."""
    found = {}
    for name in sorted(set(evaluation.symbols.tolist())):
        own = evaluation.forces[evaluation.symbols == name].reshape(-1, 2)
        own = own[np.isfinite(own).all(axis=1)]
        if len(own):
            found[name] = own
    return dict(sorted(found.items(), key=lambda item: len(item[1])))


def _energies(evaluation: Evaluation, ax: Any) -> None:
    """Energies per atom, less the mean label of each composition: compositions lie hundreds of eV apart."""
    energies = 1e3 * evaluation.energies / evaluation.sizes[:, None]
    shifted = np.full_like(energies, np.nan)
    names = sorted(set(evaluation.formulas.tolist()))
    for number, name in enumerate(names):
        own = evaluation.formulas == name
        labels = energies[own, 0]
        shifted[own] = energies[own] - (np.mean(labels[np.isfinite(labels)]) if np.any(np.isfinite(labels)) else np.nan)
        label = name if 1 < len(names) <= FEW else None
        ax.plot(*shifted[own].T, ".", color=COLORS[number % len(COLORS)], markersize=4, label=label)
    known = shifted[np.isfinite(shifted).all(axis=1)]
    _diagonal(ax)
    if len(known):
        _quality(ax, "energy", known, 1.0, "meV/atom")
    ax.set(xlabel="label − mean / meV atom⁻¹", ylabel="prediction − mean of labels / meV atom⁻¹")
    if 1 < len(names) <= FEW:
        ax.legend(frameon=False, fontsize=7, loc="lower right")


def _diagonal(ax: Any) -> None:
    """The line of perfect predictions, on axes that are alike."""
    low, high = min(ax.get_xlim()[0], ax.get_ylim()[0]), max(ax.get_xlim()[1], ax.get_ylim()[1])
    ax.plot([low, high], [low, high], color=GREY, linewidth=0.8, zorder=0)
    ax.set(xlim=(low, high), ylim=(low, high))


def _quality(ax: Any, name: str, pairs: np.ndarray, scale: float, unit: str) -> None:
    """Root mean square error and R² of labels and predictions, (values, 2), in the upper left corner."""
    rmse = float(np.sqrt(np.mean((pairs[:, 1] - pairs[:, 0]) ** 2)))
    variance = float(np.var(pairs[:, 0]))
    share = f"\nR² = {1.0 - rmse**2 / variance:.4f}" if variance > 0.0 else ""
    text = f"{name}\nRMSE {scale * rmse:.3g} {unit}{share}"
    ax.text(0.04, 0.96, text, transform=ax.transAxes, va="top", fontsize=8)


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
    ax.plot(ends, ends, color=GREY, linewidth=0.8, zorder=0, label="error = spread")
    ax.set(xscale="log", yscale="log")
    return labelled(ax, "spread of the committee / meV Å⁻¹", "force error / meV Å⁻¹")


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
    ax.set_ylim(-0.03, 1.03)
    return labelled(ax, "time / ps", "runs without an event")


def _milli(values: list[float | None]) -> np.ndarray:
    return 1e3 * np.array([np.nan if v is None else v for v in values], np.float64)


def _panels(axes: Any, count: int) -> np.ndarray:
    """That many axes, given or of a new figure, as an array."""
    if axes is None:
        import matplotlib.pyplot as plt

        columns = count if count <= ACROSS else -(-count // -(-count // ACROSS))
        rows = -(-count // columns)
        size = (3.6 * columns, 3.4 * rows)
        _, axes = plt.subplots(rows, columns, figsize=size, dpi=120, layout="constrained", squeeze=False)
        for left_over in np.ravel(axes)[count:]:
            left_over.remove()
        axes = np.ravel(axes)[:count]
    axes = np.atleast_1d(np.asarray(axes, object)).ravel()
    if len(axes) != count:
        raise InputError(f"the picture is drawn into {count} axes, not {len(axes)}; leave axes out for new ones")
    for ax in axes:
        quiet(ax)
    return axes
