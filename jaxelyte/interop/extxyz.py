"""Extended XYZ, appended while a run goes on and cut back to a byte offset when it is resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jaxelyte.storage import AppendFile


class FrameLayout(Protocol):
    """What is the same in every frame.

    Numbers and masses (g/mol) have the shape (replicas, atoms), cells (replicas, 3, 3) in Å.
    """

    @property
    def numbers(self) -> Any: ...
    @property
    def masses(self) -> Any: ...
    @property
    def cells(self) -> Any: ...
    @property
    def pbc(self) -> tuple[bool, bool, bool]: ...


class ExtXYZAppender:
    """Appends frames as text; `tell` gives the offset that a later appender goes on from.

    Args:
        path: the file.
        offset: bytes that are valid, everything behind them is cut off; None starts a new file.

    Raises:
        InputError: the file is missing or shorter than the offset.
        StorageError: it cannot be written.
    """

    def __init__(self, path: str | Path, *, offset: int | None = None) -> None:
        self._file = AppendFile(Path(path), offset=offset)

    def append(
        self, layout: FrameLayout, positions: np.ndarray, rows: np.ndarray, cells: np.ndarray | None = None
    ) -> None:
        """Write frames, one configuration per replica.

        Masses are a column of their own where they are not those of the natural mixtures (deuterium).

        Args:
            layout: atoms and cells.
            positions: (frames, replicas, atoms, 3), Å.
            rows: (frames, replicas, columns): step, time in fs, temperature in K, potential energy in eV, others.
            cells: (frames, replicas, 3, 3), Å; those of the layout by default.
        """
        from ase.data import atomic_masses, chemical_symbols

        replicas, text = len(layout.numbers), []
        masses = np.asarray(layout.masses, np.float64)
        heavy = not np.allclose(masses, atomic_masses[np.asarray(layout.numbers)], rtol=1e-6, atol=0.0)
        ends = [[f" {float(mass)!r}" if heavy else "" for mass in row] for row in masses]
        symbols = [[chemical_symbols[z] for z in numbers] for numbers in np.asarray(layout.numbers)]
        fixed = np.broadcast_to(layout.cells, (len(positions), replicas, 3, 3))
        several = zip(np.asarray(positions), np.asarray(rows), fixed if cells is None else cells, strict=True)
        for frame, row, cell in several:
            for r in range(replicas):
                comment = _comment(layout, cell[r], r, row[r], replicas, ":masses:R:1" if heavy else "")
                body = "\n".join(
                    f"{symbol:<2s} {_number(x)} {_number(y)} {_number(z)}{end}"
                    for symbol, (x, y, z), end in zip(symbols[r], frame[r], ends[r], strict=True)
                )
                text.append(f"{len(symbols[r])}\n{comment}\n{body}\n")
        self._file.write("".join(text).encode())

    def tell(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        self._file.sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _number(value: np.floating) -> str:
    """Shortest text that reads back as the same number of its type."""
    return f"{np.format_float_positional(value, unique=True, trim='0'):>14s}"


def _comment(layout: FrameLayout, cell: np.ndarray, replica: int, row: np.ndarray, replicas: int, columns: str) -> str:
    numbers = " ".join(repr(float(x)) for x in cell.ravel())
    lattice = f'Lattice="{numbers}" ' if any(layout.pbc) else ""
    pbc = " ".join("T" if p else "F" for p in layout.pbc)
    which = f" replica={replica}" if replicas > 1 else ""
    return (
        f'{lattice}Properties=species:S:1:pos:R:3{columns} pbc="{pbc}" step={int(row[0])} time={float(row[1])!r} '
        f"temperature={float(row[2])!r} energy={float(row[3])!r}{which}"
    )
