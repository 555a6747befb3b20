"""From a file to frames, whatever its format is; `read` and `open_trajectory` both come here."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.checks import caution, file_path
from jaxelyte.errors import InputError
from jaxelyte.interop.file_text import errors_of, unpacked
from jaxelyte.interop.file_units import as_cell, units_named
from jaxelyte.interop.formats import MDANALYSIS, format_of
from jaxelyte.interop.loaded import Loaded, completed
from jaxelyte.interop.naming import Naming, Species
from jaxelyte.interop.plausible import check_plausible
from jaxelyte.trajectory import Trajectory
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

UNITLESS = "units= is for files of LAMMPS and for xyz files, whose units are not fixed; those of {} are"


def load_trajectory(
    path: str | Path,
    *,
    topology: str | Path | None = None,
    format: str | None = None,  # noqa: A002 - the name that ASE's functions have
    interval: float | None = None,
    cell: Any = None,
    units: str | None = None,
    elements: Any = None,
) -> Trajectory:
    """All frames of a file as a trajectory; see `jaxelyte.open_trajectory`."""
    path = _existing(path, "trajectory file")
    with errors_of(path):
        loaded = _loaded(path, format, topology, units, elements)
        trajectory = completed(loaded, str(path), interval=interval, cell=cell)
        if topology is not None and not any(trajectory.pbc):
            _tell_of_cell(path, Path(topology))
    return trajectory


def _loaded(path: Path, given: str | None, topology: str | Path | None, units: str | None, elements: Any) -> Loaded:
    kind = format_of(path, given)
    if kind == "h5md" and topology is None:
        return _h5md(path, units, elements)
    if kind in _ATOMS or kind.startswith("ase:"):
        frames = _read_atoms(path, kind, _naming(path, elements, topology), units)
        return _from_frames(frames, str(path))
    return _read_arrays(path, kind, topology, elements, units)


def load_frames(
    path: str | Path,
    *,
    topology: str | Path | None = None,
    format: str | None = None,  # noqa: A002 - the name that ASE's functions have
    cell: Any = None,
    units: str | None = None,
    elements: Any = None,
    index: Any = slice(None),
) -> list[Atoms]:
    """Frames of a file as atoms, which may differ between frames; see `jaxelyte.read`."""
    path = _existing(path, "file")
    with errors_of(path):
        kind = format_of(path, format)
    if kind in _ATOMS or kind.startswith("ase:"):
        with errors_of(path):
            frames = _read_atoms(path, kind, _naming(path, elements, topology), units, index=index)
        if cell is not None:
            for frame in frames:
                frame.set_cell(as_cell(cell))
                frame.pbc = True
        _check_frames(frames, path)
        for frame in frames[:: max(1, len(frames) - 1)]:
            if check_plausible(
                frame.positions, frame.numbers, frame.cell.array, tuple(frame.pbc), str(path), stated=False
            ):
                break
        return frames
    trajectory = load_trajectory(path, topology=topology, format=format, cell=cell, units=units, elements=elements)
    chosen = range(len(trajectory))[index] if isinstance(index, slice) else [index]
    return [trajectory.frame(i, replica) for i in chosen for replica in range(trajectory.replicas)]


def _check_frames(frames: list[Atoms], path: Path) -> None:
    """Raise `InputError` for frames without atoms, or whose positions or cell are not finite."""
    for number, frame in enumerate(frames):
        if not len(frame):
            raise InputError(f"{path}: frame {number} holds no atoms")
        if not (np.all(np.isfinite(frame.positions)) and np.all(np.isfinite(frame.cell.array))):
            raise InputError(f"{path}: positions or cell of frame {number} are not finite")


def _existing(path: str | Path, what: str) -> Path:
    path = file_path("path", path)
    if not path.exists():
        raise InputError(f"there is no {what} {path}")
    return path


def _naming(path: Path, elements: Any, topology: str | Path | None) -> Naming:
    if topology is None:
        return Naming(elements, source=str(path))
    return Naming(None, _topology(_existing(topology, "topology"), elements), source=str(path))


def _topology(path: Path, elements: Any) -> Species:
    """What the atoms of a topology are; formats without coordinates are MDAnalysis'."""
    kind = format_of(path)
    naming = Naming(elements, source=str(path))
    if kind in MDANALYSIS:
        from jaxelyte.interop.mdanalysis_files import topology_of

        return topology_of(path, naming, MDANALYSIS[kind])
    first = load_frames(path, elements=elements, index=0)[0]
    return Species(np.asarray(first.numbers, np.int32), first.get_masses())


