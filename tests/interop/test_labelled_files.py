"""Labelled frames from npz files and from CP2K's separate files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.units import Bohr, Hartree

import jaxelyte as jxl

# ASE's constants are those of CODATA 2014, ours of 2018: they differ in the ninth digit.
CODATA = 1e-7


def test_nequip_npz(tmp_path: Path, rng: np.random.Generator) -> None:
    positions, forces, energies = rng.normal(size=(3, 2, 3)), rng.normal(size=(3, 2, 3)), rng.normal(size=(3, 1))
    cells = np.eye(3) * np.array([5.0, 6.0, 7.0])[:, None, None]
    np.savez(tmp_path / "set.npz", R=positions, F=forces, E=energies, z=[11, 17], cell=cells, pbc=[True, True, False])
    frames = jxl.read(tmp_path / "set.npz")
    assert len(frames) == 3
    for n, frame in enumerate(frames):
        assert frame.get_chemical_formula() == "ClNa"
        assert np.array_equal(frame.positions, positions[n])
        assert np.array_equal(frame.get_forces(), forces[n])
        assert frame.get_potential_energy() == energies[n, 0]
        assert frame.cell[0, 0] == [5.0, 6.0, 7.0][n]
        assert frame.pbc.tolist() == [True, True, False]
    assert np.array_equal(jxl.read(tmp_path / "set.npz", -1)[0].positions, positions[2])
    np.savez(tmp_path / "gas.npz", pos=positions, atomic_numbers=np.array([[1, 1]] * 3))
    gas = jxl.read(tmp_path / "gas.npz", "1:")
    assert len(gas) == 2
    assert not any(gas[0].pbc)


def test_npz_that_cannot_be_used(tmp_path: Path) -> None:
    np.savez(tmp_path / "bare.npz", R=np.zeros((2, 3, 3)))
    with pytest.raises(jxl.InputError, match=r"needs R .* and z; it holds R"):
        jxl.read(tmp_path / "bare.npz")
    np.savez(tmp_path / "odd.npz", R=np.zeros((2, 3, 3)), z=[1, 1, 8], F=np.zeros((2, 4, 3)))
    with pytest.raises(jxl.InputError, match=r"forces of .* has shape \(2, 4, 3\)"):
        jxl.read(tmp_path / "odd.npz")
    np.savez(tmp_path / "pickled.npz", R=np.array([{}], dtype=object))
    with pytest.raises(jxl.InputError, match="cannot read"):
        jxl.read(tmp_path / "pickled.npz")


def cp2k_files(folder: Path, *, steps: tuple[int, ...] = (0, 5, 10)) -> tuple[Path, Path, Path]:
    """Three frames of a salt molecule as CP2K writes them, made by hand."""
    rng = np.random.default_rng(1)
    position, force, cell = folder / "a-pos-1.xyz", folder / "a-frc-1.xyz", folder / "a-1.cell"
    text = {position: "", force: ""}
    rows = ["#   Step   Time [fs]       Ax [Angstrom] ..."]
    for step in steps:
        for path, scale in ((position, 3.0), (force, 0.01)):
            values = scale * rng.normal(size=(2, 3))
            text[path] += f"       2\n i = {step:8d}, time = {0.5 * step:12.3f}, E = {-17.25 - 0.001 * step:20.10f}\n"
            for symbol, row in zip(("Na", "Cl"), values, strict=True):
                text[path] += f"  {symbol} " + " ".join(f"{x:20.10f}" for x in row) + "\n"
        lengths = [9.0 + 0.1 * step, 0, 0, 0, 9.5, 0, 1.0, 0, 10.0]
        rows.append(" ".join(str(x) for x in (step, 0.5 * step, *lengths, 900.0)))
    for path, content in text.items():
        path.write_text(content)
    cell.write_text("\n".join(rows) + "\n")
    return position, force, cell


def test_cp2k_files_become_electronvolts(tmp_path: Path) -> None:
    position, force, cell = cp2k_files(tmp_path)
    frames = jxl.read_cp2k(position, force, cell=cell)
    assert len(frames) == 3
    raw = np.array([line.split()[1:] for line in force.read_text().splitlines() if len(line.split()) == 4], float)
    for n, frame in enumerate(frames):
        assert frame.get_potential_energy() == pytest.approx((-17.25 - 0.005 * n) * Hartree, rel=CODATA)
        assert np.allclose(frame.get_forces(), raw[2 * n : 2 * n + 2] * Hartree / Bohr, rtol=CODATA)
        assert frame.cell[0, 0] == 9.0 + 0.5 * n
        assert frame.cell[2].tolist() == [1.0, 0.0, 10.0]
        assert all(frame.pbc)
    fixed = jxl.read_cp2k(position, cell=np.array([9.0, 9.0, 9.0]), index="::2")
    assert len(fixed) == 2
    assert fixed[1].cell.lengths().tolist() == [9.0] * 3
    with pytest.raises(Exception, match="forces"):
        fixed[0].get_forces()


def test_cp2k_files_that_do_not_fit(tmp_path: Path) -> None:
    position, force, _ = cp2k_files(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, shifted, short = cp2k_files(other, steps=(0, 5))
    with pytest.raises(jxl.InputError, match="hold other steps"):
        jxl.read_cp2k(position, shifted)
    with pytest.raises(jxl.InputError, match="no cell of step 10"):
        jxl.read_cp2k(position, force, cell=short)
    half = position.read_text().splitlines()[:6]  # killed within the second frame
    position.write_text("\n".join(half) + "\n")
    assert len(jxl.read_cp2k(position)) == 1


def test_zipped_frames_are_those_of_the_plain_file(tmp_path: Path, rng: np.random.Generator) -> None:
    frames = []
    for _ in range(4):
        atoms = Atoms("NaCl", rng.normal(size=(2, 3)), cell=[5, 6, 7], pbc=True)
        atoms.calc = SinglePointCalculator(atoms, energy=float(rng.normal()), forces=rng.normal(size=(2, 3)))
        frames.append(atoms)
    write(tmp_path / "set.extxyz", frames, format="extxyz")
    (tmp_path / "set.xyz.gz").write_bytes(gzip.compress((tmp_path / "set.extxyz").read_bytes()))
    for index in (":", -1, "1::2"):
        plain, zipped = (jxl.read(tmp_path / name, index) for name in ("set.extxyz", "set.xyz.gz"))
        assert len(plain) == len(zipped)
        for a, b in zip(plain, zipped, strict=True):
            assert np.array_equal(a.positions, b.positions)
            assert np.array_equal(a.get_forces(), b.get_forces())
            assert a.get_potential_energy() == b.get_potential_energy()
