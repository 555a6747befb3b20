"""Frames of xyz files: extended XYZ, i-PI, LAMMPS and plain ones, told apart by the comment of each frame.

i-PI states its units in the comment, ``# CELL(abcABC): 20 20 20 90 90 90 Step: 10 Bead: 0 positions{angstrom}
cell{atomic_unit}``. The columns of ``CELL(H)`` and the rows of ``CELL(GENH)`` are the lattice vectors.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxelyte.checks import caution
from jaxelyte.errors import InputError
from jaxelyte.interop.file_text import Lines, cut_number, errors_of, warn_of_part
from jaxelyte.interop.file_units import UNITS, units_named
from jaxelyte.interop.naming import Naming, Species
from jaxelyte.wording import counted, part_of

if TYPE_CHECKING:
    from ase import Atoms

EXTENDED = re.compile(r"(?:^|\s)(?:Lattice|Properties|pbc|[A-Za-z_][\w-]*)=\S", re.IGNORECASE)
IPI_CELL = re.compile(r"CELL[(\[{](abcABC|H|GENH)[)\]}]:\s*((?:[-+0-9.EeDd]+\s+){5,8}[-+0-9.EeDd]+)")
IPI_QUANTITY = re.compile(r"(?<![\w{])([A-Za-z_]+)\{([A-Za-z_0-9/^-]*)\}")
IPI_POSITIONS = ("positions", "x_centroid", "x_centroid_even", "x_centroid_odd", "cell")
STEP = re.compile(r"(?:^|[\s.#])(?:Step|Timestep):\s*(\d+)", re.IGNORECASE)
TIME_UNIT = re.compile(r"(?:^|\s)time=\"?([-+0-9.eE]+)\s*(fs|ps|ns)\b")
TIME_UNITS = {"fs": 1.0, "ps": 1e3, "ns": 1e6}
FORTRAN = re.compile(r"(\d\.?\d*)[Dd]([-+]?\d+)(?=\s)")
"""A number as Fortran writes it in double precision, 1.0D+00."""

SPECIES = ("species", "symbols", "element", "elements", "symbol")


class Block(NamedTuple):
    """Text of one frame; ``line`` is that of the number of atoms, ``number`` counts the frames from 0."""

    number: int
    line: int
    comment: str
    rows: list[str]


class Comment(NamedTuple):
    """What a comment that is not extended XYZ says.

    Attributes:
        step: of the simulation, or None.
        cell: (3, 3), Å, or None.
        length: factor of the positions to Å; None where the comment has none.
    """

    step: int | None
    cell: np.ndarray | None
    length: float | None


def looks_like_xyz(head: str) -> bool:
    """Whether a text starts as an xyz file does: a number of atoms, a comment, rows of a name and numbers."""
    lines = head.splitlines()
    if not lines or not lines[0].strip().isdigit():
        return False
    if len(lines) < 3:
        return len(lines) == 1 or bool(EXTENDED.search(lines[1])) or bool(IPI_CELL.search(lines[1]))
    parts = lines[2].split()
    return bool(re.search(r"Properties=", lines[1], re.IGNORECASE)) or (
        len(parts) >= 4 and _is_number(parts[1]) and _is_number(parts[2])
    )


def read_xyz(path: Path, naming: Naming, *, units: str | None = None) -> list[Atoms]:
    """All complete frames, also of different atoms, with step and time (fs) in ``info`` where they are known.

    Args:
        path: the file, packed or not.
        naming: elements that the user names.
        units: of length, where the file does not state them; Å by default.

    Raises:
        InputError: a frame that is no xyz (the message names it and its line), atoms of unknown elements, quantities
            other than positions, or units that are not stated.

    Warns:
        UserWarning: the last frame is cut; sites without mass are left out; some frames have no cell.
    """
    factor = units_named(units, styles=False, what=str(path))
    frames = []
    for block in _blocks(path):
        with errors_of(path, place=f"frame {block.number} (line {block.line})"):
            frames.append(_frame(block, naming, None if factor is None else factor.length, str(path)))
    _tell_of_cells(frames, path)
    return frames


def _tell_of_cells(frames: list[Atoms], path: Path) -> None:
    """A warning about frames without a cell among others that have one, and about periodicity without a cell.

    Raises:
        InputError: a cell that is not finite.
    """
    broken = [n for n, atoms in enumerate(frames) if not np.all(np.isfinite(atoms.cell.array))]
    if broken:
        raise InputError(
            f"{path}: the cell of frame {broken[0]} is not finite: {frames[broken[0]].cell.array.tolist()}"
        )
    bare = [
        n
        for n, atoms in enumerate(frames)
        if np.linalg.matrix_rank(atoms.cell.array[atoms.pbc]) < int(np.sum(atoms.pbc))
    ]
    if bare:
        caution(
            f"{path}: periodic (pbc) but without a cell, or with one of no volume: {counted(len(bare), 'frame')}; "
            "the first is "
            f"frame {bare[0]}"
        )
    without = [n for n, atoms in enumerate(frames) if not np.any(atoms.cell.array)]
    if len(without) not in (0, len(bare), len(frames)):
        caution(f"{path}: {part_of(len(without), len(frames), 'frame')} no cell, the first is frame {without[0]}")


def _blocks(path: Path) -> Iterator[Block]:
    with errors_of(path), Lines(path) as lines:
        index = 0
        while line := lines.next_filled():
            start = lines.number
            count = _count(line, path, start, index)
            comment, rows = lines.next(), lines.take(count)
            doubtful = bool(rows) and bool(cut_number(rows))
            if len(rows) < count or _short(rows) or (doubtful and index):
                if index == 0:
                    raise InputError(f"{path} holds no complete frame: {len(rows)} of {count} atoms are there")
                why = lines.cut or f"the last frame (line {start}) has {len(rows)} of {count} complete rows"
                warn_of_part(path, index, f"the file ends early: {why}")
                return
            if doubtful:
                caution(f"{path} ends with {rows[-1].strip()!r}, fewer digits than all other lines have: is it whole?")
            yield Block(index, start, comment.strip(), rows)
            index += 1
        if index == 0:
            raise InputError(f"{path} holds no frame{': ' + lines.cut if lines.cut else ''}")
        if lines.cut:
            warn_of_part(path, index, lines.cut)


def _count(line: str, path: Path, number: int, index: int) -> int:
    text = line.strip()
    if not text.isdigit() or int(text) == 0 or len(text) > 9:
        raise InputError(
            f"{path} is not an xyz file that can be read: line {number}, where frame {index} begins, should hold the "
            f"number of its atoms, not {text[:60]!r}"
        )
    return int(text)


def _short(rows: list[str]) -> bool:
    """Whether the last row of a file was cut: it has no end of line, and fewer columns than the others."""
    return not rows[-1].endswith("\n") and len(rows[-1].split()) < min(
        (len(row.split()) for row in rows[:-1]), default=4
    )


def _frame(block: Block, naming: Naming, units: float | None, source: str) -> Atoms:
    if EXTENDED.search(block.comment) and not IPI_CELL.search(block.comment):
        atoms = _extended(block, naming)
        if units is not None:
            atoms.set_cell(atoms.cell.array * units)
            atoms.positions *= units
    else:
        atoms = _plain(block, naming, units, source)
    if not np.all(np.isfinite(atoms.positions)):
        bad = int(np.argmax(~np.isfinite(atoms.positions).all(axis=1)))
        raise InputError(f"{source}: frame {block.number}: the position of atom {bad} is {atoms.positions[bad]}")
    for key in ("time", "step"):
        value = atoms.info.get(key)
        if value is not None and not (_is_number(value) and math.isfinite(float(value))):
            raise InputError(f"{source}: frame {block.number}: {key}={value!r} in its comment is not a number")
    return atoms


def _extended(block: Block, naming: Naming) -> Atoms:
    """A frame of extended XYZ, parsed by ASE once the names are chemical symbols."""
    from ase.data import chemical_symbols
    from ase.io import read

    columns, species = _columns(block.comment), None
    rows = _sorted_by_id(block.rows, columns)
    # Atomic numbers may take the place of the symbols.
    column = next((place for name, (place, kind) in columns.items() if kind == "S" and name in SPECIES), None)
    if column is not None:
        parts = [row.split() for row in rows]
        labels = [row[column] for row in parts]
        species = naming.of(labels)
        symbols = iter(chemical_symbols[z] for z in species.numbers)
        kept = species.kept if species.kept is not None else [True] * len(rows)
        named = [next(symbols) if keep else "" for keep in kept]
        if named != labels:
            for row, name in zip(parts, named, strict=True):
                row[column] = name
            rows = [" ".join(row) + "\n" for row, keep in zip(parts, kept, strict=True) if keep]
    if FORTRAN.search(rows[0]):
        rows = [FORTRAN.sub(r"\1E\2", row) for row in rows]
    atoms = read(io.StringIO(f"{len(rows)}\n{block.comment}\n{''.join(rows)}"), format="extxyz", index=0)
    assert not isinstance(atoms, list)
    if len(atoms) != len(rows) or ("pos" not in columns and "Properties=" in block.comment):
        raise InputError(f"its comment does not describe its columns: {block.comment[:80]!r}")
    if species is not None and not atoms.has("masses"):
        _set_masses(atoms, species)
    _time_unit(atoms, block.comment)
    return atoms


def _columns(comment: str) -> dict[str, tuple[int, str]]:
    """First column and type of each property of an extended XYZ file."""
    found = re.search(r"Properties=\"?([^\s\"]+)", comment)
    if found is None:
        return {"species": (0, "S")}
    fields, column, columns = found.group(1).split(":"), 0, {}
    for name, kind, count in zip(fields[::3], fields[1::3], fields[2::3], strict=False):
        columns[name] = (column, kind)
        column += int(count)
    return columns


def _sorted_by_id(rows: list[str], columns: dict[str, tuple[int, str]]) -> list[str]:
    """Rows in the order of their ids, if they have any: a dump that was converted is in another order in each frame."""
    column, kind = columns.get("id", (0, ""))
    if kind != "I":
        return rows
    ids = [int(row.split()[column]) for row in rows]
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return [rows[n] for n in order] if len(set(ids)) == len(ids) else rows


def _time_unit(atoms: Atoms, comment: str) -> None:
    """Take the time in fs where the comment has a unit behind it."""
    found = TIME_UNIT.search(comment)
    if found is not None:
        atoms.info["time"] = float(found.group(1)) * TIME_UNITS[found.group(2)]


def _plain(block: Block, naming: Naming, units: float | None, source: str) -> Atoms:
    from ase import Atoms

    said = _comment(block, units, source)
    parts = [row.split() for row in block.rows]
    short = next((n for n, row in enumerate(parts) if len(row) < 4), None)
    if short is not None:
        raise InputError(
            f"{source}: line {block.line + 2 + short} (frame {block.number}) needs a name and three coordinates, not "
            f"{block.rows[short].strip()[:60]!r}"
        )
    values = np.array([[float(x.replace("D", "E").replace("d", "e")) for x in row[1:4]] for row in parts])
    species = naming.of([row[0] for row in parts])
    if species.kept is not None:
        values = values[species.kept]
    length = said.length if said.length is not None else units if units is not None else 1.0
    atoms = Atoms(species.numbers, values * length, cell=said.cell, pbc=said.cell is not None)
    _set_masses(atoms, species)
    if said.step is not None:
        atoms.info["step"] = said.step
    return atoms


def _set_masses(atoms: Any, species: Species) -> None:
    """Masses that are not those of the natural mixtures; others stay ASE's, so that the file does not state them."""
    from ase.data import atomic_masses

    if not np.array_equal(species.masses, atomic_masses[species.numbers]):
        atoms.set_masses(species.masses)


