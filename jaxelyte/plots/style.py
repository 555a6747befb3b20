"""The look of all pictures: few colours, thin lines, no frame around the data. Global settings are left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#1f5a94", "#c8553d", "#3d8361", "#8a5a9e", "#b8860b", "#4f6d7a", "#a23b72", "#6b7a1f")
"""Told apart also in print and by colour-blind eyes."""


def new_axes(ax: Axes | None = None, *, size: tuple[float, float] = (5.2, 3.4)) -> Axes:
    """The axes given, or those of a new figure; quiet in both cases. Size in inches."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=size, dpi=120, layout="constrained")
    assert ax is not None
    quiet(ax)
    return ax


def quiet(ax: Axes) -> None:
    """Remove what does not carry information."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#444444")
    ax.tick_params(direction="out", length=3, color="#444444", labelsize=9)
    ax.grid(visible=True, color="#e6e6e6", linewidth=0.6)
    ax.set_axisbelow(True)


def band(ax: Axes, x: Any, y: Any, error: Any, *, color: str, label: str | None = None) -> None:
    """A line with a band of one standard error, where there is one."""
    ax.plot(x, y, color=color, linewidth=1.4, label=label)
    if np.any(np.isfinite(error)):
        low, high = np.asarray(y) - np.nan_to_num(error), np.asarray(y) + np.nan_to_num(error)
        ax.fill_between(x, low, high, color=color, alpha=0.25, linewidth=0)


def png(ax: Axes) -> bytes:
    """The figure of the axes as the content of a PNG file; the figure is closed."""
    import io

    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    ax.figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")  # pyright: ignore[reportAttributeAccessIssue]
    plt.close(ax.figure)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()
