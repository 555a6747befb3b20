"""Trajectory files: bytes that do not depend on the history of a run, and readers that are not ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from ase.io import read

from jaxelyte.errors import InputError, StorageError
from jaxelyte.interop.extxyz import ExtXYZAppender
from jaxelyte.interop.h5md import H5MDWriter
from jaxelyte.trajectory import Trajectory, open_trajectory

TRICLINIC = np.array([[10.0, 0.0, 0.0], [1.5, 9.0, 0.0], [-2.0, 1.0, 11.0]])


def layout(replicas: int, velocities: bool, dtype: Any = np.float32) -> dict[str, Any]:
    return {
        "numbers": np.array([3, 17, 8, 1, 1]),
        "masses": np.array([6.94, 35.45, 15.999, 1.008, 1.008]),
        "cells": TRICLINIC,
        "pbc": (True, True, True),
        "every": 10,
        "timestep": 0.5,
        "replicas": replicas,
        "velocities": velocities,
        "dtype": dtype,
    }


def frames(count: int, replicas: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 5, (count, replicas, 5, 3)).astype(dtype)


def write_in_one_go(path: Path, data: np.ndarray, velocities: np.ndarray | None) -> bytes:
    with H5MDWriter.create(
        path, frames=len(data), **layout(data.shape[1], velocities is not None, data.dtype)
    ) as writer:
        writer.write(0, data, velocities)
    return path.read_bytes()


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(tmp_path: Path, replicas: int, moving: bool, dtype: Any) -> None:
    data = frames(12, replicas, dtype)
    velocities = data * dtype(0.01) if moving else None
    write_in_one_go(tmp_path / "a.h5", data, velocities)
    found = open_trajectory(tmp_path / "a.h5")
    assert len(found) == 12
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.asarray(found.positions), data)
    np.testing.assert_array_equal(found.steps, np.arange(12) * 10)
    np.testing.assert_array_equal(found.times, np.arange(12) * 5.0)
    np.testing.assert_array_equal(found.cells, np.broadcast_to(TRICLINIC, (replicas, 3, 3)))
    np.testing.assert_array_equal(found.numbers[-1], [3, 17, 8, 1, 1])
    np.testing.assert_array_equal(found.masses[0], [6.94, 35.45, 15.999, 1.008, 1.008])
    assert (found.velocities is None) == (not moving)
    if moving:
        np.testing.assert_array_equal(np.asarray(found.velocities[2:5]), velocities[2:5])


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_killed_and_resumed_run_leaves_the_same_bytes(tmp_path: Path, replicas: int) -> None:
    """Frames that a checkpoint does not know of are written again; no byte may tell."""
    data = frames(20, replicas)
    whole = write_in_one_go(tmp_path / "whole.h5", data, data)
    writer = H5MDWriter.create(tmp_path / "pieces.h5", frames=20, **layout(replicas, True))
    writer.write(0, data[:1], data[:1])
    writer.sync()
    writer.write(1, data[1:9], data[1:9])
    writer.sync()
    # What is there without closing the file is what a kill leaves.
    (tmp_path / "killed.h5").write_bytes((tmp_path / "pieces.h5").read_bytes())
    writer.close()
    assert len(open_trajectory(tmp_path / "killed.h5")) == 9
    with H5MDWriter.open(tmp_path / "killed.h5") as resumed:
        resumed.write(6, data[6:13], data[6:13])
        resumed.write(13, data[13:], data[13:])
    assert (tmp_path / "killed.h5").read_bytes() == whole


KILLED = """
import os, signal, sys
import numpy as np
from jaxelyte.interop.h5md import H5MDWriter
data = np.random.default_rng(3).normal(0, 5, (20, 1, 5, 3)).astype(np.float32)
writer = H5MDWriter.create(
    sys.argv[1], numbers=np.array([3, 17, 8, 1, 1]), masses=np.array([6.94, 35.45, 15.999, 1.008, 1.008]),
    cells=np.array([[10.0, 0.0, 0.0], [1.5, 9.0, 0.0], [-2.0, 1.0, 11.0]]), pbc=(True, True, True), frames=20,
    every=10, timestep=0.5, replicas=1, dtype=np.float32,
)
writer.write(0, data[:7])
writer.sync()
writer.write(7, data[7:9])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_in_another_process(tmp_path: Path, root: Path) -> None:
    whole = write_in_one_go(tmp_path / "whole.h5", frames(20, 1), None)
    path = tmp_path / "killed.h5"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=root, check=False, capture_output=True)
    assert done.returncode == -9, done.stderr.decode()
    assert len(open_trajectory(path)) >= 7
    with H5MDWriter.open(path) as resumed:
        resumed.write(7, frames(20, 1)[7:])
    assert path.read_bytes() == whole


