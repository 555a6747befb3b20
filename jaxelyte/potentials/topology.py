"""Checked tables of atom indices: bonds, angles, exclusions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from numpy.typing import ArrayLike

from jaxelyte.arrays import HashableArray
from jaxelyte.errors import InputError
from jaxelyte.system import System


def index_table(values: ArrayLike | HashableArray, width: int, name: str) -> HashableArray:
    """Static table of atom indices, shape (rows, width).

    Raises:
        InputError: another shape, values that are not whole or are negative, an atom twice in a row.
    """
    if isinstance(values, HashableArray):
        return values
    array = np.asarray(values)
    if array.size == 0:
        return HashableArray(np.zeros((0, width), np.int32))
    if array.ndim != 2 or array.shape[1] != width:
        raise InputError(f"{name} must have shape (rows, {width}) but has {array.shape}")
    whole = array.astype(np.int32)
    if np.any(whole != array) or np.any(whole < 0):
        row = int(np.argmax(np.any((whole != array) | (whole < 0), axis=1)))
        raise InputError(f"{name} row {row} is {array[row].tolist()}; it must hold atom indices, whole numbers from 0")
    ordered = np.sort(whole, axis=1)
    twice = np.any(ordered[:, 1:] == ordered[:, :-1], axis=1)
    if np.any(twice):
        raise InputError(f"{name} row {int(np.argmax(twice))} names an atom twice: {whole[np.argmax(twice)].tolist()}")
    return HashableArray(whole)


def check_indices(table: HashableArray | None, system: System, name: str) -> None:
    """Raise `InputError` where a table names atoms that the system does not have."""
    if table is None or len(table) == 0:
        return
    atoms = int(np.sum(np.asarray(system.mask)))
    largest = int(np.max(table.array))
    if largest >= atoms:
        raise InputError(f"{name} names atom {largest}, but the system has {atoms} atoms; rebuild it for this system")


def as_leaf(value: Any) -> Any:
    """A floating array for numbers and sequences of numbers; arrays, tracers and anything else pass unchanged."""
    if isinstance(value, bool | int | float | np.ndarray | list | tuple | np.generic):
        return jnp.asarray(value, jnp.result_type(float))
    return value


def concrete(value: Any) -> np.ndarray | None:
    """The value of a leaf as float64, or None where it is traced or a placeholder and has none."""
    if isinstance(value, Tracer) or not isinstance(value, jax.Array | np.ndarray | float | int):
        return None
    return np.asarray(value, np.float64)
