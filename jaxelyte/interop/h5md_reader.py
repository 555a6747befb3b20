"""Reading H5MD trajectories, by memory map where the file allows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.trajectory import ReplicaStack, Trajectory

CREATOR = "jaxelyte"
"""What files that jaxelyte writes give as their creator; their positions are unwrapped."""

LENGTH_UNITS = {"Angstrom": 1.0, "angstrom": 1.0, "A": 1.0}
TIME_UNITS = {"fs": 1.0, "ps": 1e3, "ns": 1e6}
VELOCITY_UNITS = {"Angstrom fs-1": 1.0}

Node = Any
"""A file, group or dataset of HDF5: which of them a name stands for is known at run time only."""


def read_h5md(path: str | Path) -> Trajectory:
    """Open an H5MD file whose species are atomic numbers, positions in Å.

    Contiguous datasets are memory mapped. Frames at the end that were never written are left out.

    Raises:
        InputError: not an H5MD file, units other than Å, or species that are no atomic numbers.
    """
    path = Path(path)
    file = open_for_reading(path)
    kept_open = False
    try:
        if "particles" not in file or not len(file["particles"]):
            raise InputError(f"{path} is not an H5MD trajectory: it has no group 'particles'")
        groups = [file["particles"][name] for name in sorted(file["particles"])]
        _check_readable(path, groups)
        position = [group["position/value"] for group in groups]
        moving = all("velocity" in group for group in groups)
        velocity = [group["velocity/value"] for group in groups] if moving else []
        mapped = all(data.id.get_offset() is not None for data in (*position, *velocity))
        # Compressed or chunked data cannot be mapped; the file then stays open behind the trajectory.
        kept_open = not mapped
        steps = np.asarray(groups[0]["position/step"])
        written = int(np.argmin(steps >= 0)) if np.any(steps < 0) else len(steps)
        time = groups[0]["position/time"] if "time" in groups[0]["position"] else None
        femtoseconds = 1.0 if time is None else _unit(path, time, TIME_UNITS, "fs")
        for data in velocity:
            _unit(path, data, VELOCITY_UNITS, "Angstrom fs-1")
        numbers = np.array([np.asarray(group["species"]) for group in groups], np.int32)
        cells, pbc = read_cells(groups, len(steps))

        def lazy(datasets: list[Any]) -> Any:
            parts = [_memory_map(path, data) for data in datasets] if mapped else datasets
            return parts[0][:, None] if mapped and len(parts) == 1 else ReplicaStack(parts)

        trajectory = Trajectory(
            positions=lazy(position),
            numbers=numbers,
            masses=_read_masses(groups, numbers),
            cells=cells,
            pbc=pbc,
            steps=steps,
            times=np.full(len(steps), np.nan) if time is None else np.asarray(time, np.float64) * femtoseconds,
            velocities=lazy(velocity) if moving else None,
            unwrapped=_creator(file) == CREATOR,
        )
        return trajectory.first(written)
    finally:
        if not kept_open:
            file.close()


def open_for_reading(path: Path) -> Node:
    """Open without a lock: readers of a running simulation must not stop it, nor it them.

    Raises:
        InputError: not a readable HDF5 file.
    """
    try:
        return h5py.File(path, "r", locking=False)
    except OSError:
        # HDF5 wants one way of locking for a file that this process has open already, by another package say.
        try:
            return h5py.File(path, "r")
        except OSError as error:
            raise InputError(f"{path} is not a readable HDF5 file: {error}") from error


def _creator(file: Node) -> str:
    """Name of the program that wrote the file; empty where it gives none."""
    name = file["h5md/creator"].attrs.get("name", "") if "h5md/creator" in file else ""
    return name.decode() if isinstance(name, bytes) else str(name)


def _memory_map(path: Path, data: Node) -> np.ndarray:
    if data.size == 0:
        return np.empty(data.shape, data.dtype)
    return np.memmap(path, dtype=data.dtype, mode="r", offset=data.id.get_offset(), shape=data.shape)


def _check_readable(path: Path, groups: list[Node]) -> None:
    for group in groups:
        if "position" not in group or "species" not in group:
            raise InputError(
                f"{group.name} of {path} lacks positions or species; give a topology to read it through MDAnalysis"
            )
        _unit(path, group["position/value"], LENGTH_UNITS, "Angstrom")
        species = np.asarray(group["species"])
        if species.ndim != 1 or species.min(initial=1) < 1 or species.max(initial=1) > 118:
            raise InputError(f"species of {path} are not atomic numbers; give a topology to read it through MDAnalysis")


def _unit(path: Path, data: Node, known: dict[str, float], ours: str) -> float:
    """Factor to our unit; data without a unit are taken as ours."""
    unit = data.attrs.get("unit", ours)
    unit = unit.decode() if isinstance(unit, bytes) else str(unit)
    if unit not in known:
        raise InputError(f"{data.name} of {path} is in {unit!r}, only {', '.join(known)} can be read; convert the file")
    return known[unit]


def _read_masses(groups: list[Node], numbers: np.ndarray) -> np.ndarray:
    from ase.data import atomic_masses

    return np.array(
        [
            np.asarray(group["mass"], np.float64) if "mass" in group else atomic_masses[numbers[r]]
            for r, group in enumerate(groups)
        ]
    )


def read_cells(groups: list[Node], frames: int) -> tuple[np.ndarray, tuple[bool, bool, bool]]:
    """Cells (replicas, 3, 3), or (frames, replicas, 3, 3) where they change; and the periodic directions."""
    boundary = np.atleast_1d(np.asarray(groups[0]["box"].attrs["boundary"]))
    pbc = tuple((b.decode() if isinstance(b, bytes) else str(b)) == "periodic" for b in boundary)
    several = []
    for group in groups:
        box = group["box"]
        edges = np.zeros((1, 3, 3))
        if "edges" in box:
            varying = isinstance(box["edges"], h5py.Group)
            edges = np.asarray(box["edges/value"][:frames] if varying else box["edges"][...][None], np.float64)
        if edges.ndim == 2:
            edges = edges[:, :, None] * np.eye(3)
        several.append(edges)
    cells = np.stack(np.broadcast_arrays(*several), axis=1)
    constant = len(cells) == 1 or bool(np.all(cells == cells[0]))
    return (cells[0] if constant else cells), pbc  # pyright: ignore[reportReturnType]
