"""Files that MDAnalysis reads: times are taken only where the format has them."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxelyte.checks import caution
from jaxelyte.errors import InputError
from jaxelyte.interop.amber_files import inpcrd_cell
from jaxelyte.interop.dcd_files import DCDHeader, read_dcd_header
from jaxelyte.interop.file_text import errors_of, unpacked, warn_of_part
from jaxelyte.interop.file_units import FileUnits
from jaxelyte.interop.loaded import Loaded, rounding_of
from jaxelyte.interop.naming import Naming, Species
from jaxelyte.interop.pdb_files import as_models, missing_end
from jaxelyte.trajectory import Trajectory
from jaxelyte.wording import counted

TIMED = ("TNG", "TRZ", "NCDF", "NC", "H5MD")
"""Formats that hold the time of each frame, in ps as MDAnalysis returns it. For others it counts 1 ps a frame."""


def read_through_mdanalysis(
    path: Path, naming: Naming, *, topology: Path | None = None, kind: str | None = None, units: FileUnits | None = None
) -> Loaded:
    """All frames of a file.

    Args:
        path: the trajectory or structure.
        naming: elements that the user names, or the atoms of a topology that is already read.
        topology: that MDAnalysis reads the atoms from; the file itself by default.
        kind: MDAnalysis' name of the format; by the suffix where it is None.
        units: of a DCD file that LAMMPS wrote.

    Raises:
        InputError: MDAnalysis is missing or cannot read the file, or its atoms are of unknown elements.

    Warns:
        UserWarning: only part of the frames could be read.
    """
    import_mdanalysis(path)  # before warnings are silenced: it sets filters of its own
    header = None
    with tempfile.TemporaryDirectory() as folder, errors_of(path, "MDAnalysis"):
        plain = _plain(path, Path(folder), kind)
        if kind == "DCD":
            header = _dcd_header(plain, path, naming)
        with _quiet():
            universe = _universe(plain, naming, topology, kind)
        species = species_of(universe.atoms, naming)
        with _quiet():
            found = _frames(universe, species, path, header.frames if header is not None else None)
    positions, velocities, cells, times, reader = found
    read = len(positions)
    expected = int(reader.n_frames) if header is None else header.frames
    if read < expected:
        warn_of_part(path, read, f"frame {read} of {expected} is damaged", more=f", {expected - read} were not")
    elif header is not None and header.cut:
        warn_of_part(path, read, "the file ends early, behind its last complete frame")
    elif kind == "PDB" and (why := missing_end(path)):
        caution(f"{path} is not whole: {why}; atoms or frames may be missing")
    if kind == "INPCRD":
        cells = [inpcrd_cell(path)]
    edges = np.array(cells)
    periodic = bool(np.any(edges))
    trajectory = Trajectory(
        positions=np.stack(positions)[:, None],
        numbers=species.numbers,
        masses=species.masses,
        cells=edges[0] if np.all(edges == edges[0]) else edges[:, None],
        pbc=(periodic, periodic, periodic),
        steps=np.arange(read),
        times=_times(reader, np.array(times) * 1e3, header, units),
        velocities=np.stack(velocities)[:, None] if len(velocities) == read else None,
    )
    return Loaded(trajectory, resolution=rounding_of(trajectory.times))


def topology_of(path: Path, naming: Naming, kind: str) -> Species:
    """Elements and masses of a file that MDAnalysis reads, which may be one without coordinates.

    Args:
        path: the file.
        naming: elements that the user names.
        kind: MDAnalysis' name of the format.

    Raises:
        InputError: see `read_through_mdanalysis`.
    """
    import_mdanalysis(path)
    with tempfile.TemporaryDirectory() as folder, errors_of(path, "MDAnalysis"):
        import MDAnalysis

        with _quiet():
            universe = MDAnalysis.Universe(str(_plain(path, Path(folder), kind)), to_guess=())
        return species_of(universe.atoms, naming)


def _dcd_header(plain: Path, path: Path, naming: Naming) -> DCDHeader:
    header = read_dcd_header(plain)
    if header.frames == 0:
        raise InputError(f"{path} holds no complete frame")
    if naming.topology is not None and naming.topology.sites != header.atoms:
        raise InputError(
            f"{path} holds {counted(header.atoms, 'atom')}, its topology {naming.topology.sites}; both must fit"
        )
    return header


def _plain(path: Path, folder: Path, kind: str | None) -> Path:
    """The file unpacked; frames of PDB files as models."""
    return as_models(path, folder) if kind == "PDB" else unpacked(path, folder)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings and the second error of readers that fail to open a file, when they are deleted, off the screen."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters of them is checked here
        try:
            yield
        except Exception as error:
            found: BaseException | None = error
            while found is not None:
                traceback.clear_frames(found.__traceback__)
                found = found.__cause__ or found.__context__
            raise
        finally:
            sys.unraisablehook = hook


def import_mdanalysis(path: Path) -> None:
    """Raise `InputError` that names the extra where MDAnalysis is missing."""
    try:
        import MDAnalysis  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"reading {path.name} needs MDAnalysis; install the extra: pip install 'jaxelyte[analysis]'"
        ) from error


def species_of(atoms: Any, naming: Naming) -> Species:
    """Elements and masses of MDAnalysis' atoms, from what the file holds; nothing is guessed by MDAnalysis.

    Raises:
        InputError: names that stand for no element or may stand for two.
    """
    if naming.topology is not None:
        return naming.of([""] * len(atoms))
    names = [str(name) for name in getattr(atoms, "names", getattr(atoms, "types", [""] * len(atoms)))]
    symbols = [str(symbol).strip() for symbol in getattr(atoms, "elements", [""] * len(atoms))]
    # A column of elements may be written in capitals; there, CA is calcium.
    labels = [symbol.capitalize() if symbol else name for symbol, name in zip(symbols, names, strict=True)]
    if any(name in naming.elements for name in names):
        labels = names
    elif "" in labels and hasattr(atoms, "types"):
        labels = [label or str(kind) for label, kind in zip(labels, atoms.types, strict=True)]
    masses = np.asarray(atoms.masses, np.float64) if hasattr(atoms, "masses") else None
    if not any(labels) and masses is None:
        raise InputError(f"{naming.source} holds coordinates without names of the atoms; give a topology that has them")
    return naming.of(
        labels,
        residues=list(atoms.resindices) if hasattr(atoms, "resnames") else None,
        residue_names=[str(name) for name in atoms.resnames] if hasattr(atoms, "resnames") else None,
        masses=masses,
    )


def _universe(path: Path, naming: Naming, topology: Path | None, kind: str | None) -> Any:
    import MDAnalysis

    options: dict[str, Any] = {"to_guess": ()}
    if kind is not None:
        options["format"] = kind
    if kind == "NCDF":
        options["mmap"] = False
    if topology is not None:
        return MDAnalysis.Universe(str(topology), str(path), **options)
    if naming.topology is not None:
        universe = MDAnalysis.Universe.empty(naming.topology.sites, trajectory=False)
        del options["to_guess"]
        universe.load_new(str(path), **options)
        return universe
    return MDAnalysis.Universe(str(path), **options)


def _frames(universe: Any, species: Species, path: Path, most: int | None) -> Any:
    """Frames up to the first that cannot be read."""
    kept = slice(None) if species.kept is None else species.kept
    reader = universe.trajectory
    positions, velocities, cells, times = [], [], [], []
    total = int(reader.n_frames) if most is None else min(most, int(reader.n_frames))
    for n in range(total):
        try:
            now = reader[n]
        except Exception as error:
            if n == 0:
                raise InputError(f"{path} holds no frame that MDAnalysis can read: {error}") from error
            break
        positions.append(np.array(now.positions[kept]))
        if now.has_velocities:
            velocities.append(np.array(now.velocities[kept]) / 1e3)
        cells.append(_cell(now, path, n))
        times.append(float(now.time))
    if not positions:
        raise InputError(f"{path} holds no frame")
    missing = [not np.any(cell) for cell in cells]
    if any(missing) and not all(missing):
        raise InputError(f"{path}: frame {missing.index(not missing[0])} differs from frame 0 in having a cell or none")
    return positions, velocities, cells, times, reader


def _cell(now: Any, path: Path, n: int) -> np.ndarray:
    lengths = now.dimensions
    if lengths is None or not np.any(lengths[:3]):
        return np.zeros((3, 3))
    cell = np.asarray(now.triclinic_dimensions, np.float64)
    if not np.all(np.isfinite(cell)) or not abs(np.linalg.det(cell)) > 1e-6:
        raise InputError(
            f"{path}: frame {n} has a cell of lengths and angles {np.asarray(lengths).tolist()}, which has no volume; "
            "pass cell= in Å"
        )
    return cell


def _times(reader: Any, times: np.ndarray, header: DCDHeader | None, units: FileUnits | None) -> np.ndarray:
    """Fs; NaN unless the format has them."""
    if header is not None:
        interval = header.interval(units)
        return np.full(len(times), np.nan) if interval is None else np.arange(len(times)) * interval
    formats = reader.format if isinstance(reader.format, (list, tuple)) else [reader.format]
    timed = any(str(name).upper() in TIMED for name in formats)
    variables = getattr(getattr(reader, "trjfile", None), "variables", None)
    if variables is not None and "time" not in variables:
        timed = False
    return times if timed and len(times) > 1 else np.full(len(times), np.nan)
