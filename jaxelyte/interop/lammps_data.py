"""LAMMPS data files: ASE reads the atoms, once their style and elements are known.

Elements come from the masses, and from labels or comments behind them; types are no elements.
"""

from __future__ import annotations

import io
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxelyte.checks import caution
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.interop.file_text import Lines, errors_of
from jaxelyte.interop.file_units import UNITS, units_named
from jaxelyte.interop.naming import Naming
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

HEADER = re.compile(r"^\s*(\d+)\s+atoms\s*(?:#.*)?$", re.MULTILINE)
BOX = re.compile(r"^\s*\S+\s+\S+\s+xlo\s+xhi|^\s*\S+\s+\S+\s+\S+\s+avec", re.MULTILINE)
TITLE_UNITS = re.compile(r"units\s*=\s*(\w+)")
SECTION = re.compile(r"^\s*([A-Z][A-Za-z]*(?:\s+[A-Z][A-Za-z]*)*)\s*(?:#\s*(.*?))?\s*$")
STYLES = ("atomic", "charge", "full", "molecular", "bond", "angle")


class Header(NamedTuple):
    """What is read before ASE reads the rest.

    Attributes:
        atoms: their number.
        units: LAMMPS' style as the title states it, or None.
        style: of the atoms, or None.
        masses: by type.
        names: by type, from labels or the comments behind masses.
        rows: of the section Atoms, as words.
        velocities: whether there is a section of them.
    """

    atoms: int
    units: str | None
    style: str | None
    masses: dict[str, float]
    names: dict[str, str]
    rows: list[list[str]]
    velocities: bool


def looks_like_data(head: str) -> bool:
    """Whether a text starts as a data file of LAMMPS does."""
    return bool(HEADER.search(head)) and bool(BOX.search(head))


def read_data(path: Path, naming: Naming, *, units: str | None = None) -> Atoms:
    """The structure, atoms in the order of their ids, periodic, at the positions that image flags give.

    Args:
        path: the file.
        naming: elements of the types.
        units: LAMMPS' style; by default that of the title (``write_data`` states it), and lengths in Å.

    Raises:
        InputError: a damaged file, types of unknown elements, a style that is not stated and leaves a doubt.
        UnsupportedError: styles of atoms other than atomic, charge, molecular and full; reduced units.

    Warns:
        UserWarning: velocities whose units are not known, which are left out.
    """
    from ase.units import fs

    header = _header(path)
    own = None if header.units is None else units_named(header.units, styles=True, what=str(path))
    given = units_named(units, styles=True, what=str(path))
    if own is not None and given is not None and own != given:
        raise InputError(f"{path} states units {header.units}, but units={units!r} was given; leave units= out")
    known = own or given
    style = _style(path, header)
    column = 2 if style in ("full", "molecular", "bond", "angle") else 1
    rows = sorted(header.rows, key=lambda row: int(row[0]))
    if any(a[0] == b[0] for a, b in pairwise(rows)):
        raise InputError(f"{path}: two atoms have the same id")
    kinds = [row[column] for row in rows]
    mass_factor = (known or UNITS["real"]).mass or 1.0
    species = naming.of(_labels(kinds, header, naming, path), masses=_masses(kinds, header, mass_factor))
    with errors_of(path, "ASE"):
        atoms = _through_ase(path, style, header)
    if known is not None:
        atoms.set_cell(atoms.cell.array * known.length)
        atoms.positions *= known.length
    if not np.all(np.isfinite(atoms.positions)) or len(atoms) != species.sites:
        raise InputError(f"{path}: positions are not finite, or atoms are missing")
    if species.kept is not None:
        atoms = atoms[species.kept]
    atoms.numbers[:] = species.numbers
    velocities = atoms.get_velocities() * fs / 1e-3 if header.velocities else None
    atoms.set_masses(species.masses)  # pyright: ignore[reportArgumentType]
    if velocities is not None:
        _set_velocities(atoms, velocities, None if known is None else known.velocity, path)
    return atoms


