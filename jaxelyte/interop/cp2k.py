"""CP2K's trajectory files: frames of xyz files and rows of cell files, also of runs that were killed."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxelyte.checks import caution
from jaxelyte.errors import InputError
from jaxelyte.interop.file_text import DAMAGED, errors_of, open_bytes, read_head
from jaxelyte.interop.kinds import elements_of
from jaxelyte.units import HARTREE
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

_COMMENT = re.compile(r"\s*i\s*=\s*\S+\s*,")
_FIELD = re.compile(r"\b(i|time|E)\s*=\s*([^\s,]+)")


@dataclass(frozen=True, eq=False)
class Block:
    """One frame of an xyz file as it stands there.

    Attributes:
        line: where it starts, from 1.
        labels: names of the atoms.
        values: (atoms, 3), in the units of the file.
        step: number of the step, or None.
        time: fs, or NaN.
        energy: Hartree, or NaN.
    """

    line: int
    labels: tuple[str, ...]
    values: np.ndarray
    step: int | None
    time: float
    energy: float


class CellRow(NamedTuple):
    """A cell (3, 3) in Å, and its time in fs."""

    time: float
    vectors: np.ndarray


def tell(path: Path | str, notes: list[str]) -> None:
    """One warning about a file, or several."""
    if notes:
        caution(f"{path}: {'; '.join(notes)}")


def read_text(path: Path) -> tuple[str, list[str]]:
    """A text file, also a packed one, as far as it can be unpacked; and what is missing.

    Raises:
        InputError: there is no such file, or it cannot be opened.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    parts: list[bytes] = []
    notes = []
    with errors_of(path), open_bytes(path) as file:
        try:
            while part := file.read(1 << 20):
                parts.append(part)
        except DAMAGED as error:
            notes.append(f"unpacking stops before the end: {error}")
    return b"".join(parts).decode("utf-8-sig", errors="replace"), notes


def is_cp2k_xyz(path: str | Path) -> bool:
    """Whether an xyz file starts with a comment of CP2K: ``i = 10, time = 5.000, E = -17.2``."""
    head = read_head(Path(path), 4096).decode("utf-8-sig", errors="replace")
    lines = [line for line in head.splitlines() if line.strip()]
    return len(lines) > 1 and lines[0].strip().isdigit() and _COMMENT.match(lines[1]) is not None


