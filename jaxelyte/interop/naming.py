"""Elements and masses of the atoms of a file, from what it calls them; what leaves a doubt is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxelyte.checks import caution, mapping, near_symbol, shown
from jaxelyte.errors import InputError
from jaxelyte.interop.kinds import HYDROGEN_ISOTOPES, element_of
from jaxelyte.wording import counted

SITES = ("MW", "EPW", "EP", "EP1", "EP2", "LP", "LP1", "LP2", "X")
"""Names of sites without mass, such as the fourth one of TIP4P water."""

SITES_OF_WATER = (*SITES, "M", "OM", "IW", "MW1")
WATERS = ("SOL", "WAT", "HOH", "H2O", "TIP", "TIP3", "TIP4", "TP3", "TP4", "T3P", "T4P", "SPC", "TIP3P", "TIP4P")

IONS = {
    "NA": "Na", "SOD": "Na", "CL": "Cl", "CLA": "Cl", "K": "K", "POT": "K", "LI": "Li", "LIT": "Li", "CS": "Cs",
    "CES": "Cs", "RB": "Rb", "RUB": "Rb", "CA": "Ca", "CAL": "Ca", "CA2": "Ca", "MG": "Mg", "MG2": "Mg", "ZN": "Zn",
    "ZN2": "Zn", "BR": "Br", "BROM": "Br", "I": "I", "IOD": "I", "F": "F", "BA": "Ba", "BAR": "Ba", "SR": "Sr",
    "CD": "Cd", "CD2": "Cd", "CO": "Co", "NI": "Ni", "CU": "Cu", "AG": "Ag", "TL": "Tl",
}  # fmt: skip
"""Elements of residues of one atom, by the letters and digits of their names in capitals."""

TOLERANCE = 0.065
"""g/mol between a mass of a force field and that of the element."""

UNITED = (14.027, 16.043)
"""g/mol, CH2 and CH4 as one site, which are within `TOLERANCE` of nitrogen and oxygen."""

LEFT_OUT = ("", "X", "NONE")


class Species(NamedTuple):
    """What the atoms of a file are.

    Attributes:
        numbers: (atoms,), of those that are kept.
        masses: (atoms,), g/mol.
        kept: (sites of the file,), False for sites without mass that are left out; None where all are kept.
    """

    numbers: np.ndarray
    masses: np.ndarray
    kept: np.ndarray | None = None

    @property
    def sites(self) -> int:
        """Atoms and other sites in the file."""
        return len(self.numbers) if self.kept is None else len(self.kept)


class Naming:
    """Elements by name or LAMMPS type, as given by the user, or the atoms of a topology; and the rules for the rest.

    Args:
        elements: chemical symbols by name or type, ``{1: "Na", 2: "Cl"}``; "X" leaves a site out.
        topology: what the atoms are, in the order of the file; then its own names do not count.
        source: the file, for messages.

    Raises:
        InputError: elements that are no mapping or no symbols.
    """

    def __init__(self, elements: Any = None, topology: Species | None = None, *, source: str = "the file") -> None:
        self.topology, self.source = topology, source
        given = {} if elements is None else mapping("elements", elements, "{1: 'Na', 2: 'Cl'}")
        self.elements = {str(key).strip(): _symbol(key, value) for key, value in given.items()}
        if topology is not None and self.elements:
            raise InputError("give either elements= or topology=: the topology names the elements already")
        self._last: tuple[Any, Species] | None = None

    def of(
        self,
        labels: Sequence[str],
        *,
        residues: Sequence[Any] | None = None,
        residue_names: Sequence[str] | None = None,
        masses: np.ndarray | None = None,
    ) -> Species:
        """Elements and masses of the atoms with these names.

        Args:
            labels: names, symbols or types, one for each site.
            residues: numbers of the residues of a force field, if there are any.
            residue_names: their names.
            masses: g/mol where the file has them, zero for sites without; NaN where unknown.

        Raises:
            InputError: names that stand for no element or may stand for two; elements that no atom has.
        """
        if self.topology is not None:
            if len(labels) != self.topology.sites:
                raise InputError(
                    f"{self.source} holds {counted(len(labels), 'atom')}, its topology {self.topology.sites}; both "
                    "must fit"
                )
            return self.topology
        labels = list(labels)
        if self._last is not None and self._last[0] == labels:
            return self._last[1]
        # What a name stands for can depend on its residue and mass: each combination is judged once.
        alone = _alone(len(labels), residues)
        waters = [_letters(name) in WATERS for name in residue_names] if residue_names is not None else None
        keys = list(
            zip(
                labels,
                alone if alone is not None else [False] * len(labels),
                waters if waters is not None else [False] * len(labels),
                [None] * len(labels) if masses is None else [None if np.isnan(m) else float(m) for m in masses],
                strict=True,
            )
        )
        swapped = masses is not None and _repartitioned(labels, masses)
        found: dict[Any, tuple[int, float | None] | None] = {}
        unknown: dict[str, str] = {}
        for key in dict.fromkeys(keys):
            try:
                found[key] = self._one(*key, by_mass=not swapped)
            except InputError as error:
                unknown[key[0]] = str(error)
        self._refuse(labels, unknown)
        kept = np.array([found[key] is not None for key in keys])
        self._tell_of_sites([label for label, keep in zip(labels, kept, strict=True) if not keep])
        species = _species([found[key] for key in keys], kept)
        self._last = (labels, species)
        return species

    def _one(
        self, label: str, alone: bool, water: bool, mass: float | None, *, by_mass: bool
    ) -> tuple[int, float | None] | None:
        """Number and mass, None for the standard one, of one site; None for one that is left out."""
        from ase.data import atomic_numbers

        if label in self.elements:
            symbol = self.elements[label]
            if symbol is None:
                return None
            return (
                (1, mass or HYDROGEN_ISOTOPES[symbol])
                if symbol in HYDROGEN_ISOTOPES
                else (atomic_numbers[symbol], mass)
            )
        name = label.strip()
        if mass == 0.0 or (mass is None and name.upper() in (SITES_OF_WATER if water else SITES)):
            return None
        if mass is not None and by_mass:
            number = _by_mass(name, mass)
            if number is not None:
                return number, mass
        if alone and _letters(name) in IONS:
            return atomic_numbers[IONS[_letters(name)]], mass
        if name.lstrip("+-").isdigit():
            raise InputError("a number is not an element")
        one = element_of(name.lstrip("0123456789") or name)
        return one.number, mass if mass is not None else one.mass

    def _refuse(self, labels: list[str], unknown: dict[str, str]) -> None:
        if self.elements and not any(key in set(labels) for key in self.elements):
            # A map of all types of a simulation may be larger than the part of it that a file holds.
            there, given = ", ".join(sorted(set(labels))[:20]), ", ".join(self.elements)
            raise InputError(f"elements names {given}, none of which {self.source} holds; it holds {there}")
        if not unknown:
            return
        counts = Counter(labels)
        names = ", ".join(f"{name!r} ({counted(counts[name], 'atom')})" for name in list(unknown)[:12])
        example = ", ".join(f"{name if name.isdigit() else repr(name)}: '…'" for name in list(unknown)[:4])
        if all(name.isdigit() for name in unknown):
            why = "types of LAMMPS are no elements"
        else:
            why = "they may stand for several elements, or for none"
        raise InputError(
            f"the elements of the atoms named {names} in {self.source} are not known: {why}; name them by "
            f"elements={{{example}}} (X leaves a site without mass out), or give a topology"
        )

    def _tell_of_sites(self, names: list[str]) -> None:
        """Warn of sites that are left out, unless the user asked for it."""
        counts = Counter(name for name in names if name not in self.elements)
        if counts:
            listed = ", ".join(f"{count} {name}" for name, count in counts.items())
            caution(
                f"{self.source}: {listed}: massless sites, which are not atoms, are left out; the other atoms keep "
                f"their order (elements={{'{next(iter(counts))}': 'X'}} does the same without this warning)"
            )


def _symbol(key: Any, value: Any) -> str | None:
    from ase.data import atomic_numbers

    text = "" if value is None else str(value).strip()
    if text.upper() in LEFT_OUT:
        return None
    if not isinstance(value, str) or (text not in atomic_numbers and text not in HYDROGEN_ISOTOPES):
        raise InputError(
            f"elements: {key!r} is given as {shown(value)}, which is not a chemical symbol{near_symbol(value)}"
        )
    return text


def _letters(name: str) -> str:
    """A name in capitals without charges: NA+ and Na1+ become NA and NA1."""
    return "".join(c for c in str(name).upper() if c.isalnum())


def _alone(count: int, residues: Sequence[Any] | None) -> list[bool] | None:
    """Which atoms are the only one of their residue."""
    if residues is None or len(residues) != count:
        return None
    counts = Counter(residues)
    return [counts[residue] == 1 for residue in residues]


def _repartitioned(labels: list[str], masses: np.ndarray) -> bool:
    """Whether hydrogens carry mass of their neighbours, so that masses do not tell the elements."""
    light = (masses > 1.2) & (masses < 4.5) & (np.abs(masses - HYDROGEN_ISOTOPES["D"]) > 0.02)
    return any(label.lstrip("0123456789").upper().startswith("H") for label in np.asarray(labels, object)[light])


def _by_mass(name: str, mass: float) -> int | None:
    """The element with a mass; None where there is none, or several that the name does not decide between."""
    from ase.data import atomic_masses, chemical_symbols

    if abs(mass - HYDROGEN_ISOTOPES["D"]) < 0.02 or abs(mass - HYDROGEN_ISOTOPES["T"]) < 0.01:
        return 1
    if min(abs(mass - united) for united in UNITED) < 0.012:
        return None
    near = [int(z) for z in np.flatnonzero(np.abs(atomic_masses[1:95] - mass) < TOLERANCE) + 1]
    named = [z for z in near if name.upper().startswith(chemical_symbols[z].upper())]
    return near[0] if len(near) == 1 else named[0] if len(named) == 1 else None


def _species(found: list[tuple[int, float | None] | None], kept: np.ndarray) -> Species:
    from ase.data import atomic_masses

    present = [one for one in found if one is not None]
    if not present:
        raise InputError("the file holds no atoms, only sites without mass")
    numbers = np.array([number for number, _ in present], np.int32)
    masses = np.array([atomic_masses[number] if mass is None else mass for number, mass in present])
    return Species(numbers, masses, None if np.all(kept) else kept)
