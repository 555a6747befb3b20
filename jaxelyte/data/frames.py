"""Frames as an argument: a list of structures, one structure, a trajectory, or a file that holds them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxelyte.errors import InputError
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms


def as_frames(frames: Any, name: str = "frames") -> list[Atoms]:
    """The structures of an argument, in order.

    Args:
        frames: ``ase.Atoms``, several of them, a `Trajectory` of one replica, a file that `jaxelyte.read` reads, or
            several files.
        name: what the caller calls the argument.

    Raises:
        InputError: nothing in it, anything else than structures, or a file that cannot be read.
    """
    from ase import Atoms

    from jaxelyte.interop.frames import read
    from jaxelyte.trajectory import Trajectory

    if isinstance(frames, Atoms):
        return [frames]
    if isinstance(frames, str | os.PathLike):
        return read(Path(frames))
    if isinstance(frames, Trajectory):
        if frames.replicas > 1:
            raise InputError(
                f"{name} is a trajectory of {counted(frames.replicas, 'replica')}; give the frames of one as a list"
            )
        return [frames.frame(n) for n in range(len(frames))]
    if not isinstance(frames, Iterable) or isinstance(frames, dict | bytes):
        raise InputError(f"{name} must be a list of ase.Atoms or the path of a file, not {type(frames).__name__}")
    given = list(frames)
    if not given:
        raise InputError(f"{name} is empty: there are no frames in it")
    if all(isinstance(one, str | os.PathLike) for one in given):
        return [frame for one in given for frame in read(Path(one))]
    for number, one in enumerate(given):
        if not isinstance(one, Atoms):
            raise InputError(f"{name}[{number}] must be ase.Atoms, not {type(one).__name__}")
    return given
