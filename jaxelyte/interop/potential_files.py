"""Any potential in a folder: ``NAME.json`` and ``NAME.npz``, arrays and JSON only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from jaxelyte.arrays import read_arrays
from jaxelyte.errors import InputError
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.codec import decode, encode


def write_potential(potential: Potential, folder: Path, name: str) -> None:
    """Store a potential (not what `prepare` made of it) in an existing folder.

    Raises:
        UnsupportedError: a potential of a class that is not jaxelyte's.
    """
    content, arrays = encode(potential)
    with (folder / f"{name}.npz").open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_potential(folder: Path, name: str) -> Potential:
    """Inverse of `write_potential`.

    Raises:
        InputError: files that are missing or not what `write_potential` writes.
    """
    try:
        content = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read the potential {folder / name}: {error}") from error
    return decode(content, read_arrays(folder / f"{name}.npz", "the arrays of a potential"))
