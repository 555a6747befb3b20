"""Which reader takes a file: by its content, by its name where that has no mark. One table for all of jaxelyte."""

from __future__ import annotations

import re
from pathlib import Path

from jaxelyte.errors import InputError
from jaxelyte.interop.file_text import errors_of, read_head, stem_of
from jaxelyte.interop.lammps_data import looks_like_data
from jaxelyte.interop.xyz_files import looks_like_xyz

OURS = {
    "h5md": "H5MD",
    "extxyz": "extended or plain XYZ, i-PI's and CP2K's",
    "lammps-dump": "LAMMPS dump",
    "lammps-data": "LAMMPS data file",
    "gro": "GROMACS gro",
    "npz": "arrays of nequip",
}
"""Formats with a reader of our own."""

MDANALYSIS = {
    "dcd": "DCD", "xtc": "XTC", "trr": "TRR", "tng": "TNG", "netcdf": "NCDF", "pdb": "PDB", "psf": "PSF",
    "prmtop": "PRMTOP", "tpr": "TPR", "crd": "CRD", "inpcrd": "INPCRD", "mdcrd": "TRJ", "mol2": "MOL2", "trz": "TRZ",
    "gsd": "GSD", "pqr": "PQR", "pdbqt": "PDBQT", "txyz": "TXYZ",
    "dlpoly-history": "HISTORY", "dlpoly-config": "CONFIG", "itp": "ITP", "coor": "COOR", "dms": "DMS",
    "h5md-mdanalysis": "H5MD",
}  # fmt: skip
"""Formats that MDAnalysis reads, with its names for them."""

ALIASES = {
    "xyz": "extxyz", "lammpstrj": "lammps-dump", "lammpsdump": "lammps-dump", "lammps-dump-text": "lammps-dump",
    "dump": "lammps-dump", "data": "lammps-data", "gromacs": "gro", "proteindatabank": "pdb", "ent": "pdb",
    "netcdftrajectory": "netcdf", "nc": "netcdf", "ncdf": "netcdf", "parm7": "prmtop", "h5": "h5md", "hdf5": "h5md",
    "rst7": "inpcrd", "restrt": "inpcrd", "trj": "mdcrd", "arc": "txyz", "cp2k-dcd": "dcd",
    "dlp-history": "dlpoly-history",    "dlp4": "dlpoly-config", "namdbin": "coor", "history": "dlpoly-history",
    "config": "dlpoly-config",
}  # fmt: skip

SUFFIXES = {
    ".gro": "gro", ".xtc": "xtc", ".trr": "trr", ".tng": "tng", ".nc": "netcdf", ".ncdf": "netcdf", ".psf": "psf",
    ".prmtop": "prmtop", ".parm7": "prmtop", ".tpr": "tpr", ".inpcrd": "inpcrd", ".rst7": "inpcrd", ".crd": "crd",
    ".mdcrd": "mdcrd", ".trj": "mdcrd", ".mol2": "mol2", ".trz": "trz", ".gsd": "gsd", ".pqr": "pqr", ".pdbqt": "pdbqt",
    ".txyz": "txyz", ".arc": "txyz", ".itp": "itp", ".coor": "coor", ".dms": "dms", ".npz": "npz", ".pdb": "pdb",
    ".ent": "pdb", ".dcd": "dcd", ".xyz": "extxyz", ".extxyz": "extxyz", ".lammpstrj": "lammps-dump",
    ".h5": "h5md", ".h5md": "h5md", ".hdf5": "h5md",
}  # fmt: skip

MAGIC = (
    (0, b"\x89HDF\r\n\x1a\n", "h5md"),
    (0, b"CDF\x01", "netcdf"),
    (0, b"CDF\x02", "netcdf"),
    (0, b"CDF\x05", "netcdf"),
    (4, b"CORD", "dcd"),
    (4, b"VELD", "dcd"),
    (0, b"\x00\x00\x07\xcb", "xtc"),
    (0, b"\x00\x00\x07\xe7", "xtc"),
    (0, b"\x00\x00\x07\xc9", "trr"),
    (0, b"\xdf\x65\xdf\x65\xdf\x65\xdf\x65", "gsd"),
)
"""Place, bytes and format."""

LIKE_XYZ = (".gro", ".crd", ".txyz", ".arc", ".inpcrd", ".rst7")
"""Suffixes of formats that may start as xyz files do."""

PDB = re.compile(r"^(?:ATOM  |HETATM)[ \d]", re.MULTILINE)
MMCIF = re.compile(r"^_(?:atom_site|cell|entry)\.", re.MULTILINE)
DUMP = re.compile(r"\s*ITEM: (?:TIMESTEP|UNITS|TIME)\b")


def format_of(path: Path, given: str | None = None) -> str:
    """The format of a file: a key of `OURS` or `MDANALYSIS`, or ``ase:`` and ASE's name for it.

    Args:
        path: the file.
        given: by the user, who knows better; also ASE's names.

    Raises:
        InputError: the format is not known.
    """
    if given is not None:
        return _named(given)
    if path.is_dir():
        return f"ase:{_by_ase(path)}"
    head = read_head(path)
    if not head:
        raise InputError(f"{path} is empty")
    suffix = stem_of(path).suffix.lower()
    return _by_content(head, suffix) or SUFFIXES.get(suffix) or _of_ase(_by_ase(path), path)


def _by_content(head: bytes, suffix: str) -> str | None:
    """The format that the first bytes of a file prove; the suffix decides between formats that look alike.

    Raises:
        InputError: a format that is recognised, but that nothing here reads.
    """
    marked = next((name for place, magic, name in MAGIC if head[place : place + len(magic)] == magic), None)
    if marked is not None:
        return marked
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff").replace("\r\n", "\n")
    if DUMP.match(text):
        return "lammps-dump"
    if looks_like_data(text):
        return "lammps-data"
    if MMCIF.search(text):
        raise InputError("PDBx/mmCIF files cannot be read; write PDB, or a CIF of a crystal, instead")
    if suffix not in LIKE_XYZ and looks_like_xyz(text):
        return "extxyz"
    return "pdb" if suffix in (".pdb", ".ent", "") and PDB.search(text) else None


def _named(given: str) -> str:
    from ase.io.formats import ioformats

    name = str(given).strip().lower()
    name = ALIASES.get(name, name)
    if name in OURS or name in MDANALYSIS:
        return name
    if name in ioformats:
        return f"ase:{name}"
    known = sorted({*OURS, *MDANALYSIS})
    raise InputError(f"format = {given!r} is not known; known are {', '.join(known)}, and ASE's formats")


def _by_ase(path: Path) -> str:
    from ase.io.formats import UnknownFileTypeError, filetype

    try:
        with errors_of(path, "ASE"):
            return filetype(str(path))
    except InputError as error:
        if not isinstance(error.__cause__, UnknownFileTypeError):
            raise
        return path.suffix.lstrip(".")


def _of_ase(name: str, path: Path) -> str:
    """Formats that ASE recognises and others read."""
    from ase.io.formats import ioformats

    name = ALIASES.get(name, name)
    if name in OURS or name in MDANALYSIS:
        return name
    if name not in ioformats:
        raise InputError(
            f"the format of {path} is not recognised by its content or its name; name it: format= takes "
            f"{', '.join(sorted({*OURS, *MDANALYSIS}))}, and ASE's formats"
        )
    return f"ase:{name}"