def test_compact_and_extend_give_the_bytes_of_a_file_of_that_length(tmp_path: Path) -> None:
    data = frames(20, 2)
    path = tmp_path / "a.h5"
    with H5MDWriter.create(path, frames=15, **layout(2, False)) as writer:
        writer.write(0, data[:8])
    H5MDWriter.compact(path, 6)
    assert path.read_bytes() == write_in_one_go(tmp_path / "six.h5", data[:6], None)
    H5MDWriter.extend(path, 20)
    H5MDWriter.extend(path, 20)
    with H5MDWriter.open(path) as writer:
        writer.write(6, data[6:])
    assert path.read_bytes() == write_in_one_go(tmp_path / "twenty.h5", data, None)
    with pytest.raises(InputError, match="holds 20 frames, more than the 10"):
        H5MDWriter.extend(path, 10)
    with pytest.raises(InputError, match="room for 20 frames only"):
        H5MDWriter.compact(path, 21)
    assert list(tmp_path.glob("*.tmp")) == []


def test_reading_does_not_disturb_a_writer_and_survives_a_replaced_file(tmp_path: Path) -> None:
    data = frames(10, 1)
    path = tmp_path / "a.h5"
    writer = H5MDWriter.create(path, frames=10, **layout(1, False))
    writer.write(0, data[:4])
    writer.sync()
    seen = open_trajectory(path)
    writer.write(4, data[4:])
    writer.close()
    H5MDWriter.compact(path, 5)
    np.testing.assert_array_equal(np.asarray(seen.positions), data[:4])
    assert len(open_trajectory(path)) == 5


def test_structure_follows_h5md(tmp_path: Path) -> None:
    write_in_one_go(tmp_path / "a.h5", frames(3, 1), frames(3, 1))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["h5md"].attrs["version"].tolist() == [1, 1]
        assert {"author", "creator"} <= set(file["h5md"])
        group = file["particles/all"]
        assert group["box"].attrs["dimension"] == 3
        assert list(group["box"].attrs["boundary"]) == ["periodic"] * 3
        assert group["box/edges/value"].shape == (3, 3, 3)
        assert group["box/edges/step"] == group["position/step"]
        units = {"position": "Angstrom", "velocity": "Angstrom fs-1"}
        for name, unit in units.items():
            assert group[name]["value"].attrs["unit"] == unit
            assert group[name]["time"].attrs["unit"] == "fs"
            assert group[name]["step"][:].tolist() == [0, 10, 20]
        assert h5py.check_enum_dtype(group["species"].dtype) == {"H": 1, "Li": 3, "O": 8, "Cl": 17}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mdanalysis_reads_it(tmp_path: Path, dtype: Any) -> None:
    mda = pytest.importorskip("MDAnalysis", reason="MDAnalysis is not installed")
    data = frames(4, 1, dtype)
    write_in_one_go(tmp_path / "a.h5", data, data)
    universe = mda.Universe.empty(5)
    universe.load_new(str(tmp_path / "a.h5"), format="H5MD")
    assert universe.trajectory.n_frames == 4
    now = universe.trajectory[3]
    np.testing.assert_allclose(now.positions, data[3, 0], rtol=1e-6)
    np.testing.assert_allclose(now.velocities, data[3, 0] * 1000.0, rtol=1e-6)  # Å/ps
    assert now.time == pytest.approx(0.015)  # ps
    from ase.geometry import cell_to_cellpar

    np.testing.assert_allclose(now.dimensions, cell_to_cellpar(TRICLINIC), rtol=1e-5)
    # Both packages may look at a file at once, in either order.
    assert len(open_trajectory(tmp_path / "a.h5")) == 4
    H5MDWriter.compact(tmp_path / "a.h5", 2)
    assert universe.trajectory[3].frame == 3


def test_no_box_without_periodicity(tmp_path: Path) -> None:
    arguments = layout(1, False) | {"pbc": (False, False, False), "cells": np.zeros((3, 3))}
    with H5MDWriter.create(tmp_path / "a.h5", frames=2, **arguments) as writer:
        writer.write(0, frames(2, 1))
    found = open_trajectory(tmp_path / "a.h5")
    assert found.pbc == (False, False, False)
    assert not found.cells.any()
    assert not found.frame(0).cell.array.any()


