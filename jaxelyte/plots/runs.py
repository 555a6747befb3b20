"""Pictures of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.plots.style import COLORS, draws, labelled, level, quiet

if TYPE_CHECKING:
    from jaxelyte.dynamics.run import Run

MOST = 8
"""Replicas that are named in a legend."""

PANELS = (
    ("temperature", "T / K"),
    ("potential", "U / eV"),
    ("conserved", "conserved − start / eV"),
)


@draws("Run")
def log(run: Run, axes: Any = None) -> Any:
    """Draw temperature, potential energy and the change of the conserved quantity against time.

    Args:
        run: a run, finished or not.
        axes: three matplotlib axes, or None for a new figure.

    Returns:
        The three axes.

    Raises:
        InputError: axes that are not three.
    """
    axes = np.atleast_1d(np.asarray(_new() if axes is None else axes, object)).ravel()
    if len(axes) != len(PANELS):
        raise InputError(f"the log is drawn into {len(PANELS)} axes, not {len(axes)}; leave axes out for new ones")
    time = np.asarray(run.log["time"]) / 1000.0
    for ax, (name, label) in zip(axes, PANELS, strict=True):
        quiet(ax)
        values = np.asarray(run.log[name])
        values = values - values[:1] if name == "conserved" else values
        replicas = values.shape[1]
        for replica in range(replicas):
            color = COLORS[0] if replicas == 1 else COLORS[replica % len(COLORS)]
            named = f"replica {replica}" if 1 < replicas <= MOST and name == "temperature" else None
            alpha = 1.0 if replicas == 1 else 0.7
            ax.plot(time, values[:, replica], color=color, linewidth=1.0, alpha=alpha, label=named)
        if name == "temperature":
            level(ax, float(np.mean(values)), f"mean, {np.mean(values):.1f} K")
            labelled(ax, beside=True)
        ax.set_ylabel(label)
    axes[-1].set_xlabel("time / ps")
    return axes


def _new() -> Any:
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(len(PANELS), 1, sharex=True, figsize=(5.6, 5.6), dpi=120, layout="constrained")
    return axes
