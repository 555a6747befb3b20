"""Potentials as plain data: a JSON tree and named arrays. Nothing here runs code from a file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte.arrays import HashableArray
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.models.config import NequIP
from jaxelyte.potentials.base import Potential, terms_of
from jaxelyte.potentials.topology import IndexTable
from jaxelyte.registry import POTENTIALS, is_derived, is_guard

INNER = "inner potential"
"""Stands for a field of the name ``potential``, which is the key of the class."""


def encode(potential: Potential, *, elements: bool = True) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A potential as JSON and arrays; `decode` is the inverse.

    Args:
        potential: any that can be stored.
        elements: with what changes only what is refused: the elements that tables of indices were made for, and that a
            permittivity was not given.

    Raises:
        UnsupportedError: a potential, or a setting, of a kind that has no stored form (a class that is not declared by
            `jaxelyte.register`).
    """
    arrays: dict[str, np.ndarray] = {}
    return _encode(potential, arrays, elements), arrays


def _encode(value: Any, arrays: dict[str, np.ndarray], elements: bool) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, IndexTable) and value.elements is not None and elements:
        names = f"array{len(arrays)}", f"array{len(arrays) + 1}"
        arrays |= zip(names, (value.array, value.elements.array), strict=True)
        return {"indices": list(names)}
    if isinstance(value, HashableArray | jax.Array | np.ndarray | np.generic):
        name = f"array{len(arrays)}"
        arrays[name] = np.asarray(value)
        return {"static" if isinstance(value, HashableArray) else "array": name}
    if isinstance(value, tuple | list):
        return {"tuple": [_encode(one, arrays, elements) for one in value]}
    if isinstance(value, dict):
        return {"dict": {key: _encode(value[key], arrays, elements) for key in sorted(value)}}
    if isinstance(value, NequIP):
        options = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"NequIP": {name: _encode(one, arrays, elements) for name, one in options.items()}}
    name = POTENTIALS.name_of(type(value)) if isinstance(value, Potential) else None
    if name is None:
        raise UnsupportedError(f"a {type(value).__name__} cannot be stored with a model{_remedy(value)}")
    known = {f.name: f for f in dataclasses.fields(value) if not is_derived(f)}  # pyright: ignore[reportArgumentType]
    guards = {one for one, f in known.items() if is_guard(f)}
    left = {one for one in guards if not elements or getattr(value, one) in (None, False)}
    fields = {one: getattr(value, one) for one in known if one not in left}
    # Without elements it is what names are made of, which do not change from version to version.
    if elements and "potential" in fields:
        fields[INNER] = fields.pop("potential")
    return {"potential": name, **{one: _encode(inner, arrays, elements) for one, inner in fields.items()}}


def _remedy(value: Any) -> str:
    if not isinstance(value, Potential):
        return "; keep its numbers in fields"
    own = not type(value).__module__.startswith("jaxelyte.")
    return "; declare its class by @jxl.register('name')" if own else ", since it is made for one run"


def decode(content: Any, arrays: dict[str, np.ndarray]) -> Potential:
    """The potential of a stored form; leaves are float64 where ``jax_enable_x64`` is on, else float32.

    Raises:
        InputError: content that `encode` does not write.
    """
    potential = _decode(content, arrays)
    if not isinstance(potential, Potential):
        raise InputError(f"the stored form describes a {type(potential).__name__}, not a potential")
    return potential


def _decode(content: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(content, dict):
        return content
    try:
        if "potential" in content:
            return _potential_of(content, arrays)
        ((kind, inner),) = content.items()
        if kind == "array":
            array = arrays[inner]
            return jnp.asarray(array, jax.dtypes.canonicalize_dtype(array.dtype))
        if kind == "static":
            return HashableArray(arrays[inner])
        if kind == "indices":
            return IndexTable(*(arrays[name] for name in inner))
        if kind == "tuple":
            return tuple(_decode(one, arrays) for one in inner)
        if kind == "dict":
            return {key: _decode(value, arrays) for key, value in inner.items()}
        if kind == "NequIP":
            options = {key: _decode(value, arrays) for key, value in inner.items()}
            for name in ("nonlinearity_scalars", "nonlinearity_gates"):
                options[name] = dict(zip("eo", options[name], strict=True))
            return NequIP(**options)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"this is no stored potential: {type(error).__name__}: {error}") from error
    raise InputError(f"this is no stored potential: unknown kind {kind!r}")


def _potential_of(content: dict[str, Any], arrays: dict[str, np.ndarray]) -> Potential:
    name = content["potential"]
    if isinstance(name, dict):  # version 0.1 wrote a multiple without its name
        name, content = "Scaled", content | {INNER: name}
    fields = {key: _decode(value, arrays) for key, value in content.items() if key != "potential"}
    if INNER in fields:
        fields["potential"] = fields.pop(INNER)
    return POTENTIALS.find(name)(**fields)


def identity(potential: Potential) -> str:
    """Name and hash of what a potential computes, the same in float32 and float64, prepared or not.

    What changes only what is refused is left out: the elements that tables of indices were made for, and that a
    permittivity was not given.

    A potential without a stored form is told apart by its class only.
    """
    try:
        content, arrays = encode(potential, elements=False)
    except UnsupportedError:
        return type(potential).__name__
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}{array.shape}".encode())
        # What is left of a number that has been through float32.
        digest.update(array.astype(np.float32 if array.dtype.kind == "f" else np.int64).tobytes())
    return f"{type(potential).__name__} {digest.hexdigest()[:8]}"


def identities(potential: Potential) -> tuple[str, ...]:
    """`identity` of each term of a sum, or of the potential itself."""
    return tuple(identity(term) for term in terms_of(potential))
