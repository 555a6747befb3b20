"""Structures from files, through ASE."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jaxelyte.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms


def read(path: str | Path, index: str | int = ":") -> list[Atoms]:
    """Frames of a file that ASE reads (extended XYZ, also gzipped, .traj, CP2K, VASP, LAMMPS data, .db, …).

    Args:
        path: the file.
        index: which frames, in ASE's notation: ":" all, -1 the last, "::10" every tenth.

    Returns:
        A list, also for one frame; positions in Å, energies in eV and forces in eV/Å where the file has them.

    Raises:
        InputError: the file is missing, empty, or in no format that ASE knows.
    """
    from ase.io import read as ase_read

    path = Path(path)
    if not path.exists():
        raise InputError(f"there is no file {path}")
    try:
        frames = ase_read(path, index=index)
    except Exception as error:
        raise InputError(f"ASE cannot read {path}: {type(error).__name__}: {error}") from error
    frames = frames if isinstance(frames, list) else [frames]
    if not frames:
        raise InputError(f"{path} holds no frame {index!r}")
    return frames
