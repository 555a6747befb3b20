"""Labelled frames from npz files and from CP2K's separate files."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.units import Bohr, Hartree, kcal, mol

import jaxelyte as jxl
from jaxelyte.interop.cp2k import is_cp2k_xyz
from jaxelyte.interop.cp2k_steps import read_positions

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
    with pytest.raises(jxl.InputError, match="Python objects, which could run code"):
        jxl.read(tmp_path / "pickled.npz")


SET: dict[str, Any] = {"R": np.ones((2, 3, 3)), "z": [1, 1, 8]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"E": np.array(-3.0)}, r"energy of .* has shape \(\); \(2,\) is needed"),
        ({"F": np.ones((3, 3))}, r"forces of .* has shape \(3, 3\)"),
        ({"pos": np.zeros((2, 3, 3))}, "R and pos, which differ"),
        ({"z": [1, 1, 0]}, "must hold atomic numbers from 1 to 118"),
        ({"z": ["H", "H", "O"]}, "not numbers"),
        ({"R": np.full((2, 3, 3), np.nan)}, "not finite"),
        ({"R": np.ones((0, 3, 3))}, "holds 0 frames of 3 atoms"),
        ({"R": np.ones((2, 3, 2))}, r"their positions|its positions have the shape \(2, 3, 2\)"),
        ({"e_unit": "furlong"}, "e_unit = 'furlong' is not known"),
    ],
)
def test_arrays_of_an_npz_that_do_not_fit(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "set.npz", **(SET | change))
    with pytest.raises(jxl.InputError, match=message):
        jxl.read(tmp_path / "set.npz")


def test_units_and_names_of_an_npz(tmp_path: Path) -> None:
    forces = np.arange(18.0).reshape(2, 3, 3)
    np.savez(tmp_path / "set.npz", **SET, E=[1.0, 2.0], F=forces, e_unit="kcal/mol", r_unit="Ang")
    frames = jxl.read(tmp_path / "set.npz")
    assert frames[1].get_potential_energy() == pytest.approx(2.0 * kcal / mol)
    assert frames[1].get_forces() == pytest.approx(forces[1] * kcal / mol)
    np.savez(tmp_path / "set.npz", **SET, DFT_energy=[1.0, 2.0])
    with pytest.warns(UserWarning, match="DFT_energy not read; the names of energy are E, energy"):
        jxl.read(tmp_path / "set.npz")


def cp2k_files(
    folder: Path, *, steps: tuple[int, ...] = (0, 5, 10), seed: int = 1, offset: float = 0.0
) -> tuple[Path, Path, Path]:
    """Frames of a salt molecule as CP2K writes them, made by hand; the energies are raised by the offset (Hartree)."""
    rng = np.random.default_rng(seed)
    shift = offset + 0.01 * (seed - 1)
    position, force, cell = folder / "a-pos-1.xyz", folder / "a-frc-1.xyz", folder / "a-1.cell"
    text = {position: "", force: ""}
    rows = ["#   Step   Time [fs]       Ax [Angstrom] ..."]
    for step in steps:
        for path, scale in ((position, 3.0), (force, 0.01)):
            values = scale * rng.normal(size=(2, 3))
            text[path] += (
                f"       2\n i = {step:8d}, time = {0.5 * step:12.3f}, E = {shift - 17.25 - 0.001 * step:20.10f}\n"
            )
            for symbol, row in zip(("Na", "Cl"), values, strict=True):
                text[path] += f"  {symbol} " + " ".join(f"{x:20.10f}" for x in row) + "\n"
        lengths = [9.0 + 0.1 * step, 0, 0, 0, 9.5, 0, 1.0, 0, 10.0]
        rows.append(" ".join(str(x) for x in (step, 0.5 * step, *lengths, 95.0 * lengths[0])))
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


def test_cp2k_restarts_keep_the_last_copy_of_each_step(tmp_path: Path) -> None:
    """Both files repeat 10; the forces of the second run are those of its positions although the files differ."""
    position, force, cell = cp2k_files(tmp_path)
    again = tmp_path / "again"
    again.mkdir()
    for ours, theirs in zip((position, force, cell), cp2k_files(again, steps=(10, 15), seed=2), strict=True):
        ours.write_text(ours.read_text() + theirs.read_text())
    with pytest.warns(UserWarning, match=r"wrote 1 frame again \(step 10\).*differ by up to") as record:
        frames = jxl.read_cp2k(position, force, cell=cell)
    assert len(record) == 1
    assert [frame.info["step"] for frame in frames] == [0, 5, 10, 15]
    assert [frame.info["time"] for frame in frames] == [0.0, 2.5, 5.0, 7.5]
    fresh = jxl.read_cp2k(again / position.name, again / force.name, cell=again / cell.name)
    for ours, theirs in zip(frames[2:], fresh, strict=True):
        assert np.array_equal(ours.positions, theirs.positions)
        assert np.array_equal(ours.get_forces(), theirs.get_forces())
        assert np.array_equal(ours.cell, theirs.cell)


def test_cp2k_positions_and_forces_are_of_one_run(tmp_path: Path) -> None:
    """The restart was killed before it wrote forces: the step is read as the first run has it."""
    position, force, cell = cp2k_files(tmp_path)
    again = tmp_path / "again"
    again.mkdir()
    late, _, _ = cp2k_files(again, steps=(10,), seed=2)
    first = jxl.read_cp2k(position, force, cell=cell)
    position.write_text(position.read_text() + late.read_text())
    with pytest.warns(UserWarning, match="of step 10 an earlier copy is read"):
        frames = jxl.read_cp2k(position, force, cell=cell)
    assert np.array_equal(frames[2].positions, first[2].positions)
    assert len(frames) == 3


def test_cp2k_frames_that_a_restart_left_behind(tmp_path: Path) -> None:
    """Steps 10 and 15 of a run that a restart at 5 left are no part of its trajectory, unless it repeats it exactly."""
    position, _, _ = cp2k_files(tmp_path, steps=(0, 5, 10, 15))
    again = tmp_path / "again"
    again.mkdir()
    other, _, _ = cp2k_files(again, steps=(5, 10), seed=2)
    text = position.read_text()
    position.write_text(text + other.read_text())
    with pytest.warns(UserWarning, match=r"left out: 1 frame that a restart did not come back to \(step 15\)"):
        assert [frame.info["step"] for frame in read_positions(position)] == [0, 5, 10]
    frames = text.split("       2\n")
    position.write_text(text + "".join("       2\n" + frame for frame in frames[2:4]))
    with pytest.warns(UserWarning, match="wrote 2 frames again"):
        assert [frame.info["step"] for frame in read_positions(position)] == [0, 5, 10, 15]


def test_cp2k_files_of_other_strides(tmp_path: Path) -> None:
    position, _, _ = cp2k_files(tmp_path, steps=(0, 10, 20))
    other = tmp_path / "other"
    other.mkdir()
    _, force, cell = cp2k_files(other, steps=(5, 10, 15, 20))
    with pytest.warns(UserWarning, match=r"2 steps are in all .* 1 of 3 steps of the positions, 2 of 4"):
        frames = jxl.read_cp2k(position, force, cell=cell)
    assert [frame.info["step"] for frame in frames] == [10, 20]
    assert frames[0].cell[0, 0] == 10.0
    _, _, cell = cp2k_files(other, steps=tuple(range(0, 21, 5)))
    position, force, _ = cp2k_files(tmp_path, steps=(0, 10, 20))
    with warnings.catch_warnings():  # the cell of each step is no reason for a warning
        warnings.simplefilter("error")
        assert [frame.cell[0, 0] for frame in jxl.read_cp2k(position, force, cell=cell)] == [9.0, 10.0, 11.0]
    _, strange, _ = cp2k_files(other, steps=(1, 2))
    with pytest.raises(jxl.InputError, match="no common step"):
        jxl.read_cp2k(position, strange)
    _, strange, _ = cp2k_files(other, steps=(0, 10), offset=0.5)
    with pytest.raises(jxl.InputError, match=r"other times or energies .* different runs"):
        jxl.read_cp2k(position, strange)


@pytest.mark.parametrize("cut", [0.35, 0.5, 0.55, 0.6, 0.62, 0.66, 0.7, 0.8, 0.99])
@pytest.mark.parametrize("behind", ["", "\n", "restart"])
def test_cp2k_runs_that_were_killed(tmp_path: Path, cut: float, behind: str) -> None:
    """Frames before the cut are read, those of the restart too; what is between them is named."""
    position, _, _ = cp2k_files(tmp_path)
    text = position.read_text()
    whole = jxl.read_cp2k(position)
    cut_text = text[: int(cut * len(text))]
    complete = 3 * len(cut_text) // len(text)
    position.write_text(cut_text + (text if behind == "restart" else behind))
    with pytest.warns(UserWarning, match=r"no complete frame.*left out"):
        frames = jxl.read_cp2k(position)
    expected = whole if behind == "restart" else whole[:complete]
    assert [frame.info["step"] for frame in frames] == [frame.info["step"] for frame in expected]
    for ours, theirs in zip(frames, expected, strict=True):
        assert np.array_equal(ours.positions, theirs.positions)


def test_cp2k_files_that_were_joined_or_moved(tmp_path: Path) -> None:
    """Empty lines, line ends of Windows, and packing change nothing, and no warning is given."""
    position, force, cell = cp2k_files(tmp_path)
    whole = jxl.read_cp2k(position, force, cell=cell)
    frames = position.read_text().split("       2\n")[1:]
    position.write_bytes(
        ("\n" + "\n".join("       2\n" + frame for frame in frames) + "\n\n").replace("\n", "\r\n").encode()
    )
    packed = tmp_path / "a-frc-1.xyz.gz"
    packed.write_bytes(gzip.compress(force.read_bytes()))
    cell.write_text(cell.read_text().replace(" 2.5 ", "  2.5\t") + "#   Step   Time [fs]       Ax [Angstrom] ...\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = jxl.read_cp2k(position, packed, cell=cell)
    for ours, theirs in zip(again, whole, strict=True):
        assert np.array_equal(ours.positions, theirs.positions)
        assert np.array_equal(ours.get_forces(), theirs.get_forces())
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(jxl.InputError, match=r"holds no complete frame.*unpacking stops before the end"):
        jxl.read_cp2k(position, packed)


def test_cp2k_cell_files_that_are_damaged(tmp_path: Path) -> None:
    position, _, cell = cp2k_files(tmp_path)
    text = cell.read_text()
    cell.write_text(text[:-4])  # within the volume of the last row
    with pytest.warns(UserWarning, match=r"left out: 1 row, damaged or incomplete, the first in line 4"):
        frames = jxl.read_cp2k(position, cell=cell)
    assert [frame.info["step"] for frame in frames] == [0, 5]
    cell.write_text(text.splitlines()[0])
    with pytest.raises(jxl.InputError, match="not a cell file of CP2K"):
        jxl.read_cp2k(position, cell=cell)
    for wrong in ([9.0, 9.0], [0.0, 9.0, 9.0], "nothing.cell", [9.0, np.nan, 9.0]):
        with pytest.raises(jxl.InputError, match=r"cell|there is no file"):
            jxl.read_cp2k(position, cell=wrong)


def test_cp2k_steps_and_times_make_a_trajectory(tmp_path: Path) -> None:
    position, _, cell = cp2k_files(tmp_path)
    trajectory = jxl.Trajectory.from_atoms(jxl.read_cp2k(position, cell=cell))
    assert trajectory.steps.tolist() == [0, 5, 10]
    assert trajectory.times.tolist() == [0.0, 2.5, 5.0]
    assert is_cp2k_xyz(position)
    position.write_text(position.read_text().replace(" i =        5", " i =       25"))
    with pytest.warns(UserWarning, match="its step is 25, between 0 and 10"):
        assert len(jxl.read_cp2k(position)) == 2


def test_cp2k_kinds(tmp_path: Path) -> None:
    position, force, cell = cp2k_files(tmp_path)
    for file in (position, force):
        file.write_text(file.read_text().replace("Na ", "Na1 ").replace("Cl ", "D "))
    frame = jxl.read_cp2k(position, force, cell=cell, index=-1)[0]
    assert frame.get_chemical_symbols() == ["Na", "H"]
    assert frame.get_masses() == pytest.approx([22.98976928, 2.01410178])
    named = jxl.read_cp2k(position, force, cell=cell, kinds={"Na1": "Li", "D": "K"})[0]
    assert named.get_chemical_symbols() == ["Li", "K"]
    for file in (position, force):
        file.write_text(file.read_text().replace("Na1 ", "Sol "))
    with pytest.raises(jxl.InputError, match=r"kind 'Sol' is not a chemical element.*kinds=\{'Sol'"):
        jxl.read_cp2k(position, force, cell=cell)


def test_cp2k_files_in_each_others_place(tmp_path: Path) -> None:
    position, force, cell = cp2k_files(tmp_path)
    with pytest.raises(jxl.InputError, match="given as the file of positions, but by its name it holds forces"):
        jxl.read_cp2k(force, position)
    with pytest.raises(jxl.InputError, match="no complete frame of an xyz file"):
        jxl.read_cp2k(cell)
    write(tmp_path / "e.xyz", Atoms("NaCl", np.eye(3)[:2], cell=[5, 6, 7], pbc=True), format="extxyz")
    with pytest.raises(jxl.InputError, match=r"extended XYZ file, which jaxelyte\.read reads"):
        jxl.read_cp2k(tmp_path / "e.xyz")
    for index in (5, "1:1", "a"):
        with pytest.raises(jxl.InputError, match=r"holds 3 frames and none|fits none of the 3 frames"):
            jxl.read_cp2k(position, index=index)


def test_cp2k_liquid_without_a_cell_is_doubted(tmp_path: Path) -> None:
    from ase.build import molecule

    water = molecule("H2O")
    grid = 3.1 * np.array(list(np.ndindex(3, 3, 3)), float)

    def written(atoms: Atoms) -> Path:
        path = tmp_path / "w-pos-1.xyz"
        rows = "".join(
            f" {s} {x:.6f} {y:.6f} {z:.6f}\n" for s, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)
        )
        path.write_text(f"{len(atoms)}\n i = 1, time = 0.5, E = -17.2\n{rows}")
        return path

    liquid = Atoms("OHH" * 27, np.concatenate([water.positions + place for place in grid]))
    with pytest.warns(UserWarning, match=r"81 atoms are not periodic.*densely as a liquid; give cell="):
        jxl.read_cp2k(written(liquid))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jxl.read_cp2k(written(liquid), cell=[9.3, 9.3, 9.3])
        jxl.read_cp2k(written(molecule("C60")))
        jxl.read_cp2k(written(molecule("C6H6")))


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
