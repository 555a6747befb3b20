"""``jaxelyte fetch``: a bar while files come, and what came, under which licence."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxelyte.datasets.download import Fetched, Progress
from jaxelyte.storage import size


@contextlib.contextmanager
def bar() -> Iterator[Progress]:
    """A bar for each file in a terminal; elsewhere one line when a file has come."""
    if not sys.stderr.isatty():
        yield _line
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Rich

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Rich(*columns, console=Console(stderr=True)) as shown:
        tasks: dict[str, Any] = {}

        def progress(name: str, got: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = shown.add_task(name, total=total)
            shown.update(tasks[name], completed=got, total=total)

        yield progress


def _line(name: str, got: int, total: int | None) -> None:
    if got == total:
        sys.stderr.write(f"{name}: {size(got)}\n")


def list_sources() -> Any:
    """A table of all sets."""
    from rich.table import Table

    from jaxelyte.interop.published import sources

    table = Table("set", "what", "repository", "licence", title="Published data")
    for name, one in sources().items():
        table.add_row(name, one.what, one.repository, one.licence)
    return table


def report(fetched: list[Fetched], folder: Path, show: Callable[[object], None], say: Callable[[str], None]) -> None:
    """Print what lies where, licences and citations, and what could not be compared with a known digest."""
    from rich.table import Table

    table = Table("set", "where", "state", "content")
    for one in fetched:
        state = "fetched" if one.new else "was there"
        table.add_row(one.source.name, str(one.path), state, "as published" if one.checked else "digest recorded only")
    show(table)
    for source in {one.source.name: one.source for one in fetched}.values():
        version = f"{source.repository}, {source.commit[:8]}"
        say(f"{source.name}: licence {source.licence}; cite {source.citation} ({version})")
        if source.permittivity is not None:
            charges = ", ".join(f"{name} {charge:+g}" for name, charge in source.charges.items())
            say(f"  its network needs ScreenedCoulomb with charges {charges} and permittivity={source.permittivity}")
        if source.barrier is not None:
            given = ", ".join(f"{name}={value!r}" for name, value in source.barrier.items())
            say(f"  the published runs added GaussianBarrier({given})")
        if source.permittivity is not None:
            say(f"  jxl.load_potential({source.name!r}) is all of it")
        if source.note:
            say(f"  {source.note}")
    from jaxelyte.interop.published import data_folder

    if folder.resolve() != data_folder().resolve():
        say(f"tests, notebooks and examples find these files with JAXELYTE_DATA={folder.resolve()}")
