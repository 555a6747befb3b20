"""Unpacks an XTC file and stores its arrays: a program of its own, since damaged frames can end the process.

Called as ``python -m jaxelyte.interop.xdr_process FILE FRAMES RESULT``; see `jaxelyte.interop.xdr_files`.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def read_frames(path: str, count: int) -> dict[str, np.ndarray]:
    """Arrays of the first frames up to the first that cannot be read, in nm and ps as the file has them.

    Returns:
        ``x`` (frames, atoms, 3), ``box`` (frames, 3, 3), ``time``, ``step``; ``failure``, why the next is not read.
    """
    from MDAnalysis.lib.formats.libmdaxdr import XTCFile

    found: dict[str, list[Any]] = {name: [] for name in ("x", "box", "time", "step")}
    failure = ""
    with XTCFile(path) as file:
        for _ in range(count):
            try:
                frame = file.read()
            except Exception as error:  # noqa: BLE001 - whatever it is, frames before the damage can be used
                failure = str(error)
                break
            for name, values in found.items():
                values.append(np.array(getattr(frame, name)))
    return {name: np.array(values) for name, values in found.items()} | {"failure": np.array(failure)}


if __name__ == "__main__":
    np.savez(sys.argv[3], **read_frames(sys.argv[1], int(sys.argv[2])))  # pyright: ignore[reportArgumentType]