def _h5md(path: Path, units: str | None, elements: Any) -> Loaded:
    from jaxelyte.interop.h5md import read_h5md

    if elements is not None:
        raise InputError(f"elements= is not for H5MD files, which hold atomic numbers ({path})")
    _no_units(units, "H5MD files")
    with errors_of(path, "h5py"):
        return Loaded(read_h5md(path), steps_known=True)


def _read_arrays(path: Path, kind: str, topology: str | Path | None, elements: Any, units: str | None) -> Loaded:
    naming = _naming(path, elements, topology)
    if kind == "lammps-dump":
        from jaxelyte.interop.lammps_dump import read_dump

        return read_dump(path, naming, units=units)
    if kind == "gro":
        from jaxelyte.interop.gro_files import read_gro

        _no_units(units, "gro files")
        return read_gro(path, naming)
    if kind in ("xtc", "trr"):
        from jaxelyte.interop.trr_files import read_trr
        from jaxelyte.interop.xdr_files import read_xtc

        _no_units(units, f"{kind} files")
        return read_xtc(path, naming) if kind == "xtc" else read_trr(path, naming)
    from jaxelyte.interop.mdanalysis_files import read_through_mdanalysis

    if kind != "dcd":
        _no_units(units, f"{kind} files")
    named = units_named(units, styles=True, what=str(path))
    return read_through_mdanalysis(path, naming, kind=MDANALYSIS.get(kind, "H5MD"), units=named)


def _read_atoms(path: Path, kind: str, naming: Naming, units: str | None, index: Any = slice(None)) -> list[Atoms]:
    """Frames of the readers that return atoms; the chosen ones."""
    if kind.startswith("ase:"):
        _no_units(units, f"the format {kind[4:]}")
        return _through_ase(path, kind[4:], naming, index)
    frames = _ATOMS[kind](path, naming, units)
    return _chosen(frames, index, path)


def _chosen(frames: list[Atoms], index: Any, path: Path) -> list[Atoms]:
    try:
        found = frames[index] if isinstance(index, slice) else [frames[index]]
    except IndexError as error:
        raise InputError(f"{path} holds {counted(len(frames), 'frame')}, no frame {index}") from error
    if not found:
        raise InputError(f"{path} holds {counted(len(frames), 'frame')}, none of {index}")
    return found


def _xyz(path: Path, naming: Naming, units: str | None) -> list[Atoms]:
    from jaxelyte.interop.cp2k import is_cp2k_xyz
    from jaxelyte.interop.cp2k_steps import read_positions
    from jaxelyte.interop.labelled_files import check_name
    from jaxelyte.interop.xyz_files import read_xyz

    if not is_cp2k_xyz(path) or units is not None:
        return read_xyz(path, naming, units=units)
    check_name(path, "positions", "pos")
    try:
        with errors_of(path):
            frames = read_positions(path, kinds=_kinds(path, naming))
    except InputError as error:
        raise InputError(str(error).replace("kinds=", "elements=")) from error
    return _as_in_topology(frames, naming)


def _data(path: Path, naming: Naming, units: str | None) -> list[Atoms]:
    from jaxelyte.interop.lammps_data import read_data

    return [read_data(path, naming, units=units)]


