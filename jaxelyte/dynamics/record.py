"""Where a run keeps its frames and its log: in memory, or in a run folder that survives a kill at any moment.

Order within a chunk: frames and log rows are written and flushed first, the checkpoint that counts them last. Whatever
lies beyond the counts of the checkpoint is overwritten on resume, so a resumed run leaves the bytes of an
uninterrupted one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.interop.extxyz import ExtXYZAppender
from jaxelyte.interop.h5md import H5MDWriter
from jaxelyte.observables.recorded import SUFFIX
from jaxelyte.trajectory import Trajectory, open_trajectory

LOG_COLUMNS = ("step", "time", "temperature", "potential", "kinetic", "conserved")
LOG_UNITS = {"time": "fs", "temperature": "K", "potential": "eV", "kinetic": "eV", "conserved": "eV"}
RUN_FILES = (
    "trajectory.h5",
    "trajectory.extxyz",
    "log.csv",
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


class Record(Protocol):
    """Frames and log rows in the order of the run."""

    def append(
        self,
        positions: np.ndarray,
        velocities: np.ndarray | None,
        rows: np.ndarray,
        series: Mapping[str, np.ndarray] = NO_SERIES,
    ) -> None:
        """Add frames, (frames, replicas, atoms, 3), log rows, (frames, replicas, len(LOG_COLUMNS)), and series.

        The latter by name, (samples, replicas, columns).
        """
        ...

    def counts(self) -> dict[str, np.ndarray]:
        """What a checkpoint must know to cut the record back to now."""
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
        self._series: dict[str, list[np.ndarray]] = {}

    def append(
        self,
        positions: np.ndarray,
        velocities: np.ndarray | None,
        rows: np.ndarray,
        series: Mapping[str, np.ndarray] = NO_SERIES,
    ) -> None:
        self._positions.append(positions)
        self._rows.append(rows)
        for name, values in series.items():
            self._series.setdefault(name, []).append(values)
        if velocities is not None:
            self._velocities.append(velocities)

    def counts(self) -> dict[str, np.ndarray]:
        return {}

    def finish(self) -> None:
        pass

    def trajectory(self) -> Trajectory:
        positions = np.concatenate(self._positions)
        steps = np.arange(len(positions)) * self.layout.every
        return Trajectory(
            positions=positions,
            numbers=self.layout.numbers,
            masses=self.layout.masses,
            cells=self.layout.cells,
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
            if not self._h5.exists():
                raise InputError(f"{self._h5} is missing; the run cannot be resumed without its trajectory")
            H5MDWriter.extend(self._h5, frames)
            self._writer = H5MDWriter.open(self._h5)
        self._log = _open_at(folder / "log.csv", None if counts is None else int(counts["log_bytes"]))
        if counts is None:
            names = [f"{c}_{LOG_UNITS[c]}" if c in LOG_UNITS else c for c in LOG_COLUMNS]
            self._log.write((",".join(["replica", *names]) + "\n").encode())
        self._xyz = None
        if layout.extxyz:
            offset = None if counts is None else int(counts["xyz_bytes"])
            self._xyz = ExtXYZAppender(folder / "trajectory.extxyz", offset=offset)
        sizes = {} if counts is None else {n[len(SERIES) :]: int(c) for n, c in counts.items() if n.startswith(SERIES)}
        self._series = {name: _open_at(self._series_path(name), size) for name, size in sizes.items()}

    def append(
        self,
        positions: np.ndarray,
        velocities: np.ndarray | None,
        rows: np.ndarray,
        series: Mapping[str, np.ndarray] = NO_SERIES,
    ) -> None:
        for name, values in series.items():
            if name not in self._series:
                self._series_path(name).parent.mkdir(exist_ok=True)
                self._series[name] = _open_at(self._series_path(name), None)
            self._series[name].write(np.ascontiguousarray(values, "<f8").tobytes())
            self._series[name].flush()
        if len(positions):
            self._writer.write(self._frames, positions, velocities)
            if self._xyz is not None:
                self._xyz.append(self.layout, positions, rows)
        self._frames += len(positions)
        for frame in rows:
            for replica, row in enumerate(frame):
                step, values = int(row[0]), ",".join(repr(float(x)) for x in row[1:])
                self._log.write(f"{replica},{step},{values}\n".encode())
        self._writer.flush()
        self._log.flush()
        if self._xyz is not None:
            self._xyz.flush()

    def counts(self) -> dict[str, np.ndarray]:
        xyz = 0 if self._xyz is None else self._xyz.tell()
        return {
            "frames": np.array(self._frames),
            "log_bytes": np.array(self._log.tell()),
            "xyz_bytes": np.array(xyz),
        } | {f"{SERIES}{name}": np.array(file.tell()) for name, file in self._series.items()}

    def finish(self) -> None:
        self._writer.close()
        self._log.close()
        for file in self._series.values():
            file.close()
        if self._xyz is not None:
            self._xyz.close()
        if self._frames < self._planned:
            H5MDWriter.compact(self._h5, self._frames)

    def trajectory(self) -> Trajectory:
        return open_trajectory(self._h5).first(self._frames)

    def log(self) -> dict[str, np.ndarray]:
        return read_log(self.folder / "log.csv")

    def series(self, name: str) -> np.ndarray:
        return np.fromfile(self._series_path(name), "<f8")

    def _series_path(self, name: str) -> Path:
        return self.folder / "observables" / f"{name}{SUFFIX}"


def _open_at(path: Path, offset: int | None):
    """Open for appending at a byte offset, cutting off what lies behind it; None starts anew."""
    if offset is None:
        return path.open("wb")
    if not path.exists() or path.stat().st_size < offset:
        raise InputError(f"{path} is missing or shorter than the checkpoint says ({offset} bytes)")
    os.truncate(path, offset)
    file = path.open("r+b")
    file.seek(offset)
    return file


def log_columns(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Log rows (frames, replicas, columns) by name; step and time are the same for all replicas."""
    columns = {name: rows[:, :, k] for k, name in enumerate(LOG_COLUMNS)}
    columns["step"] = columns["step"][:, 0].astype(np.int64)
    columns["time"] = columns["time"][:, 0]
    return columns


def read_log(path: Path) -> dict[str, np.ndarray]:
    """Read ``log.csv``; see `log_columns`.

    Raises:
        InputError: the file is missing or not a log.
    """
    try:
        table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the log {path}: {error}") from error
    replicas = int(table[:, 0].max()) + 1
    return log_columns(table[:, 1:].reshape(-1, replicas, len(LOG_COLUMNS)))
