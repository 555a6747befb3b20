"""Where a run keeps its frames and its log: in memory, or in a run folder that survives a kill at any moment.

Order within a chunk: frames and log rows reach the disk first, the checkpoint that counts them last. Whatever lies
beyond the counts of the checkpoint is overwritten on resume, so a resumed run leaves the bytes of an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np

from jaxelyte.checks import caution
from jaxelyte.errors import InputError, StorageError
from jaxelyte.interop.extxyz import ExtXYZAppender
from jaxelyte.interop.h5md import H5MDWriter, written_frames
from jaxelyte.observables.recorded import SUFFIX
from jaxelyte.storage import AppendFile, writing
from jaxelyte.trajectory import Trajectory, open_trajectory
from jaxelyte.wording import counted

LOG_COLUMNS = ("step", "time", "temperature", "potential", "kinetic", "conserved")
CELL_COLUMNS = ("volume", "density", "a", "b", "c")
"""Further ones where the cell changes."""

LOG_UNITS = {"time": "fs", "temperature": "K", "potential": "eV", "kinetic": "eV", "conserved": "eV"}
LOG_UNITS |= {"volume": "A3", "density": "g/cm3", "a": "A", "b": "A", "c": "A"}
LOG, XYZ = "log.csv", "trajectory.extxyz"
RUN_FILES = (
    "trajectory.h5",
    XYZ,
    LOG,
    "checkpoint.npz",
    "config.json",
    "summary.json",
    "observables",
)


SERIES = "series_bytes/"
NO_SERIES: Mapping[str, np.ndarray] = MappingProxyType({})


@dataclass(frozen=True)
class Layout:
    """What the frames of a run are made of; numpy, float64 unless ``dtype`` says otherwise.

    Attributes:
        numbers: (replicas, atoms).
        masses: (replicas, atoms), g/mol.
        cells: (replicas, 3, 3), Å.
        pbc: periodic directions.
        every: steps between frames.
        timestep: fs.
        dtype: of the stored positions.
        velocities: whether frames hold velocities.
        extxyz: whether an extended XYZ file is written as well.
        moving: whether cells change; ``cells`` are then those of the start.
    """

    numbers: np.ndarray
    masses: np.ndarray
    cells: np.ndarray
    pbc: tuple[bool, bool, bool]
    every: int
    timestep: float
    dtype: np.dtype
    velocities: bool
    extxyz: bool
    moving: bool = False


class Record(Protocol):
    """Frames and log rows in the order of the run."""

    def append(
        self,
        positions: np.ndarray,
        velocities: np.ndarray | None,
        rows: np.ndarray,
        series: Mapping[str, np.ndarray] = NO_SERIES,
        cells: np.ndarray | None = None,
    ) -> None:
        """Add frames, (frames, replicas, atoms, 3), log rows, (frames, replicas, columns), and series.

        The latter by name, (samples, replicas, columns). Cells, (frames, replicas, 3, 3), where they change.
        """
        ...

    def counts(self) -> dict[str, np.ndarray]:
        """What a checkpoint must know to cut the record back to now."""
        ...

    def sync(self) -> None:
        """Wait until everything is where a kill, or a full disk, cannot take it away."""
        ...

    def close(self) -> None:
        """Let go of the files as they are; a second time does nothing."""
        ...

    def finish(self) -> None:
        """Close; leave nothing but valid frames."""
        ...

    def trajectory(self) -> Trajectory:
        """All valid frames."""
        ...

    def log(self) -> dict[str, np.ndarray]:
        """Log by column: step and time of shape (rows,), the others (rows, replicas)."""
        ...

    def series(self, name: str) -> np.ndarray:
        """All values of a series in the order (samples, replicas, columns), in any shape."""
        ...


class MemoryRecord:
    """Frames in memory, for notebooks."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._positions: list[np.ndarray] = []
        self._velocities: list[np.ndarray] = []
        self._rows: list[np.ndarray] = []
        self._cells: list[np.ndarray] = []
        self._series: dict[str, list[np.ndarray]] = {}

    def append(
        self,
        positions: np.ndarray,
        velocities: np.ndarray | None,
        rows: np.ndarray,
        series: Mapping[str, np.ndarray] = NO_SERIES,
        cells: np.ndarray | None = None,
    ) -> None:
        self._positions.append(positions)
        self._rows.append(rows)
        for name, values in series.items():
            self._series.setdefault(name, []).append(values)
        if velocities is not None:
            self._velocities.append(velocities)
        if cells is not None:
            self._cells.append(cells)

    def counts(self) -> dict[str, np.ndarray]:
        return {}

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass

    def finish(self) -> None:
        pass

    def trajectory(self) -> Trajectory:
        positions = np.concatenate(self._positions)
        steps = np.arange(len(positions)) * self.layout.every
        return Trajectory(
            positions=positions,
            numbers=self.layout.numbers,
            masses=self.layout.masses,
            cells=np.concatenate(self._cells) if self._cells else self.layout.cells,
            pbc=self.layout.pbc,
            steps=steps,
            times=steps * self.layout.timestep,
            velocities=np.concatenate(self._velocities) if self._velocities else None,
            unwrapped=True,
        )

    def log(self) -> dict[str, np.ndarray]:
        return log_columns(np.concatenate(self._rows))

    def series(self, name: str) -> np.ndarray:
        return np.concatenate(self._series[name])


