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
from jaxelyte.registry import is_derived, is_guard
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


def charges_of(description: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Charges in e by element of each Coulomb term in a description of a potential.

    Args:
        description: see `describe_potential`.

    Returns:
        By the path of the term, ``terms[1].``; an empty dictionary for charges of single atoms.
    """
    terms = [path.removesuffix("type") for path, value in description.items() if value == "ScreenedCoulomb"]
    found: dict[str, dict[str, float]] = {}
    for term in terms:
        pattern = re.compile(re.escape(f"{term}charges.") + r"([A-Z][a-z]?)")
        named = ((pattern.fullmatch(path), value) for path, value in description.items())
        found[term] = {match[1]: float(f"{float(value):.6g}") for match, value in named if match is not None}
    return found


def describe_observables(observables: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of each observable, such as ``rdf.r_max``; for JSON."""
    return {path: value for name, one in observables.items() for path, value in _walk(one, name)}


def known_later(potential: Potential, observables: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Paths of settings that have their default: a run of a version without such a field was run with it."""
    return {
        "potential": frozenset(_defaults(potential.plain(), "")),
        "observables": frozenset(path for name, one in observables.items() for path in _defaults(one, name)),
    }


def _defaults(value: Any, path: str) -> Iterator[str]:
    """Paths of all fields of dataclasses below ``value`` that have their default, and of what is in these."""
    for name, part in _parts(value) or ():
        below = _below(path, name)
        default = next((f.default for f in _fields(value) if f.name == name), dataclasses.MISSING)
        same = isinstance(part, bool | int | float | str | None) and part == default
        yield from (below,) if same else _defaults(part, below)


def _fields(value: Any) -> tuple[Any, ...]:
    return dataclasses.fields(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else ()


def _below(path: str, name: str) -> str:
    return f"{path}{name}" if name.startswith("[") or not path else f"{path}.{name}"


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
    """Paths and plain values of everything below ``value``."""
    parts = _parts(value)
    if parts is None:
        yield path, plain_value(value)
        return
    for name, part in parts:
        yield from _walk(part, _below(path, name))


def _parts(value: Any) -> list[tuple[str, Any]] | None:
    """What a value is made of, by name; None for one that is kept as it is."""
    if isinstance(value, Mapping):
        return [(str(key), value[key]) for key in sorted(value, key=str)]
    if isinstance(value, tuple | list):
        return [(f"[{number}]", one) for number, one in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Some fields follow from the others; one that the constructor fills in may change only what is refused.
        known = [f for f in dataclasses.fields(value) if not is_derived(f)]
        fields = [f.name for f in known if not (is_guard(f) and f.metadata.get("internal"))]
        species = _species(value)
        return [("type", type(value).__name__), *((n, _by_species(getattr(value, n), species)) for n in fields)]
    leaves = jax.tree_util.tree_flatten_with_path(value)[0]
    if not leaves or leaves[0][1] is value:
        return None
    return [(jax.tree_util.keystr(keys).lstrip("."), leaf) for keys, leaf in leaves]


def _species(owner: Any) -> list[str]:
    """Symbols of the species that the arrays of a potential are ordered by; empty where there are none."""
    from ase.data import chemical_symbols

    numbers = getattr(owner, "numbers", None)
    if not isinstance(numbers, tuple) or not all(isinstance(z, int) and 0 < z < 119 for z in numbers):
        return []
    return [chemical_symbols[z] for z in numbers]


def _by_species(value: Any, species: list[str]) -> Any:
    if not isinstance(value, np.ndarray | jax.Array) or not species or value.shape != (len(set(species)),):
        return value
    return dict(zip(species, np.asarray(value).tolist(), strict=True))


def plain_value(value: Any) -> Any:
    """A number, array or object for JSON; long arrays by a digest."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, HashableArray):
        return _array(value.array)
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return _array(np.asarray(jax.random.key_data(value)))
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _array(np.asarray(value))
    # Functions and objects of users: by name, without the address that differs in every process.
    return getattr(value, "__qualname__", None) or re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _array(array: np.ndarray) -> Any:
    if array.dtype.kind not in "biuf":
        return {"shape": list(array.shape), "sha256": _digest(array)}
    if array.size <= WHOLE:
        return array.tolist()
    size = float(np.sqrt(np.mean(np.square(array.astype(np.float64)))))
    return {"shape": list(array.shape), "sha256": _digest(array), "root_mean_square": size}


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


def check_same_run(
    folder: Path,
    stored: Mapping[str, Any],
    now: Mapping[str, Any],
    systems: System,
    later: Mapping[str, frozenset[str]],
) -> list[str]:
    """Refuse to resume a run with other arguments.

    Args:
        folder: of the run.
        stored: its ``config.json``.
        now: the same of this call.
        systems: the start structures of this call, to name the atoms that differ.
        later: from `known_later`.

    Returns:
        Versions and machines that differ, as sentences; they end bitwise equality, and nothing else.

    Raises:
        InputError: what differs, with both values.
    """
    if stored.get("format") != FORMAT:
        raise InputError(
            f"{folder} was written by another version of jaxelyte, which kept no list of its arguments to compare "
            "with; it can be read (load_run) and analysed, but not resumed. Start a new run from its last state in "
            "another folder"
        )
    moved = moved_to(stored.get("versions", {}), now["versions"])
    changes: list[str] = []
    for name in [key for key in now if key not in FREE]:
        old, new = stored.get(name), now[name]
        if isinstance(old, dict) and name in later:
            new = {key: value for key, value in new.items() if key in old or key not in later[name]}
        changes += changes_of(name, old, new, rounding=bool(moved))
    if "structure changed" in " ".join(changes):
        changes = [c for c in changes if "structure changed" not in c] + _which_atoms(folder, stored, now, systems)
    if changes:
        more = f"; and {len(changes) - 5} more" if len(changes) > 5 else ""
        raise InputError(
            f"{folder} holds another run: {'; '.join(changes[:5])}{more}. Resume with the arguments of the first start "
            "(config.json lists them), or choose another output folder"
        )
    return moved


def changes_of(name: str, old: Any, new: Any, *, rounding: bool) -> list[str]:
    """Each value below ``name`` that differs, with both; ``rounding`` allows for that of another machine."""
    if name in ("potential", "observables", "ensemble", "target") and isinstance(old, dict):
        found = []
        # Where the kind differs, so do all its settings.
        kinds = [key for key in sorted({*old, *new}) if key.endswith("type") and old.get(key) != new.get(key)]
        for key in sorted(kinds, key=len)[:1] or sorted({*old, *new}):
            if not _alike(old.get(key), new.get(key), rounding=rounding):
                label = f"parameter {key} of the potential" if name == "potential" else f"{name} {key}"
                found.append(f"{label} {_shown(old, key, new)} → {_shown(new, key, old)}")
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


def _shown(values: Mapping[str, Any], key: str, others: Mapping[str, Any]) -> str:
    """A value for a message; of two lists of one length, the first entry that differs."""
    value, other = values.get(key), others.get(key)
    if key not in values:
        return "(absent)"
    if isinstance(value, dict):
        return f"(array of shape {value['shape']}, root mean square {value.get('root_mean_square', 'unknown')})"
    if isinstance(value, list) and isinstance(other, list) and len(value) == len(other) > 1:
        at = next(n for n, (a, b) in enumerate(zip(value, other, strict=True)) if a != b)
        return f"[{at}] {value[at]}"
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


def moved_to(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Each entry of `run_versions` that differs, with both values."""
    return [f"{name} {value} → {new[name]}" for name, value in old.items() if new.get(name, value) != value]


def not_bitwise(folder: Path, moved: Iterable[str]) -> str:
    """The warning about a run that goes on elsewhere."""
    return (
        f"the run in {folder} was started with other versions or on another machine ({', '.join(moved)}); it is "
        "resumed, but rounding differs from here on, so it is no longer bitwise that of an uninterrupted run"
    )
