"""Progress of a run in a terminal or a notebook: a bar, ns/day, and the remaining time."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any


def in_notebook() -> bool:
    """True inside a Jupyter kernel."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


class Progress:
    """One line that says how far a run is; silent where ``show`` is False.

    Where output is neither a terminal nor a notebook (a batch job), a plain line is printed every 30 seconds.
    """

    PLAIN_INTERVAL = 30.0

    def __init__(self, total: int, *, done: int = 0, show: bool = True) -> None:
        self.total, self.show = total, show
        self._bar: Any = None
        self._task: Any = None
        self._last = time.monotonic()
        if show and (in_notebook() or sys.stderr.isatty()):
            self._start_bar(done)

    def _start_bar(self, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        console = Console() if in_notebook() else Console(stderr=True)
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._bar.start()
        self._task = self._bar.add_task("simulate", total=self.total, completed=done, note="compiling")

    def update(self, done: int, ns_per_day: float, temperature: float) -> None:
        """Show the steps done, the speed in ns/day and the temperature in K."""
        note = f"{ns_per_day:.3g} ns/day · {temperature:.0f} K"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
        elif self.show and time.monotonic() - self._last > self.PLAIN_INTERVAL:
            self._last = time.monotonic()
            print(f"simulate: {done:,}/{self.total:,} steps · {note}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the line as it is."""
        if self._bar is not None:
            self._bar.stop()


@contextlib.contextmanager
def interruptible() -> Iterator[list[bool]]:
    """Turn the first Ctrl-C into a request to stop after the running chunk; the second interrupts at once."""
    import signal
    import threading

    asked = [False]
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def handler(_signum: int, _frame: Any) -> None:
        if asked[0]:
            raise KeyboardInterrupt
        asked[0] = True

    previous = signal.signal(signal.SIGINT, handler)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, previous)
