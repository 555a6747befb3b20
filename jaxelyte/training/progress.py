"""A line for every epoch while training goes on, in a terminal or a notebook, where a curve grows below it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxelyte.data.selection import described_selection
from jaxelyte.dynamics.progress import in_notebook


def text(value: float | None, factor: float = 1000.0) -> str:
    """A number times a factor, or a dash."""
    return "-" if value is None else f"{value * factor:.3g}"


def duration(seconds: float) -> str:
    """A time as people say it: "42 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def time_left(rows: list[dict[str, Any]], epochs: int) -> float | None:
    """Seconds until the last epoch, from the median of the last five; the first, which compiles, counts if it is alone.

    Args:
        rows: metrics of the epochs of this process.
        epochs: of the whole training.
    """
    seconds = [row["seconds"] for row in rows if row["epoch"] > 0]
    return None if not seconds else float(np.median(seconds[1:][-5:] or seconds)) * (epochs - rows[-1]["epoch"])


def describe(row: dict[str, Any], epochs: int, left: float | None = None) -> str:
    """Errors of an epoch: meV/atom and meV/Å, validation errors of the averaged weights, by species; ``left`` in s."""
    species = " ".join(f"{name} {text(value)}" for name, value in row["validation"]["forces_by_species"].items())
    speed = "" if row["epoch"] == 0 else f" | lr {row['learning_rate']:.2g} | {row['frames_per_s']:.3g} frames/s"
    return (
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}"
        f" | train E {text(row['train']['energy'])} F {text(row['train']['forces'])}"
        f" | validation E {text(row['validation']['energy'])} meV/atom F {text(row['validation']['forces'])} meV/Å"
        f" ({species}){' *' if row['best'] else ''}{speed}{f' | {duration(left)} left' if left else ''}"
    )


def described_counts(counts: dict[str, Any]) -> str:
    """How many frames carry each label, and what was left out, in a line."""
    line = "labels of {frames} frames: energy in {energy}, forces in {forces}, stress in {stress}".format(**counts)
    left = described_selection(counts)
    return f"{line}; {left}" if left else line


class LiveCurve:
    """`jaxelyte.plots.learning` of the epochs so far, drawn anew in its place in a notebook every few seconds."""

    INTERVAL = 3.0

    def __init__(self) -> None:
        self._handle: Any = None
        self._drawn = -math.inf

    def update(self, rows: list[dict[str, Any]], *, last: bool = False) -> None:
        """Draw, unless that was done just now and more epochs follow."""
        now = time.monotonic()
        if len(rows) < 2 or not (last or now - self._drawn > self.INTERVAL):
            return
        from IPython.display import Image, display

        from jaxelyte.plots.training import learning_picture

        self._drawn = now
        image = Image(data=learning_picture(rows))
        if self._handle is None:
            self._handle = display(image, display_id=True)
        else:
            self._handle.update(image)


class TrainProgress:
    """Prints `describe` and a bar of the epochs, in a notebook with a `LiveCurve`; silent where ``show`` is False.

    Args:
        epochs: of the whole training.
        rows: metrics of the epochs before, of a training that is resumed.
        show: whether anything is shown.
    """

    def __init__(self, epochs: int, *, rows: Sequence[dict[str, Any]] = (), show: bool = True) -> None:
        self.epochs, self.show = epochs, show
        self._rows, self._earlier = list(rows), len(rows)
        self._curve = LiveCurve() if show and in_notebook() else None
        done = self._rows[-1]["epoch"] if self._rows else 0
        self._bar: Any = None
        if not show:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if in_notebook() or sys.stderr.isatty():
            console = Console() if in_notebook() else Console(stderr=True)
            columns = (TextColumn("train"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=console)
            self._bar.start()
            self._task = self._bar.add_task("train", total=epochs, completed=done)

    def update(self, row: dict[str, Any]) -> None:
        """Show an epoch."""
        self._rows.append(row)
        self.say(describe(row, self.epochs, time_left(self._rows[self._earlier :], self.epochs)))
        if self._bar is not None:
            self._bar.update(self._task, completed=row["epoch"])
        if self._curve is not None:
            self._curve.update(self._rows)

    def say(self, line: str) -> None:
        """Print a line of text."""
        if self._bar is not None:
            self._bar.print(line, highlight=False, soft_wrap=True)
        elif self.show:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._curve is not None:
            self._curve.update(self._rows, last=True)
        if self._bar is not None:
            self._bar.stop()
