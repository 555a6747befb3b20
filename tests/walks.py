"""Random walks of ions whose diffusion coefficient is known, and files of them."""

from __future__ import annotations

import numpy as np
from ase import Atoms

EDGE, INTERVAL, STEP = 12.0, 50.0, 0.12
"""Å; fs between frames; Å, standard deviation of a step along each axis."""

PAIRS = 10
TRUE = STEP**2 / (2.0 * INTERVAL) * 1e-5
"""m²/s."""


def walk(frames: int = 301, seed: int = 1) -> np.ndarray:
    """Unwrapped positions (frames, atoms, 3), Å; sodium first, then chloride."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0.0, STEP, (frames - 1, 2 * PAIRS, 3))
    steps -= steps.mean(axis=1, keepdims=True)
    start = rng.uniform(0.0, EDGE, (2 * PAIRS, 3))
    return np.concatenate([start[None], start + np.cumsum(steps, axis=0)])


def wrapped_frames(frames: int = 301, *, times: bool = False) -> list[Atoms]:
    """Frames in a cubic cell."""
    symbols = ["Na"] * PAIRS + ["Cl"] * PAIRS
    found = [Atoms(symbols, one % EDGE, cell=[EDGE] * 3, pbc=True) for one in walk(frames)]
    if times:
        for k, atoms in enumerate(found):
            atoms.info["time"] = k * INTERVAL
    return found


def dump_text(frames: list[Atoms], *, columns: str = "id type element x y z", every: int = 100, start: int = 0) -> str:
    parts = []
    for k, atoms in enumerate(frames):
        rows = []
        for n, (symbol, position) in enumerate(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)):
            words = {"id": n + 1, "type": 1 if symbol == "Na" else 2, "element": symbol}
            words |= dict(zip(("x", "y", "z"), position, strict=True))
            rows.append(" ".join(str(words[name]) for name in columns.split()))
        rows = rows[k % len(rows) :] + rows[: k % len(rows)]  # LAMMPS writes the atoms in any order
        bounds = "".join(f"0.0 {length}\n" for length in atoms.cell.lengths())
        parts.append(
            f"ITEM: TIMESTEP\n{start + k * every}\nITEM: NUMBER OF ATOMS\n{len(atoms)}\n"
            f"ITEM: BOX BOUNDS pp pp pp\n{bounds}"
            f"ITEM: ATOMS {columns}\n" + "\n".join(rows) + "\n"
        )
    return "".join(parts)


def xyz_text(frames: list[Atoms], comment: str = "", length: float = 1.0) -> str:
    parts = []
    for k, atoms in enumerate(frames):
        rows = [
            f"{s} {x:.6f} {y:.6f} {z:.6f}"
            for s, (x, y, z) in zip(atoms.get_chemical_symbols(), atoms.positions / length, strict=True)
        ]
        parts.append(f"{len(atoms)}\n{comment.format(step=k)}\n" + "\n".join(rows) + "\n")
    return "".join(parts)


def gro_text(atoms: list[tuple[int, str, str]], frames: int = 1, *, times: bool = True) -> str:
    parts = []
    for k in range(frames):
        title = f"water and salt t= {k * 0.05:.5f} step= {k}" if times else "water and salt"
        rows = [
            f"{n:5d}{r:<5s}{a:>5s}{i + 1:5d}{0.1 * i:8.3f}{0.2:8.3f}{0.01 * k:8.3f}"
            for i, (n, r, a) in enumerate(atoms)
        ]
        parts.append(f"{title}\n{len(atoms):5d}\n" + "\n".join(rows) + "\n   2.00000   2.00000   3.00000\n")
    return "".join(parts)


def pdb_text(rows: list[tuple[str, str, int, str]]) -> str:
    """Atoms as (name, residue, number of the residue, element or blank)."""
    text = "CRYST1   20.000   20.000   20.000  90.00  90.00  90.00 P 1           1\n"
    for n, (name, residue, number, element) in enumerate(rows):
        column = f" {name:<3s}" if len(name) < 4 else name
        text += (
            f"HETATM{n + 1:5d} {column} {residue:>3s} A{number:4d}    {1.0 * n:8.3f}{0.0:8.3f}{0.0:8.3f}  1.00  0.00"
            f"          {element:>2s}\n"
        )
    return text + "END\n"
