"""Structures from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase import Atoms


def read(
    path: str | Path,
    index: str | int | slice = ":",
    *,
    format: str | None = None,  # noqa: A002 - the name that ASE's functions have
    topology: str | Path | None = None,
    cell: Any = None,
    units: str | None = None,
    elements: Any = None,
) -> list[Atoms]:
    """Read frames whose atoms may differ: structures, labelled frames, trajectories.

    The format is recognised by the content: extended XYZ (also packed by gzip, bzip2 or xz), xyz of i-PI and CP2K,
    LAMMPS dumps and data files, nequip's npz, GROMACS' gro, H5MD; PDB, DCD, XTC, TRR, NetCDF, topologies, … through
    MDAnalysis; other formats through ASE (.traj, .db, VASP, CIF, …). `open_trajectory` accepts the same files;
    `read_cp2k` reads CP2K's separate files of positions, forces and cells.

    Args:
        path: the file.
        index: which frames, in ASE's notation: ":" all, -1 the last, "::10" every tenth.
        format: overrides the recognised format: extxyz, lammps-dump, lammps-data, dcd, …, or one of ASE's names.
        topology: see `open_trajectory`.
        cell: see `open_trajectory`.
        units: see `open_trajectory`.
        elements: see `open_trajectory`.

    Returns:
        A list, also for one frame; positions in Å, and energies in eV and forces in eV/Å if the file contains them;
        step and time (fs) in ``info`` if they are known.

    Raises:
        InputError: the file is missing, damaged, empty, in no known format, or of atoms whose elements are not known.

    Warns:
        UserWarning: a part of the file could not be read, or its content is doubtful.
    """
    from jaxelyte.interop.labelled_files import frames_of
    from jaxelyte.interop.loading import load_frames

    return load_frames(
        path, topology=topology, format=format, cell=cell, units=units, elements=elements, index=frames_of(index)
    )
