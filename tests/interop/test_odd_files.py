"""Files as other programs and editors leave them: all is read, nothing twice, and nothing is lost in silence."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import jaxelyte as jxl
from jaxelyte.errors import InputError

HEAD = 'Lattice="12 0 0 0 12 0 0 0 12" Properties=species:S:1:pos:R:3'


def silent(path: Path, **options: object) -> jxl.Trajectory:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return jxl.open_trajectory(path, **options)  # pyright: ignore[reportArgumentType]


def test_exponents_of_fortran_in_extended_xyz(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(f"2\n{HEAD} time=0\nNa 1.0D+00 -0.25d1 3.5D-01\nCl 4.0D+00 5.0D0 0.0D+00\n")
    assert silent(path).positions[0, 0].tolist() == [[1.0, -2.5, 0.35], [4.0, 5.0, 0.0]]


@pytest.mark.parametrize("comment", ["Properties= time=0", "Properties=species:S:1 time=0"])
def test_comments_that_do_not_describe_the_columns(tmp_path: Path, comment: str) -> None:
    (tmp_path / "a.xyz").write_text(f"2\n{comment}\nNa 1.0 2.0 3.0\nCl 4.0 5.0 6.0\n")
    for reader in (jxl.read, jxl.open_trajectory):
        with pytest.raises(InputError, match="frame 0"):
            reader(tmp_path / "a.xyz")


def test_alternate_locations_of_a_pdb_file_are_read_once(tmp_path: Path) -> None:
    row = "HETATM{:5d} {:<4s}{:1s}{:3s} A{:4d}    {:8.3f}{:8.3f}{:8.3f}  0.50  0.00          {:>2s}\n"
    text = ""
    for model in range(2):
        text += f"MODEL     {model + 1:4d}\n"
        text += row.format(1, "NA", "A", "NA", 1, 1.0, 1.0, 1.0, "NA") + row.format(
            2, "NA", "B", "NA", 1, 1.3, 1, 1, "NA"
        )
        text += row.format(3, "CL", " ", "CL", 2, 4.0, 1.0, 1.0, "CL") + "ENDMDL\n"
    (tmp_path / "a.pdb").write_text(text + "END\n")
    with pytest.warns(UserWarning, match="alternate locations of 1 atom, such as NA NA A 1; the first") as found:
        frames = jxl.read(tmp_path / "a.pdb")
    assert len(found) == 1
    assert [frame.get_chemical_symbols() for frame in frames] == [["Na", "Cl"]] * 2
    assert frames[1].positions[0].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("box", ["", "  20.0000000  21.0000000  22.0000000  90.0000000  90.0000000  90.0000000\n"])
@pytest.mark.parametrize("velocities", [False, True])
def test_the_box_of_amber_restarts(tmp_path: Path, box: str, velocities: bool) -> None:
    points = np.arange(9.0).reshape(3, 3) * 1.5
    rows = "".join("".join(f"{x:12.7f}" for x in points.ravel()[n : n + 6]) + "\n" for n in range(0, 9, 6))
    moving = "".join("".join(f"{0.1:12.7f}" for _ in range(6 if n == 0 else 3)) + "\n" for n in range(2))
    (tmp_path / "a.rst7").write_text(f"salt\n     3  0.1000000E+02\n{rows}{moving if velocities else ''}{box}")
    (tmp_path / "top.xyz").write_text("3\n\nNa 0 0 0\nCl 0 0 3\nK 0 0 6\n")
    found = silent(tmp_path / "a.rst7", topology=tmp_path / "top.xyz")
    np.testing.assert_allclose(found.positions[0, 0], points, atol=1e-6)
    assert found.pbc == (bool(box),) * 3
    np.testing.assert_allclose(found.cells[0], np.diag([20.0, 21.0, 22.0]) if box else np.zeros((3, 3)))


def test_frames_without_atoms_are_refused(tmp_path: Path) -> None:
    from ase import Atoms
    from ase.io import write

    write(tmp_path / "a.traj", [Atoms("Ar"), Atoms()])
    for reader in (jxl.read, jxl.open_trajectory):
        with pytest.raises(InputError, match="frame 1"):
            reader(tmp_path / "a.traj")