class FolderRecord:
    """Frames in ``trajectory.h5`` (H5MD) and optionally extended XYZ, log rows in ``log.csv``."""

    def __init__(self, folder: Path, layout: Layout, frames: int, counts: dict[str, np.ndarray] | None) -> None:
        """Create the files, or go on at the counts of a checkpoint.

        Args:
            folder: an existing folder.
            layout: what the frames are made of.
            frames: frames at the end of the run.
            counts: from `counts`, or None for a new run.

        Raises:
            InputError: a file of the run to go on with is missing or shorter than its checkpoint says.
        """
        self.folder, self.layout = folder, layout
        self._h5 = folder / "trajectory.h5"
        self._frames = 0 if counts is None else int(counts["frames"])
        self._planned = frames
        if counts is None:
            self._writer = H5MDWriter.create(
                self._h5,
                numbers=layout.numbers,
                masses=layout.masses,
                cells=layout.cells,
                pbc=layout.pbc,
                frames=frames,
                every=layout.every,
                timestep=layout.timestep,
                replicas=len(layout.cells),
                velocities=layout.velocities,
                dtype=layout.dtype,
            )
        else:
            H5MDWriter.extend(self._h5, frames, valid=self._frames)
            self._writer = H5MDWriter.open(self._h5)
        self._log = AppendFile(folder / LOG, offset=None if counts is None else int(counts["log_bytes"]))
        if counts is None:
            columns = LOG_COLUMNS + (CELL_COLUMNS if layout.moving else ())
            names = [f"{c}_{LOG_UNITS[c]}" if c in LOG_UNITS else c for c in columns]
            self._log.write((",".join(["replica", *names]) + "\n").encode())
        self._xyz = None
        if layout.extxyz:
            offset = None if counts is None else int(counts["xyz_bytes"])
            self._xyz = ExtXYZAppender(folder / XYZ, offset=offset)
        sizes = {} if counts is None else series_sizes(counts)
        self._series = {name: AppendFile(self._series_path(name), offset=size) for name, size in sizes.items()}

    def append(
        self,
        positions: np.ndarray,
        velocities: np.ndarray | None,
        rows: np.ndarray,
        series: Mapping[str, np.ndarray] = NO_SERIES,
        cells: np.ndarray | None = None,
    ) -> None:
        for name, values in series.items():
            if name not in self._series:
                with writing(self._series_path(name)):
                    self._series_path(name).parent.mkdir(exist_ok=True)
                self._series[name] = AppendFile(self._series_path(name))
            self._series[name].write(np.ascontiguousarray(values, "<f8").tobytes())
        if len(positions):
            self._writer.write(self._frames, positions, velocities, cells)
            if self._xyz is not None:
                self._xyz.append(self.layout, positions, rows, cells)
        self._frames += len(positions)
        lines = []
        for frame in rows:
            for replica, row in enumerate(frame):
                step, values = int(row[0]), ",".join(repr(float(x)) for x in row[1:])
                lines.append(f"{replica},{step},{values}\n")
        self._log.write("".join(lines).encode())

    def counts(self) -> dict[str, np.ndarray]:
        xyz = 0 if self._xyz is None else self._xyz.tell()
        return {
            "frames": np.array(self._frames),
            "log_bytes": np.array(self._log.tell()),
            "xyz_bytes": np.array(xyz),
        } | {f"{SERIES}{name}": np.array(file.tell()) for name, file in self._series.items()}

    def _files(self) -> list[H5MDWriter | AppendFile | ExtXYZAppender]:
        xyz = [] if self._xyz is None else [self._xyz]
        return [self._writer, self._log, *self._series.values(), *xyz]

    def sync(self) -> None:
        for file in self._files():
            file.sync()

    def close(self) -> None:
        for file in self._files():
            file.close()

    def finish(self) -> None:
        self.close()
        if self._frames < self._planned:
            try:
                H5MDWriter.compact(self._h5, self._frames)
            except StorageError as error:
                # The file is valid as it is: its steps tell which frames are written.
                caution(f"{self._h5} keeps its room for frames that were not run: {error}")

    def trajectory(self) -> Trajectory:
        return open_trajectory(self._h5).first(self._frames)

    def log(self) -> dict[str, np.ndarray]:
        return read_log(self.folder / LOG)

    def series(self, name: str) -> np.ndarray:
        return np.fromfile(self._series_path(name), "<f8")

    def _series_path(self, name: str) -> Path:
        return self.folder / "observables" / f"{name}{SUFFIX}"