def to_atoms(block: Block, kinds: Mapping[str, str] | None = None) -> Atoms:
    """A frame of positions as ``ase.Atoms``, with its energy in eV where it has one."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    elements = elements_of(block.labels, kinds)
    frame = Atoms(numbers=[elements[label].number for label in block.labels], positions=block.values)
    if any(element.mass is not None for element in elements.values()):
        natural = frame.get_masses()
        frame.set_masses([elements[a].mass or m for a, m in zip(block.labels, natural, strict=True)])  # pyright: ignore[reportArgumentType]
    if block.step is not None:
        # CP2K's name, and the one that trajectories use.
        frame.info |= {"i": block.step, "step": block.step}
    if math.isfinite(block.time):
        frame.info["time"] = block.time
    if math.isfinite(block.energy):
        frame.calc = SinglePointCalculator(frame, energy=block.energy * HARTREE)
    return frame


def read_blocks(path: Path) -> tuple[list[Block], list[str]]:
    """All complete frames of an xyz file in their order there, and what was left out.

    A run that was killed leaves half a frame, at the end or before the frames of a restart: reading goes on at the next
    comment of CP2K.

    Raises:
        InputError: no such file, or no complete frame.
    """
    text, notes = read_text(path)
    lines = [line.rstrip("\r") for line in text.split("\n")]
    blocks: list[Block] = []
    at = 0
    while (at := _next_line(lines, at)) < len(lines):
        block, end = _block(lines, at)
        if block is None:
            end = _resume(lines, at)
            notes.append(_damage(lines, at, end))
        else:
            blocks.append(block)
        at = end
    if "Lattice=" in text[:4096]:
        raise InputError(f"{path} is an extended XYZ file, which jaxelyte.read reads")
    if not blocks:
        first = next((line.strip() for line in lines if line.strip()), "")
        why = "; ".join((f"its first line is {first[:40]!r}", *notes[:2]))
        raise InputError(f"{path} holds no complete frame of an xyz file; {why}")
    numbered = [block for block in blocks if block.step is not None]
    if numbered and len(numbered) < len(blocks):
        strange = [block.line for block in blocks if block.step is None]
        notes.append(
            f"left out: {counted(len(strange), 'frame')} without a step in the comment, the first at line {strange[0]}"
        )
    for name, what in (("time", "time"), ("energy", "energy (E)")):
        missing = [block.line for block in blocks if math.isnan(getattr(block, name))]
        if 0 < len(missing) < len(blocks):
            notes.append(
                f"no {what} in the comment of {counted(len(missing), 'frame')}, the first at line {missing[0]}"
            )
    if len(notes) > 4:
        notes = [*notes[:3], f"{len(notes) - 3} more places like these"]
    return numbered or blocks, notes


def _next_line(lines: list[str], at: int) -> int:
    while at < len(lines) and not lines[at].strip():
        at += 1
    return at


def _block(lines: list[str], at: int) -> tuple[Block | None, int]:
    """The frame that starts in a line, and the line behind it; None where there is no sound one.

    Before a comment of CP2K, the remains of a frame that was cut may stand in the line of the number of atoms.
    """
    header = lines[at].split()
    comment = lines[at + 1] if at + 1 < len(lines) else ""
    starts = header[-1].isdecimal() and (len(header) == 1 or _COMMENT.match(comment))
    end = at + 2 + (int(header[-1]) if starts and len(header[-1]) < 10 else 0)
    if end == at + 2 or end > len(lines):
        return None, at
    rows = [_row(line) for line in lines[at + 2 : end]]
    following = _next_line(lines, end)
    goes_on = following < len(lines) and _row(lines[following]) is not None
    if goes_on or not all(rows) or _torn(lines[at + 2 : end]):
        return None, at
    fields = dict(_FIELD.findall(comment))
    step = fields.get("i", "")
    block = Block(
        line=at + 1,
        labels=tuple(row[0] for row in rows if row),
        values=np.array([row[1] for row in rows if row]),
        step=int(step) if step.isdecimal() else None,
        time=_number(fields.get("time")),
        energy=_number(fields.get("E")),
    )
    return block, end


def _row(line: str) -> tuple[str, tuple[float, float, float]] | None:
    """Name and three finite numbers of an atom, or None."""
    parts = line.split()
    if len(parts) != 4:
        return None
    try:
        x, y, z = float(parts[1]), float(parts[2]), float(parts[3])
    except ValueError:
        return None
    return (parts[0], (x, y, z)) if math.isfinite(x + y + z) else None


def _number(text: str | None) -> float:
    try:
        return math.nan if text is None else float(text)
    except ValueError:
        return math.nan


def _torn(rows: list[str]) -> bool:
    """Whether the last number of a frame lacks digits that all its other numbers have: it was cut within it."""
    last = [_digits(number) for number in rows[-1].split()[1:]]
    if last[2] >= last[0]:
        return False
    others = {_digits(number) for row in rows[:-1] for number in row.split()[1:]}
    return others | set(last[:2]) == {last[0]}


def _digits(number: str) -> int:
    return len(number.partition(".")[2])


def _resume(lines: list[str], at: int) -> int:
    """The first line behind a damaged place at which a frame may start.

    A number of atoms may stand behind the remains of a line that was cut.
    """
    for n in range(at + 1, len(lines) - 2):
        parts = lines[n].split()
        if not parts or not parts[-1].isdecimal():
            continue
        if _COMMENT.match(lines[n + 1]) or (len(parts) == 1 and _row(lines[n + 2])):
            return n
    return len(lines)


def _damage(lines: list[str], at: int, end: int) -> str:
    comment = lines[at + 1] if at + 1 < len(lines) else ""
    step = dict(_FIELD.findall(comment)).get("i")
    what = f" (step {step})" if step else ""
    if end >= len(lines):
        return (
            f"from line {at + 1}{what} to its end it holds no complete frame, and that rest is left out; a run that is "
            "stopped while it writes leaves one"
        )
    lines_left = f"line {end} holds" if end == at + 1 else f"lines {at + 1} to {end} hold"
    return f"{lines_left} no complete frame{what}, left out; reading goes on at line {end + 1}"


def read_cells(path: Path) -> tuple[dict[int, list[CellRow]], list[str]]:
    """Cells in Å by step, several where restarts wrote a step again, and what was left out.

    Columns: step, time in fs, the nine components of the lattice vectors, volume.

    Raises:
        InputError: no such file, or no row of these columns.
    """
    text, notes = read_text(path)
    lines = [line.split() for line in text.removesuffix("\n").split("\n")]
    rows = {n: [_number(x) for x in line] for n, line in enumerate(lines, 1) if line and not line[0].startswith("#")}
    columns = Counter(len(row) for row in rows.values()).most_common(1)[0][0] if rows else 0
    bad = [n for n, row in rows.items() if len(row) != columns or not _sound(row)]
    last = lines[-1][2:]
    if last and not text.endswith("\n") and _digits(last[-1]) < min(map(_digits, last[:-1] or last)):
        bad = sorted({*bad, len(lines)})
    good = [row for n, row in rows.items() if n not in set(bad)]
    if columns < 11 or not good:
        raise InputError(
            f"{path} is not a cell file of CP2K: step, time, nine components in Å and the volume are needed"
        )
    if bad:
        notes.append(f"left out: {counted(len(bad), 'row')}, damaged or incomplete, the first in line {bad[0]}")
    unlike = [row for row in good if len(row) > 11 and not math.isclose(_volume(row), row[11], rel_tol=0.01)]
    if unlike:
        notes.append(
            f"in {counted(len(unlike), 'row')} the volume is not that of the cell, first at step {unlike[0][0]:g}"
        )
    cells: dict[int, list[CellRow]] = {}
    for row in good:
        cells.setdefault(round(row[0]), []).append(CellRow(row[1], _vectors(row)))
    return cells, notes


def _sound(row: list[float]) -> bool:
    """Whether a row of a cell file holds finite numbers, and a volume that is not far from that of its vectors."""
    if not np.all(np.isfinite(row)) or len(row) < 11 or row[0] != round(row[0]) or row[0] < 0:
        return False
    return _volume(row) > 0 and (len(row) == 11 or 0.5 < row[11] / _volume(row) < 2)


def _volume(row: list[float]) -> float:
    return abs(float(np.linalg.det(_vectors(row))))


def _vectors(row: list[float]) -> np.ndarray:
    return np.array(row[2:11]).reshape(3, 3)
