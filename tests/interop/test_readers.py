"""Trajectory files: times are never invented, content decides the format, doubtful elements are refused."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

import jaxelyte as jxl
from jaxelyte.errors import InputError, UnsupportedError
from walks import EDGE, INTERVAL, PAIRS, TRUE, dump_text, walk, wrapped_frames, xyz_text

BOHR = 0.529177210903


def coefficient(source: Any) -> float:
    """Of sodium, in units of the true one; the slope of one stretch over short lags is precise enough."""
    return jxl.diffusivity(source, "Na", stretches=2, fit=(50.0, 500.0)).value / TRUE


@pytest.mark.parametrize("kind", ["dump", "pdb", "xyz", "traj"])
def test_frames_without_times_have_no_dynamics_until_the_interval_is_given(tmp_path: Path, kind: str) -> None:
    frames = wrapped_frames(101 if kind == "pdb" else 301)
    path = tmp_path / f"walk.{kind}"
    if kind == "dump":
        path.write_text(dump_text(frames))
    elif kind == "xyz":
        path.write_text(xyz_text(frames))
    else:
        write(path, frames)
    cell = {"cell": EDGE * np.ones(3)} if kind == "xyz" else {}
    found = jxl.open_trajectory(path, **cell)
    assert np.isnan(found.times).all()
    for analysis in (jxl.msd, jxl.vacf, lambda run, _: jxl.conductivity(run, {"Na": 1, "Cl": -1}, temperature=300.0)):
        with pytest.raises(InputError, match=r"interval=|velocities"):
            analysis(found, "Na")
    assert coefficient(jxl.open_trajectory(path, interval=INTERVAL, **cell)) == pytest.approx(1.0, abs=0.12)
    assert [len(one) for one in jxl.read(path, "::100")] == [2 * PAIRS] * len(frames[::100])


def test_averages_over_atoms_need_no_times(tmp_path: Path) -> None:
    (tmp_path / "a.dump.gz").write_bytes(gzip.compress(dump_text(wrapped_frames(20)).encode()))
    same = jxl.rdf(wrapped_frames(20), "Na", "Cl", r_max=5.0, bins=10)
    found = jxl.rdf(tmp_path / "a.dump.gz", "Na", "Cl", r_max=5.0, bins=10)
    np.testing.assert_allclose(found.g, same.g, rtol=1e-12)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_packed_extended_xyz_keeps_lattice_and_times_whatever_its_name_is(tmp_path: Path, pack: Any) -> None:
    frames = wrapped_frames(5, times=True)
    write(tmp_path / "a.extxyz", frames)
    packed = pack((tmp_path / "a.extxyz").read_bytes())
    for name in ("a.xyz.gz", "a.extxyz.xz", "a.txt"):
        (tmp_path / name).write_bytes(packed)
        found = jxl.open_trajectory(tmp_path / name)
        np.testing.assert_array_equal(found.times, np.arange(5) * INTERVAL)
        np.testing.assert_array_equal(found.cells[0], EDGE * np.eye(3))
        np.testing.assert_allclose(found.positions[:, 0], [one.positions for one in frames], atol=1e-7)
        assert found.pbc == (True, True, True)


def test_units_and_cells_of_ipi_are_read(tmp_path: Path) -> None:
    frames, edge = wrapped_frames(4), EDGE / BOHR
    path = tmp_path / "simulation.pos_0.xyz"
    comments = {
        f"# CELL(abcABC): {edge:.6f} {edge:.6f} {edge:.6f} 90.0 90.0 90.0 Step: {{step}} Bead: 0 "
        "positions{{atomic_unit}} cell{{atomic_unit}}": BOHR,
        f"# CELL(abcABC): {edge:.6f} {edge:.6f} {edge:.6f} 90.0 90.0 90.0 Step: {{step}} Bead: 0 "
        "positions{{angstrom}} cell{{atomic_unit}}": 1.0,
        f"# CELL{{{{H}}}}: {EDGE} 0.0 0.0 0.0 {EDGE} 0.0 0.0 0.0 {EDGE} Step: {{step}} positions{{angstrom}} "
        "cell{{angstrom}}".replace("positions{angstrom}", "positions{{angstrom}}"): 1.0,
    }
    for comment, length in comments.items():
        path.write_text(xyz_text(frames, comment, length))
        found = jxl.open_trajectory(path)
        np.testing.assert_allclose(found.positions[:, 0], [one.positions for one in frames], atol=1e-5)
        np.testing.assert_allclose(found.cells[0], EDGE * np.eye(3), atol=1e-5)
        np.testing.assert_array_equal(found.steps, np.arange(4))
        assert np.isnan(found.times).all()
    tilted = "# CELL(GENH): 12.0 0 0 1.0 11.0 0 2.0 3.0 10.0 Step: {step} positions{{angstrom}} cell{{angstrom}}"
    path.write_text(xyz_text(frames, tilted))
    np.testing.assert_array_equal(jxl.open_trajectory(path).cells[0], [[12, 0, 0], [1, 11, 0], [2, 3, 10]])
    path.write_text(xyz_text(frames, tilted.replace("GENH", "H")))
    np.testing.assert_array_equal(jxl.open_trajectory(path).cells[0], [[12, 1, 2], [0, 11, 3], [0, 0, 10]])
    path.write_text(xyz_text(frames, "# CELL(abcABC): 12 12 12 90 90 90 Step: {step} Bead: 0"))
    with pytest.raises(InputError, match="do not state the unit"):
        jxl.open_trajectory(path)
    assert jxl.open_trajectory(path, units="bohr").cells[0][0, 0] == pytest.approx(12 * BOHR)
    path.write_text(
        xyz_text(frames, "# CELL(abcABC): 12 12 12 90 90 90 Step: {step} forces{{atomic_unit}} cell{{angstrom}}")
    )
    with pytest.raises(InputError, match="holds forces of i-PI"):
        jxl.read(path)


def test_restarts_and_killed_runs(tmp_path: Path) -> None:
    frames = wrapped_frames(12)
    path = tmp_path / "a.dump"
    first, second = dump_text(frames[:6]), dump_text(frames[3:], start=300)
    left = [one.copy() for one in frames[3:6]]
    for one in left:
        one.positions += 0.5  # the run that was stopped had gone another way
    path.write_text(dump_text(frames[:3]) + dump_text(left, start=300) + second)
    with pytest.warns(
        UserWarning, match="steps 300 to 500 were written more than once, .* 3 of 15 frames are left out"
    ):
        found = jxl.open_trajectory(path, interval=INTERVAL)
    np.testing.assert_allclose(found.positions[:, 0], [one.positions for one in frames], atol=1e-12)
    np.testing.assert_array_equal(found.times, np.arange(12) * INTERVAL)
    path.write_text(first + first)
    with pytest.warns(UserWarning, match="start again at frame 6"):
        assert len(jxl.open_trajectory(path)) == 12
    with pytest.warns(UserWarning, match="start again"), pytest.raises(InputError, match="several runs"):
        jxl.open_trajectory(path, interval=INTERVAL)
    path.write_text(dump_text(frames[:3]) + dump_text(frames[4:], start=400))
    with pytest.warns(UserWarning, match="frame 3 lies 200 steps behind"):
        gap = jxl.open_trajectory(path, interval=INTERVAL)
    with pytest.raises(InputError, match="equally spaced"):
        gap.interval()
    for cut in (len(first) - 3, len(first) - 30, len(first) - len(first) // 6 + 20):
        path.write_text(first[:cut])
        with pytest.warns(UserWarning, match="ends early.*5 complete frames were read"):
            assert len(jxl.open_trajectory(path)) == 5
    text = xyz_text(frames)
    packed = gzip.compress(text.encode(), mtime=0)[:-400]
    for name, content in {"a.xyz": text[:-3].encode(), "b.xyz": text[:-30].encode(), "c.xyz.gz": packed}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.warns(UserWarning, match="complete frames were read"):
            assert 1 < len(jxl.open_trajectory(tmp_path / name)) < 12
    (tmp_path / "d.xyz").write_bytes(text.replace("\n", "\r\n").encode())
    assert len(jxl.open_trajectory(tmp_path / "d.xyz")) == 12


def test_frames_of_other_atoms_and_bad_numbers_are_refused_by_their_number(tmp_path: Path) -> None:
    frames = wrapped_frames(4)
    path = tmp_path / "a.dump"
    path.write_text(dump_text([*frames[:2], frames[2][:-1], frames[3]]))
    with pytest.raises(InputError, match=r"frame 2 .* holds 19 atoms"):
        jxl.open_trajectory(path)
    path.write_text(dump_text(frames).replace(f"{frames[1].positions[4, 1]}", "nan"))
    with pytest.raises(InputError, match="frame 1"):
        jxl.open_trajectory(path)
    xyz = tmp_path / "a.xyz"
    lines = xyz_text(frames).splitlines()
    xyz.write_text("\n".join([*lines[:30], "Na 0.0 x 0.0", *lines[31:]]) + "\n")
    with pytest.raises(InputError, match=r"frame 1 \(line 23\)"):
        jxl.open_trajectory(xyz)
    xyz.write_text(xyz_text([*frames[:2], frames[2][:-1], frames[3]]))
    with pytest.raises(InputError, match=r"frame 2 of .* holds other atoms"):
        jxl.open_trajectory(xyz)
    assert [len(one) for one in jxl.read(xyz)] == [20, 20, 19, 20]


def test_arguments_that_contradict_the_file_and_bad_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"
    write(path, wrapped_frames(4, times=True))
    with pytest.warns(UserWarning, match="states times 50 fs apart, which interval = 20 fs replaces"):
        assert jxl.open_trajectory(path, interval=20.0).times[1] == 20.0
    assert jxl.open_trajectory(path, interval=INTERVAL).times[1] == INTERVAL
    with pytest.warns(UserWarning, match="cell of 12 x 12 x 12 Å, which cell= replaces"):
        assert jxl.open_trajectory(path, cell=[13, 13, 13, 90, 90, 60]).cells[0][1, 0] == pytest.approx(6.5)
    bad: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"interval": 0.0}, InputError, "interval = 0 fs cannot be a time between frames"),
        ({"interval": "5 fs"}, InputError, "interval must be"),
        ({"cell": [1, 2]}, InputError, r"cell has shape \(2,\)"),
        ({"cell": [1, 2, -3]}, InputError, "positive lengths"),
        ({"cell": np.ones((3, 3))}, InputError, "no finite volume"),
        ({"format": "lamps"}, InputError, "format = 'lamps' is not known"),
        ({"units": "furlong"}, InputError, "must be one of"),
        ({"units": "lj"}, UnsupportedError, "reduced"),
        ({"elements": {"Li": "K"}}, InputError, "elements names Li"),
        ({"elements": ["Na"]}, InputError, "must be a dictionary"),
        ({"topology": tmp_path / "absent.pdb"}, InputError, "no topology"),
    ]
    for arguments, kind, message in bad:
        with pytest.raises(kind, match=message):
            jxl.open_trajectory(path, **arguments)
    small = wrapped_frames(2)
    for one in small:
        one.set_cell(one.cell * 0.1, scale_atoms=True)
    write(path, small)
    with pytest.warns(UserWarning, match="atoms per Å³ are more than any matter has"):
        jxl.open_trajectory(path)


def test_dcd_times_are_taken_from_programs_that_state_them(tmp_path: Path) -> None:
    mda = pytest.importorskip("MDAnalysis", reason="MDAnalysis is not installed")
    positions = walk(301) % EDGE
    universe = mda.Universe.empty(2 * PAIRS, trajectory=True)
    universe.load_new(positions.astype("f4"), dimensions=np.tile([EDGE] * 3 + [90.0] * 3, (len(positions), 1)))
    write(tmp_path / "top.xyz", wrapped_frames(1)[0], format="xyz")
    for title, timed in {
        "": True,
        "Created by NAMD": True,
        "Written by LAMMPS": False,
        "Created by DCD plugin": False,
    }.items():
        path = tmp_path / "a.dcd"
        with mda.Writer(str(path), 2 * PAIRS, dt=INTERVAL / 1000, remarks=title) as writer:
            for _ in universe.trajectory:
                writer.write(universe.atoms)
        found = jxl.open_trajectory(path, topology=tmp_path / "top.xyz")
        assert found.cells[0][0, 0] == pytest.approx(EDGE)
        if timed:
            np.testing.assert_allclose(np.diff(found.times), INTERVAL, rtol=1e-6)
            assert coefficient(found) == pytest.approx(1.0, abs=0.12)
        else:
            assert np.isnan(found.times).all()
    one = tmp_path / "one.dcd"  # a step of 1, whatever is meant by it
    with mda.Writer(str(one), 2 * PAIRS, dt=0.04888821290839616, remarks="Created by CHARMM") as writer:
        for _ in universe.trajectory[:3]:
            writer.write(universe.atoms)
    assert np.isnan(jxl.open_trajectory(one, topology=tmp_path / "top.xyz").times).all()
    whole = path.read_bytes()
    with gzip.open(tmp_path / "a.dcd.gz", "wb") as file:
        file.write(whole)
    assert len(jxl.open_trajectory(tmp_path / "a.dcd.gz", topology=tmp_path / "top.xyz")) == 301
    path.write_bytes(whole[:-50])
    with pytest.warns(UserWarning, match="300 complete frames were read"):
        assert len(jxl.open_trajectory(path, topology=tmp_path / "top.xyz")) == 300
    with pytest.raises(InputError, match="without names of the atoms; give a topology"):
        jxl.open_trajectory(path)
    (tmp_path / "top.xyz").write_text("1\n\nNa 0 0 0\n")
    with pytest.raises(InputError, match="holds 20 atoms, its topology 1"):
        jxl.open_trajectory(path, topology=tmp_path / "top.xyz")


@pytest.mark.parametrize("name", [pytest.param("a.xtc", marks=pytest.mark.more), "a.trr"])
def test_gromacs_times_are_even_although_they_are_stored_in_single_precision(tmp_path: Path, name: str) -> None:
    mda = pytest.importorskip("MDAnalysis", reason="MDAnalysis is not installed")
    positions = walk(61) % EDGE
    universe = mda.Universe.empty(2 * PAIRS, trajectory=True, velocities=True)
    dimensions = np.tile([EDGE] * 3 + [90.0] * 3, (len(positions), 1))
    universe.load_new(positions.astype("f4"), dimensions=dimensions, velocities=positions.astype("f4") * 10.0)
    write(tmp_path / "top.extxyz", wrapped_frames(1)[0])
    with mda.Writer(str(tmp_path / name), 2 * PAIRS) as writer:
        for now in universe.trajectory:
            now.time = 5000.0 + 0.05 * now.frame
            writer.write(universe.atoms)
    found = jxl.open_trajectory(tmp_path / name, topology=tmp_path / "top.extxyz")
    assert found.interval() == pytest.approx(INTERVAL, rel=1e-4)
    np.testing.assert_allclose(found.positions[:, 0], positions, atol=6e-3)
    np.testing.assert_allclose(found.cells[0], EDGE * np.eye(3), atol=1e-5)
    if name == "a.trr":
        np.testing.assert_allclose(found.velocities[:, 0], positions / 100.0, rtol=1e-5)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-20])
    with pytest.warns(UserWarning, match="60 complete frames were read"):
        assert len(jxl.open_trajectory(tmp_path / name, topology=tmp_path / "top.extxyz")) == 60
    (tmp_path / name).write_bytes(whole[:1] + b"\x01" + whole[2:])
    with pytest.raises(InputError):
        jxl.open_trajectory(tmp_path / name, topology=tmp_path / "top.extxyz", format=name[2:])


def test_an_xtc_file_that_ends_its_reader_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mda = pytest.importorskip("MDAnalysis", reason="MDAnalysis is not installed")
    import subprocess

    universe = mda.Universe.empty(3, trajectory=True)
    with mda.Writer(str(tmp_path / "a.xtc"), 3) as writer:
        writer.write(universe.atoms)
    write(tmp_path / "top.xyz", Atoms("OH2", np.eye(3)), format="xyz")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], -11, "", ""))
    with pytest.raises(InputError, match="its reader ended with code -11"):
        jxl.open_trajectory(tmp_path / "a.xtc", topology=tmp_path / "top.xyz")


def test_amber_netcdf_has_times_only_where_they_are_stored(tmp_path: Path) -> None:
    mda = pytest.importorskip("MDAnalysis", reason="MDAnalysis is not installed")
    from scipy.io import netcdf_file

    positions = walk(11) % EDGE
    write(tmp_path / "top.extxyz", wrapped_frames(1)[0])
    for timed in (True, False):
        path = tmp_path / f"{timed}.nc"
        with netcdf_file(path, "w", version=2) as file:
            file.Conventions, file.ConventionVersion, file.program = b"AMBER", b"1.0", b"test"
            for name, size in (
                ("frame", None),
                ("atom", 2 * PAIRS),
                ("spatial", 3),
                ("cell_spatial", 3),
                ("cell_angular", 3),
            ):
                file.createDimension(name, size)
            shapes = {"coordinates": ("frame", "atom", "spatial"), "cell_lengths": ("frame", "cell_spatial")}
            shapes |= {"cell_angles": ("frame", "cell_angular"), "time": ("frame",)}
            shapes |= {"velocities": ("frame", "atom", "spatial")}
            units = {
                "coordinates": b"angstrom",
                "cell_lengths": b"angstrom",
                "cell_angles": b"degree",
                "time": b"picosecond",
                "velocities": b"angstrom/picosecond",
            }
            values = {
                "coordinates": positions,
                "cell_lengths": np.full((11, 3), EDGE),
                "cell_angles": np.full((11, 3), 90.0),
                "velocities": positions / 20.455,
            }
            if timed:
                values["time"] = 100.0 + 0.05 * np.arange(11)
            for name, value in values.items():
                variable = file.createVariable(name, "f4", shapes[name])
                variable.units = units[name]
                if name == "velocities":
                    variable.scale_factor = 20.455  # the stored numbers are in AMBER's own unit
                variable[:] = value
        found = jxl.open_trajectory(path, topology=tmp_path / "top.extxyz")
        np.testing.assert_allclose(found.positions[:, 0], positions, atol=1e-5)
        assert found.velocities is not None
        np.testing.assert_allclose(found.velocities[:, 0], positions * 1e-3, rtol=1e-5)
        assert found.cells[0][0, 0] == pytest.approx(EDGE)
        if timed:
            assert found.interval() == pytest.approx(INTERVAL, rel=1e-3)
        else:
            assert np.isnan(found.times).all()
    assert mda is not None


def test_a_frame_that_was_written_twice_is_told(tmp_path: Path) -> None:
    frames = wrapped_frames(4)
    (tmp_path / "a.xyz").write_text(xyz_text([*frames[:2], frames[1], *frames[2:]]))
    with pytest.warns(UserWarning, match="frame 2 is a copy of the one before it"):
        jxl.open_trajectory(tmp_path / "a.xyz", interval=INTERVAL)


def test_boxes_of_lammps_that_change_tilt_or_are_open(tmp_path: Path) -> None:
    """Atoms at rest in a box that breathes do not move, however often they had crossed it; bounds of tilted boxes."""
    parts = []
    for k in range(40):
        edge = 10.0 * (1.0 + 0.01 * np.sin(k))
        rows = "".join(f"{n + 1} 1 {0.1 * n * edge:.9f} 0.0 0.0 {20 * n} 0 -7\n" for n in range(4))
        parts.append(
            f"ITEM: TIMESTEP\n{k}\nITEM: NUMBER OF ATOMS\n4\nITEM: BOX BOUNDS pp pp pp\n" + f"0 {edge:.9f}\n" * 3
        )
        parts.append("ITEM: ATOMS id type x y z ix iy iz\n" + rows)
    path = tmp_path / "a.dump"
    path.write_text("".join(parts))
    found = jxl.open_trajectory(path, elements={1: "Na"}, interval=1.0)
    assert not found.unwrapped
    assert jxl.msd(found, "Na", stretches=2).value[-1] < 1e-9
    tilted = (
        "ITEM: TIMESTEP\n5\nITEM: NUMBER OF ATOMS\n1\n"
        "ITEM: BOX BOUNDS xy xz yz pp pp ff\n-2.0 13.5 3.0\n1.0 12.0 -2.0\n-1.0 8.0 1.0\n"
        "ITEM: ATOMS id type xs ys zs\n1 1 0.5 0.5 0.5\n"
    )
    path.write_text(tilted)
    atoms = jxl.read(path, elements={1: "Na"})[0]
    assert atoms.pbc.tolist() == [True, True, False]
    # xlo = -2 - min(0, xy, xz, xy + xz) = 0; yhi = 12 - max(0, yz) = 11.
    np.testing.assert_allclose(atoms.cell.array[:2], [[10.5, 0.0, 0.0], [3.0, 10.0, 0.0]])
    np.testing.assert_allclose(atoms.positions[0], [0.5 * (10.5 + 3 - 2), 1.0 + 0.5 * 11, -1.0 + 4.5])
    # The corners of a box of 10 Å tilted by -3 and -2 reach from -5 to 10, tilted by 3 and 2 from 0 to 15.
    for bounds, tilts in (("-5.0 10.0", (-3.0, -2.0)), ("0.0 15.0", (3.0, 2.0))):
        path.write_text(tilted.replace("-2.0 13.5 3.0\n1.0 12.0 -2.0", f"{bounds} {tilts[0]}\n1.0 12.0 {tilts[1]}"))
        atoms = jxl.read(path, elements={1: "Na"})[0]
        np.testing.assert_allclose(atoms.cell.array[:2], [[10.0, 0.0, 0.0], [tilts[0], 10.0, 0.0]])
        np.testing.assert_allclose(atoms.positions[0], [0.5 * (10.0 + sum(tilts)), 6.5, 3.5])
    general = tilted.replace("xy xz yz pp pp ff\n-2.0 13.5 3.0\n1.0 12.0 -2.0\n-1.0 8.0 1.0", "abc origin pp pp pp\n"
        "0 10 0 1\n-9 0 0 2\n0 1 8 3")  # fmt: skip
    path.write_text(general.replace("xs ys zs", "x y z"))
    atoms = jxl.read(path, elements={1: "Na"})[0]
    np.testing.assert_allclose(atoms.cell.array, [[0, 10, 0], [-9, 0, 0], [0, 1, 8]])
    path.write_text(tilted + tilted.replace("\n1\nITEM: BOX", "\n2\nITEM: BOX") + "2 1 0.2 0.2 0.2\n")
    with pytest.raises(InputError, match="frame 1"):
        jxl.read(path, elements={1: "Na"})


def test_a_single_frame_without_an_end_of_its_last_line(tmp_path: Path) -> None:
    """Written by hand it is whole; only numbers of a fixed format that become shorter look cut."""
    path = tmp_path / "a.xyz"
    path.write_text("3\n\nO 0.0 0.0 0.1173\nH 0.0 0.7572 -0.4692\nH 0.0 -0.7572 -0.469")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert jxl.read(path)[0].positions[2].tolist() == [0.0, -0.7572, -0.469]
    path.write_text("2\n\nO 0.0000 0.0000 0.1173\nH 0.0000 0.7572 -0.46")
    with pytest.warns(UserWarning, match=r"ends with 'H 0.0000 0.7572 -0.46', fewer digits .*: is it whole\?"):
        assert len(jxl.read(path)[0]) == 2
    dump = tmp_path / "a.dump"
    dump.write_text(dump_text(wrapped_frames(1)).rstrip("\n"))
    with pytest.warns(UserWarning, match=r"its last line has no end \('"):
        assert len(jxl.open_trajectory(dump)) == 1
    # Where all numbers have as many decimals, the last one shows whether it is whole.
    rows = [f"{n} Ar {4.0 * n:.4f} 1.0000 2.0000" for n in range(3)]
    head = "ITEM: TIMESTEP\n{}\nITEM: NUMBER OF ATOMS\n3\nITEM: BOX BOUNDS pp pp pp\n0 12\n0 12\n0 12\n"
    text = "".join(f"{head.format(n)}ITEM: ATOMS id element x y z\n" + "\n".join(rows) + "\n" for n in range(2))
    dump.write_text(text.rstrip("\n"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(jxl.open_trajectory(dump)) == 2
    dump.write_text(text.rstrip("\n")[:-1])
    with pytest.warns(UserWarning, match="the file ends early"):
        assert len(jxl.open_trajectory(dump)) == 1
    dump.write_text(dump_text(wrapped_frames(1)).rstrip("\n").rpartition(" ")[0])
    with pytest.raises(InputError, match="no complete frame"):
        jxl.open_trajectory(dump)


def test_units_of_times_in_comments(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"

    def times(form: str) -> list[float]:
        path.write_text("".join(f"1\n{form.format(0.5 * k)}\nNa {k} 0 0\n" for k in range(3)))
        return jxl.open_trajectory(path).times.tolist()

    assert times("time={}") == [0.0, 0.5, 1.0]
    assert times("time={} fs energy=-1") == [0.0, 0.5, 1.0]
    assert times("time={} ps") == times('time="{} ps" energy=-1') == times("time={}ps") == [0.0, 500.0, 1000.0]
    assert times("time={} ns") == [0.0, 5e5, 1e6]
    assert np.isnan(times("t = {} ps")).all()
    path.write_text("".join(f"1\ntime={0.01 * k}\nNa {k} 0 0\n" for k in range(3)))
    with pytest.warns(UserWarning, match="times 0.01 apart, .* if they are in ps, pass interval=10"):
        jxl.open_trajectory(path)
    with pytest.warns(UserWarning, match="interval = 0.01 fs is unusual .*write 10, if it is in ps"):
        jxl.open_trajectory(path, interval=0.01)


def test_atoms_of_extended_xyz_are_sorted_by_their_ids(tmp_path: Path) -> None:
    """Converters of dumps keep the order of the dump, which changes from frame to frame."""
    path = tmp_path / "a.xyz"
    comment = 'Lattice="9 0 0 0 9 0 0 0 9" Properties=id:I:1:species:S:1:pos:R:3:forces:R:3'
    rows = [f"{n} {s} {n} 0 0 0 0 {n}.5" for n, s in ((2, "Na"), (1, "Na"), (3, "Cl"))]
    path.write_text(f"3\n{comment}\n" + "\n".join(rows) + f"\n3\n{comment}\n" + "\n".join(rows[::-1]) + "\n")
    found = jxl.open_trajectory(path)
    assert found.numbers[0].tolist() == [11, 11, 17]
    assert found.positions[:, 0, :, 0].tolist() == [[1.0, 2.0, 3.0]] * 2
    assert jxl.read(path)[1].get_forces()[:, 2].tolist() == [1.5, 2.5, 3.5]


def test_ids_of_dumps_may_begin_with_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.dump"
    text = dump_text(wrapped_frames(3))
    path.write_text(
        "\n".join(
            f"{int(line.split()[0]) - 1} {line.split(maxsplit=1)[1]}" if line.split()[2:3] in (["Na"], ["Cl"]) else line
            for line in text.splitlines()
        )
        + "\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jxl.open_trajectory(path)
    without = re.sub(r"^\d+ (?=\d (Na|Cl))", "", path.read_text(), flags=re.MULTILINE).replace("id type", "type")
    path.write_text(without)
    with pytest.raises(InputError, match=r"frame 1 \(step 100\) holds the atoms in another order .*write the col"):
        jxl.open_trajectory(path)
    first = without[: without.index("ITEM: TIMESTEP", 1)]
    path.write_text(first + first.replace("TIMESTEP\n0", "TIMESTEP\n100"))
    with pytest.warns(UserWarning, match="holds no ids of its atoms"):
        jxl.open_trajectory(path)


def test_mmcif_is_recognised_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.cif"
    path.write_text("data_cell\n_cell.length_a 20.0\nloop_\n_atom_site.id\n1\n")
    for call in (jxl.read, jxl.open_trajectory):
        with pytest.raises(InputError, match=r"a\.cif: PDBx/mmCIF files cannot be read; write PDB"):
            call(path)


def test_boxes_and_velocities_of_gro_files(tmp_path: Path) -> None:
    """The box is v1(x) v2(y) v3(z) v1(y) v1(z) v2(x) v2(z) v3(x) v3(y) in nm; velocities are in nm/ps."""
    path = tmp_path / "a.gro"
    row = "    1NA      NA    1   1.000   2.000   0.500  0.1000 -0.2000  0.3000\n"
    path.write_text(f"salt t= 4.0\n    1\n{row}   3.0 4.0 5.0 0.0 0.0 0.7 0.0 -0.8 0.9\n")
    found = jxl.open_trajectory(path)
    np.testing.assert_allclose(found.cells[0], [[30, 0, 0], [7, 40, 0], [-8, 9, 50]], rtol=1e-12)
    np.testing.assert_allclose(found.positions[0, 0, 0], [10, 20, 5], rtol=1e-12)
    np.testing.assert_allclose(found.velocities[0, 0, 0], [0.001, -0.002, 0.003], rtol=1e-12)


def test_positions_in_nm_beside_a_cell_in_angstrom_are_noticed(tmp_path: Path, rng: np.random.Generator) -> None:
    points = rng.random((40, 3)) * 20.0
    for name, scale in (("nm", 0.1), ("angstrom", 1.0)):
        rows = "".join(f"Na {x:.5f} {y:.5f} {z:.5f}\n" for x, y, z in points * scale)
        (tmp_path / f"{name}.xyz").write_text(f"40\n\n{rows}")
    with pytest.warns(UserWarning, match=r"lengths in nm taken for Å: check the units of length; .* pass units="):
        jxl.open_trajectory(tmp_path / "nm.xyz", cell=[20.0] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jxl.open_trajectory(tmp_path / "angstrom.xyz", cell=[20.0] * 3)
