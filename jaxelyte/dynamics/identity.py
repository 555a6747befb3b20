"""What a run is made of, as named values: a run that is resumed with others is refused by name."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte.arrays import HashableArray
from jaxelyte.dynamics.summary import versions
from jaxelyte.errors import InputError
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.codec import DERIVED
from jaxelyte.system import System
from jaxelyte.trajectory import open_trajectory

FORMAT = 2
"""Of ``config.json``. Runs of format 1 (version 0.1) kept a hash of their arguments only."""

FREE = frozenset({"format", "steps", "equilibration", "versions", "config", "form_error"})
"""What may differ when a run is resumed."""

WHOLE = 16
"""Arrays of at most so many numbers are kept as they are, longer ones by a digest."""

UNITS = {"_fs": "fs", "_A": "Å"}


def describe_potential(potential: Potential) -> dict[str, Any]:
    """Every parameter and setting of a potential by its path, such as ``terms[0].charges.Na``; for JSON."""
    return dict(_walk(potential.plain(), ""))


def describe_systems(systems: System, velocities: np.ndarray | None) -> dict[str, Any]:
    """Digests of the start structures.

    Args:
        systems: leading axis of replicas.
        velocities: those that the atoms brought along in Å/fs, or None where they are drawn.
    """
    arrays = {
        "species": systems.numbers,
        "masses": systems.masses,
        "cell": systems.cell,
        "positions": systems.positions,
    }
    found: dict[str, Any] = {name: _digest(np.asarray(array)) for name, array in arrays.items()}
    return found | {"pbc": list(systems.pbc), "velocities": None if velocities is None else _digest(velocities)}


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if value is None or isinstance(value, bool | int | float | str):
        yield path, value
    elif isinstance(value, HashableArray):
        yield path, _array(value.array)
    elif jnp.issubdtype(getattr(value, "dtype", None), jax.dtypes.prng_key):
        yield path, _array(np.asarray(jax.random.key_data(value)))
    elif isinstance(value, np.ndarray | np.generic | jax.Array):
        yield path, _array(np.asarray(value))
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield from _walk(value[key], f"{path}.{key}".lstrip("."))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield f"{path}.type".lstrip("."), type(value).__name__
        # Of our own potentials some fields follow from the others.
        own = type(value).__module__.startswith("jaxelyte.")
        for field in dataclasses.fields(value):
            if not (own and field.name in DERIVED):
                yield from _walk(getattr(value, field.name), f"{path}.{field.name}".lstrip("."))
    elif isinstance(value, tuple | list):
        for number, one in enumerate(value):
            yield from _walk(one, f"{path}[{number}]")
    else:
        leaves = jax.tree_util.tree_flatten_with_path(value)[0]
        if len(leaves) == 1 and leaves[0][1] is value:
            # Functions and objects of users: by name, without the address that differs in every process.
            yield path, getattr(value, "__qualname__", None) or re.sub(r" at 0x[0-9a-f]+", "", repr(value))
        else:
            for keys, leaf in leaves:
                yield from _walk(leaf, f"{path}{jax.tree_util.keystr(keys)}")


def _array(array: np.ndarray) -> Any:
    if array.dtype.kind not in "biuf":
        return {"shape": list(array.shape), "sha256": _digest(array)}
    if array.size <= WHOLE:
        return array.tolist()
    size = float(np.sqrt(np.mean(np.square(array.astype(np.float64)))))
    return {"shape": list(array.shape), "sha256": _digest(array), "root_mean_square": size}


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


def check_same_run(folder: Path, stored: Mapping[str, Any], now: Mapping[str, Any], systems: System) -> list[str]:
    """Refuse to resume a run with other arguments.

    Args:
        folder: of the run.
        stored: its ``config.json``.
        now: the same of this call.
        systems: the start structures of this call, to name the atoms that differ.

    Returns:
        Versions and machines that differ, as sentences; they end bitwise equality, and nothing else.

    Raises:
        InputError: what differs, with both values.
    """
    if stored.get("format") != FORMAT:
        raise InputError(
            f"{folder} was written by another version of jaxelyte, which kept no list of its arguments to compare with; "
            "it can be read (load_run) and analysed, but not resumed. Start a new run from its last state in another "
            "folder"
        )
    moved = [
        f"{name} {value} → {now['versions'][name]}"
        for name, value in stored.get("versions", {}).items()
        if now["versions"].get(name, value) != value
    ]
    changes: list[str] = []
    for name in [key for key in now if key not in FREE]:
        changes += _changes(name, stored.get(name), now[name], rounding=bool(moved))
    if "structure changed" in " ".join(changes):
        changes = [c for c in changes if "structure changed" not in c] + _which_atoms(folder, stored, now, systems)
    if changes:
        more = f"; and {len(changes) - 5} more" if len(changes) > 5 else ""
        raise InputError(
            f"{folder} holds another run: {'; '.join(changes[:5])}{more}. Resume with the arguments of the first start "
            "(config.json lists them), or choose another output folder"
        )
    return moved


def _changes(name: str, old: Any, new: Any, *, rounding: bool) -> list[str]:
    if name in ("potential", "observables", "ensemble") and isinstance(old, dict):
        found = []
        for key in sorted({*old, *new}):
            if not _alike(old.get(key), new.get(key), rounding=rounding):
                label = "parameter " if name == "potential" else f"{name} "
                found.append(f"{label}{key} {_shown(old, key)} → {_shown(new, key)}")
        return found
    if name == "structure" and isinstance(old, dict):
        return [f"{key} of the structure changed" for key in new if old.get(key) != new[key]]
    if _alike(old, new, rounding=False):
        return []
    label, unit = name, ""
    for ending, symbol in UNITS.items():
        if name.endswith(ending):
            label, unit = name.removesuffix(ending), f" {symbol}"
    return [f"{label} {old}{unit} → {new}{unit}"]


def _shown(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    if key not in values:
        return "(absent)"
    if isinstance(value, dict):
        return f"(array {value['shape']}, root mean square {value.get('root_mean_square', 'unknown')})"
    return str(value)


def _alike(old: Any, new: Any, *, rounding: bool) -> bool:
    """Equal; between machines up to rounding, since a parameter may have been computed there."""
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(_alike(a, b, rounding=rounding) for a, b in zip(old, new, strict=True))
    if isinstance(old, dict) and isinstance(new, dict):
        if rounding and "root_mean_square" in old and "root_mean_square" in new:
            old, new = ({k: v for k, v in one.items() if k != "sha256"} for one in (old, new))
        return old.keys() == new.keys() and all(_alike(old[key], new[key], rounding=rounding) for key in old)
    if rounding and isinstance(old, float) and isinstance(new, float):
        return bool(np.isclose(old, new, rtol=1e-6, atol=0.0, equal_nan=True))
    return old == new or (old != old and new != new)  # noqa: PLR0124 - NaN is alike to NaN


def _which_atoms(folder: Path, stored: Mapping[str, Any], now: Mapping[str, Any], systems: System) -> list[str]:
    """The first atom of each kind of difference, read from the first frame; frames are made of what was given."""
    old, new = stored["structure"], now["structure"]
    different = [key for key in new if old.get(key) != new[key]]
    try:
        first = open_trajectory(folder / "trajectory.h5")
        there = {"species": first.numbers, "masses": first.masses, "cell": first.cells}
        if not stored.get("minimize"):
            there["positions"] = np.asarray(first.positions[0])
    except (InputError, IndexError):
        there = {}
    here = {
        "species": systems.numbers,
        "masses": systems.masses,
        "cell": systems.cell,
        "positions": systems.positions,
    }
    lines = []
    for key in different:
        line = f"{key} of the start structure changed"
        if key in there and np.shape(there[key]) == np.shape(here[key]):
            before, after = np.asarray(there[key], np.float64), np.asarray(here[key], np.float64)
            rows = np.argwhere(before != after)
            if len(rows):
                at = tuple(rows[0][:2])
                which = "cell vector" if key == "cell" else "atom"
                replica = f" of replica {at[0]}" if len(before) > 1 else ""
                line = f"{key} of {which} {at[1]}{replica} {_row(before[at])} → {_row(after[at])}"
        lines.append(line)
    return lines


def _row(values: Any) -> str:
    return " ".join(f"{x:.10g}" for x in np.atleast_1d(values))


def run_versions() -> dict[str, str]:
    """What bitwise equality depends on: packages, device, and the instructions of the processor."""
    from jaxelyte.cache import processor

    found = versions()
    del found["machine"]
    return found | {"processor": hashlib.sha256(processor().encode()).hexdigest()[:12]}


def not_bitwise(folder: Path, moved: Iterable[str]) -> str:
    """The warning about a run that goes on elsewhere."""
    return (
        f"the run in {folder} was started with other versions or on another machine ({', '.join(moved)}); it is "
        "resumed, but rounding differs from here on, so it is no longer bitwise that of an uninterrupted run"
    )
