"""What users give to potentials, checked: tables of atom indices, and parameters that become leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from jax.core import Tracer
from numpy.typing import ArrayLike

from jaxelyte import checks
from jaxelyte.arrays import HashableArray
from jaxelyte.errors import InputError
from jaxelyte.system import System
from jaxelyte.wording import counted

Needs = tuple[tuple[str, tuple[int, ...]], ...]
"""What acts, and the atomic numbers of which one has to be there; see `PerSystem.needs`."""

_idle_allowed: ContextVar[bool] = ContextVar("idle_allowed", default=False)


class IndexTable(HashableArray):
    """Atom indices, with the atomic numbers that were there when the table was made (None where nobody said).

    A table is right for one order of the atoms only; the atomic numbers tell whether it is the one of a system.
    """

    __slots__ = ("elements",)

    def __init__(self, values: ArrayLike, elements: ArrayLike | None = None) -> None:
        super().__init__(values)
        self.elements = None if elements is None else HashableArray(np.asarray(elements, np.int32))

    def __hash__(self) -> int:
        return hash((self._hash, self.elements))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IndexTable):
            return NotImplemented
        return super().__eq__(other) is True and self.elements == other.elements


def index_table(
    values: ArrayLike | HashableArray, width: int, name: str, *, elements: Any = None, empty: bool = True
) -> IndexTable:
    """Static table of atom indices, shape (rows, width).

    Args:
        values: the indices.
        width: atoms in a row.
        name: of the argument.
        elements: chemical symbols or atomic numbers of the atoms at these indices: one row for all, or one for each.
        empty: a table without rows is allowed.

    Raises:
        InputError: another shape, values that are not whole or are negative, an atom twice in a row, elements that do
            not fit.
    """
    if isinstance(values, HashableArray):
        known = values.elements if isinstance(values, IndexTable) else None
        given = known if elements is None else element_numbers(elements, values.array.shape, name)
        return IndexTable(values.array, None if given is None else np.asarray(given))
    example = "[[0, 1]]" if width == 2 else "[[1, 0, 2]]"
    need = f"{name} must be a table of atom indices of shape (rows, {width}), such as {example}"
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{need}; its rows differ in length") from error
    if array.size == 0 and array.dtype.kind in "iuf" and array.ndim <= 2:
        if not empty:
            raise InputError(f"{name} is empty, so that this term would act on nothing; leave the term out")
        return IndexTable(np.zeros((0, width), np.int32))
    if array.dtype.kind not in "iuf":
        raise InputError(f"{need}, not {checks.shown(values)}")
    if array.ndim != 2 or array.shape[1] != width:
        raise InputError(f"{name} must have shape (rows, {width}) but has {array.shape}")
    wrong = ~np.isfinite(array) | (array != np.floor(array)) | (array < 0) | (array >= 2**31)
    if np.any(wrong):
        row = int(np.argmax(np.any(wrong, axis=1)))
        raise InputError(f"{name} row {row} is {array[row].tolist()}; it must hold atom indices, integers from 0")
    whole = array.astype(np.int32)
    ordered = np.sort(whole, axis=1)
    twice = np.any(ordered[:, 1:] == ordered[:, :-1], axis=1)
    if np.any(twice):
        raise InputError(f"{name} row {int(np.argmax(twice))} names an atom twice: {whole[np.argmax(twice)].tolist()}")
    return IndexTable(whole, None if elements is None else element_numbers(elements, whole.shape, name))


def element_numbers(elements: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Atomic numbers from symbols or numbers, as an array of the given shape (one row stands for all; -1: any length).

    Raises:
        InputError: no elements, or another shape.
    """
    if isinstance(elements, HashableArray):
        elements = elements.array
    if isinstance(elements, str):
        elements = [elements]
    try:
        flat = np.array(elements, object)
        numbers = np.array([atomic_number(one) for one in flat.ravel()], np.int32).reshape(flat.shape)
        return numbers if shape == (-1,) and numbers.ndim == 1 else np.broadcast_to(numbers, shape).copy()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"elements = {checks.shown(elements)} must be the chemical symbols of the atoms in {name}: one row for "
            f"all, or shape {shape}"
        ) from error


def atomic_number(value: Any) -> int:
    """Atomic number of a chemical symbol, or the number itself.

    Raises:
        InputError: no such element.
    """
    if isinstance(value, str) and atomic_numbers.get(value, 0) > 0:
        return int(atomic_numbers[value])
    if not isinstance(value, str | bool) and isinstance(value, int | np.integer) and 0 < value < len(chemical_symbols):
        return int(value)
    near = checks.near_symbol(value) or "; name species like 'Na' or 'Cl'"
    raise InputError(f"{checks.shown(value)} is not a chemical symbol{near}")


def check_indices(table: HashableArray | None, system: System, name: str) -> None:
    """Raise `InputError` where a table names atoms that the system does not have, or that are other elements there."""
    if table is None or len(table) == 0:
        return
    atoms = int(np.sum(np.asarray(system.mask)))
    largest = int(np.max(table.array))
    if largest >= atoms:
        raise InputError(
            f"{name} names atom {largest}, but the system has {counted(atoms, 'atom')}; rebuild it for this system"
        )
    if not isinstance(table, IndexTable) or table.elements is None:
        return
    there, before = np.asarray(system.numbers)[table.array], table.elements.array
    wrong = np.argwhere(there != before)
    if len(wrong):
        where = tuple(wrong[0])
        raise InputError(
            f"{name} was made for atom {int(table.array[where])} being {chemical_symbols[int(before[where])]}, but it "
            f"is {chemical_symbols[int(there[where])]} in this system ({len(wrong)} of {there.size} entries differ): "
            "the atoms stand in another order. Build the potential from these atoms"
        )


