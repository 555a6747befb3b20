"""The look of all pictures: few colours, thin lines, no frame around the data. Global settings are left alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from jaxelyte.checks import flag, shown
from jaxelyte.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#1f5a94", "#c8553d", "#3d8361", "#8a5a9e", "#b8860b", "#4f6d7a", "#a23b72", "#6b7a1f")
"""Of replicas, columns and windows, which are no elements; told apart also in print and by colour-blind eyes."""

GREY = "#999999"
BLACK = "#222222"
"""Of lines that are no data: levels, diagonals, means."""


Parameters = ParamSpec("Parameters")
Axis = TypeVar("Axis")


def draws(*kinds: str) -> Callable[[Callable[Parameters, Axis]], Callable[Parameters, Axis]]:
    """Mark a picture with the classes that its first argument may have, by name: their modules are not imported.

    The picture raises `InputError` for anything else, and for switches that are neither True nor False.
    """

    def mark(picture: Callable[Parameters, Axis]) -> Callable[Parameters, Axis]:
        @wraps(picture)
        def checked(*arguments: Parameters.args, **switches: Parameters.kwargs) -> Axis:
            given = arguments[0] if arguments else next(iter(switches.values()), None)
            if not any(one.__name__ in kinds for one in type(given).__mro__):
                raise InputError(f"plots.{picture.__name__} draws a result of type {kinds[0]}, not {shown(given)}")
            for name in ("coordination", "relative", "partials"):
                if switches.get(name) is not None or (name in switches and name != "partials"):
                    flag(name, switches[name])
            return picture(*arguments, **switches)

        return checked

    return mark


def new_axes(ax: Axes | None = None, *, size: tuple[float, float] = (5.2, 3.4)) -> Axes:
    """The axes given, or those of a new figure, without decoration.

    Args:
        ax: axes of matplotlib; None for a new figure.
        size: width and height of the new figure in inches, a ratio of about 3:2 by default.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=size, dpi=120, layout="constrained")
    quiet(ax)
    return ax


def quiet(ax: Axes) -> None:
    """Remove what does not carry information.

    Raises:
        InputError: no axes of matplotlib.
    """
    if not hasattr(ax, "spines"):
        raise InputError(f"ax must be the axes of matplotlib to draw into, or None for new ones, not {shown(ax)}")
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


def level(ax: Axes, value: float, label: str | None = None) -> None:
    """A horizontal line that is no data, such as what a curve tends to."""
    ax.axhline(value, color=GREY, linewidth=0.8, zorder=0, label=label)


def labelled(ax: Any, x: str | None = None, y: str | None = None, *, beside: bool = False) -> Any:
    """The axes with a legend, and what they show if it is not written there yet.

    Args:
        ax: axes that hold curves with labels.
        x: what they show, with units.
        y: what they show, with units.
        beside: the legend to the right of the axes, where curves fill them.
    """
    if x is not None and y is not None:
        ax.set_xlabel(x)
        ax.set_ylabel(y)
    place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if beside else {"loc": "best"}
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=8, **place)
    return ax


def whole_numbers(ax: Any) -> None:
    """Ticks of the horizontal axis at integers only, for epochs and steps."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def plain_decades(ax: Any) -> None:
    """Numbers such as 40 and 200 at a logarithmic vertical axis, instead of powers of ten."""
    from matplotlib.ticker import LogFormatter

    ax.yaxis.set_major_formatter(LogFormatter(labelOnlyBase=False))
    ax.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2.0, 0.6)))


def png(ax: Axes, *, dpi: int = 110) -> bytes:
    """The figure of the axes as the content of a PNG file; the figure is closed."""
    import io

    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    ax.figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")  # pyright: ignore[reportAttributeAccessIssue]
    plt.close(ax.figure)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()
