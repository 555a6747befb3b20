"""Structures from files, through ASE."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import TYPE_CHECKING

from jaxelyte.errors import InputError
from jaxelyte.interop.labelled_files import read_npz

if TYPE_CHECKING:
    from ase import Atoms


def read(path: str | Path, index: str | int = ":") -> list[Atoms]:
    """Frames of a file that ASE reads (extended XYZ, also gzipped, .traj, CP2K, VASP, LAMMPS data, .db, …).

    Also of nequip's npz files; `read_cp2k` reads CP2K's separate ones.

    Args:
        path: the file.
        index: which frames, in ASE's notation: ":" all, -1 the last, "::10" every tenth.

    Returns:
        A list, also for one frame; positions in Å, energies in eV and forces in eV/Å where the file has them.

    Raises:
        InputError: the file is missing, empty, or in no format that ASE knows.
    """
    from ase.io import read as ase_read
    from ase.io.formats import string2index  # pyright: ignore[reportPrivateImportUsage]

    path = Path(path)
    if not path.exists():
        raise InputError(f"there is no file {path}")
    if path.suffix == ".npz":
        frames = read_npz(path)
        chosen = string2index(index) if isinstance(index, str) else index
        return frames[chosen] if isinstance(chosen, slice) else [frames[int(chosen)]]
    try:
        if path.suffix == ".gz" and Path(path.stem).suffix in (".xyz", ".extxyz"):
            # ASE seeks back and forth, and gzip can only go back by starting over: minutes instead of seconds.
            frames = ase_read(io.StringIO(gzip.decompress(path.read_bytes()).decode()), index=index, format="extxyz")
        else:
            frames = ase_read(path, index=index)
    except Exception as error:
        raise InputError(f"ASE cannot read {path}: {type(error).__name__}: {error}") from error
    frames = frames if isinstance(frames, list) else [frames]
    if not frames:
        raise InputError(f"{path} holds no frame {index!r}")
    return frames
