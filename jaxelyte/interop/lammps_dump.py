"""Text dumps of LAMMPS (``dump atom`` and ``dump custom``), frame by frame, atoms in the order of their ids."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jaxelyte.checks import caution
from jaxelyte.errors import InputError
from jaxelyte.interop.file_text import Lines, cut_number, errors_of, warn_of_part
from jaxelyte.interop.file_units import UNITS, FileUnits, units_named
from jaxelyte.interop.loaded import Loaded
from jaxelyte.interop.naming import Naming, Species
from jaxelyte.trajectory import Trajectory
from jaxelyte.wording import counted

COORDINATES = ("xu", "x", "xsu", "xs")
"""First columns of coordinates in the order of preference; s are fractions of the box, u are unwrapped."""


@dataclass
class Frame:
    """One frame as the file has it; ``rows`` are the words of its columns."""

    step: int
    line: int
    time: float = math.nan
    count: int = 0
    origin: np.ndarray = field(default_factory=lambda: np.zeros(3))
    cell: np.ndarray = field(default_factory=lambda: np.zeros((3, 3)))
    pbc: tuple[bool, bool, bool] = (True, True, True)
    columns: list[str] = field(default_factory=list)
    rows: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    def numbers(self, *names: str) -> np.ndarray:
        """Columns as floats (atoms, names)."""
        found = self.rows[:, [self.columns.index(name) for name in names]].astype(np.float64)
        if not np.all(np.isfinite(found)):
            bad = int(np.argmax(~np.isfinite(found).all(axis=1)))
            raise InputError(f"columns {' '.join(names)} of row {bad} are {found[bad]}")
        return found

    def has(self, *names: str) -> bool:
        """Whether all these columns are there."""
        return all(name in self.columns for name in names)


def read_dump(path: Path, naming: Naming, *, units: str | None = None) -> Loaded:
    """All complete frames of a dump.

    Positions follow the atoms across the faces of the box where the file has unwrapped coordinates or image flags, and
    the box keeps its shape. (In a box that changes, LAMMPS' unwrapped coordinates jump with it; there, positions are
    those in the box.)

    Args:
        path: the file, packed or not.
        naming: elements of the types.
        units: LAMMPS' style; by default the file's own (``dump_modify units yes``), and lengths in Å.

    Raises:
        InputError: a frame that is damaged or holds other atoms than the first (the message names it), types whose
            elements are not known, or units that contradict the file's.
        UnsupportedError: reduced units.

    Warns:
        UserWarning: the last frame is cut, or there are no ids that tell the atoms apart.
    """
    given = units_named(units, styles=True, what=str(path))
    stated: list[str] = []
    frames = _Frames(path, naming)
    for n, frame in enumerate(_frames(path, stated)):
        with errors_of(path, place=f"frame {n} (step {frame.step}, line {frame.line})"):
            frames.add(n, frame)
    own = units_named(stated[0], styles=True, what=str(path)) if stated else None
    if own is not None and given is not None and own != given:
        raise InputError(f"{path} states units {stated[0]}, but units={units!r} was given; leave units= out")
    return frames.finished(own or given)


class _Frames:
    """Positions and the rest of all frames, in the order of the ids of the first."""

    def __init__(self, path: Path, naming: Naming) -> None:
        self.path, self.naming = path, naming
        self.species: Species | None = None
        self.ids: np.ndarray | None = None
        self.kinds: list[str] = []
        self.positions: list[np.ndarray] = []
        self.wrapped: list[np.ndarray] = []
        self.velocities: list[np.ndarray] = []
        self.cells: list[np.ndarray] = []
        self.steps: list[int] = []
        self.times: list[float] = []
        self.pbc: tuple[bool, bool, bool] = (True, True, True)
        self.images, self.identified = True, True

    def add(self, n: int, frame: Frame) -> None:
        ids, kinds = self._order(frame)
        if self.species is None:
            self.pbc, self.ids, self.kinds = frame.pbc, ids, kinds
            masses = frame.numbers("mass")[:, 0] if frame.has("mass") else None
            self.species = self.naming.of(self._labels(frame), masses=masses)
        elif not self.identified and sorted(kinds) == sorted(self.kinds) and kinds != self.kinds:
            raise InputError(
                f"{self.path}: frame {n} (step {frame.step}) holds the atoms in another order than frame 0, and no ids "
                "to sort them by; write the column id"
            )
        elif self.ids is None or not np.array_equal(ids, self.ids) or kinds != self.kinds:
            raise InputError(
                f"{self.path}: frame {n} (step {frame.step}) holds {counted(len(ids), 'atom')}, frame 0 "
                f"{len(self.kinds)}, or others; a trajectory needs the same atoms throughout (LAMMPS lost atoms, or a "
                "group that changes "
                "was dumped)"
            )
        if frame.pbc != self.pbc:
            raise InputError(f"{self.path}: frame {n} has pbc {frame.pbc}, frame 0 has {self.pbc}")
        kept = slice(None) if self.species.kept is None else self.species.kept
        inside, follows = _positions(frame)
        self.images &= follows is not None
        self.wrapped.append(inside[kept])
        self.positions.append((inside if follows is None else follows)[kept])
        if frame.has("vx", "vy", "vz"):
            self.velocities.append(frame.numbers("vx", "vy", "vz")[kept])
        self.cells.append(frame.cell * np.asarray(frame.pbc)[:, None])
        self.steps.append(frame.step)
        self.times.append(frame.time)

    def _order(self, frame: Frame) -> tuple[np.ndarray, list[str]]:
        """Sort the rows by id; the ids, and types or names by which frames are compared."""
        if frame.has("id"):
            ids = frame.rows[:, frame.columns.index("id")].astype(np.int64)
            order = np.argsort(ids, kind="stable")
            frame.rows, ids = frame.rows[order], ids[order]
            twice = ids[1:][ids[1:] == ids[:-1]]
            if len(twice):
                raise InputError(f"the id {twice[0]} belongs to two atoms")
        else:
            self.identified, ids = False, np.arange(len(frame.rows))
        name = next((name for name in ("type", "element") if name in frame.columns), None)
        return ids, [] if name is None else frame.rows[:, frame.columns.index(name)].tolist()

    def _labels(self, frame: Frame) -> list[str]:
        """What the elements are found by: the types that the user names, else element symbols, else types."""
        types = frame.rows[:, frame.columns.index("type")].tolist() if frame.has("type") else None
        named = frame.rows[:, frame.columns.index("element")].tolist() if frame.has("element") else None
        if types is None and named is None:
            if self.naming.topology is not None:
                return [""] * len(frame.rows)
            raise InputError(f"{self.path} has neither types nor elements; write them, or give a topology")
        if named is None or (types is not None and any(key in self.naming.elements for key in set(types))):
            assert types is not None
            return types
        if types is not None and set(named) == {"C"} and len(set(types)) > 1 and not self._named():
            # LAMMPS writes C for every type unless dump_modify names the elements.
            raise InputError(
                f"{self.path} gives the element C to all of its {len(set(types))} types, as LAMMPS does unless "
                "dump_modify names them; name them by elements={1: '…', 2: '…'}"
            )
        return named

    def _named(self) -> bool:
        """Whether the user or a topology says what the atoms are."""
        return bool(self.naming.elements) or self.naming.topology is not None

    def finished(self, units: FileUnits | None) -> Loaded:
        if self.species is None:
            raise InputError(f"{self.path} holds no complete frame of atoms")
        if len(self.steps) > 1 and not self.identified:
            caution(
                f"{self.path} holds no ids of its atoms, whose order LAMMPS changes as they move: motion cannot be "
                "followed; write the column id (averages over all atoms are right)"
            )
        factor = units or UNITS["real"]
        cells = np.array(self.cells) * factor.length
        fixed = bool(np.all(cells == cells[0]))
        follows = self.images and fixed
        times = np.array(self.times) * factor.time if units is not None and units.time else np.full(len(cells), np.nan)
        moving = units is not None and units.velocity is not None and len(self.velocities) == len(self.steps)
        trajectory = Trajectory(
            positions=np.stack(self.positions if follows else self.wrapped)[:, None] * factor.length,
            numbers=self.species.numbers,
            masses=self.species.masses,
            cells=cells[0] if fixed else cells[:, None],
            pbc=self.pbc,
            steps=np.array(self.steps),
            times=times,
            velocities=np.stack(self.velocities)[:, None] * units.velocity if moving and units is not None else None,
            unwrapped=follows and any(self.pbc),
        )
        return Loaded(trajectory, steps_known=True, stated=units is not None)


def _positions(frame: Frame) -> tuple[np.ndarray, np.ndarray | None]:
    """Positions in the box, and those that follow the atoms out of it, or None where the file cannot tell them."""
    for first in COORDINATES:
        names = [first, *(first.replace("x", axis, 1) for axis in "yz")]
        if frame.has(*names):
            break
    else:
        raise InputError(
            f"no coordinates among the columns {' '.join(frame.columns)}; dump x y z, xs ys zs or xu yu zu"
        )
    values = frame.numbers(*names)
    if "s" in first:
        values = values @ frame.cell + frame.origin
    if first.endswith("u"):
        back = np.floor((values - frame.origin) @ np.linalg.inv(frame.cell)) * np.asarray(frame.pbc)
        return values - back @ frame.cell, values
    if frame.has("ix", "iy", "iz"):
        return values, values + frame.numbers("ix", "iy", "iz") @ frame.cell
    return values, None


def _frames(path: Path, stated: list[str]) -> Iterator[Frame]:
    """The frames of a file; the units that it states are appended to a list."""
    with errors_of(path), Lines(path) as lines:
        done, time = 0, math.nan
        frame: Frame | None = None
        while line := lines.next_filled():
            item = line.strip()
            if not line.endswith("\n"):
                frame = Frame(0, lines.number)
                break
            if not item.startswith("ITEM:"):
                raise InputError(f"{path}: line {lines.number} should begin with ITEM:, not {item[:60]!r}")
            name = item[5:].strip()
            if name == "UNITS":
                stated.append(lines.next().strip())
                continue
            if name == "TIME":
                time = _float(lines)
                continue
            if name == "TIMESTEP":
                frame = Frame(0, lines.number, time)
                time = math.nan
            elif frame is None:
                raise InputError(f"{path}: line {lines.number}: {item} comes before a time step")
            if not _read_item(frame, name, lines, path):
                break
            if name.startswith("ATOMS"):
                yield frame
                done, frame = done + 1, None
        if frame is not None or lines.cut:
            yield from _without_end(path, frame, done, lines.number)


def _without_end(path: Path, frame: Frame | None, done: int, line: int) -> Iterator[Frame]:
    """The only frame of a file although its last line has no end; of several frames the last one is left out."""
    if not done and frame is not None and len(frame.rows):
        caution(f"{path}: its last line has no end ({' '.join(frame.rows[-1])[:60]!r}): is it whole?")
        yield frame
    elif not done:
        raise InputError(f"{path} holds no complete frame")
    else:
        warn_of_part(path, done, f"the file ends early, behind line {line}")


def _read_item(frame: Frame, name: str, lines: Lines, path: Path) -> bool:
    """Read what follows an ITEM into a frame; False where the file ends within it."""
    if name in ("TIMESTEP", "NUMBER OF ATOMS"):
        number = _whole(lines)
        if number is not None and name == "TIMESTEP":
            frame.step = number
        elif number is not None:
            frame.count = number
        return number is not None
    if name.startswith("BOX BOUNDS"):
        return _set_box(frame, name.split()[2:], lines)
    if name.startswith("ATOMS"):
        return _set_rows(frame, name.split()[1:], lines)
    raise InputError(f"{path}: line {lines.number}: ITEM: {name} is not part of a dump of atoms")


def _float(lines: Lines) -> float:
    text = lines.next().strip()
    return float(text) if text else math.nan


def _whole(lines: Lines) -> int | None:
    """An integer; None at the end of the file, or where its line was cut."""
    line = lines.next()
    return int(line) if line.endswith("\n") else None


def _set_box(frame: Frame, words: list[str], lines: Lines) -> bool:
    rows = lines.take(3)
    if len(rows) < 3 or not rows[-1].endswith("\n"):
        return False
    bounds = [[float(x) for x in row.split()] for row in rows]
    flags = [word for word in words if len(word) == 2 and set(word) <= set("pfsm")]
    if len(flags) == 3:
        frame.pbc = tuple(flag == "pp" for flag in flags)  # pyright: ignore[reportAttributeAccessIssue]
    if "abc" in words:  # general triclinic: three vectors, and the origin as the fourth column
        table = np.array(bounds)
        frame.cell, frame.origin = table[:, :3], table[:, 3]
    else:
        if any(len(row) != (3 if "xy" in words else 2) for row in bounds):
            raise InputError(f"the bounds of the box are {bounds}")
        xy, xz, yz = (row[2] for row in bounds) if "xy" in words else (0.0, 0.0, 0.0)
        (xlo, xhi), (ylo, yhi), (zlo, zhi) = (row[:2] for row in bounds)
        # The bounds are those of the box around the tilted cell.
        xlo, xhi = xlo - min(0.0, xy, xz, xy + xz), xhi - max(0.0, xy, xz, xy + xz)
        ylo, yhi = ylo - min(0.0, yz), yhi - max(0.0, yz)
        frame.origin = np.array([xlo, ylo, zlo])
        frame.cell = np.array([[xhi - xlo, 0.0, 0.0], [xy, yhi - ylo, 0.0], [xz, yz, zhi - zlo]])
    if not abs(np.linalg.det(frame.cell)) > 1e-12:
        raise InputError(f"the box {frame.cell.tolist()} has no volume")
    return True


def _set_rows(frame: Frame, columns: list[str], lines: Lines) -> bool:
    rows = lines.take(frame.count)
    frame.columns = columns
    parts = [row.split() for row in rows]
    ended = bool(rows) and rows[-1].endswith("\n")
    if len(rows) < frame.count or not (ended or not rows or len(parts[-1]) == len(columns)):
        return False
    wrong = next((n for n, row in enumerate(parts) if len(row) != len(columns)), None)
    if wrong is not None:
        raise InputError(
            f"row {wrong} of step {frame.step} has {len(parts[wrong])} of {counted(len(columns), 'column')}: "
            f"{rows[wrong].strip()[:60]!r}"
        )
    if not parts:
        raise InputError(f"step {frame.step} holds no atoms")
    frame.rows = np.array(parts)
    return ended or cut_number(rows) is False
