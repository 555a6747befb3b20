"""Observables of a trajectory: the updates of the loop, over frames that are there already."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.observables.base import Observable
from jaxelyte.system import System
from jaxelyte.trajectory import Trajectory, open_trajectory

MOST_BLOCKS = 256
BYTES_AT_ONCE = 64_000_000


def as_trajectory(source: Any) -> Trajectory:
    """The frames of a run, a trajectory, ``ase.Atoms`` (one or a list), a file, or a run folder.

    Raises:
        InputError: anything else, or a file that cannot be read.
    """
    if isinstance(source, Trajectory):
        return source
    if isinstance(getattr(source, "trajectory", None), Trajectory):
        return source.trajectory
    if isinstance(source, (str, Path)):
        path = Path(source)
        return open_trajectory(path / "trajectory.h5" if path.is_dir() else path)
    from ase import Atoms

    if isinstance(source, Atoms) or (
        isinstance(source, (list, tuple)) and source and all(isinstance(frame, Atoms) for frame in source)
    ):
        return Trajectory.from_atoms(source)  # pyright: ignore[reportArgumentType]
    raise InputError(
        f"frames come from a run, a trajectory, ase.Atoms, a file or a run folder, not from {type(source).__name__}"
    )


def first_systems(trajectory: Trajectory) -> System:
    """The replicas of the first frame as a batch of systems, in the floating type of the trajectory."""
    if len(trajectory) == 0:
        raise InputError("the trajectory holds no frame")
    first = trajectory[:1]
    return _batch(first, np.asarray(first.positions), np.asarray(first.cells_of(slice(0, 1))), frame=0)


def accumulate(observable: Observable, trajectory: Trajectory, *, blocks: int = MOST_BLOCKS) -> tuple[Any, System]:
    """Sample every frame of a trajectory, one compilation for all of them.

    Args:
        observable: prepared for the systems of the trajectory.
        trajectory: the frames.
        blocks: stretches of equal length at most; the last one may be shorter.

    Returns:
        Accumulators with leading axes (blocks, replicas) in numpy, int64 and float64; and the first system.
    """
    systems = first_systems(trajectory)
    length = -(-len(trajectory) // blocks)
    frame_bytes = max(1, trajectory.replicas * trajectory.num_atoms * 3 * trajectory.dtype.itemsize)
    room = max(1, min(length, BYTES_AT_ONCE // frame_bytes))
    program = _program(observable)
    done = []
    for begin in range(0, len(trajectory), length):
        stretch, total = trajectory[begin : begin + length], None
        for part in stretch.blocks(room):
            positions, cells = _padded(part.positions, room), _padded(part.cells_of(slice(None)), room)
            acc = program(systems, *_device(positions, cells, systems), jnp.asarray(len(part), jnp.int32))
            wide = jax.tree.map(_widen, acc)
            total = wide if total is None else jax.tree.map(np.add, total, wide)
        done.append(total)
    return jax.tree.map(lambda *x: np.stack(x), *done), jax.tree.map(lambda x: x[0], systems)


@partial(jax.jit, static_argnums=0)
def _sample(observable: Observable, systems: System, positions: Any, cells: Any, count: Any) -> Any:
    def one(frame: Any, acc: Any) -> Any:
        now = systems.replace(positions=positions[frame], cell=cells[frame])
        return jax.vmap(observable.update)(acc, now)

    return jax.lax.fori_loop(jnp.zeros((), jnp.int32), count, one, jax.vmap(observable.init)(systems))


def _program(observable: Observable) -> Any:
    return partial(_sample, observable)


def _batch(trajectory: Trajectory, positions: np.ndarray, cells: np.ndarray, *, frame: int) -> System:
    dtype = jax.dtypes.canonicalize_dtype(trajectory.dtype)
    complete = complete_cells(cells[frame], trajectory.pbc)
    return System(
        positions=jnp.asarray(positions[frame], dtype),
        numbers=jnp.asarray(trajectory.numbers, jnp.int32),
        masses=jnp.asarray(trajectory.masses, dtype),
        cell=jnp.asarray(complete, dtype),
        mask=jnp.ones(trajectory.numbers.shape, bool),
        pbc=trajectory.pbc,
    )


def complete_cells(cells: np.ndarray, pbc: tuple[bool, bool, bool]) -> np.ndarray:
    """Cells (…, 3, 3) with unit vectors in directions that are not periodic."""
    if all(pbc):
        return np.asarray(cells)
    from ase.geometry import complete_cell

    kept = np.asarray(cells) * np.asarray(pbc)[:, None]
    flat = [complete_cell(cell) for cell in kept.reshape(-1, 3, 3)]
    return np.array(flat).reshape(kept.shape)


def _device(positions: np.ndarray, cells: np.ndarray, systems: System) -> tuple[Any, Any]:
    dtype = systems.positions.dtype
    return jnp.asarray(positions, dtype), jnp.asarray(complete_cells(cells, systems.pbc), dtype)


def _padded(values: np.ndarray, room: int) -> np.ndarray:
    missing = room - len(values)
    return np.concatenate([values, np.repeat(values[-1:], missing, axis=0)]) if missing else np.asarray(values)


def _widen(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    return array.astype(np.float64 if np.issubdtype(array.dtype, np.floating) else np.int64)
