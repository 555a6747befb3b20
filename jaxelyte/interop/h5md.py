"""H5MD 1.1 trajectories (de Buyl, Colberg, Höfling, Comput. Phys. Commun. 185, 1546 (2014)) that survive a kill.

All datasets are contiguous and allocated at their final length when the file is created, so writing frames never
touches the file's structure: a process may die at any moment and leave a file that opens. Nothing in the file depends
on when or in how many pieces it was written, so an interrupted and resumed run leaves the bytes of an uninterrupted
one.

Layout: ``particles/all`` for one replica, ``particles/replica_000``, … for several. Each group holds ``position``
(``value`` Å, ``step``, ``time`` fs), optionally ``velocity`` (Å/fs), ``box`` with ``edges`` (rows are the lattice
vectors), ``species`` (atomic numbers with their symbols) and ``mass``. ``step`` is -1 for frames not yet written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.interop.h5md_layout import Header, group_names, series_names, write_structure
from jaxelyte.interop.h5md_reader import Node, open_for_reading, read_cells, read_h5md

__all__ = ["H5MDWriter", "Header", "read_h5md"]


class H5MDWriter:
    """Writes frames into a preallocated H5MD file."""

    def __init__(self, file: Node) -> None:
        self._file = file
        self.header = _read_header(file)
        self._groups = [file["particles"][name] for name in sorted(file["particles"])]

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        numbers: np.ndarray,
        masses: np.ndarray,
        cells: np.ndarray,
        pbc: tuple[bool, bool, bool],
        frames: int,
        every: int,
        timestep: float,
        replicas: int,
        velocities: bool = False,
        dtype: Any = np.float32,
    ) -> H5MDWriter:
        """Create a file, replacing one that is there, and open it.

        Args:
            path: usually ``….h5``.
            numbers: (atoms,) or (replicas, atoms), atomic numbers.
            masses: (atoms,) or (replicas, atoms), g/mol.
            cells: (3, 3) or (replicas, 3, 3), Å; rows of directions that are not periodic are stored as zero.
            pbc: periodic directions.
            frames: length of the file; frame k belongs to step ``k * every``.
            every: MD steps between frames.
            timestep: fs.
            replicas: number of replicas.
            velocities: whether frames hold velocities.
            dtype: of positions and velocities.

        Raises:
            InputError: shapes that do not fit, no frames, or a folder that cannot be written.
        """
        path = Path(path)
        if frames < 1 or every < 1:
            raise InputError(f"a trajectory needs at least one frame and one step between frames: {frames=}, {every=}")
        atoms = np.shape(numbers)[-1]
        try:
            header = Header(
                numbers=np.broadcast_to(np.asarray(numbers, np.int32), (replicas, atoms)),
                masses=np.broadcast_to(np.asarray(masses, np.float64), (replicas, atoms)),
                cells=np.broadcast_to(np.asarray(cells, np.float64), (replicas, 3, 3)),
                pbc=tuple(bool(p) for p in pbc),  # pyright: ignore[reportArgumentType]
                frames=int(frames),
                every=int(every),
                timestep=float(timestep),
                velocities=bool(velocities),
                dtype=np.dtype(dtype),
            )
        except ValueError as error:
            raise InputError(
                f"{replicas} replicas do not fit numbers {np.shape(numbers)}, masses {np.shape(masses)} and cells "
                f"{np.shape(cells)}: {error}"
            ) from error
        _write_atomically(path, header, None)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> H5MDWriter:
        """Go on with a file that `create` made.

        Raises:
            InputError: no such file, or not a trajectory of jaxelyte.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"there is no trajectory {path} to go on with")
        try:
            # Readers of a running simulation must not lock it out, nor it them.
            file = h5py.File(path, "r+", locking=False)
        except OSError as error:
            raise InputError(
                f"{path} is not an HDF5 file that can be written ({error}); if another program or package has it open, "
                "close it there"
            ) from error
        try:
            return cls(file)
        except InputError:
            file.close()
            raise

    @property
    def frames(self) -> int:
        """Length of the file in frames, written or not."""
        return self.header.frames

    def write(self, first_frame: int, positions: np.ndarray, velocities: np.ndarray | None = None) -> None:
        """Write consecutive frames; frames that are there are overwritten.

        Args:
            first_frame: index of the first one.
            positions: (frames, replicas, atoms, 3), Å, unwrapped.
            velocities: the same shape, Å/fs; needed exactly if the file holds velocities.

        Raises:
            InputError: shapes or frame numbers that do not fit the file.
        """
        positions = np.asarray(positions)
        count = len(positions)
        shape = (count, *self.header.numbers.shape, 3)
        if positions.shape != shape:
            raise InputError(f"positions have shape {positions.shape}, the file needs {shape}")
        if (velocities is not None) != self.header.velocities:
            raise InputError(
                "velocities were given but the file has no room for them"
                if velocities is not None
                else "the file holds velocities but none were given"
            )
        if velocities is not None and np.shape(velocities) != shape:
            raise InputError(f"velocities have shape {np.shape(velocities)}, the file needs {shape}")
        if first_frame < 0 or first_frame + count > self.header.frames:
            raise InputError(
                f"frames {first_frame} to {first_frame + count - 1} do not fit a file of {self.header.frames} frames; "
                "extend it first"
            )
        if count == 0:
            return
        where = slice(first_frame, first_frame + count)
        for r, group in enumerate(self._groups):
            group["position/value"][where] = positions[:, r]
            if velocities is not None:
                group["velocity/value"][where] = np.asarray(velocities)[:, r]
        # Steps mark frames as written, so they must not reach the disk before the frames.
        self._file.flush()
        steps = np.arange(first_frame, first_frame + count, dtype=np.int64) * self.header.every
        for group in self._groups:
            for name in series_names(self.header):
                group[name]["time"][where] = steps * self.header.timestep
                group[name]["step"][where] = steps

    def flush(self) -> None:
        """Hand everything to the operating system; a process killed later loses nothing of it."""
        self._file.flush()

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._file:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def compact(path: str | Path, frames: int) -> None:
        """Keep the first ``frames`` frames only: the file of a run that ends early. Atomic.

        Raises:
            InputError: not a trajectory of jaxelyte, or it has fewer frames.
        """
        _resize(Path(path), frames, cut=True)

    @staticmethod
    def extend(path: str | Path, frames: int) -> None:
        """Make room for ``frames`` frames in all, for a run that goes on. Atomic; nothing is done where they fit.

        Raises:
            InputError: not a trajectory of jaxelyte, or it holds more frames than that.
        """
        _resize(Path(path), frames, cut=False)


