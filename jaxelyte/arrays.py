"""Arrays that are part of a structure rather than parameters; numbers for files, and short texts of large objects."""

from __future__ import annotations

import hashlib
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxelyte.errors import InputError

DAMAGED = (
    *(OSError, ValueError, EOFError, KeyError, TypeError, MemoryError, OverflowError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
"""What numpy and zipfile raise for an archive that is damaged, packed by an unknown method, encrypted, or none."""


def read_arrays(path: Path, what: str = "arrays") -> dict[str, NDArray[Any]]:
    """All arrays of an ``.npz`` file; never unpickles.

    Args:
        path: the file.
        what: it should hold, for the message.

    Raises:
        InputError: the file is missing, damaged, or holds something else than arrays of numbers and texts.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if isinstance(file, np.ndarray):
                raise InputError(f"{path} holds one array without a name (.npy); {what} (.npz) are needed")
            return {name: file[name] for name in file.files}
    except InputError:
        raise
    except DAMAGED as error:
        if "allow_pickle" in str(error):
            raise InputError(
                f"{path} is not an archive of plain arrays: it holds Python objects, which could run code when they "
                "are loaded; nothing of it is read"
            ) from error
        raise InputError(f"{path} is not an archive of plain arrays ({what}), or it is damaged: {error}") from error


class HashableArray:
    """An immutable array that is compared and hashed by content, so that it can be a static pytree field.

    Topologies (bond indices, exclusions) belong to the structure of a potential: as leaves they would stand in
    the way of ``jax.grad`` over the potential, as tuples they would be slow to hash.
    """

    __slots__ = ("_hash", "array")

    def __init__(self, values: ArrayLike) -> None:
        array = np.array(values)
        array.setflags(write=False)
        self.array: NDArray[Any] = array
        self._hash = hash((array.shape, array.dtype.str, array.tobytes()))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HashableArray):
            return NotImplemented
        same_kind = self.array.shape == other.array.shape and self.array.dtype == other.array.dtype
        return same_kind and self.array.tobytes() == other.array.tobytes()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.array, dtype=dtype)

    def __len__(self) -> int:
        return len(self.array)

    def __repr__(self) -> str:
        digest = hashlib.sha256(self.array.tobytes()).hexdigest()[:12]
        return f"HashableArray(shape={self.array.shape}, dtype={self.array.dtype}, sha256={digest})"


def finite(value: Any) -> float | None:
    """A number for a JSON file, which has no NaN: None for what is not finite."""
    return float(value) if math.isfinite(value) else None


LONGEST = 60
"""Characters that one entry of a short text may have."""

MOST = 8
"""Entries of a list, numbers of an array or lines of a table that are written out."""


def brief(value: Any) -> str:
    """A value in at most some `LONGEST` characters: arrays by type and shape, long lists by their length."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(value, HashableArray):
        return brief(value.array)
    if shape is not None and dtype is not None:
        if math.prod(shape) > MOST or len(shape) > 1:
            return f"{dtype}[{', '.join(map(str, shape))}]"
        try:
            found = np.asarray(value).tolist()
        except TypeError:  # a value inside jax.jit or jax.grad
            return f"{dtype}[{', '.join(map(str, shape))}]"
        value = [float(f"{x:.6g}") if isinstance(x, float) else x for x in found] if shape else found
    text = _entries(value) if isinstance(value, Mapping | list | tuple | set | frozenset) else repr(value)
    if len(text) <= LONGEST and "\n" not in text:
        return text
    if isinstance(value, str):
        return f"{text[: LONGEST - 1]}…"
    count = f" of {len(value)}" if isinstance(value, Mapping | Sequence) else "(…)"
    return f"{type(value).__name__}{count}"


def brief_repr(self: Any) -> str:
    """What a dataclass or named tuple shows of itself: all fields, each by `brief`."""
    names = getattr(self, "_fields", None) or [field.name for field in fields(self) if field.repr]
    return f"{type(self).__name__}({', '.join(f'{name}={brief(getattr(self, name))}' for name in names)})"


def first_lines(lines: Sequence[str], what: str) -> str:
    """Lines of a table, the first `MOST` of many; ``what`` a line is about is counted for the others."""
    rest = len(lines) - MOST
    return "\n".join([*lines[:MOST], *([f"  … and {rest} more {what}"] if rest > 0 else [])])


def _entries(value: Any) -> str:
    """A collection, its entries by `brief`; by its length if there are many."""
    if len(value) > MOST:
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{brief(k)}: {brief(v)}' for k, v in value.items())}}}"
    inside = ", ".join(brief(entry) for entry in value)
    return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' if len(value) == 1 else ''})"
