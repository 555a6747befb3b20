"""Elements of the names that other programs give to atoms."""

from __future__ import annotations

import pytest
from ase.data import chemical_symbols

from jaxelyte.errors import InputError
from jaxelyte.interop.kinds import element_of


@pytest.mark.parametrize(
    ("symbol", "names"),
    [
        ("O", "O o Ow OW O1 O_w OW1 Oh"),
        ("H", "H Hw HW HW1 H2 h1 D T D1"),
        ("Na", "Na na NA Na1 Na+ NaA"),
        ("Cl", "Cl cl CL Cl_a Cl- Cl1"),
        ("Li", "Li LI Li1"),
        ("K", "K K1 K+"),
        ("Ca", "Ca Ca1 Ca2+"),
        ("Cs", "Cs Cs+"),
        ("C", "C C1 Cc"),
        ("Zn", "Zn ZN Zn2"),
        ("I", "I I-"),
    ],
)
def test_names_that_leave_no_doubt(symbol: str, names: str) -> None:
    for name in names.split():
        assert chemical_symbols[element_of(name).number] == symbol, name


def test_every_symbol_is_its_element() -> None:
    for number, symbol in enumerate(chemical_symbols[1:95], 1):
        assert element_of(symbol) == (number, None)


def test_isotopes_keep_their_mass() -> None:
    assert element_of("D") == (1, pytest.approx(2.01410178))
    assert element_of("T1") == (1, pytest.approx(3.01604928))
    assert element_of("H").mass is None


@pytest.mark.parametrize(
    ("name", "message"), [("CA", "Ca or C"), ("HO", "Ho or H"), ("Co1", "Co or C"), ("CO", "Co or C")]
)
def test_names_of_two_elements_are_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' may be {message}; name its element"):
        element_of(name)
    assert element_of(name, {name: "Li"}).number == 3


@pytest.mark.parametrize("name", ["X", "M", "MW", "Wat", "SOD", "8", "", "*"])
def test_names_of_no_element_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="is not a chemical element; name its element: kinds="):
        element_of(name)
    with pytest.raises(InputError, match="'water', which is not a chemical symbol"):
        element_of(name, {name: "water"})
