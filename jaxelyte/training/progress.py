"""A line for every epoch while training goes on, in a terminal or a notebook."""

from __future__ import annotations

import sys
from typing import Any

from jaxelyte.data.selection import described_selection


def text(value: float | None, factor: float = 1000.0) -> str:
    """A number times a factor, or a dash."""
    return "-" if value is None else f"{value * factor:.3g}"


def describe(row: dict[str, Any], epochs: int) -> str:
    """Errors of an epoch: meV/atom and meV/Å, validation errors of the averaged weights, by species."""
    species = " ".join(f"{name} {text(value)}" for name, value in row["validation"]["forces_by_species"].items())
    speed = "" if row["epoch"] == 0 else f" | lr {row['learning_rate']:.2g} | {row['frames_per_s']:.3g} frames/s"
    return (
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}"
        f" | train E {text(row['train']['energy'])} F {text(row['train']['forces'])}"
        f" | validation E {text(row['validation']['energy'])} meV/atom F {text(row['validation']['forces'])} meV/Å"
        f" ({species}){' *' if row['best'] else ''}{speed}"
    )


def described_counts(counts: dict[str, Any]) -> str:
    """How many frames carry each label, and what was left out, in a line."""
    line = "labels of {frames} frames: energy in {energy}, forces in {forces}, stress in {stress}".format(**counts)
    left = described_selection(counts)
    return f"{line}; {left}" if left else line


class TrainProgress:
    """Prints `describe` and a bar of the epochs; silent where ``show`` is False."""

    def __init__(self, epochs: int, *, done: int = 0, show: bool = True) -> None:
        self.epochs, self.show = epochs, show
        self._bar: Any = None
        if not show:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from jaxelyte.dynamics.progress import in_notebook

        if in_notebook() or sys.stderr.isatty():
            console = Console() if in_notebook() else Console(stderr=True)
            columns = (TextColumn("train"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=console)
            self._bar.start()
            self._task = self._bar.add_task("train", total=epochs, completed=done)

    def update(self, row: dict[str, Any]) -> None:
        """Show an epoch."""
        if self._bar is not None:
            self._bar.print(describe(row, self.epochs), highlight=False, soft_wrap=True)
            self._bar.update(self._task, completed=row["epoch"])
        elif self.show:
            print(describe(row, self.epochs), file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """Print a line of text."""
        if self._bar is not None:
            self._bar.print(line, highlight=False, soft_wrap=True)
        elif self.show:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._bar is not None:
            self._bar.stop()
