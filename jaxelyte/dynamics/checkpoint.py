"""Checkpoints: arrays and JSON only, written to a temporary file and moved into place."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte.arrays import read_arrays
from jaxelyte.errors import InputError
from jaxelyte.storage import write_bytes


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an ``.npz`` as a whole; see `jaxelyte.storage.saving`."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]
    write_bytes(path, buffer.getvalue())


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an ``.npz``; never unpickles.

    Raises:
        InputError: the file is missing or not readable as arrays.
    """
    return read_arrays(path, "the arrays of a checkpoint")


def of_run(path: Path) -> dict[str, np.ndarray]:
    """The checkpoint of a run. Earlier versions kept positions without their `System`, and no cells of lists.

    Raises:
        InputError: see `load_arrays`.
    """
    arrays = load_arrays(path)
    if "state.positions" in arrays:
        arrays["state.system.positions"] = arrays.pop("state.positions")
    return arrays


def pack(prefix: str, tree: Any) -> dict[str, np.ndarray]:
    """Leaves of a pytree as named numpy arrays; random keys as their data."""
    arrays = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        arrays[f"{prefix}{jax.tree_util.keystr(path)}"] = np.asarray(jax.random.key_data(leaf) if key else leaf)
    return arrays


def unpack(prefix: str, arrays: dict[str, np.ndarray], like: Any) -> Any:
    """Inverse of `pack` for a pytree of the structure and dtypes of ``like``.

    Raises:
        InputError: an array is missing or has another shape or type than this run.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    restored = []
    for path, leaf in leaves:
        name = f"{prefix}{jax.tree_util.keystr(path)}"
        key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        expected = jax.random.key_data(leaf) if key else leaf
        array = arrays.get(name)
        if array is None or array.shape != expected.shape or array.dtype != expected.dtype:
            found = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise InputError(
                f"the checkpoint does not fit this run: {name} should be {expected.dtype}{list(expected.shape)}, "
                f"found {found}; resume with the arguments (and jax_enable_x64) of the first start"
            )
        restored.append(jax.random.wrap_key_data(jnp.asarray(array)) if key else jnp.asarray(array))
    return jax.tree.unflatten(structure, restored)
