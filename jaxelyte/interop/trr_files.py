"""GROMACS' TRR files: frames of big-endian numbers behind headers that state the size of each part.

Lengths are in nm, velocities in nm/ps, times in ps.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.interop.file_text import errors_of, open_bytes, warn_of_part
from jaxelyte.interop.loaded import Loaded
from jaxelyte.interop.naming import Naming
from jaxelyte.interop.xdr_files import XDRFrames, trajectory_of

START = struct.pack(">iii", 1993, 13, 12) + b"GMX_trn_file"
SIZES = ("ir", "e", "box", "vir", "pres", "top", "sym", "x", "v", "f")
"""Parts of a frame in their order, of which each header gives the bytes."""


class Header(NamedTuple):
    """Of one frame; ``real`` is the type of its numbers."""

    sizes: dict[str, int]
    atoms: int
    step: int
    time: float
    real: np.dtype


def read_trr(path: Path, naming: Naming) -> Loaded:
    """All complete frames that hold positions.

    Args:
        path: the file.
        naming: has the topology, which these files need.

    Raises:
        InputError: no TRR file, no complete frame, no topology or one with other atoms.

    Warns:
        UserWarning: the file ends within a frame, or is damaged there.
    """
    found = XDRFrames([], [], [], [], [])
    with errors_of(path), open_bytes(path) as file:
        content = memoryview(file.read())
    at, damage = 0, ""
    while at < len(content) and not damage:
        header, begin = _header(content, at)
        end = begin + sum(header.sizes.values()) if header is not None else at
        if header is None or end > len(content) or (found.x and header.atoms != len(found.x[0])):
            damage = f"no complete frame of the same atoms begins at byte {at} of {len(content)}"
            continue
        parts = _parts(content, begin, header)
        at = end
        if "x" not in parts:
            continue
        found.x.append(parts["x"].reshape(-1, 3))
        found.box.append(parts["box"].reshape(3, 3) if "box" in parts else np.zeros((3, 3)))
        if "v" in parts:
            found.v.append(parts["v"].reshape(-1, 3))
        found.time.append(header.time)
        found.step.append(header.step)
    if not found.x:
        raise InputError(f"{path} holds no frame of positions{': ' + damage if damage else ''}")
    if damage:
        warn_of_part(path, len(found.x), damage)
    return trajectory_of(path, naming, found)


def _header(content: memoryview, at: int) -> tuple[Header | None, int]:
    """The header at a byte, and where the numbers behind it begin; None where there is none that fits itself."""
    if bytes(content[at : at + len(START)]) != START or at + len(START) + 52 + 8 > len(content):
        return None, at
    at += len(START)
    numbers = struct.unpack(">13i", content[at : at + 52])
    sizes: dict[str, int] = dict(zip(SIZES, numbers[:10], strict=True))
    atoms, step, _ = numbers[10:]
    double = sizes["box"] == 72 or any(sizes[name] == 24 * atoms for name in "xvf" if sizes[name])
    real = np.dtype(">f8" if double else ">f4")
    fits = atoms > 0 and min(sizes.values()) >= 0 and sizes["box"] in (0, 9 * real.itemsize)
    fits &= all(sizes[name] in (0, 3 * atoms * real.itemsize) for name in "xvf")
    at += 52
    if not fits or at + 2 * real.itemsize > len(content):
        return None, at
    time = float(np.frombuffer(content[at : at + real.itemsize], real)[0])
    return Header(sizes, atoms, step, time, real), at + 2 * real.itemsize


def _parts(content: memoryview, begin: int, header: Header) -> dict[str, np.ndarray]:
    found = {}
    for name, size in header.sizes.items():
        if size and name in ("box", "x", "v"):
            found[name] = np.frombuffer(content[begin : begin + size], header.real).astype(
                header.real.newbyteorder("=")
            )
        begin += size
    return found
