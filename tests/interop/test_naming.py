"""What the atoms of a file are: LAMMPS types, names of force fields, masses, sites without mass, isotopes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_numbers
from ase.io import write

import jaxelyte as jxl
from jaxelyte.errors import InputError
from jaxelyte.interop.naming import Naming
from walks import PAIRS, dump_text, gro_text, pdb_text, wrapped_frames, xyz_text


def test_types_of_lammps_are_no_elements(tmp_path: Path) -> None:
    frames = wrapped_frames(3)
    path = tmp_path / "a.dump"
    path.write_text(dump_text(frames, columns="id type x y z"))
    for call in (jxl.open_trajectory, jxl.read):
        with pytest.raises(
            InputError, match=r"named '1' \(10 atoms\), '2' \(10 atoms\) .* types of LAMMPS are no elements"
        ):
            call(path)
        with pytest.raises(InputError, match="elements names 3, 4, none of which"):
            call(path, elements={3: "Na", 4: "Cl"})
        call(path, elements={1: "Na", 2: "Cl", 3: "O"})  # all types of the simulation, of which the file holds two
        with pytest.raises(InputError, match="named '2'"):
            call(path, elements={1: "Na"})
        with pytest.raises(InputError, match="'sodium', which is not a chemical symbol"):
            call(path, elements={1: "sodium"})
    found = jxl.open_trajectory(path, elements={"1": "Na", 2: "Cl"})
    assert found.numbers[0].tolist() == [11] * PAIRS + [17] * PAIRS
    path.write_text(dump_text(frames).replace(" Na ", " C ").replace(" Cl ", " C "))
    with pytest.raises(InputError, match="gives the element C to all of its 2 types"):
        jxl.open_trajectory(path)
    plain = tmp_path / "a.xyz"
    plain.write_text(xyz_text(frames).replace("Na ", "1 ").replace("Cl ", "2 "))
    with pytest.raises(InputError, match="types of LAMMPS are no elements"):
        jxl.read(plain)
    assert jxl.read(plain, 0, elements={1: "Na", 2: "Cl"})[0].get_chemical_symbols()[0] == "Na"
    write(tmp_path / "a.data", frames[0], format="lammps-data")
    with pytest.raises(InputError, match="types of LAMMPS are no elements"):
        jxl.read(tmp_path / "a.data")
    write(tmp_path / "b.data", frames[0], format="lammps-data", masses=True, atom_style="full")
    back = jxl.read(tmp_path / "b.data")[0]
    assert back.get_chemical_symbols() == frames[0].get_chemical_symbols()
    np.testing.assert_allclose(back.positions, frames[0].positions, atol=1e-10)
    named = jxl.open_trajectory(path, topology=tmp_path / "b.data")
    assert named.numbers[0].tolist() == [11] * PAIRS + [17] * PAIRS


def test_names_that_may_be_several_elements_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text("4\n\nCO 0 0 0\nOS 1 1 1\nHO 2 2 2\nCS 3 3 3\n")
    with pytest.raises(InputError, match=r"'CO' .* may stand for several elements"):
        jxl.read(path)
    named = jxl.read(path, elements={"CO": "C", "OS": "O", "HO": "H", "CS": "C"})[0]
    assert named.get_chemical_symbols() == ["C", "O", "H", "C"]
    path.write_text("4\n\nCo 0 0 0\nOs 1 1 1\nNA 2 2 2\nd 3 3 3\n")
    atoms = jxl.read(path)[0]
    assert atoms.get_chemical_symbols() == ["Co", "Os", "Na", "H"]
    assert atoms.get_masses()[3] == pytest.approx(2.014, abs=1e-3)


TIP4P = [(1, "SOL", "OW"), (1, "SOL", "HW1"), (1, "SOL", "HW2"), (1, "SOL", "MW")]


def test_four_site_water_and_ions_by_their_residues(tmp_path: Path) -> None:
    path = tmp_path / "a.gro"
    path.write_text(gro_text([*TIP4P, (2, "CA", "CA"), (3, "CL", "CL"), (4, "CL-", "CL-")], 3))
    with pytest.warns(UserWarning, match="1 MW: massless sites"):
        found = jxl.open_trajectory(path)
    assert found.frame(0).get_chemical_symbols() == ["O", "H", "H", "Ca", "Cl", "Cl"]
    np.testing.assert_allclose(found.positions[:, 0, 3], [[4.0, 2.0, 0.1 * k] for k in range(3)], atol=1e-9)
    np.testing.assert_allclose(found.times, [0.0, 50.0, 100.0])
    np.testing.assert_allclose(found.cells[0], np.diag([20.0, 20.0, 30.0]))
    assert len(jxl.read(path, -1, elements={"MW": "X"})[0]) == 6
    path.write_text(gro_text([(1, "ALA", "N"), (1, "ALA", "CA"), (1, "ALA", "C")]))
    with pytest.raises(InputError, match="'CA'"):
        jxl.open_trajectory(path)
    path.write_text(gro_text(TIP4P, 3, times=False))
    assert np.isnan(jxl.open_trajectory(path, elements={"MW": "X"}).times).all()


def test_masses_of_isotopes_come_back_from_our_own_extended_xyz(tmp_path: Path) -> None:
    from jaxelyte.interop.extxyz import ExtXYZAppender

    atoms = Atoms("OH2", positions=np.eye(3), cell=[9.0] * 3, pbc=True)
    for heavy in (False, True):
        if heavy:
            atoms.set_masses([15.999, 2.014, 2.014])
        trajectory = jxl.Trajectory.from_atoms([atoms] * 2, interval=1.0)
        file = ExtXYZAppender(tmp_path / "a.extxyz")
        file.append(trajectory, np.asarray(trajectory.positions), np.zeros((2, 1, 6)) + np.arange(2)[:, None, None])
        file.close()
        assert ("masses" in (tmp_path / "a.extxyz").read_text()) == heavy
        assert jxl.open_trajectory(tmp_path / "a.extxyz").masses[0].tolist() == atoms.get_masses().tolist()
        assert jxl.read(tmp_path / "a.extxyz", -1)[0].get_masses().tolist() == atoms.get_masses().tolist()


def test_calcium_or_carbon_of_a_pdb(tmp_path: Path) -> None:
    pytest.importorskip("MDAnalysis", reason="MDAnalysis is not installed")
    path = tmp_path / "a.pdb"
    salt = [("CA", "CA", 1, "CA"), ("CL", "CL", 2, "CL"), ("O", "HOH", 3, "O"), ("D1", "HOH", 3, "D")]
    protein = [("N", "ALA", 1, "N"), ("CA", "ALA", 1, "C"), ("C", "ALA", 1, "C")]
    path.write_text(pdb_text(salt))
    assert jxl.read(path)[0].get_chemical_symbols() == ["Ca", "Cl", "O", "H"]
    assert jxl.read(path)[0].get_masses()[3] == pytest.approx(2.014, abs=1e-3)
    path.write_text(pdb_text(protein))
    assert jxl.read(path)[0].get_chemical_symbols() == ["N", "C", "C"]
    path.write_text(pdb_text([(*row[:3], "") for row in salt]))
    assert jxl.read(path)[0].get_chemical_symbols() == ["Ca", "Cl", "O", "H"]
    path.write_text(pdb_text([(*row[:3], "") for row in protein]))
    with pytest.raises(InputError, match="'CA'"):
        jxl.read(path)
    path.write_text(pdb_text([(name, residue, number, "") for number, residue, name in TIP4P]))
    with pytest.warns(UserWarning, match="1 MW: massless sites"):
        assert len(jxl.read(path)[0]) == 3


PSF_ATOMS = {
    "ions": ([("SOL", "OH2", 15.9994), ("SOL", "H1", 1.008), ("POT", "POT", 39.0983), ("CAL", "CAL", 40.08)], "OHKCa"),
    "ligand": ([("LIG", "CO", 12.011), ("LIG", "OS", 16.0), ("LIG", "HO", 1.008), ("LIG", "CS", 12.011)], "COHC"),
    "heavy hydrogens": ([("SOL", "OW", 13.958), ("SOL", "HW1", 3.024), ("LIG", "N1", 11.991)], "OHN"),
    "heavy water": ([("DOD", "O", 15.9994), ("DOD", "D1", 2.014)], "OH"),
}


@pytest.mark.parametrize("name", PSF_ATOMS)
def test_masses_of_a_topology_decide_what_its_names_leave_open(tmp_path: Path, name: str) -> None:
    pytest.importorskip("MDAnalysis", reason="MDAnalysis is not installed")
    atoms, symbols = PSF_ATOMS[name]
    rows = [
        f"{n + 1:8d} A    {50 + n if residue == atom else 1:<4d} {residue:<4s} {atom:<4s} T    "
        f"{0.0:10.6f}     {mass:9.4f}           0"
        for n, (residue, atom, mass) in enumerate(atoms)
    ]
    head = f"PSF\n\n       1 !NTITLE\n REMARKS made by hand\n\n{len(atoms):8d} !NATOM\n"
    (tmp_path / "a.psf").write_text(head + "\n".join(rows) + "\n\n       0 !NBOND: bonds\n\n")
    (tmp_path / "a.xyz").write_text(f"{len(atoms)}\n\n" + "".join(f"Q{n} {n} 0 0\n" for n in range(len(atoms))))
    found = jxl.open_trajectory(tmp_path / "a.xyz", topology=tmp_path / "a.psf")
    assert "".join(found.frame(0).get_chemical_symbols()) == symbols
    np.testing.assert_allclose(found.masses[0], [mass for *_, mass in atoms], rtol=1e-6)


def test_masses_as_force_fields_round_them() -> None:
    """Types of LAMMPS are known by their masses alone; a CH2 or CH4 as one site is neither nitrogen nor oxygen."""
    masses = {"O": (15.9994, 16.0), "N": (14.0067, 14.01, 14.0), "H": (1.0, 1.00794, 2.014), "S": (32.0, 32.06)}
    masses |= {"Cl": (35.45, 35.5), "K": (39.1,), "Ca": (40.08,), "Ni": (58.69,), "C": (12.0, 12.011), "I": (126.9,)}
    for symbol, values in masses.items():
        for mass in values:
            assert Naming().of(["7"], masses=np.array([mass])).numbers[0] == atomic_numbers[symbol]
    for united in (13.019, 14.027, 14.0266, 15.035, 16.043, 16.04):
        with pytest.raises(InputError, match="types of LAMMPS are no elements"):
            Naming().of(["7"], masses=np.array([united]))
        assert Naming().of(["CH2"], masses=np.array([united])).numbers[0] == 6
