"""Chemical elements of the names that other programs give to atoms: ``Ow``, ``H2``, ``Na1``, ``D``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from jaxelyte.checks import near_symbol
from jaxelyte.errors import InputError

HYDROGEN_ISOTOPES = {"D": 2.01410177812, "T": 3.01604928199}
"""Masses in g/mol (AME 2016)."""

ONE_LETTER = ("H", "B", "C", "N", "O", "F", "P", "S", "K", "I")
"""Elements that may be followed by a letter of the force field's own, as in Ow or HB."""

SITES = ("Co", "Ho", "Hs", "Os", "No", "Nh", "Hf", "Cf", "Cm", "Po", "Pa", "Np", "Og")
"""Symbols of rare elements that, with a suffix, are more likely sites such as a carbonyl's carbon (Co1)."""

COMMON_IONS = ("NA", "CL")
"""Symbols in capitals that are taken for the ion, although N and C are elements, too."""

HEAVIEST = 94
"""Plutonium; heavier ones are taken for other names."""

_PARTS = re.compile(r"([A-Za-z]+)(.*)", re.DOTALL)


class Element(NamedTuple):
    """What a name stands for: the atomic number, and the mass in g/mol where it is not that of the natural mixture."""

    number: int
    mass: float | None = None


def element_of(name: str, kinds: Mapping[str, str] | None = None) -> Element:
    """The element that a name of an atom stands for.

    A chemical symbol is that element, in any case that leaves no doubt (Na, na, NA); D and T are isotopes of hydrogen.
    Numbers, signs and letters behind a symbol are left out: Na1, Cl_a, Na+, Ow, HW2.

    Args:
        name: what a file calls the atom.
        kinds: elements by name, which decide before any rule: ``{"Ow": "O", "M": "Li"}``.

    Raises:
        InputError: a name that stands for no element or for one of two, with the remedy.
    """
    if kinds is not None and name in kinds:
        symbol = str(kinds[name])
        found = _exact(symbol)
        if found is None:
            raise InputError(
                f"kinds: {name!r} is given as {symbol!r}, which is not a chemical symbol{near_symbol(symbol)}"
            )
        return found
    exact = _exact(name)
    if exact is not None and exact.number <= HEAVIEST:
        return exact
    candidates = _candidates(name)
    if len(candidates) == 1:
        return _known(candidates[0])
    if candidates:
        raise InputError(
            f"the kind {name!r} may be {' or '.join(candidates)}; name its element: kinds={{{name!r}: '…'}}"
        )
    raise InputError(f"the kind {name!r} is not a chemical element; name its element: kinds={{{name!r}: '…'}}")


def elements_of(names: Iterable[str], kinds: Mapping[str, str] | None = None) -> dict[str, Element]:
    """`element_of` each of the different names.

    Raises:
        InputError: see `element_of`; or ``kinds`` is not a mapping of names to symbols.
    """
    if kinds is not None and not isinstance(kinds, Mapping):
        raise InputError(f"kinds = {kinds!r} must map names of atoms to chemical symbols, such as {{'Ow': 'O'}}")
    for name in kinds or ():
        if not isinstance(name, str):
            raise InputError(
                f"kinds = {kinds!r} must map names of atoms to chemical symbols, and {name!r} is not a name"
            )
        element_of(name, kinds)
    return {name: element_of(name, kinds) for name in dict.fromkeys(names)}


def _exact(name: str) -> Element | None:
    from ase.data import atomic_numbers

    if name in HYDROGEN_ISOTOPES:
        return Element(1, HYDROGEN_ISOTOPES[name])
    number = atomic_numbers.get(name, 0)
    return Element(number) if number else None


def _known(symbol: str) -> Element:
    found = _exact(symbol)
    assert found is not None
    return found


def _candidates(name: str) -> tuple[str, ...]:
    """Symbols that a name which is no symbol itself may stand for."""
    parts = _PARTS.fullmatch(name)
    if parts is None:
        return ()
    letters, rest = parts.groups()
    first = letters[0].upper()
    # "NaA" is sodium A, "OH" an oxygen: a capital behind a small letter begins the suffix.
    written = letters if len(letters) < 3 or not letters[1].islower() or letters[2].islower() else letters[:2]
    if len(written) > 2:
        return ()
    as_element = written.capitalize()
    found = _exact(as_element)
    one_letter = first in ONE_LETTER or first in HYDROGEN_ISOTOPES
    if len(written) == 1:
        return (first,) if found is not None else ()
    if found is None:
        return (first,) if one_letter else ()
    suffixed = bool(rest) or written != letters
    proper = written == as_element
    doubtful = found.number > HEAVIEST or (as_element in SITES and suffixed)
    if not proper:
        doubtful |= first in "HCNOPS" and written.upper() not in COMMON_IONS
    return (as_element, first) if doubtful and one_letter else (as_element,)
