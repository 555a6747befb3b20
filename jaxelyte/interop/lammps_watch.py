"""Errors inside LAMMPS' callbacks, raised by the call that started the run."""

from __future__ import annotations

import ctypes
from typing import Any

ENTRY_POINTS = ("lammps_command", "lammps_file", "lammps_commands_list", "lammps_commands_string")
"""Functions of LAMMPS' library that can start a run."""


class Watch:
    """Raises what a callback could not raise through LAMMPS, as soon as the call of its library is over.

    ctypes calls it with the result of every entry point: that is what its ``errcheck`` is for.

    Attributes:
        pending: the error that ends the present run.
    """

    def __init__(self, lmp: Any) -> None:
        self.pending: BaseException | None = None
        self._lmp = lmp
        lmp.lib.lammps_force_timeout.argtypes = [ctypes.c_void_p]

    def end_run(self, error: BaseException) -> None:
        """Let LAMMPS' run end after this step, and then raise the error."""
        self.pending = error
        self._lmp.lib.lammps_force_timeout(self._lmp.lmp)

    def __call__(self, result: Any, *_: Any) -> Any:
        """The result of an entry point, unless there is an error to raise."""
        error, self.pending = self.pending, None
        if error is None:
            return result
        # Otherwise all later runs would be over before they begin.
        self._lmp.command("timer timeout off")
        raise error


def watch(lmp: Any) -> Watch:
    """The watch over an instance of ``lammps.lammps``, made at the first call."""
    present = getattr(lmp.lib.lammps_command, "errcheck", None)
    if isinstance(present, Watch):
        return present
    new = Watch(lmp)
    for name in ENTRY_POINTS:
        getattr(lmp.lib, name).errcheck = new
    return new
