"""The header and the records of DCD files, which MDAnalysis then reads: who wrote them, and how many frames are whole.

The time step in the header is in units that depend on the program: AKMA units (48.88821 fs) of CHARMM, NAMD, X-PLOR,
OpenMM and MDAnalysis; LAMMPS writes it in those of the simulation; VMD and others write 1 and mean nothing by it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, NamedTuple

from jaxelyte.errors import InputError
from jaxelyte.interop.file_units import FileUnits
from jaxelyte.wording import counted

AKMA = 48.88821290839616
"""One AKMA unit of time in fs: sqrt(g/mol Å² / (kcal/mol))."""

KNOWN = ("NAMD", "OPENMM", "CHARMM", "X-PLOR", "XPLOR", "MDANALYSIS")


class DCDHeader(NamedTuple):
    """What a DCD file says of itself.

    Attributes:
        delta: time step as written.
        every: steps between frames.
        title: text of the program that wrote it.
        atoms: their number.
        frames: that are complete.
        cut: whether bytes follow that are no complete frame.
    """

    delta: float
    every: int
    title: str
    atoms: int
    frames: int
    cut: bool

    def by_lammps(self) -> bool:
        """Whether LAMMPS wrote it."""
        return "LAMMPS" in self.title.upper()

    def interval(self, units: FileUnits | None) -> float | None:
        """Fs between frames; None where the header cannot be trusted for it."""
        step = self.delta * self.every
        if not step > 0:
            return None
        if self.by_lammps():
            return None if units is None or units.time is None else step * units.time
        title = self.title.upper()
        # MDAnalysis leaves the title empty. 1 is what programs write that do not know the step.
        trusted = not title.strip() or any(name in title for name in KNOWN)
        return step * AKMA if trusted and abs(self.delta - 1.0) > 1e-6 else None


def read_dcd_header(path: Path) -> DCDHeader:
    """Walk through the records of a file, each of which has its length before and behind it.

    Raises:
        InputError: not a DCD file of positions, or records of the header that are damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        order = next((o for o in "<>" if len(start) == 8 and struct.unpack(o + "i", start[:4])[0] == 84), None)
        if order is None or start[4:] not in (b"CORD", b"VELD"):
            raise InputError(f"{path} is not a DCD file with 32-bit record marks")
        if start[4:] == b"VELD":
            raise InputError(f"{path} holds velocities, not positions")
        control = file.read(80)
        charmm = len(control) == 80 and struct.unpack(order + "i", control[76:80])[0] != 0
        if len(control) < 80:
            raise InputError(f"{path} ends within its header")
        every, fixed = struct.unpack(order + "i", control[8:12])[0], struct.unpack(order + "i", control[32:36])[0]
        delta = struct.unpack(order + ("f" if charmm else "d"), control[36 : 40 if charmm else 44])[0]
        has_cell, four = struct.unpack(order + "2i", control[40:48]) if charmm else (0, 0)
        file.seek(92)
        title = _record(file, order, size)
        count = _record(file, order, size)
        if title is None or count is None or len(count) != 4:
            raise InputError(f"the header of {path} is damaged")
        atoms = struct.unpack(order + "i", count)[0]
        if atoms < 1 or fixed < 0 or fixed >= atoms:
            raise InputError(f"the header of {path} is damaged: {counted(atoms, 'atom')}, {fixed} of them fixed")
        if fixed and _record(file, order, size) is None:
            raise InputError(f"the header of {path} is damaged")
        first = [48] * bool(has_cell) + [4 * atoms] * (4 if four else 3)
        later = [48] * bool(has_cell) + [4 * (atoms - fixed)] * (4 if four else 3)
        frames, whole = 0, True
        while whole and file.tell() < size:
            whole = all(_skip(file, order, size, length) for length in (later if frames else first))
            frames += whole
    text = b"".join(title[4 + 80 * n : 84 + 80 * n] for n in range((len(title) - 4) // 80)).decode("ascii", "replace")
    return DCDHeader(float(delta), int(every), text.strip("\0 "), atoms, frames, not whole)


def _record(file: IO[bytes], order: str, size: int) -> bytes | None:
    mark = file.read(4)
    if len(mark) < 4:
        return None
    length = struct.unpack(order + "i", mark)[0]
    if length < 0 or file.tell() + length + 4 > size:
        return None
    content = file.read(length)
    return content if file.read(4) == mark else None


def _skip(file: IO[bytes], order: str, size: int, length: int) -> bool:
    """Step over a record of a known length; False where it is not there as a whole."""
    mark = struct.pack(order + "i", length)
    if file.tell() + length + 8 > size or file.read(4) != mark:
        return False
    file.seek(length, 1)
    return file.read(4) == mark
