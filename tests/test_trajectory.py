"""Frames: slicing that stays lazy, conversion to and from ASE, other formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from jaxelyte.errors import InputError
from jaxelyte.trajectory import ReplicaStack, Trajectory, open_trajectory


def some_frames(count: int = 6) -> list[Atoms]:
    frames = []
    for k in range(count):
        atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
        atoms.rattle(0.1, seed=k)
        atoms.set_velocities(np.random.default_rng(k).normal(0, 0.02, (len(atoms), 3)))
        frames.append(atoms)
    return frames


def test_atoms_round_trip() -> None:
    frames = some_frames()
    trajectory = Trajectory.from_atoms(frames, interval=2.5)
    assert len(trajectory) == 6
    assert trajectory.positions.shape == (6, 1, 8, 3)
    for k, atoms in enumerate(frames):
        back = trajectory.frame(k)
        np.testing.assert_allclose(back.positions, atoms.positions, rtol=0, atol=1e-12)
        np.testing.assert_allclose(back.get_velocities(), atoms.get_velocities(), rtol=1e-12)
        np.testing.assert_array_equal(back.cell.array, atoms.cell.array)
        assert back.get_chemical_symbols() == atoms.get_chemical_symbols()
        assert back.info["time"] == 2.5 * k
    np.testing.assert_allclose(trajectory.frame(-1).positions, frames[-1].positions)


def test_a_changing_cell_is_kept() -> None:
    frames = some_frames(3)
    frames[1].set_cell(frames[1].cell * 1.1, scale_atoms=True)
    trajectory = Trajectory.from_atoms(frames)
    np.testing.assert_allclose(trajectory[1:].frame(0).cell.array, frames[1].cell.array)
    np.testing.assert_allclose(trajectory.cells_of(slice(2, 3))[0, 0], frames[2].cell.array)


def test_slices_and_blocks() -> None:
    trajectory = Trajectory.from_atoms(some_frames(), interval=1.0)
    part = trajectory[1:6:2]
    np.testing.assert_array_equal(part.steps, [1, 3, 5])
    np.testing.assert_array_equal(part.positions, trajectory.positions[1:6:2])
    assert [len(block) for block in trajectory.blocks(4)] == [4, 2]
    assert trajectory.first(2).times.tolist() == [0.0, 1.0]
    with pytest.raises(InputError, match="sliced by frames"):
        trajectory[0]  # type: ignore[index]
    with pytest.raises(InputError, match="frame 6 of replica 0 does not exist"):
        trajectory.frame(6)
    with pytest.raises(InputError, match="replica 1"):
        trajectory.frame(0, replica=1)


KEYS = [
    0,
    -1,
    slice(None),
    slice(2, 7),
    slice(None, None, -2),
    slice(8, None, -3),
    (slice(1, 9, 3), 1),
    (slice(2, 5), slice(None), 0),
    (4, 1),
    (-2, slice(None), slice(1, 3), 2),
    ([1, 5, 2], 0),
    (slice(6, 6), 0),
]


@pytest.mark.parametrize("key", KEYS, ids=map(str, KEYS))
def test_a_lazy_stack_indexes_like_the_array(key: object) -> None:
    array = np.random.default_rng(0).normal(size=(10, 2, 4, 3))
    stack = ReplicaStack([array[:, 0], array[:, 1]])
    assert stack.shape == array.shape
    np.testing.assert_array_equal(np.asarray(stack[key]), array[key])
    twice, expected = stack[1:9][::2], array[1:9][::2]
    assert isinstance(twice, ReplicaStack)
    np.testing.assert_array_equal(np.asarray(twice), expected)
    np.testing.assert_array_equal(np.asarray(twice[::-1]), expected[::-1])


def test_bad_frames_are_refused(tmp_path: Path) -> None:
    frames = some_frames(3)
    with pytest.raises(InputError, match="no frame"):
        Trajectory.from_atoms([])
    with pytest.raises(InputError, match="frame 2 holds other atoms"):
        Trajectory.from_atoms([*frames[:2], frames[2][:-1]])
    frames[1].pbc = (True, True, False)
    with pytest.raises(InputError, match="frame 1 has pbc"):
        Trajectory.from_atoms(frames)
    with pytest.raises(InputError, match="no trajectory file"):
        open_trajectory(tmp_path / "absent.h5")
    (tmp_path / "bad.xyz").write_text("this is\nnot a structure\n")
    with pytest.raises(InputError, match="not an xyz file that can be read: line 1"):
        open_trajectory(tmp_path / "bad.xyz")


def test_extended_xyz_of_ase(tmp_path: Path) -> None:
    frames = some_frames()
    write(tmp_path / "a.extxyz", frames)
    found = open_trajectory(tmp_path / "a.extxyz")
    np.testing.assert_allclose(found.positions[:, 0], [f.positions for f in frames], atol=1e-7)
    assert np.isnan(found.times).all()
    np.testing.assert_array_equal(found.steps, np.arange(6))


def test_other_formats_through_mdanalysis(tmp_path: Path) -> None:
    pytest.importorskip("MDAnalysis", reason="MDAnalysis is not installed")
    frames = some_frames(2)
    write(tmp_path / "a.pdb", frames)
    found = open_trajectory(tmp_path / "a.pdb")
    assert found.frame(0).get_chemical_symbols() == frames[0].get_chemical_symbols()
    np.testing.assert_allclose(found.positions[:, 0], [f.positions for f in frames], atol=2e-3)
    np.testing.assert_allclose(found.cells[0], frames[0].cell.array, atol=1e-3)
    write(tmp_path / "b.xyz", frames, format="xyz")
    with pytest.warns(UserWarning, match=r"that of .* is 5.6 x 5.6 x 5.6 Å"):
        again = open_trajectory(tmp_path / "b.xyz", topology=tmp_path / "a.pdb")
    np.testing.assert_allclose(again.positions[:, 0], [f.positions for f in frames], atol=1e-5)
    (tmp_path / "c.nothing").write_text("x")
    with pytest.raises(InputError, match=r"format of .* is not recognised"):
        open_trajectory(tmp_path / "c.nothing")