def _write_atomically(path: Path, header: Header, source: Node | None) -> None:
    """Make a file beside ``path``, copy the frames of ``source`` into it, and put it in the place of ``path``."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with h5py.File(temporary, "w", libver=("earliest", "v108"), locking=False) as file:
            write_structure(file, header)
            if source is not None:
                _copy_frames(source, file, header)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"cannot write {path}: {error}; check the folder and the free space") from error


def _read_header(file: Node) -> Header:
    settings = file.get("parameters/jaxelyte")
    if settings is None or "particles" not in file:
        raise InputError(f"{file.filename} is not a trajectory that jaxelyte wrote; only those can be continued")
    groups = [file["particles"][name] for name in sorted(file["particles"])]
    cells, pbc = read_cells(groups, 1)
    position = groups[0]["position/value"]
    return Header(
        numbers=np.array([np.asarray(group["species"]) for group in groups], np.int32),
        masses=np.array([np.asarray(group["mass"]) for group in groups]),
        cells=cells,
        pbc=pbc,
        frames=position.shape[0],
        every=int(settings.attrs["every"]),
        timestep=float(settings.attrs["timestep"]),
        velocities="velocity" in groups[0],
        dtype=position.dtype,
    )


def _resize(path: Path, frames: int, *, cut: bool) -> None:
    if not path.is_file():
        raise InputError(f"there is no trajectory {path}")
    with open_for_reading(path) as file:
        header = _read_header(file)
        if frames == header.frames:
            return
        written = int(np.sum(np.asarray(file["particles"][group_names(len(header.numbers))[0]]["position/step"]) >= 0))
        if not cut and frames < written:
            raise InputError(
                f"{path} holds {written} frames, more than the {frames} asked for; "
                "ask for at least as many steps as are done"
            )
        if cut and frames > header.frames:
            raise InputError(f"{path} has room for {header.frames} frames only, cannot be cut to {frames}")
        if frames < 1:
            raise InputError(f"a trajectory keeps at least one frame, not {frames}")
        _write_atomically(path, header._replace(frames=frames), file)


def _copy_frames(source: Node, target: Node, header: Header) -> None:
    """Copy the frames that both files have room for, as many at a time as 64 MB hold."""
    for name in target["particles"]:
        for series in series_names(header):
            old, new = source["particles"][name][series], target["particles"][name][series]
            common = min(old["step"].shape[0], header.frames)
            # Beyond the last frame written there is nothing to copy, and the new file stays sparse there.
            steps = np.asarray(old["step"][:common])
            written = int(np.flatnonzero(steps >= 0)[-1]) + 1 if np.any(steps >= 0) else 0
            bunch = max(1, 64_000_000 // max(1, old["value"].dtype.itemsize * 3 * old["value"].shape[1]))
            for begin in range(0, written, bunch):
                where = slice(begin, min(begin + bunch, written))
                new["value"][where] = old["value"][where]
            new["time"][:written] = old["time"][:written]
            new["step"][:written] = steps[:written]
