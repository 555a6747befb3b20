"""GROMACS' XTC files: their frames are found here, and unpacked by MDAnalysis in a process of its own.

A damaged frame can end the process that unpacks it; it must not be that of the user.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.interop.file_text import unpacked, warn_of_part
from jaxelyte.interop.loaded import Loaded, rounding_of
from jaxelyte.interop.mdanalysis_files import import_mdanalysis
from jaxelyte.interop.naming import Naming
from jaxelyte.trajectory import Trajectory

MAGIC = {1995: 4, 2023: 8}
"""First number of a frame, and the bytes of the size of its packed positions."""

UNPACKED = 9
"""Up to so many atoms, positions are not packed."""


class XDRFrames(NamedTuple):
    """Frames in the units of GROMACS (nm, ps, nm/ps); ``v`` is empty or shorter where frames have no velocities."""

    x: list[np.ndarray]
    box: list[np.ndarray]
    v: list[np.ndarray]
    time: list[float]
    step: list[int]


def read_xtc(path: Path, naming: Naming) -> Loaded:
    """All complete frames, with the times of the file.

    Args:
        path: the file.
        naming: has the topology, which these files need.

    Raises:
        InputError: there is no topology or it has other atoms, or the file is damaged from the start.

    Warns:
        UserWarning: the file ends within a frame, or is damaged there.
    """
    import_mdanalysis(path)
    with tempfile.TemporaryDirectory() as folder:
        plain, result = unpacked(path, Path(folder)), Path(folder) / "frames.npz"
        count, damage = _complete(plain)
        if not count:
            raise InputError(f"{path} holds no complete frame: {damage}")
        # The process finds packages where this one does.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        program = [sys.executable, "-m", "jaxelyte.interop.xdr_process", str(plain), str(count), str(result)]
        done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment)  # noqa: S603
        if done.returncode != 0 or not result.is_file():
            last = (done.stderr.strip().splitlines() or [f"its reader ended with code {done.returncode}"])[-1]
            raise InputError(f"{path} cannot be read by MDAnalysis, and is probably damaged: {last[:300]}")
        with np.load(result, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    read, failure = len(arrays["x"]), str(arrays["failure"])[:200]
    if not read:
        raise InputError(f"{path} holds no frame that can be read: {failure}")
    if read < count or damage:
        warn_of_part(path, read, f"frame {read} is damaged ({failure})" if read < count else damage)
    return trajectory_of(
        path, naming, XDRFrames(list(arrays["x"]), list(arrays["box"]), [], list(arrays["time"]), list(arrays["step"]))
    )


def _complete(path: Path) -> tuple[int, str]:
    """How many frames are complete, and what follows them if it is no frame."""
    size, count, atoms = path.stat().st_size, 0, None
    with path.open("rb") as file:
        while (at := file.tell()) < size:
            head = file.read(56)
            magic, number = struct.unpack(">2i", head[:8]) if len(head) == 56 else (0, 0)
            atoms = number if atoms is None else atoms
            length = _length(file.read(40), magic, number) if magic in MAGIC and 0 < number == atoms else None
            if length is None or at + 56 + length > size:
                return count, f"no complete frame of the same atoms begins at byte {at} of {size}"
            file.seek(at + 56 + length)
            count += 1
    return count, ""


def _length(head: bytes, magic: int, atoms: int) -> int | None:
    """Bytes of the positions, whose own header is given; None where they cannot be right."""
    if atoms <= UNPACKED:
        return 12 * atoms
    if len(head) < 32 + MAGIC[magic]:
        return None
    low, high = np.frombuffer(head[4:16], ">i4").astype(np.int64), np.frombuffer(head[16:28], ">i4").astype(np.int64)
    small, packed = struct.unpack(">iq" if MAGIC[magic] == 8 else ">ii", head[28 : 32 + MAGIC[magic]])
    precision = struct.unpack(">f", head[:4])[0]
    if not (np.all(high >= low) and 9 <= small < 73 and 0 < packed <= 16 * atoms + 64 and 0 < precision < 1e9):
        return None
    return 32 + MAGIC[magic] + (packed + 3) // 4 * 4


def trajectory_of(path: Path, naming: Naming, frames: XDRFrames) -> Loaded:
    """Frames of GROMACS in our units.

    Raises:
        InputError: there is no topology, or one with other atoms; numbers that are not finite; frames with a cell and
            others without.
    """
    if naming.topology is None:
        raise InputError(f"{path} holds coordinates without names of the atoms; give a topology that has them")
    positions, edges = np.array(frames.x), np.array(frames.box, np.float64) * 10.0
    species = naming.of([""] * positions.shape[1])
    finite = np.isfinite(edges).all(axis=(1, 2))
    if not np.all(finite):
        raise InputError(f"{path}: the cell of frame {int(np.argmin(finite))} is not finite")
    periodic = np.abs(np.linalg.det(edges)) > 1e-6
    if np.any(periodic != periodic[0]):
        raise InputError(f"{path}: frame {int(np.argmax(periodic != periodic[0]))} differs from frame 0 in its cell")
    kept = slice(None) if species.kept is None else species.kept
    steps, times = np.array(frames.step, np.int64), np.array(frames.time, np.float64) * 1e3
    whole = bool(periodic[0])
    with np.errstate(over="ignore"):  # what has become infinite is refused with all that is not finite
        positions = positions * positions.dtype.type(10.0)
    moving = len(frames.v) == len(positions)
    trajectory = Trajectory(
        positions=positions[:, None, kept],
        numbers=species.numbers,
        masses=species.masses,
        cells=edges[0] if np.all(edges == edges[0]) else edges[:, None],
        pbc=(whole, whole, whole),
        steps=steps if np.all(np.diff(steps) > 0) else np.arange(len(steps)),
        times=times if len(times) > 1 else np.full(1, np.nan),
        velocities=np.array(frames.v)[:, None, kept] * positions.dtype.type(0.01) if moving else None,
    )
    return Loaded(trajectory, resolution=rounding_of(trajectory.times))
