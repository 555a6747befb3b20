"""Labelled frames in formats that ASE does not read: nequip's npz, and CP2K's separate files."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxelyte.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

HARTREE, BOHR = 27.211386245988, 0.529177210903
"""eV and Å; CODATA 2018."""

NAMES = {
    "positions": ("R", "pos", "positions", "coords"),
    "numbers": ("z", "Z", "atomic_numbers", "numbers"),
    "energy": ("E", "energy", "total_energy"),
    "forces": ("F", "forces"),
    "cell": ("cell", "lattice", "cells"),
    "pbc": ("pbc",),
    "stress": ("stress",),
}
"""Keys of npz files, as nequip and the sets it reads use them."""


def read_npz(path: str | Path) -> list[Atoms]:
    """Frames of one composition from the arrays of an npz file; never unpickles.

    R (frames, atoms, 3) in Å, z (atoms,) or by frame, E (frames,) in eV, F in eV/Å, cell (3, 3) or by frame, also
    in Å, and pbc; all but R and z may be missing.

    Raises:
        InputError: arrays that are missing or do not fit each other.
    """
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read {path} as arrays: {error}") from error
    found = {kind: next((stored[n] for n in names if n in stored), None) for kind, names in NAMES.items()}
    positions, numbers = found["positions"], found["numbers"]
    if positions is None or numbers is None or positions.ndim != 3:
        raise InputError(f"{path} needs R (frames, atoms, 3) and z; it holds {', '.join(sorted(stored)) or 'nothing'}")
    frames, atoms = positions.shape[:2]
    shapes = {"numbers": (atoms,), "energy": (), "forces": (atoms, 3), "cell": (3, 3), "pbc": (3,), "stress": (3, 3)}
    every = {kind: _per_frame(found[kind], frames, shape, f"{kind} of {path}") for kind, shape in shapes.items()}
    out = []
    for n in range(frames):
        one = {kind: None if values is None else values[n] for kind, values in every.items()}
        pbc = one["cell"] is not None if one["pbc"] is None else one["pbc"].astype(bool)
        frame = Atoms(numbers=one["numbers"], positions=positions[n], cell=one["cell"], pbc=pbc)
        results = {kind: one[kind] for kind in ("energy", "forces", "stress") if one[kind] is not None}
        if one["energy"] is not None:
            results["energy"] = float(one["energy"])
        frame.calc = SinglePointCalculator(frame, **results)
        out.append(frame)
    return out


def _per_frame(values: np.ndarray | None, frames: int, shape: tuple[int, ...], what: str) -> np.ndarray | None:
    if values is None:
        return None
    if values.shape == (frames, 1) and shape == ():
        values = values[:, 0]
    if values.shape == (frames, *shape):
        return values
    if values.shape == shape:
        return np.broadcast_to(values, (frames, *shape))
    raise InputError(f"{what} has shape {values.shape}; {shape} or {(frames, *shape)} is needed")


def read_cp2k(
    positions: str | Path,
    forces: str | Path | None = None,
    *,
    cell: str | Path | np.ndarray | None = None,
    index: str = ":",
) -> list[Atoms]:
    """Frames from CP2K's separate trajectory files, converted to eV and eV/Å.

    ``*-pos-1.xyz`` holds positions in Å and energies in Hartree in its comment lines, ``*-frc-1.xyz`` forces in
    Hartree/Bohr, ``*-1.cell`` cells in Å.

    Args:
        positions: the xyz file of positions.
        forces: the xyz file of forces, in the same steps.
        cell: the cell file, or a fixed cell in Å (3 numbers or 3 x 3); no periodicity without.
        index: which frames, in ASE's notation.

    Raises:
        InputError: files that are missing, or of different steps or atoms.
    """
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io.formats import string2index  # pyright: ignore[reportPrivateImportUsage]

    where = _read_xyz(Path(positions))
    pulls = None if forces is None else _read_xyz(Path(forces))
    if pulls is not None and [f.info.get("i") for f in pulls] != [f.info.get("i") for f in where]:
        raise InputError(f"{positions} ({len(where)} frames) and {forces} ({len(pulls)}) hold other steps")
    cells = _cells(cell, [frame.info.get("i") for frame in where])
    for n, frame in enumerate(where):
        results = {}
        if "E" in frame.info:
            results["energy"] = float(frame.info["E"]) * HARTREE
        if pulls is not None:
            if np.any(pulls[n].numbers != frame.numbers):
                raise InputError(f"frame {n}: {positions} and {forces} hold other atoms")
            results["forces"] = pulls[n].positions * (HARTREE / BOHR)
        if cells is not None:
            frame.set_cell(cells[n])
            frame.pbc = True
        frame.calc = SinglePointCalculator(frame, **results)
    chosen = string2index(index)
    return where[chosen] if isinstance(chosen, slice) else [where[int(chosen)]]


def _read_xyz(path: Path) -> list[Atoms]:
    """Plain xyz with CP2K's comments: ``i = 10, time = 5.000, E = -17.2``."""
    from ase import Atoms

    if not path.is_file():
        raise InputError(f"there is no file {path}")
    lines = path.read_text("utf-8").splitlines()
    frames, start = [], 0
    while start < len(lines) and lines[start].strip():
        try:
            atoms = int(lines[start])
            rows = [line.split() for line in lines[start + 2 : start + 2 + atoms]]
            if len(rows) != atoms:
                break  # a run that was killed while it wrote
            values = np.array([[float(x) for x in row[1:4]] for row in rows])
            info = dict(part.split("=") for part in lines[start + 1].split(",") if part.count("=") == 1)
        except (ValueError, IndexError) as error:
            raise InputError(f"{path} is no xyz file near line {start + 1}: {error}") from error
        frame = Atoms([row[0] for row in rows], values)
        frame.info = {key.strip(): value.strip() for key, value in info.items()}
        frames.append(frame)
        start += atoms + 2
    if not frames:
        raise InputError(f"{path} holds no complete frame")
    return frames


def _cells(cell: str | Path | np.ndarray | None, steps: list[str | None]) -> np.ndarray | None:
    """Cells of the frames, those of the same steps where a file has them."""
    if cell is None:
        return None
    if isinstance(cell, str | Path):
        if not Path(cell).is_file():
            raise InputError(f"there is no file {cell}")
        # Columns: step, time, the nine components, volume.
        table = np.loadtxt(cell, ndmin=2)
        if table.shape[1] < 11:
            raise InputError(f"{cell} has {table.shape[1]} columns; step, time and nine components are needed")
        known = {round(row[0]): row[2:11].reshape(3, 3) for row in table}
        missing = [step for step in steps if step is None or int(step) not in known]
        if missing:
            raise InputError(f"{cell} has no cell of step {missing[0]}, one of {len(missing)} that the positions have")
        return np.array([known[int(step)] for step in steps if step is not None])
    fixed = np.asarray(cell, np.float64)
    fixed = np.diag(fixed) if fixed.shape == (3,) else fixed
    if fixed.shape != (3, 3):
        raise InputError(f"cell has shape {fixed.shape}; give 3 lengths or 3 x 3 in Å")
    return np.broadcast_to(fixed, (len(steps), 3, 3))