def test_compressed_files_of_others_are_read(tmp_path: Path) -> None:
    data = frames(6, 1)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("particles/ions")
        group["species"] = np.array([3, 17, 8, 1, 1])
        group.create_dataset("position/value", data=data[:, 0], compression="gzip")
        group["position/step"] = np.arange(6)
        group.create_group("box").attrs["boundary"] = ["periodic"] * 3
        group["box/edges"] = np.array([5.0, 6.0, 7.0])
    found = open_trajectory(tmp_path / "a.h5")
    np.testing.assert_array_equal(np.asarray(found.positions[1:4]), data[1:4])
    np.testing.assert_array_equal(found.cells[0], np.diag([5.0, 6.0, 7.0]))
    assert np.isnan(found.times).all()


def test_bad_files_and_frames_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(InputError, match="not a readable HDF5 file"):
        open_trajectory(tmp_path / "text.h5")
    with pytest.raises(InputError, match=r"no trajectory .* to continue"):
        H5MDWriter.open(tmp_path / "absent.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_group("results")
    with pytest.raises(InputError, match="no group 'particles'"):
        open_trajectory(tmp_path / "other.h5")
    with pytest.raises(InputError, match="not a trajectory that jaxelyte wrote"):
        H5MDWriter.open(tmp_path / "other.h5")
    with H5MDWriter.create(tmp_path / "a.h5", frames=4, **layout(1, False)) as writer:
        with pytest.raises(InputError, match="do not fit a file of 4 frames"):
            writer.write(3, frames(2, 1))
        with pytest.raises(InputError, match="shape"):
            writer.write(0, frames(2, 2))
        with pytest.raises(InputError, match="no room for them"):
            writer.write(0, frames(2, 1), frames(2, 1))
    with pytest.raises(InputError, match="do not fit numbers"):
        H5MDWriter.create(tmp_path / "b.h5", frames=4, **(layout(2, False) | {"cells": np.zeros((3, 3, 3))}))
    with pytest.raises(InputError, match="at least one frame"):
        H5MDWriter.create(tmp_path / "b.h5", frames=0, **layout(1, False))
    with pytest.raises(StorageError, match=r"cannot write .* missing"):
        H5MDWriter.create(tmp_path / "absent" / "b.h5", frames=2, **layout(1, False))
    assert not (tmp_path / "b.h5").exists()


def log_rows(count: int, replicas: int) -> np.ndarray:
    rows = np.zeros((count, replicas, 6))
    rows[..., 0], rows[..., 1] = np.arange(count)[:, None] * 10, np.arange(count)[:, None] * 5.0
    rows[..., 2:] = np.random.default_rng(0).normal(300, 10, (count, replicas, 4))
    return rows


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extended_xyz_round_trip_and_resume(tmp_path: Path, replicas: int, dtype: Any) -> None:
    data, rows = frames(8, replicas, dtype), log_rows(8, replicas)
    shared = Trajectory(
        data,
        **{k: layout(1, False)[k] for k in ("numbers", "masses", "cells", "pbc")},
        steps=np.arange(8),
        times=np.arange(8.0),
    )
    whole = ExtXYZAppender(tmp_path / "whole.xyz")
    whole.append(shared, data, rows)
    whole.close()
    pieces = ExtXYZAppender(tmp_path / "pieces.xyz")
    pieces.append(shared, data[:3], rows[:3])
    offset = pieces.tell()
    pieces.append(shared, data[3:5], rows[3:5])
    pieces.close()
    resumed = ExtXYZAppender(tmp_path / "pieces.xyz", offset=offset)
    assert resumed.tell() == offset
    resumed.append(shared, data[3:], rows[3:])
    resumed.close()
    assert (tmp_path / "pieces.xyz").read_bytes() == (tmp_path / "whole.xyz").read_bytes()
    found = open_trajectory(tmp_path / "whole.xyz")
    np.testing.assert_array_equal(np.asarray(found.positions).astype(dtype), data)
    np.testing.assert_array_equal(found.cells[0], TRICLINIC)
    np.testing.assert_array_equal(found.steps, np.arange(8) * 10)
    last = read(tmp_path / "whole.xyz", index=-1)
    assert last.get_potential_energy() == rows[-1, -1, 3]
    with pytest.raises(InputError, match="shorter than"):
        ExtXYZAppender(tmp_path / "pieces.xyz", offset=10**9)
