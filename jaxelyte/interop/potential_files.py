"""Any potential in a folder: ``NAME.json`` and ``NAME.npz``, arrays and JSON only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from jaxelyte.arrays import read_arrays
from jaxelyte.errors import InputError
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.codec import decode, encode
from jaxelyte.storage import saving, write_json


def write_potential(potential: Potential, folder: Path, name: str) -> None:
    """Store a potential (not what `prepare` made of it) in an existing folder.

    Raises:
        UnsupportedError: a potential of a class that is not jaxelyte's.
        StorageError: the files cannot be written.
    """
    content, arrays = encode(potential)
    with saving(folder / f"{name}.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    write_json(folder / f"{name}.json", content)


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
