"""GROMACS' gro files, of one frame or of many: lengths in nm, times in ps behind ``t=`` in the titles."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.interop.file_text import Lines, errors_of, warn_of_part
from jaxelyte.interop.loaded import Loaded
from jaxelyte.interop.naming import Naming
from jaxelyte.trajectory import Trajectory

TIME = re.compile(r"\bt=\s*([-+0-9.eE]+)")
NAMES = 20
"""Columns of the residue, the name and the number of an atom; coordinates follow."""


def read_gro(path: Path, naming: Naming) -> Loaded:
    """All complete frames, with times where the titles state them.

    Raises:
        InputError: a frame that is damaged or of other atoms than the first, names of unknown elements.

    Warns:
        UserWarning: the last frame is cut.
    """
    positions, velocities, cells, times = [], [], [], []
    labels: list[tuple[str, str, str]] = []
    with errors_of(path), Lines(path) as lines:
        while title := lines.next():
            if not title.strip() and not positions:
                title = " "
            start, number = lines.number, lines.next()
            if not number.strip():
                break
            if not number.strip().isdigit():
                raise InputError(
                    f"{path}: line {start + 1} should hold the number of atoms, not {number.strip()[:40]!r}"
                )
            rows, box = lines.take(int(number)), lines.next()
            if len(rows) < int(number) or len(box.split()) not in (3, 9) or not box.endswith("\n"):
                whole = len(rows) == int(number) and len(box.split()) in (3, 9)
                if not (whole and not positions):
                    if not positions:
                        raise InputError(f"{path} holds no complete frame")
                    warn_of_part(path, len(positions), f"the file ends early: the frame in line {start} is cut")
                    break
            names = [(row[:5].strip(), row[5:10].strip(), row[10:15].strip()) for row in rows]
            if positions and names != labels:
                raise InputError(f"{path}: frame {len(positions)} (line {start}) holds other atoms than frame 0")
            labels = names
            values = _values(rows, path, start)
            positions.append(values[:, :3] * 10.0)
            velocities.append(values[:, 3:6] * 0.01)
            cells.append(_box([float(x) for x in box.split()]))
            found = TIME.search(title)
            times.append(float(found.group(1)) * 1e3 if found else np.nan)
    if not positions:
        raise InputError(f"{path} holds no frame")
    species = naming.of(
        [name for _, _, name in labels],
        residues=_residues(labels),
        residue_names=[residue for _, residue, _ in labels],
    )
    kept = slice(None) if species.kept is None else species.kept
    edges = np.array(cells)
    moving = all(one.shape[1] == 3 for one in velocities)
    periodic = bool(np.all(np.abs(np.linalg.det(edges)) > 1e-9))
    trajectory = Trajectory(
        positions=np.stack(positions)[:, None, kept],
        numbers=species.numbers,
        masses=species.masses,
        cells=edges[0] if np.all(edges == edges[0]) else edges[:, None],
        pbc=(periodic, periodic, periodic),
        steps=np.arange(len(positions)),
        times=np.array(times) if len(times) > 1 else np.full(1, np.nan),
        velocities=np.stack(velocities)[:, None, kept] if moving else None,
    )
    return Loaded(trajectory, resolution=1.0)


def _values(rows: list[str], path: Path, start: int) -> np.ndarray:
    """Coordinates and velocities (atoms, 3 or 6); their columns are as wide as the points are apart."""
    first = rows[0][NAMES:].rstrip("\n")
    points = [n for n, c in enumerate(first) if c == "."]
    if len(points) < 3:
        raise InputError(f"{path}: line {start + 2} holds no three coordinates: {rows[0].strip()[:60]!r}")
    width, speed = points[1] - points[0], 0
    ends = [width * k for k in range(4)]
    if len(points) >= 6:
        speed = points[4] - points[3]
        ends += [ends[3] + speed * k for k in range(1, 4)]
    found = []
    for n, row in enumerate(rows):
        text = row[NAMES:]
        try:
            found.append([float(text[a:b]) for a, b in pairwise(ends)])
        except ValueError as error:
            raise InputError(f"{path}: line {start + 2 + n} is damaged: {row.strip()[:80]!r}") from error
    values = np.array(found)
    if not np.all(np.isfinite(values)):
        raise InputError(f"{path}: a coordinate of the frame in line {start} is not finite")
    return values


def _box(numbers: list[float]) -> np.ndarray:
    """Rows are the lattice vectors; the order is v1(x) v2(y) v3(z) v1(y) v1(z) v2(x) v2(z) v3(x) v3(y)."""
    x, y, z = numbers[:3]
    v1y, v1z, v2x, v2z, v3x, v3y = numbers[3:] if len(numbers) == 9 else (0.0,) * 6
    return 10.0 * np.array([[x, v1y, v1z], [v2x, y, v2z], [v3x, v3y, z]])


def _residues(labels: list[tuple[str, str, str]]) -> list[int]:
    """A number for each residue, also where theirs start again after 99999."""
    found, count = [], -1
    before = None
    for number, name, _ in labels:
        count += (number, name) != before
        before = (number, name)
        found.append(count)
    return found
