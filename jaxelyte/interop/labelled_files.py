"""Labelled frames in formats that ASE does not read: nequip's npz, and CP2K's separate files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.arrays import read_arrays
from jaxelyte.checks import caution, file_path, shown
from jaxelyte.errors import InputError
from jaxelyte.interop.cp2k import read_blocks, read_cells, tell, to_atoms
from jaxelyte.interop.cp2k_steps import Match, keep_last, match_steps
from jaxelyte.interop.file_units import as_cell
from jaxelyte.units import BOHR, HARTREE, KCAL_PER_MOL, KJ_PER_MOL
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import ArrayLike

DENSE, MOLECULES = 0.055, 8
"""Atoms per Å³ in the box around them, and separate molecules: frames of more look like a liquid whose cell is missing.

Water has 0.1 atoms per Å³, and the box around a droplet of it about half as many."""

NAMES = {
    "positions": ("R", "pos", "positions", "coords"),
    "numbers": ("z", "Z", "atomic_numbers", "numbers", "nuclear_charges"),
    "energy": ("E", "energy", "energies", "total_energy"),
    "forces": ("F", "forces", "force"),
    "cell": ("cell", "lattice", "cells"),
    "pbc": ("pbc",),
    "stress": ("stress",),
}
"""Keys of npz files, as nequip, sGDML and the sets that they read use them."""

FIXED = ("numbers", "cell", "pbc")
"""What may be given once for all frames."""

ENERGY_UNITS = {"ev": 1.0, "kcal/mol": KCAL_PER_MOL, "kj/mol": KJ_PER_MOL, "hartree": HARTREE, "ha": HARTREE}
LENGTH_UNITS = {"ang": 1.0, "angstrom": 1.0, "a": 1.0, "å": 1.0, "bohr": BOHR, "nm": 10.0}


def read_npz(path: str | Path) -> list[Atoms]:
    """Frames of one composition from the arrays of an npz file; never unpickles.

    R (frames, atoms, 3) in Å, z (atoms,) or by frame, E (frames,) in eV, F in eV/Å, cell (3, 3) or by frame, also
    in Å, and pbc; all but R and z may be missing. Units are those of sGDML's ``e_unit`` and ``r_unit`` where the file
    has them, and cannot be known otherwise: many published files hold kcal/mol.

    Raises:
        InputError: arrays that are missing, are no numbers or do not fit each other; a unit that is not known.
    """
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    stored = read_arrays(path)
    found = {kind: _one_of(stored, kind, names, path) for kind, names in NAMES.items()}
    positions, numbers = found["positions"], found["numbers"]
    if positions is None or numbers is None or positions.ndim != 3 or positions.shape[2] != 3:
        raise InputError(
            f"{path} needs R (frames, atoms, 3) and z; it holds {', '.join(sorted(stored)) or 'nothing'}"
            + ("" if positions is None else f", and its positions have the shape {positions.shape}")
        )
    _convert(found, stored, path)
    frames, atoms = positions.shape[:2]
    if 0 in (frames, atoms):
        raise InputError(f"{path} holds {counted(frames, 'frame')} of {counted(atoms, 'atom')}")
    shapes = {"positions": (atoms, 3), "numbers": (atoms,), "energy": (), "forces": (atoms, 3)}
    shapes |= {"cell": (3, 3), "pbc": (3,), "stress": (3, 3)}
    every = {kind: _per_frame(found[kind], frames, shape, kind, path) for kind, shape in shapes.items()}
    out = []
    for n in range(frames):
        one = {kind: None if values is None else values[n] for kind, values in every.items()}
        pbc = one["cell"] is not None if one["pbc"] is None else one["pbc"].astype(bool)
        frame = Atoms(numbers=one["numbers"], positions=one["positions"], cell=one["cell"], pbc=pbc)
        results = {kind: one[kind] for kind in ("energy", "forces", "stress") if one[kind] is not None}
        if one["energy"] is not None:
            results["energy"] = float(one["energy"])
        frame.calc = SinglePointCalculator(frame, **results)
        out.append(frame)
    return out


def _one_of(stored: dict[str, np.ndarray], kind: str, names: tuple[str, ...], path: Path) -> np.ndarray | None:
    """The array of a kind, as numbers; an error where several names hold different ones."""
    there = [name for name in names if name in stored]
    if not there:
        similar = [name for name in stored if kind in ("energy", "forces") and kind[:5] in name.lower()]
        if similar:
            caution(f"{path}: {', '.join(similar)} not read; the names of {kind} are {', '.join(names)}")
        return None
    values = stored[there[0]]
    if any(not np.array_equal(values, stored[other]) for other in there[1:]):
        raise InputError(f"{path} holds {' and '.join(there)}, which differ; keep one of them")
    if values.dtype.kind not in "iufb":
        raise InputError(f"{there[0]} of {path} holds {values.dtype}, not numbers")
    if kind == "numbers" and (np.any(values != np.round(values)) or np.any(values < 1) or np.any(values > 118)):
        raise InputError(f"{there[0]} of {path} must hold atomic numbers from 1 to 118, one for each atom")
    return values.astype(np.int64) if kind == "numbers" else values


def _convert(found: dict[str, np.ndarray | None], stored: dict[str, np.ndarray], path: Path) -> None:
    """To eV and Å, where the file names its units as sGDML does."""
    factors = []
    for key, units in (("e_unit", ENERGY_UNITS), ("r_unit", LENGTH_UNITS)):
        unit = str(stored[key]).strip() if key in stored else ""
        if unit and unit.lower() not in units:
            raise InputError(f"{path}: {key} = {unit!r} is not known (one of {', '.join(units)}); convert to eV and Å")
        factors.append(units.get(unit.lower(), 1.0))
    energy, length = factors
    scales = {"positions": length, "cell": length, "energy": energy, "forces": energy / length}
    for kind, scale in scales.items():
        values = found[kind]
        found[kind] = values if values is None or scale == 1.0 else values * scale


def _per_frame(
    values: np.ndarray | None, frames: int, shape: tuple[int, ...], kind: str, path: Path
) -> np.ndarray | None:
    if values is None:
        return None
    if values.shape == (frames, 1) and shape == ():
        values = values[:, 0]
    if kind in ("positions", "cell") and not np.all(np.isfinite(values)):
        raise InputError(f"{kind} of {path} hold values that are not finite")
    if values.shape == (frames, *shape):
        return values
    if values.shape == shape and (kind in FIXED or frames == 1):
        return np.broadcast_to(values, (frames, *shape))
    allowed = f"{shape} or {(frames, *shape)}" if kind in FIXED else f"{(frames, *shape)}"
    raise InputError(f"{kind} of {path} has shape {values.shape}; {allowed} is needed")


def read_cp2k(
    positions: str | Path,
    forces: str | Path | None = None,
    *,
    cell: str | Path | ArrayLike | None = None,
    kinds: Mapping[str, str] | None = None,
    index: str | int = ":",
) -> list[Atoms]:
    """Frames from CP2K's separate trajectory files, converted to eV and eV/Å.

    ``*-pos-1.xyz`` holds positions in Å and energies in Hartree in its comment lines, ``*-frc-1.xyz`` forces in
    Hartree/Bohr, ``*-1.cell`` cells in Å. These are CP2K's default units; the files do not name them.

    Steps that all files contain are read, each once: a restart overwrites earlier copies. Positions and forces of a
    step are matched by the time and energy in their comments. A warning lists what is left out.

    Args:
        positions: the xyz file of positions.
        forces: the xyz file of forces.
        cell: the cell file, or a fixed cell in Å: 3 lengths, also with 3 angles, or 3 x 3; no periodicity without.
        kinds: elements of kinds whose names are not chemical symbols, such as ``{"Ow": "O"}``; names like Ow, H2 and
            Na1 are recognised.
        index: which frames, in ASE's notation.

    Returns:
        Frames with the number of the step and the time in fs in ``info``.

    Raises:
        InputError: files that are missing, hold no common step or different atoms; a kind of unknown element.
    """
    path = file_path("positions", positions)
    check_name(path, "positions", "pos")
    fixed = None if cell is None or isinstance(cell, str | Path) else as_cell(cell)
    blocks, damage = read_blocks(path)
    kept, repeats = keep_last(blocks)
    tell(path, damage + repeats)
    pulls = cells = None
    if forces is not None:
        other = file_path("forces", forces)
        check_name(other, "forces", "frc")
        if other.resolve() == path.resolve():
            raise InputError(f"{path} is given as the file of positions and as that of forces")
        pulls, damage = read_blocks(other)
        tell(forces, damage)
    if isinstance(cell, str | Path):
        cells, damage = read_cells(Path(cell))
        tell(cell, damage)
    matches, left = match_steps(kept, blocks, pulls, cells)
    names = (positions, forces, None if cells is None else cell)
    tell(" and ".join(str(name) for name in names if name is not None), left)
    frames = [_labelled(match, kinds, fixed) for match in matches]
    if cell is None:
        _warn_if_dense(frames[0], path)
    return select(frames, index, path)


def check_name(path: Path, what: str, expected: str) -> None:
    """CP2K's names say what a file holds: ``PROJECT-pos-1.xyz``.

    Raises:
        InputError: the name stands for something else than ``expected`` (pos, frc or vel).
    """
    found = re.search(r"-(pos|frc|vel)-\d+\.xyz", path.name)
    if found is not None and found[1] != expected:
        kind = {"pos": "positions", "frc": "forces", "vel": "velocities"}[found[1]]
        raise InputError(f"{path} is given as the file of {what}, but by its name it holds {kind}")


def _labelled(match: Match, kinds: Mapping[str, str] | None, fixed: np.ndarray | None) -> Atoms:
    """A frame with its cell, and the energy and forces that it has."""
    from ase.calculators.singlepoint import SinglePointCalculator

    frame = to_atoms(match.positions, kinds)
    cell = fixed if match.cell is None else match.cell
    if cell is not None:
        frame.set_cell(cell)
        frame.pbc = True
    results = {} if frame.calc is None else dict(frame.calc.results)
    if match.forces is not None:
        results["forces"] = match.forces.values * (HARTREE / BOHR)
    frame.calc = SinglePointCalculator(frame, **results)
    return frame


def _warn_if_dense(frame: Atoms, path: Path) -> None:
    """A warning where molecules fill a box about as liquids do, whose cell CP2K keeps in another file."""
    from scipy.sparse.csgraph import connected_components

    extent = np.ptp(frame.positions, axis=0)
    density = len(frame) / float(np.prod(extent + 1.0))
    if density < DENSE or len(frame) < MOLECULES:
        return
    bonded = _bonded(frame) if len(frame) <= 3000 else np.eye(len(frame), dtype=bool)
    if connected_components(bonded, directed=False)[0] >= MOLECULES:
        caution(
            f"{path}: without a cell its {len(frame)} atoms are not periodic, yet they fill {extent[0]:.1f} x "
            f"{extent[1]:.1f} x {extent[2]:.1f} Å as densely as a liquid; give cell= (lengths in Å or the .cell file)"
        )


def _bonded(frame: Atoms) -> np.ndarray:
    """Pairs of atoms that are about as close as their covalent radii say."""
    from ase.data import covalent_radii
    from scipy.spatial.distance import cdist

    radii = covalent_radii[frame.numbers]
    return cdist(frame.positions, frame.positions) < 1.15 * (radii[:, None] + radii)


def select(frames: list[Atoms], index: str | int, path: Path) -> list[Atoms]:
    """Frames by ASE's notation: ":" all, -1 the last, "::10" every tenth.

    Raises:
        InputError: the index is malformed, or the file has no such frame.
    """
    try:
        chosen = frames_of(index)
        out = frames[chosen] if isinstance(chosen, slice) else [frames[int(chosen)]]
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(f"index = {index!r} fits none of the {counted(len(frames), 'frame')} of {path}") from error
    if not out:
        raise InputError(f"{path} holds {counted(len(frames), 'frame')} and none at {index!r}")
    return out


def frames_of(index: Any) -> int | slice:
    """Which frames, from a number, a slice or ASE's notation.

    Raises:
        InputError: anything else.
    """
    from ase.io.formats import string2index  # pyright: ignore[reportPrivateImportUsage]

    if isinstance(index, str):
        try:
            return string2index(index)  # pyright: ignore[reportReturnType]
        except ValueError as error:
            raise InputError(f"index = {shown(index)} is not ASE's notation, such as ':', '-1' or '::10'") from error
    if isinstance(index, slice) or (isinstance(index, int) and not isinstance(index, bool)):
        return index
    if isinstance(index, np.integer):
        return int(index)
    raise InputError(f"index = {shown(index)} must be an integer, a slice or ASE's notation, such as '::10'")
