"""Observables of a trajectory: the updates of the loop, over frames that are there already."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte import checks
from jaxelyte.errors import InputError
from jaxelyte.observables.base import Observable
from jaxelyte.storage import read_json
from jaxelyte.system import System
from jaxelyte.trajectory import Trajectory, open_trajectory
from jaxelyte.wording import counted

MOST_BLOCKS = 256
BYTES_AT_ONCE = 64_000_000
LEAST_VOLUME = 1e-6
"""Å³ (Å² or Å where fewer directions are periodic), below which a cell is none."""


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


def analysed(source: Any, discard: int | None = None) -> Trajectory:
    """The frames that an analysis looks at, checked as far as this needs no reading of positions.

    Args:
        source: see `as_trajectory`.
        discard: frames left out at the start; by default see `equilibration_of`.

    Raises:
        InputError: see `as_trajectory`; no frame, a ``discard`` that is not an integer from 0 to below the number of
            frames, or a cell that is not finite or has no volume.
    """
    trajectory = as_trajectory(source)
    if len(trajectory) == 0 or trajectory.num_atoms == 0:
        raise InputError(f"the trajectory holds no {'atom' if len(trajectory) else 'frame'}")
    left_out = frames_left_out(
        equilibration_of(source, len(trajectory)) if discard is None else discard, len(trajectory)
    )
    check_cells(trajectory)
    return trajectory[left_out:]


def equilibration_of(source: Any, frames: int) -> int:
    """Frames at the start that a run or run folder counts as equilibration: a fifth unless it was given another number.

    0 for anything else, also for the ``trajectory`` of a run: trajectories, ``ase.Atoms`` and files do not say from
    where on they were in equilibrium.

    Args:
        source: see `as_trajectory`.
        frames: how many there are.
    """
    summary = getattr(source, "summary", None)
    if isinstance(source, (str, Path)):
        summary = _folder_summary(Path(source), frames)
    found = summary.get("discarded_frames") if isinstance(summary, dict) else None
    return 0 if found is None else min(checks.count("discarded_frames of the run", found, least=0), frames - 1)


def _folder_summary(folder: Path, frames: int) -> dict[str, Any] | None:
    """What a run folder says about its equilibration; from its settings where the run goes on or was killed."""
    if (folder / "summary.json").exists():
        return read_json(folder / "summary.json")
    if not (folder / "config.json").exists():
        return None
    settings = read_json(folder / "config.json")
    steps, every = settings.get("equilibration"), settings.get("every")
    intervals = (frames - 1) // 5 if steps is None or not every else -(-int(steps) // int(every))
    return {"discarded_frames": intervals + 1 if intervals else 0}


def frames_left_out(discard: Any, frames: int) -> int:
    """Number of frames to leave out at the start, as ``int``.

    Raises:
        InputError: not an integer from 0 to below the number of frames.
    """
    if isinstance(discard, (float, np.floating)) and 0.0 < discard < 1.0:
        raise InputError(
            f"discard = {discard:g} must be an integer, a number of frames; that share of {counted(frames, 'frame')} "
            f"is discard = {int(discard * frames)}"
        )
    left_out = checks.count("discard", discard, least=0)
    if left_out >= frames:
        raise InputError(f"cannot discard {left_out} of {counted(frames, 'frame')}; at least one has to remain")
    return left_out


def check_cells(trajectory: Trajectory) -> None:
    """Raise `InputError` where the cell of a frame is not finite, or has no volume though it is periodic."""
    several = trajectory.cells.reshape(-1, trajectory.replicas, 3, 3)
    varying = trajectory.cells.ndim == 4
    finite = np.isfinite(several).all(axis=(-2, -1))
    if not np.all(finite):
        frame, replica = np.argwhere(~finite)[0]
        raise InputError(
            f"the cell of {_where(trajectory, frame, replica, varying)} is not finite: "
            f"{several[frame, replica].tolist()}"
        )
    if not any(trajectory.pbc):
        return
    rows = np.where(np.asarray(trajectory.pbc)[:, None], several, np.eye(3))
    # Rows along which nothing repeats do not count: the area, or the length, of the others does.
    gram = np.einsum("fria,frja->frij", several, several)
    keep = np.outer(trajectory.pbc, trajectory.pbc)
    volume = np.sqrt(np.abs(np.linalg.det(np.where(keep, gram, np.eye(3)))))
    if np.any(volume < LEAST_VOLUME):
        frame, replica = np.argwhere(volume < LEAST_VOLUME)[0]
        raise InputError(
            f"the cell of {_where(trajectory, frame, replica, varying)} has no volume: "
            f"{rows[frame, replica].tolist()} Å with pbc {trajectory.pbc}; give the lattice vectors, or set pbc "
            "to False"
        )


def check_finite(values: np.ndarray, trajectory: Trajectory, first: int, replica: int | None, what: str) -> None:
    """Raise `InputError` where numbers of atoms are NaN or infinite, with the first frame and atom.

    Args:
        values: (frames, atoms, 3), or (frames, replicas, atoms, 3) where ``replica`` is None.
        trajectory: the frames that they are of.
        first: number of the first of these frames within the trajectory.
        replica: whose values they are.
        what: the values are, such as "position".
    """
    if np.isfinite(np.sum(values)) or np.all(np.isfinite(values)):
        return
    broken = np.argwhere(~np.isfinite(values))
    frame, atom = int(broken[0][0]) + first, int(broken[0][-2])
    replica = int(broken[0][1]) if replica is None else replica
    others = len({tuple(entry[:-1]) for entry in broken}) - 1
    raise InputError(
        f"the {what} of atom {atom} in {_where(trajectory, frame, replica, True)} is not finite"
        f"{f', like {others:,} others' if others else ''}: the simulation broke down, or the file is damaged; analyse "
        "the frames before it"
    )


def _where(trajectory: Trajectory, frame: int, replica: int, varying: bool) -> str:
    """A frame as users find it: by its number among those analysed, and the step of the simulation."""
    step = trajectory.steps[frame]
    named = f"frame {frame}{f' (MD step {step})' if step != frame else ''}" if varying else "all frames"
    return named + (f" of replica {replica}" if trajectory.replicas > 1 else "")


def first_systems(trajectory: Trajectory) -> System:
    """The replicas of the first frame as a batch of systems, in the floating type of the trajectory."""
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

    Raises:
        InputError: a position that is not finite.
    """
    systems = first_systems(trajectory)
    length = -(-len(trajectory) // blocks)
    frame_bytes = max(1, trajectory.replicas * trajectory.num_atoms * 3 * trajectory.dtype.itemsize)
    room = max(1, min(length, BYTES_AT_ONCE // frame_bytes))
    program = _program(observable)
    done = []
    for begin in range(0, len(trajectory), length):
        stretch, total, at = trajectory[begin : begin + length], None, begin
        for part in stretch.blocks(room):
            check_finite(part.positions, trajectory, at, None, "position")
            at += len(part)
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