def _header(path: Path) -> Header:
    with errors_of(path), Lines(path) as lines:
        title = lines.next()
        units = TITLE_UNITS.search(title)
        count, style, section = None, None, ""
        masses: dict[str, float] = {}
        names: dict[str, str] = {}
        rows: list[list[str]] = []
        velocities = False
        while line := lines.next_filled():
            text, _, comment = line.partition("#")
            words = text.split()
            found = SECTION.match(line)
            if found is not None and not words[0][0].isdigit():
                section = " ".join(found.group(1).split())
                if section == "Atoms":
                    style = (found.group(2) or "").strip() or None
                velocities |= section == "Velocities"
            elif not section:
                number = HEADER.match(line)
                count = int(number.group(1)) if number else count
            elif section == "Masses" and len(words) >= 2:
                masses[words[0]] = float(words[1])
                if comment.split():
                    names[words[0]] = comment.split()[0]
            elif section == "Atom Type Labels" and len(words) == 2:
                names[words[0]] = words[1]
            elif section == "Atoms" and words:
                rows.append(words)
        if lines.cut:
            raise InputError(f"{path} is damaged: {lines.cut}")
    if count is None or len(rows) != count:
        raise InputError(f"{path} should hold {count} atoms, but its section Atoms has {counted(len(rows), 'row')}")
    return Header(count, units.group(1) if units else None, style, masses, names, rows, velocities)


def _style(path: Path, header: Header) -> str:
    """The style of the atoms, from the comment behind ``Atoms``; from the columns where those leave no doubt."""
    if header.style is not None:
        if header.style not in STYLES:
            raise UnsupportedError(
                f"{path} holds atoms of style {header.style!r}; of LAMMPS' styles {', '.join(STYLES)} can be read"
            )
        return header.style
    row = header.rows[0]
    flags = len(row) >= 8 and all(_whole(word) for one in header.rows for word in one[-3:])
    columns = len(row) - (3 if flags else 0)
    second, third = ([one[k] for one in header.rows] for k in (1, 2))
    if columns == 5:
        return "atomic"
    if columns == 7 and all(map(_whole, third)):
        return "full"
    # id type charge x y z, or id molecule type x y z: types are whole and positive, molecules may be 0.
    if columns == 6:
        charges = any(not _whole(word) or int(word) <= 0 for word in third)
        molecules = any(not _whole(word) or int(word) <= 0 for word in second)
        if charges != molecules:
            return "charge" if charges else "molecular"
    raise InputError(
        f"the section Atoms of {path} does not state its style, and rows such as {' '.join(row)!r} leave a doubt; "
        "write it behind, such as Atoms # full"
    )


def _whole(word: str) -> bool:
    return word.lstrip("-+").isdigit()


def _labels(kinds: list[str], header: Header, naming: Naming, path: Path) -> list[str]:
    """Types as the user names them, or their labels; types whose mass is known keep their number."""
    if naming.topology is not None or any(kind in naming.elements for kind in kinds):
        return kinds
    if header.masses and len(set(header.masses.values())) == 1 and set(header.masses.values()) == {1.0}:
        raise InputError(f"all masses of {path} are 1, as in reduced units; name the elements: elements={{1: '…'}}")
    # A comment may be any text: it names the type only where its first word can be an element's name.
    return [header.names.get(kind, kind) for kind in kinds]


def _masses(kinds: list[str], header: Header, factor: float) -> np.ndarray | None:
    if not header.masses:
        return None
    by_label = {name: header.masses[kind] for kind, name in header.names.items() if kind in header.masses}
    return np.array([header.masses.get(kind, by_label.get(kind, np.nan)) * factor for kind in kinds])


def _through_ase(path: Path, style: str, header: Header) -> Atoms:
    """Positions, cell, ids, charges and velocities in the units of the file."""
    from ase.io import read

    with Lines(path) as lines:
        text = "".join(iter(lines.next, ""))
    types = {kind for row in header.rows for kind in row if kind.isdigit()}
    atoms = read(
        io.StringIO(text),
        format="lammps-data",
        atom_style=style,
        units="metal",
        Z_of_type={int(kind): 1 for kind in types},
        sort_by_id=True,
    )
    assert not isinstance(atoms, list)
    return atoms


def _set_velocities(atoms: Atoms, velocities: np.ndarray, factor: float | None, path: Path) -> None:
    """Replace ASE's momenta, made of velocities taken for Å/ps, by those of velocities in the units of the file."""
    from ase.units import fs

    if factor is None:
        caution(
            f"{path} does not state its units, so that its velocities are left out; pass units='real' (Å/fs) or "
            "units='metal' (Å/ps) to read them"
        )
        del atoms.arrays["momenta"]
    else:
        atoms.set_velocities(velocities * factor / fs)