def _npz(path: Path, naming: Naming, units: str | None) -> list[Atoms]:
    from jaxelyte.interop.labelled_files import read_npz

    _no_units(units, "npz files")
    if naming.elements or naming.topology is not None:
        raise InputError(f"{path} holds atomic numbers; leave elements= and topology= out")
    return read_npz(path)


_ATOMS = {"extxyz": _xyz, "lammps-data": _data, "npz": _npz}


def _no_units(units: str | None, what: str) -> None:
    if units is not None:
        raise InputError(UNITLESS.format(what))


def _through_ase(path: Path, kind: str, naming: Naming, index: Any) -> list[Atoms]:
    from ase.io import read

    if naming.elements:
        raise InputError(f"elements= is not for the format {kind}, whose elements ASE reads ({path})")
    with errors_of(path, "ASE"), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        for kind_of_warning in (FutureWarning, DeprecationWarning):  # of ASE's own plans, nothing about the file
            warnings.simplefilter("ignore", kind_of_warning)
        plain = unpacked(path, Path(folder))
        frames = read(str(plain), index=index, format=kind, do_not_split_by_at_sign=True)
    found = frames if isinstance(frames, list) else [frames]
    if not found:
        raise InputError(f"{path} holds no frame of {index}")
    return _as_in_topology(found, naming)


def _as_in_topology(frames: list[Atoms], naming: Naming) -> list[Atoms]:
    """Frames with the elements and masses of the topology, where there is one."""
    if naming.topology is not None:
        for frame in frames:
            species = naming.of([""] * len(frame))
            if species.kept is not None:
                raise InputError(
                    f"the topology of {naming.source} has sites without mass; leave them out of both files"
                )
            frame.numbers[:] = species.numbers
            frame.set_masses(species.masses)  # pyright: ignore[reportArgumentType]
    return frames


def _kinds(path: Path, naming: Naming) -> dict[str, str] | None:
    """Elements of CP2K's kinds: those that the user names; with a topology, any element will do."""
    if naming.topology is not None:
        from jaxelyte.interop.cp2k import read_blocks

        return dict.fromkeys(read_blocks(path)[0][0].labels, "H")
    if any(symbol is None for symbol in naming.elements.values()):
        raise InputError(f"elements: CP2K's file {path} has no sites without mass to leave out")
    return {key: symbol for key, symbol in naming.elements.items() if symbol is not None} or None


def _from_frames(frames: list[Atoms], source: str) -> Loaded:
    """A trajectory of frames, which carry the number of their replica where there are several."""
    from jaxelyte.trajectory import stacked

    replicas: dict[int, list[Atoms]] = {}
    for atoms in frames:
        replicas.setdefault(int(atoms.info.get("replica", 0)), []).append(atoms)
    counts = {key: len(one) for key, one in replicas.items()}
    least = min(counts.values())
    if max(counts.values()) != least:
        caution(
            f"{source}: replicas have {least} to {counted(max(counts.values()), 'frame')}, as where a run was stopped "
            f"while it wrote; the first {least} of each are read"
        )
    for one in replicas.values():
        for atoms in one:
            for key in ("Step", "Timestep", "timestep"):
                if "step" not in atoms.info and isinstance(atoms.info.get(key), (int, np.integer)):
                    atoms.info["step"] = int(atoms.info[key])
    steps_known = all("step" in atoms.info for atoms in replicas[min(replicas)])
    trajectory = stacked([replicas[key] for key in sorted(replicas)], interval=None, source=source)
    return Loaded(trajectory, steps_known=steps_known, resolution=1e-3, stated=False)


def _tell_of_cell(path: Path, topology: Path) -> None:
    """Warn where the trajectory has no cell, but the topology does."""
    try:
        first = load_frames(topology, index=0)[0]
    except InputError:
        return
    if all(first.pbc):
        lengths = " x ".join(f"{x:.4g}" for x in first.cell.lengths())
        caution(
            f"{path} holds no cell, so that its frames are not periodic; that of {topology} is {lengths} Å: if it is "
            "that of the run, pass cell="
        )