@contextmanager
def idle_terms_allowed() -> Iterator[None]:
    """Within it terms may be prepared for systems without the atoms they act on: for a part of several systems."""
    token = _idle_allowed.set(True)
    try:
        yield
    finally:
        _idle_allowed.reset(token)


def require_members(systems: Iterable[System], needs: Needs) -> None:
    """Raise `InputError` where no system holds an atom that a term acts on: it would be zero in silence."""
    if not needs or _idle_allowed.get():
        return
    present: set[int] = set()
    for system in systems:
        present |= set(np.asarray(system.numbers)[np.asarray(system.mask)].tolist())
    check_present(present, needs)


def check_present(present: set[int], needs: Needs) -> None:
    """Raise `InputError` unless one of the species of each need is among the atomic numbers."""
    for what, numbers in needs:
        if not present & set(numbers):
            raise InputError(
                f"{what} act on {', '.join(chemical_symbols[n] for n in numbers)}, but the atoms are "
                f"{', '.join(chemical_symbols[n] for n in sorted(present))}: the term would be zero. Name species that "
                "are there, or leave the term out"
            )


def by_species(
    name: str, values: Any, kind: str, example: str, *, zero: bool = False, signed: bool = False
) -> dict[int, float]:
    """A parameter by chemical symbol as a table by atomic number, in rising order.

    Raises:
        InputError: no dictionary, an empty one, keys that are no species or one species twice, wrong values.
    """
    table = checks.mapping(name, values, example)
    if not table:
        raise InputError(f"{name} is empty; give it as {example}")
    found: dict[int, float] = {}
    for symbol, value in table.items():
        number = atomic_number(symbol)
        if number in found:
            raise InputError(f"{name} names {chemical_symbols[number]} twice")
        # The largest value is judged below: one in an odd unit says that all are.
        limits = dict(zero=zero, signed=signed, warn=False)
        found[number] = checks.quantity(f"{name}[{symbol!r}]", value, kind, **limits)
    return dict(sorted(found.items()))


def as_leaf(value: Any) -> Any:
    """A floating array for numbers and sequences of numbers; arrays, tracers and anything else pass unchanged.

    A copy: jax may share the memory of an array of numpy, which the user may change afterwards.
    """
    if isinstance(value, bool | int | float | np.ndarray | list | tuple | np.generic):
        return jnp.array(np.array(value, copy=True), jnp.result_type(float))
    return value


def parameter(name: str, value: Any, kind: str, *, zero: bool = False, signed: bool = False) -> Any:
    """A leaf from what a user gives for a parameter: a number, or a sequence of numbers.

    Numbers are judged here (see `checks.quantity`). Arrays and numpy scalars are not: a derivative by the potential is
    a potential, too, and has any sign. `check_parameter` judges them once a system is there.

    Raises:
        InputError: no number, or one that the quantity cannot be.
    """
    wrong = isinstance(value, str | bytes | bool | np.bool_ | complex | Mapping | set) or callable(value)
    if value is None or wrong:
        checks.quantity(name, value, kind, zero=zero, signed=signed)
    if isinstance(value, int | float) and not isinstance(value, np.generic):
        return as_leaf(checks.quantity(name, value, kind, zero=zero, signed=signed))
    if isinstance(value, list | tuple) and not any(isinstance(one, jax.Array) for one in jax.tree.leaves(value)):
        checks.quantities(name, value, kind, zero=zero, signed=signed)
    if isinstance(value, np.ndarray) and value.dtype.kind not in "iuf":
        raise InputError(f"{name} must be numbers in {checks.RANGES[kind].unit}, not {checks.shown(value)}")
    return as_leaf(value)


def check_parameter(name: str, value: Any, kind: str, *, zero: bool = False, signed: bool = False) -> None:
    """Raise `InputError` where a leaf has a value that the quantity cannot be; traced leaves have none yet."""
    if not isinstance(value, Tracer):
        checks.quantities(name, value, kind, zero=zero, signed=signed, warn=False)


def check_single(name: str, value: Any) -> None:
    """Raise `InputError` where a leaf is several numbers instead of one."""
    if np.ndim(value):
        raise InputError(f"{name} must be one number, not an array of shape {np.shape(value)}")


def check_rows(name: str, value: Any, rows: int, of: str) -> None:
    """Raise `InputError` unless a leaf is one number, or one for each row of a table."""
    if isinstance(value, jax.Array | np.ndarray) and value.shape not in ((), (rows,)):
        raise InputError(f"{name} has shape {value.shape} for {rows} {of}; give one number, or one for each")


def concrete(value: Any) -> np.ndarray | None:
    """The value of a leaf as float64, or None where it is traced or a placeholder and has none."""
    if isinstance(value, Tracer) or not isinstance(value, jax.Array | np.ndarray | float | int):
        return None
    return np.asarray(value, np.float64)
