"""Lengths in another unit and elements in another order are noticed in any format; matter of all kinds is not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

import jaxelyte as jxl
from jaxelyte.interop.plausible import check_plausible


def waters() -> Atoms:
    """Water molecules on a grid, as dense as the liquid."""
    one = molecule("H2O")
    grid = 3.1 * np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return Atoms("OHH" * 27, np.concatenate([one.positions + g for g in grid]), cell=[9.3] * 3, pbc=True)


def judged(atoms: Atoms, scale: float = 1.0) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        check_plausible(
            atoms.positions * scale, atoms.numbers, atoms.cell.array * scale, tuple(atoms.pbc), "a", stated=False
        )
    return [str(one.message) for one in found]


MATTER: dict[str, Callable[[], Atoms]] = {
    "water": waters,
    "copper": lambda: bulk("Cu", cubic=True),
    "caesium": lambda: bulk("Cs", cubic=True).repeat(2),
    "diamond": lambda: bulk("C", cubic=True),
    "salt": lambda: bulk("NaCl", "rocksalt", 5.64, cubic=True),
    "helium": lambda: bulk("He", "fcc", 4.2, cubic=True),
    "xenon": lambda: bulk("Xe", "fcc", 6.2, cubic=True),
    "benzene": lambda: molecule("C6H6"),
    "one water": lambda: molecule("H2O"),
    "ethanol": lambda: molecule("CH3CH2OH"),
    "ions alone": lambda: Atoms("LiCl" * 32, np.random.default_rng(0).uniform(0, 50, (64, 3)), cell=[50] * 3, pbc=True),
    "gas": lambda: Atoms("Ar64", np.random.default_rng(0).uniform(0, 200, (64, 3)), cell=[200] * 3, pbc=True),
}


@pytest.mark.parametrize("name", MATTER)
def test_matter_passes(name: str) -> None:
    assert judged(MATTER[name]()) == []


@pytest.mark.parametrize("scale", [0.1, 0.5292, 1.8897, 10.0])
@pytest.mark.parametrize("name", ["water", "benzene", "one water", "ethanol"])
def test_molecules_with_hydrogen_in_another_unit(name: str, scale: float) -> None:
    assert len(judged(MATTER[name](), scale)) == 1


@pytest.mark.parametrize("scale", [0.1, 10.0])
@pytest.mark.parametrize("name", ["copper", "caesium", "diamond", "salt"])
def test_crystals_in_nm_or_taken_for_nm(name: str, scale: float) -> None:
    assert len(judged(MATTER[name](), scale)) == 1


def test_the_likely_unit_is_named() -> None:
    for scale, unit in ((10.0, "Å taken for nm"), (1.8897, "Bohr taken for Å"), (0.1, "nm taken for Å")):
        assert f"lengths in {unit}" in judged(molecule("C6H6"), scale)[0]
    assert "Å taken for Bohr" in judged(molecule("C6H6"), 0.5292)[0]


@pytest.mark.parametrize("suffix", ["extxyz", "xyz", "vasp", "gen", "traj", "pdb"])
def test_every_reader_judges_distances(tmp_path: Path, suffix: str) -> None:
    atoms = waters()
    path = tmp_path / f"a.{suffix}"
    formats: dict[str, str] = {"pdb": "proteindatabank"}
    options: dict[str, Any] = {"format": formats.get(suffix, suffix)}
    write(path, atoms, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jxl.read(path)
        jxl.open_trajectory(path, cell=[9.3] * 3)
    atoms.set_cell(atoms.cell * 1.8897, scale_atoms=True)
    write(path, atoms, **options)
    for reader in (jxl.read, jxl.open_trajectory):
        with pytest.warns(UserWarning, match="next to a hydrogen .* lengths in Bohr taken for Å") as found:
            reader(path)
        assert len(found) == 1


def test_units_given_by_mistake(tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", waters(), format="extxyz")
    with pytest.warns(UserWarning, match="lengths in Å taken for nm"):
        jxl.read(tmp_path / "a.xyz", units="nm")
    with pytest.warns(UserWarning, match="more than any matter has"):
        jxl.open_trajectory(tmp_path / "a.xyz", units="bohr")


def test_elements_in_another_order_than_the_positions(tmp_path: Path) -> None:
    """A topology that lists H, O, H where the trajectory has O, H, H; or all O first."""
    atoms = waters()
    write(tmp_path / "top.xyz", atoms, format="extxyz")
    write(tmp_path / "a.xyz", atoms, format="xyz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jxl.open_trajectory(tmp_path / "a.xyz", topology=tmp_path / "top.xyz", cell=[9.3] * 3)
    for numbers in (np.tile([1, 8, 1], 27), np.sort(atoms.numbers)[::-1]):
        other = atoms.copy()
        other.numbers[:] = numbers
        write(tmp_path / "top.xyz", other, format="extxyz")
        with pytest.warns(UserWarning, match="hydrogen atoms have two neighbours within 1.12 Å"):
            jxl.open_trajectory(tmp_path / "a.xyz", topology=tmp_path / "top.xyz", cell=[9.3] * 3)