def _comment(block: Block, units: float | None, source: str) -> Comment:
    step = STEP.search(block.comment)
    number = None if step is None else int(step.group(1))
    cell = IPI_CELL.search(block.comment)
    stated = dict(IPI_QUANTITY.findall(IPI_CELL.sub(" ", block.comment))) if "{" in block.comment else {}
    other = [name for name in stated if name not in IPI_POSITIONS]
    if cell is None and not (set(stated) & set(IPI_POSITIONS)):
        return Comment(number, None, None)
    if other:
        raise InputError(f"{source} holds {other[0]} of i-PI, not positions; give the file of the positions")
    length = _stated(stated, IPI_POSITIONS[:-1], units, "positions", source)
    if cell is None:
        return Comment(number, None, length)
    kind, text = cell.groups()
    return Comment(number, _ipi_cell(kind, text, _stated(stated, ("cell",), units, "cell", source)), length)


def _stated(stated: dict[str, str], names: tuple[str, ...], units: float | None, what: str, source: str) -> float:
    """Factor to Å of a quantity of i-PI, from its comment; from ``units`` where it has none."""
    unit = next((stated[name] for name in names if name in stated), None)
    if unit is None:
        if units is None:
            raise InputError(
                f"the comments of {source} are i-PI's but do not state the unit of the {what}; pass units='angstrom' "
                "or units='atomic_unit' (Bohr), which is what i-PI writes if nothing else is asked for"
            )
        return units
    known = {"angstrom": 1.0, "ase": 1.0, "atomic_unit": UNITS["bohr"].length, "": UNITS["bohr"].length}
    known |= {"bohr": UNITS["bohr"].length, "nanometer": 10.0, "m": 1e10}
    if unit not in known:
        raise InputError(
            f"{source} states the unit {unit!r} of its {what}; only {', '.join(filter(None, known))} are known"
        )
    return known[unit]


def _ipi_cell(kind: str, text: str, length: float) -> np.ndarray | None:
    from ase.geometry import cellpar_to_cell

    numbers = np.array([float(x.replace("D", "E")) for x in text.split()])
    if kind == "abcABC":
        if np.any(numbers[:3] <= 0):
            return None
        return np.asarray(cellpar_to_cell(numbers[:6])) * np.array([length])
    if len(numbers) < 9:
        raise InputError(f"CELL({kind}) of i-PI needs nine numbers, not {len(numbers)}")
    rows = numbers[:9].reshape(3, 3)
    rows = rows.T if kind == "H" else rows
    return rows * length if abs(np.linalg.det(rows)) > 1e-8 and np.linalg.det(rows) > 0 else None


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
