"""Whether a folder may take a run, and whether there is one to go on with."""

from __future__ import annotations

from pathlib import Path

from jaxelyte.dynamics.record import RUN_FILES
from jaxelyte.errors import InputError
from jaxelyte.interop.h5md import written_frames
from jaxelyte.storage import read_json


def check_folder(folder: Path | None, *, overwrite: bool, resume: bool) -> bool:
    """True if there is a run to go on with. Changes nothing.

    Raises:
        InputError: the folder is occupied, or the flags contradict each other.
    """
    if resume and overwrite:
        raise InputError("resume=True and overwrite=True exclude each other; choose one")
    if resume and folder is None:
        raise InputError("resume=True needs the run folder as output=…")
    if folder is None:
        return False
    occupied = [name for name in RUN_FILES if (folder / name).exists()]
    if "config.json" in occupied and not _of_a_run(folder):
        raise InputError(
            f"{folder} holds a config.json that is not of a simulation (of a training, perhaps); choose another folder"
        )
    has_run = (folder / "checkpoint.npz").exists()
    if not occupied or overwrite or (resume and has_run):
        return resume and has_run
    unstarted = not has_run and _without_steps(folder)
    if resume and unstarted:
        return False
    if resume:
        raise InputError(
            f"{folder} holds {', '.join(occupied)}, but no checkpoint.npz to go on from; restore it, read the frames "
            "with open_trajectory, or choose another folder (overwrite=True replaces what is there)"
        )
    hint = "resume=True goes on with it, " if has_run or unstarted else ""
    raise InputError(
        f"{folder} already holds {', '.join(occupied)}; {hint}overwrite=True replaces it, or choose another folder"
    )


def _of_a_run(folder: Path) -> bool:
    try:
        return "ensemble" in read_json(folder / "config.json")
    except InputError:
        # Damaged: whose it was is told by what lies beside it.
        return any((folder / name).exists() for name in ("checkpoint.npz", "trajectory.h5"))


def _without_steps(folder: Path) -> bool:
    """A run that ended before its first checkpoint, which follows the frame of step 0: there is nothing to lose."""
    if (folder / "summary.json").exists() or not (folder / "config.json").exists():
        return False
    path = folder / "trajectory.h5"
    try:
        return not path.exists() or written_frames(path) <= 1
    except InputError:
        return False
