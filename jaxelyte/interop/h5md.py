"""H5MD 1.1 trajectories (de Buyl, Colberg, Höfling, Comput. Phys. Commun. 185, 1546 (2014)) that survive a kill.

All datasets are contiguous and allocated at their final length when the file is created, so writing frames never
touches the file's structure: a process may die at any moment and leave a file that opens. Frames are written by the
system's own calls at the offsets of these datasets, without the HDF5 library, which ends the process when it meets a
full disk. Nothing in the file depends on when or in how many pieces it was written, so an interrupted and resumed run
leaves the bytes of an uninterrupted one.

Layout: ``particles/all`` for one replica, ``particles/replica_000``, … for several. Each group holds ``position``
(``value`` Å, ``step``, ``time`` fs), optionally ``velocity`` (Å/fs), ``box`` with ``edges`` (rows are the lattice
vectors), ``species`` (atomic numbers with their symbols) and ``mass``. ``step`` is -1 for frames not yet written.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Self

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.interop.h5md_layout import Header, Places, group_names, places_of, series_names, write_empty
from jaxelyte.interop.h5md_reader import Node, open_for_reading, read_cells, read_h5md
from jaxelyte.storage import OpenFile, saving, write_all, writing
from jaxelyte.wording import counted

__all__ = ["H5MDWriter", "Header", "read_h5md"]


class H5MDWriter(OpenFile):
    """Writes frames into an H5MD file that has room for them; `create` and `open` make one."""

    def __init__(self, path: Path, header: Header, places: list[Places]) -> None:
        self.path, self.header, self._places = path, header, places
        with writing(path):
            self._descriptor = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))

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
            InputError: shapes that do not fit, or no frames.
            StorageError: a folder that cannot be written.
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
        _write(path, header, None, 0)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> H5MDWriter:
        """Continue a file that `create` made.

        Raises:
            InputError: no such file, or not a trajectory of jaxelyte.
            StorageError: no right to write to it.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"there is no trajectory {path} to continue")
        with contextlib.closing(open_for_reading(path)) as file:
            header = _read_header(file)
            places = places_of(file, header)
        if any(offset is None for place in places for series in place.series.values() for offset in series):
            raise InputError(f"{path} was not laid out by jaxelyte (its data are in chunks); it cannot be continued")
        return cls(path, header, places)

    @property
    def frames(self) -> int:
        """Length of the file in frames, written or not."""
        return self.header.frames

    def write(
        self,
        first_frame: int,
        positions: np.ndarray,
        velocities: np.ndarray | None = None,
        cells: np.ndarray | None = None,
    ) -> None:
        """Write consecutive frames; frames that are there are overwritten.

        Args:
            first_frame: index of the first one.
            positions: (frames, replicas, atoms, 3), Å, unwrapped.
            velocities: the same shape, Å/fs; needed exactly if the file holds velocities.
            cells: (frames, replicas, 3, 3), Å, where they differ from those that the file was created with.

        Raises:
            InputError: shapes or frame numbers that do not fit the file.
            StorageError: no room on the disk; the frames before are kept.
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
                f"frames {first_frame} to {first_frame + count - 1} do not fit a file of "
                f"{counted(self.header.frames, 'frame')}; extend it first"
            )
        if count == 0:
            return
        data = {"position": positions}
        if velocities is not None:
            data["velocity"] = np.asarray(velocities)
        with writing(self.path):
            for r, place in enumerate(self._places):
                if cells is not None and place.edges is not None:
                    self._put(place.edges, first_frame, np.asarray(cells[:, r], "<f8"))
                for name, values in data.items():
                    self._put(place.series[name][0], first_frame, values[:, r].astype(_stored(self.header.dtype)))
            # Steps mark frames as written, so they come last.
            steps = np.arange(first_frame, first_frame + count, dtype="<i8") * self.header.every
            for place in self._places:
                for _, time, step in place.series.values():
                    self._put(time, first_frame, steps * np.array(self.header.timestep, "<f8"))
                    self._put(step, first_frame, steps)

    def _put(self, offset: int, first: int, rows: np.ndarray) -> None:
        """Write rows of a dataset from row ``first`` on."""
        rows = np.ascontiguousarray(rows)
        write_all(self._descriptor, rows.tobytes(), offset + first * (rows.nbytes // len(rows)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def compact(path: str | Path, frames: int) -> None:
        """Keep the first ``frames`` frames only: the file of a run that ends early. Atomic.

        Raises:
            InputError: not a trajectory of jaxelyte, or it has fewer frames.
            StorageError: no room for the copy; the file is as it was.
        """
        _resize(Path(path), frames, None)

    @staticmethod
    def extend(path: str | Path, frames: int, *, valid: int | None = None) -> None:
        """Make room for ``frames`` frames in all, for a run that goes on. Atomic; nothing is done where they fit.

        Args:
            path: the file.
            frames: length in frames.
            valid: the frames to keep, from the first one on; all that are written by default.

        Raises:
            InputError: not a trajectory of jaxelyte, or it holds more frames than that, or fewer than ``valid``.
            StorageError: no room for the copy; the file is as it was.
        """
        written = written_frames(Path(path))
        valid = written if valid is None else valid
        if written < valid:
            raise InputError(f"{path} holds {counted(written, 'frame')}, but {valid} were written; it is damaged")
        if frames < valid:
            raise InputError(
                f"{path} holds {counted(valid, 'frame')}, more than the {frames} requested; request at least as many "
                "steps as are complete"
            )
        _resize(Path(path), frames, valid)


def written_frames(path: Path) -> int:
    """Frames at the start of a file that are written.

    Raises:
        InputError: not a trajectory of jaxelyte.
    """
    if not path.is_file():
        raise InputError(f"there is no trajectory {path}")
    with contextlib.closing(open_for_reading(path)) as file:
        steps = _steps(file, _read_header(file))
    return int(np.argmin(steps >= 0)) if np.any(steps < 0) else len(steps)


def _steps(file: Node, header: Header) -> np.ndarray:
    """Of each frame; the last group is written last."""
    return np.asarray(file["particles"][group_names(len(header.numbers))[-1]][series_names(header)[-1]]["step"])


def _write(path: Path, header: Header, source: Node | None, valid: int) -> None:
    """Make a file with the first ``valid`` frames of ``source``, and put it in the place of ``path``."""
    with saving(path) as temporary:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            write_empty(descriptor, header)
        finally:
            os.close(descriptor)
        if source is not None:
            with H5MDWriter.open(temporary) as target:
                _copy_frames(source, target, valid)


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


def _stored(dtype: np.dtype) -> np.dtype:
    """The same type in the byte order of the file."""
    return dtype.newbyteorder("<")


def _resize(path: Path, frames: int, valid: int | None) -> None:
    """Copy into a file of another length; of the frames, the first ``valid``, or as many as fit."""
    if not path.is_file():
        raise InputError(f"there is no trajectory {path}")
    with contextlib.closing(open_for_reading(path)) as file:
        header = _read_header(file)
        if frames == header.frames:
            return
        if valid is None and frames > header.frames:
            raise InputError(f"{path} has room for {counted(header.frames, 'frame')} only, cannot be cut to {frames}")
        if frames < 1:
            raise InputError(f"a trajectory keeps at least one frame, not {frames}")
        kept = frames if valid is None else valid
        _write(path, header._replace(frames=frames), file, min(kept, frames, header.frames))


def _copy_frames(source: Node, target: H5MDWriter, count: int) -> None:
    """Copy the first ``count`` frames that are written, as many at a time as 64 MB hold."""
    header = target.header
    groups = [source["particles"][name] for name in group_names(len(header.numbers))]
    steps = _steps(source, header)[:count]
    count = int(np.argmin(steps >= 0)) if np.any(steps < 0) else len(steps)
    bunch = max(1, 64_000_000 // max(1, header.dtype.itemsize * 3 * header.numbers.size))
    for begin in range(0, count, bunch):
        where = slice(begin, min(begin + bunch, count))
        names = {"position": "positions", "velocity": "velocities"}
        parts = {
            names[name]: np.stack([group[name]["value"][where] for group in groups], axis=1)
            for name in series_names(header)
        }
        cells = np.stack([group["box/edges/value"][where] for group in groups], axis=1) if any(header.pbc) else None
        target.write(begin, **parts, cells=cells)
