"""Frames of a run or of a file, behind one interface that never loads more than it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte import checks
from jaxelyte.errors import InputError, MissingError
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms


MOST_ELEMENTS = 118
"""Largest atomic number."""


def _numeric(name: str, value: Any) -> Any:
    """An array of numbers, or anything that slices like one, such as a dataset of a file.

    Raises:
        InputError: anything else.
    """
    found = value
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        try:
            found = np.asarray(value)
        except (TypeError, ValueError) as error:
            raise InputError(f"{name} must be an array of numbers, not {checks.shown(value)}") from error
    if np.dtype(found.dtype).kind not in "iuf":
        raise InputError(f"{name} must be an array of numbers, not {checks.shown(value)}")
    return found


@dataclass(frozen=True)
class Trajectory:
    """Frames of one or several replicas of a system.

    Attributes:
        positions: (frames, replicas, atoms, 3), Å; unwrapped if jaxelyte wrote them, otherwise as in the file. Any
            object that slices like an array: numpy, a memory map, a lazy stack of datasets.
        numbers: (replicas, atoms), atomic numbers; (atoms,) is accepted and repeated.
        masses: (replicas, atoms), g/mol; (atoms,) is accepted and repeated.
        cells: (replicas, 3, 3), Å, rows are the lattice vectors, zero where not periodic; or
            (frames, replicas, 3, 3) where the cell changes.
        pbc: periodic directions.
        steps: (frames,), number of the MD step.
        times: (frames,), fs; NaN where unknown.
        velocities: like the positions, Å/fs, or None.
        unwrapped: the positions follow each atom across the faces of the cell, as those written by jaxelyte do. False
            if this is unknown: analyses of motion then look for jumps by lattice vectors.
    """

    positions: Any
    numbers: np.ndarray
    masses: np.ndarray
    cells: np.ndarray
    pbc: tuple[bool, bool, bool]
    steps: np.ndarray
    times: np.ndarray
    velocities: Any = None
    unwrapped: bool = False

    def __post_init__(self) -> None:
        """Check shapes and kinds; positions may be on disk and are not read.

        Raises:
            InputError: arrays of another kind, or whose shapes do not belong together.
        """
        shape = _numeric("positions", self.positions).shape
        if len(shape) != 4 or shape[3] != 3:
            raise InputError(f"positions of a trajectory have shape (frames, replicas, atoms, 3), not {tuple(shape)}")
        frames, replicas, atoms, _ = (int(n) for n in shape)
        numbers = np.asarray(_numeric("numbers", self.numbers))
        if np.any(numbers != np.floor(numbers)) or np.any(numbers < 0) or np.any(numbers > MOST_ELEMENTS):
            raise InputError(f"numbers must be atomic numbers, integers up to {MOST_ELEMENTS}")
        masses = np.asarray(_numeric("masses", self.masses))
        if not np.all(masses > 0.0) or not np.all(np.isfinite(masses)):
            raise InputError("masses must be positive, in g/mol")
        for name, value in (("numbers", numbers.astype(np.int64, copy=False)), ("masses", masses)):
            if value.shape not in ((atoms,), (replicas, atoms)):
                raise InputError(f"{name} have shape ({atoms},) or ({replicas}, {atoms}), not {value.shape}")
            object.__setattr__(self, name, np.broadcast_to(value, (replicas, atoms)))
        cells = np.asarray(_numeric("cells", self.cells), np.float64)
        cells = np.broadcast_to(cells, (replicas, 3, 3)) if cells.shape == (3, 3) else cells
        if cells.shape not in ((replicas, 3, 3), (frames, replicas, 3, 3)):
            raise InputError(f"cells have shape ({replicas}, 3, 3) or ({frames}, {replicas}, 3, 3), not {cells.shape}")
        object.__setattr__(self, "cells", cells)
        pbc = checks.sequence("pbc", self.pbc, "three of True and False")
        if len(pbc) != 3:
            raise InputError(f"pbc must be three of True and False, not {checks.shown(self.pbc)}")
        object.__setattr__(self, "pbc", tuple(checks.flag("pbc", one) for one in pbc))
        for name in ("steps", "times"):
            value = np.asarray(_numeric(name, getattr(self, name)))
            if value.shape != (frames,):
                raise InputError(f"{name} have shape ({frames},), one for each frame, not {value.shape}")
            if name == "steps" and np.any(value != np.floor(value)):
                raise InputError("steps must be integers, the numbers of the MD steps")
            object.__setattr__(self, name, value)
        if self.velocities is not None and tuple(_numeric("velocities", self.velocities).shape) != tuple(shape):
            raise InputError(f"velocities have the shape of the positions, {tuple(shape)}, or are None")
        checks.flag("unwrapped", self.unwrapped)

    @classmethod
    def from_atoms(cls, frames: list[Atoms] | Atoms, *, interval: float | None = None) -> Trajectory:
        """Frames of one replica.

        Args:
            frames: structures with the same atoms in the same order.
            interval: fs between frames; without it the times are ``atoms.info["time"]`` (fs) or NaN.

        Raises:
            InputError: no frames, or frames with different atoms or periodicity.
        """
        from ase import Atoms

        several = [frames] if isinstance(frames, Atoms) else checks.sequence("frames", frames, "ase.Atoms")
        for number, one in enumerate(several):
            checks.instance(f"frames[{number}]", one, Atoms, "ase.Atoms")
        return stacked([several], interval=interval)

    def __len__(self) -> int:
        return int(self.positions.shape[0])

    @property
    def replicas(self) -> int:
        """Number of replicas."""
        return int(self.positions.shape[1])

    @property
    def num_atoms(self) -> int:
        """Atoms of each replica."""
        return int(self.positions.shape[2])

    @property
    def dtype(self) -> np.dtype:
        """Floating type of the stored positions."""
        return np.dtype(self.positions.dtype)

    def interval(self, what: str = "an analysis of motion") -> float:
        """Fs between frames.

        Args:
            what: is computed, for the error.

        Raises:
            InputError: fewer than two frames, frames without times, or not equally spaced in time.
        """
        times = np.asarray(self.times, np.float64)
        if len(times) < 2:
            raise InputError(
                f"{len(times)} frame{'s are' if len(times) != 1 else ' is'} left, and {what} needs several; discard "
                "fewer, or run longer"
            )
        if not np.all(np.isfinite(times)):
            raise InputError(
                f"{what} needs the times of the frames, which are not known; pass the fs between frames by interval=… "
                "(of open_trajectory, or of Trajectory.from_atoms)"
            )
        steps = np.diff(times)
        if not np.allclose(steps, steps[0], rtol=1e-6, atol=1e-9) or steps[0] <= 0:
            odd = int(np.argmax(np.abs(steps - np.median(steps)))) + 1
            raise InputError(
                f"frames are {steps.min():g} to {steps.max():g} fs apart (frame {odd} lies {steps[odd - 1]:g} fs "
                f"behind the one before); {what} needs frames that are equally spaced in time"
            )
        return float(steps.mean())

    def first(self, frames: int) -> Trajectory:
        """The first frames only (the valid ones of a file that is still being written)."""
        return self[: checks.count("frames", frames, least=0)]

    def __getitem__(self, frames: slice) -> Trajectory:
        """A range of frames, not copied: ``trajectory[100:]`` leaves out the first hundred.

        Raises:
            InputError: anything but a range of frames.
        """
        if not isinstance(frames, slice):
            raise InputError(
                f"a trajectory is sliced by frames, such as [100:], not indexed by {checks.shown(frames)}; "
                "use .frame(i) for one frame"
            )
        checks.whole_slice("a trajectory", frames, "frames")
        return replace(
            self,
            positions=self.positions[frames],
            velocities=None if self.velocities is None else self.velocities[frames],
            cells=self.cells[frames] if self.cells.ndim == 4 else self.cells,
            steps=self.steps[frames],
            times=self.times[frames],
        )

    def cells_of(self, frames: slice) -> np.ndarray:
        """Cells of a range of frames, (frames, replicas, 3, 3), Å."""
        count = len(range(*frames.indices(len(self))))
        if self.cells.ndim == 4:
            return self.cells[frames]
        return np.broadcast_to(self.cells, (count, *self.cells.shape))

    def frame(self, i: int, replica: int = 0) -> Atoms:
        """One frame as ``ase.Atoms``, with velocities where they are stored; step and time (fs) in ``info``.

        Raises:
            MissingError: no such frame or replica.
            InputError: no integer.
        """
        from ase import Atoms
        from ase.units import fs

        i, replica = checks.count("i", i, least=-sys.maxsize), checks.count("replica", replica, least=0)
        if not -len(self) <= i < len(self) or replica >= self.replicas:
            raise MissingError(
                f"frame {i} of replica {replica} does not exist: {counted(len(self), 'frame')}, "
                f"{counted(self.replicas, 'replica')}"
            )
        i %= len(self)
        atoms = Atoms(
            numbers=self.numbers[replica],
            positions=np.asarray(self.positions[i, replica], np.float64),
            masses=self.masses[replica],
            cell=self.cells[i, replica] if self.cells.ndim == 4 else self.cells[replica],
            pbc=self.pbc,
        )
        if self.velocities is not None:
            atoms.set_velocities(np.asarray(self.velocities[i, replica], np.float64) / fs)
        atoms.info["step"] = int(self.steps[i])
        if np.isfinite(self.times[i]):
            atoms.info["time"] = float(self.times[i])
        return atoms

    def universe(self, replica: int = 0, *, charges: Mapping[str, float] | None = None) -> Any:
        """One replica as a Universe of MDAnalysis; see `jaxelyte.interop.universe.to_universe`.

        Args:
            replica: which one.
            charges: e, of elements; without, the universe has none.

        Raises:
            InputError: frames that are not evenly spaced in time, charges that are not those of all elements.
            MissingError: no such replica.
            ImportError: MDAnalysis is not installed (the extra ``analysis``).
        """
        from jaxelyte.interop.universe import to_universe

        return to_universe(self, replica=replica, charges=charges)

    def blocks(self, frames: int) -> Iterator[Trajectory]:
        """Consecutive stretches of at most ``frames`` frames, with positions in memory.

        Raises:
            InputError: no positive integer.
        """
        frames = checks.count("frames", frames)
        for begin in range(0, len(self), frames):
            part = self[begin : begin + frames]
            velocities = None if part.velocities is None else np.asarray(part.velocities)
            yield replace(part, positions=np.asarray(part.positions), velocities=velocities)

    def __repr__(self) -> str:
        many = f"{self.replicas} replicas of " if self.replicas > 1 else ""
        finite = len(self) > 0 and bool(np.isfinite(self.times[-1]))
        span = f", {(self.times[-1] - self.times[0]) / 1000.0:.4g} ps" if finite else ""
        return f"Trajectory({counted(len(self), 'frame')} of {many}{counted(self.num_atoms, 'atom')}{span})"


class ReplicaStack:
    """Datasets of shape (frames, atoms, 3), one per replica, seen as one array (frames, replicas, atoms, 3)."""

    def __init__(self, parts: list[Any], frames: slice = slice(None)) -> None:
        self.parts = parts
        self._frames = range(parts[0].shape[0])[frames]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(frames, replicas, atoms, 3)."""
        return (len(self._frames), len(self.parts), *self.parts[0].shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Floating type of the datasets."""
        return np.dtype(self.parts[0].dtype)

    ndim = 4

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, key: Any) -> Any:
        """Numpy indexing; a range of frames alone stays lazy."""
        if isinstance(key, slice):
            chosen = self._frames[key]
            step = chosen.step
            stop = chosen.stop if chosen.stop >= 0 else None
            return ReplicaStack(self.parts, slice(chosen.start, stop, step))
        key = key if isinstance(key, tuple) else (key,)
        frames, rest = key[0], key[1:]
        if isinstance(frames, (int, np.integer)):
            at = self._frames[int(frames)]
            return np.stack([np.asarray(part[at]) for part in self.parts])[rest]
        chosen = np.asarray(self._frames)[frames]
        first = rest[0] if rest else slice(None)
        if isinstance(first, (int, np.integer)):
            return self._read(self.parts[int(first)], chosen)[(slice(None), *rest[1:])]
        return np.stack([self._read(part, chosen) for part in self.parts], axis=1)[(slice(None), *rest)]

    @staticmethod
    def _read(part: Any, frames: np.ndarray) -> np.ndarray:
        if len(frames) and np.array_equal(frames, np.arange(frames[0], frames[0] + len(frames))):
            return np.asarray(part[int(frames[0]) : int(frames[0]) + len(frames)])
        return np.asarray([part[int(i)] for i in frames], part.dtype).reshape(len(frames), *part.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[np.arange(len(self))], dtype=dtype)


def open_trajectory(
    path: str | Path,
    *,
    topology: str | Path | None = None,
    format: str | None = None,  # noqa: A002 - the name that ASE's functions have
    interval: float | None = None,
    cell: Any = None,
    units: str | None = None,
    elements: Any = None,
) -> Trajectory:
    """Open a trajectory file, or any other file that `read` accepts.

    H5MD files of jaxelyte are memory mapped: frames are read when they are used, also while a run is still writing the
    file. Other files are read completely; see `read` for their formats, which are recognised by content.

    Times are never invented. If the file does not state them (LAMMPS dumps without ``dump_modify time yes``, DCD of
    LAMMPS, PDB, most xyz), they are NaN, and analyses of motion raise an error that asks for ``interval``.

    Args:
        path: the file.
        topology: a file with the elements, for formats with coordinates only (DCD, XTC, …): a structure, a
            LAMMPS data file, or what MDAnalysis reads (PSF, PRMTOP, TPR, …); in the order of the trajectory.
        format: overrides the recognised format; see `read`.
        interval: fs between frames.
        cell: cell for files without one: three lengths in Å; three lengths and three angles in degrees; or 3 x 3 with
            the lattice vectors as rows.
        units: units of LAMMPS files that do not state them (real, metal, si, cgs, electron, micro or nano), or of xyz
            files (angstrom, bohr (atomic_unit) or nm).
        elements: chemical symbols by LAMMPS type or by name, ``{1: "Na", 2: "Cl"}``; "X" leaves out a site
            without mass.

    Raises:
        InputError: the file is missing, damaged, in no known format, holds no frame, frames of different atoms or atoms
            of unknown elements, or needs a package that is absent.

    Warns:
        UserWarning: a part of the file could not be read, steps were written twice, massless sites are left out, an
            argument overrides the file, or the density is impossible.
    """
    from jaxelyte.interop.loading import load_trajectory

    return load_trajectory(
        path, topology=topology, format=format, interval=interval, cell=cell, units=units, elements=elements
    )


def stacked(replicas: list[list[Atoms]], *, interval: float | None, source: str = "") -> Trajectory:
    """Frames of several replicas, cut to the shortest; see `Trajectory.from_atoms`.

    Args:
        replicas: the frames of each.
        interval: fs between frames, or None.
        source: the file, for errors.

    Raises:
        InputError: no frames, or frames with different atoms or periodicity.
    """
    from ase.units import fs

    if not replicas or not replicas[0]:
        raise InputError("the trajectory holds no frame")
    count = min(len(frames) for frames in replicas)
    first, where = replicas[0][0], f" of {source}" if source else ""
    for frames in replicas:
        for i, atoms in enumerate(frames):
            if not np.array_equal(atoms.numbers, frames[0].numbers) or len(atoms) != len(first):
                raise InputError(
                    f"frame {i}{where} holds other atoms than frame 0 ({atoms.get_chemical_formula()} against "
                    f"{first.get_chemical_formula()}, or another order); a trajectory needs the same atoms throughout"
                )
            if not np.array_equal(atoms.pbc, first.pbc):
                raise InputError(f"frame {i}{where} has pbc {atoms.pbc}, frame 0 has {first.pbc}; make them equal")
    cells = np.array([[frames[i].cell.array * first.pbc[:, None] for frames in replicas] for i in range(count)])
    info = [atoms.info for atoms in replicas[0][:count]]
    steps = np.array([int(_of_info(entry, "step", i, i, where)) for i, entry in enumerate(info)])
    if interval is None:
        times = np.array([_of_info(entry, "time", np.nan, i, where) for i, entry in enumerate(info)])
    else:
        times = np.arange(count) * checks.quantity("interval", interval, "interval")
    moving = all("momenta" in atoms.arrays for frames in replicas for atoms in frames)
    velocities = None
    if moving:
        velocities = np.stack([[frames[i].get_velocities() * fs for frames in replicas] for i in range(count)])
    return Trajectory(
        positions=np.stack([[frames[i].positions for frames in replicas] for i in range(count)]),
        numbers=np.array([frames[0].numbers for frames in replicas]),
        masses=np.array([frames[0].get_masses() for frames in replicas]),
        cells=cells[0] if np.all(cells == cells[0]) else cells,
        pbc=tuple(bool(p) for p in first.pbc),  # pyright: ignore[reportArgumentType]
        steps=steps,
        times=times,
        velocities=velocities,
    )


def _of_info(info: Any, key: str, default: float, frame: int, where: str) -> float:
    try:
        return float(info.get(key, default))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"frame {frame}{where}: {key} in atoms.info is {info[key]!r}, which is not a number"
        ) from error