def series_sizes(counts: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Bytes of each recorded series, by name, from the counts of a checkpoint."""
    return {name[len(SERIES) :]: int(count) for name, count in counts.items() if name.startswith(SERIES)}


def check_record(folder: Path, counts: Mapping[str, np.ndarray]) -> None:
    """Refuse to go on with files that are missing, or shorter than a checkpoint says; changes nothing.

    Raises:
        InputError: which file, and what is missing.
    """
    sizes = {LOG: int(counts["log_bytes"]), XYZ: int(counts["xyz_bytes"])}
    sizes |= {f"observables/{name}{SUFFIX}": length for name, length in series_sizes(counts).items()}
    for name, least in sizes.items():
        path = folder / name
        if least and (not path.is_file() or path.stat().st_size < least):
            state = f"has {path.stat().st_size} bytes" if path.is_file() else "is missing"
            raise InputError(
                f"{path} {state}, but the checkpoint counts {least} bytes; restore the file, or start a new run in "
                "another folder from the last state (load_run)"
            )
    path, frames = folder / "trajectory.h5", int(counts["frames"])
    if not path.is_file():
        raise InputError(f"{path} is missing; the run cannot be resumed without its trajectory")
    written = written_frames(path)
    if written < frames:
        raise InputError(f"{path} holds {counted(written, 'frame')}, but the checkpoint counts {frames}; it is damaged")


def log_columns(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Log rows (frames, replicas, columns) by name; step and time are the same for all replicas."""
    names = (LOG_COLUMNS + CELL_COLUMNS)[: rows.shape[2]]
    columns = {name: rows[:, :, k] for k, name in enumerate(names)}
    columns["step"] = columns["step"][:, 0].astype(np.int64)
    columns["time"] = columns["time"][:, 0]
    return columns


def read_log(path: Path) -> dict[str, np.ndarray]:
    """Read ``log.csv``; see `log_columns`. A last row that is being written, or of a frame not yet whole, is left out.

    Raises:
        InputError: the file is missing or not a log.
    """
    try:
        text = path.read_bytes()
        lines = text[: text.rfind(b"\n") + 1].decode().splitlines()[1:]
        table = np.array([line.split(",") for line in lines], np.float64).reshape(len(lines), -1)
        replicas = int(table[:, 0].max()) + 1
        whole = len(table) // replicas * replicas
        return log_columns(table[:whole, 1:].reshape(-1, replicas, table.shape[1] - 1))
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(f"cannot read the log {path}: {error}") from error
