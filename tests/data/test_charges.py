"""Charges of a baseline against the frames: a forgotten ion is refused, a species too many is told."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.data.charges import check_charges


def box(formula: str, *, pbc: bool = True) -> Atoms:
    return Atoms(formula, [(1.5 * n, 0.0, 0.0) for n in range(len(Atoms(formula)))], cell=[12.0] * 3, pbc=pbc)


def coulomb(**charges: float) -> jxl.ScreenedCoulomb:
    return jxl.ScreenedCoulomb(charges, permittivity=78.3)


def test_neutral_frames_pass_and_species_without_a_charge_count_nothing() -> None:
    frames = [box("NaClH2O"), box("Na2Cl2"), box("H2O"), box("Na", pbc=False)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_charges(frames, coulomb(Na=0.75, Cl=-0.75))
        check_charges(frames, jxl.LennardJones({"Na": 2.0}, {"Na": 0.1}))


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: 2.0 * x, lambda x: coulomb(Na=0, Cl=0) + x])
def test_net_charges_are_counted_wherever_the_term_stands(wrap: Callable[[Any], Any]) -> None:
    frames = [box("NaCl"), box("Na2Cl"), box("Cl2Na"), box("H2O")]
    with pytest.raises(jxl.InputError, match=r"2 of 4 .* frame 1 \(ClNa2: \+1 e\).*info\['charge'\] = 1"):
        check_charges(frames, wrap(coulomb(Na=1, Cl=-1)))
    with pytest.raises(jxl.InputError, match=r"3 of 4 .* charges of all ions"):
        check_charges(frames, wrap(coulomb(Na=1)))
    frames[1].info["charge"], frames[2].info["charge"] = 1, -1
    check_charges(frames, wrap(coulomb(Na=1, Cl=-1)))


def test_species_too_many_are_told() -> None:
    with pytest.warns(UserWarning, match="charges of K, which no frame contains"):
        check_charges([box("NaCl")], coulomb(Na=1, Cl=-1, K=1))
