"""Checks of single arguments: each returns the value in one type, or raises an `InputError` that names it.

A number is anything with one real, finite value: Python and numpy numbers, arrays without dimensions. Booleans and
strings are not. A count is an integer of any type: ``1e5`` is one, ``1.5`` is not.

`RANGES` lists what each physical quantity can be and what it ordinarily is; `quantity` refuses, and warns of, the rest.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxelyte.errors import InputError
from jaxelyte.units import BOHR, HARTREE, KCAL_PER_MOL, KJ_PER_MOL

ELECTRONVOLT_IN_KELVIN = 11604.518
PACKAGE = str(Path(__file__).parent) + os.sep


class Range(NamedTuple):
    """What a quantity can be.

    Attributes:
        what: its name with an article, for messages.
        unit: of the values and limits; empty for a pure number.
        least: values below are refused.
        low: values below, but not zero, get a warning.
        high: values above get a warning.
        most: values above are refused.
        units: other units in which the value may have been meant, with the factor to ours.
        advice: what is usual, where no such unit explains the value.
        zeros: other scales in which the value may have been meant, with what is added to reach ours.
        doubt: values between these two get a warning as well, since they are mostly on such a scale.
    """

    what: str
    unit: str
    least: float
    low: float
    high: float
    most: float
    units: Mapping[str, float] = {}
    advice: str = ""
    zeros: Mapping[str, float] = {}
    doubt: tuple[float, float] = (0.0, 0.0)


_ENERGIES = {"kJ/mol": KJ_PER_MOL, "kcal/mol": KCAL_PER_MOL, "Hartree": HARTREE, "K": 1.0 / ELECTRONVOLT_IN_KELVIN}
_HEAT, _CELSIUS = {"eV": ELECTRONVOLT_IN_KELVIN}, {"°C": 273.15}
_TIMES = {"ps": 1e3, "ns": 1e6, "s": 1e15}
_LENGTHS = {"nm": 10.0, "pm": 0.01, "m": 1e10}
_STIFFNESSES = {
    "kcal/mol/Å²": KCAL_PER_MOL,
    "kJ/mol/nm²": 0.01 * KJ_PER_MOL,
    "N/m": 1.0 / 16.02176634,
    "Hartree/Bohr²": HARTREE / BOHR**2,
}

RANGES: dict[str, Range] = {
    "time step": Range("a time step", "fs", 1e-6, 0.01, 20.0, 60.0, _TIMES, "0.5 is usual where hydrogen atoms move"),
    "interval": Range("a time between frames", "fs", 1e-9, 0.1, 1e8, 1e12, _TIMES),
    "temperature": Range("a temperature", "K", 1e-3, 50.0, 2e4, 1e7, _HEAT, zeros=_CELSIUS),
    # Gentle heating starts at a few K; 25 is rather a room in °C.
    "start temperature": Range(
        "a temperature to start from", "K", 1e-9, 0.5, 2e4, 1e7, _HEAT, zeros=_CELSIUS, doubt=(12.0, 50.0)
    ),
    "relaxation time": Range("a relaxation time", "fs", 1e-3, 1.0, 1e6, 1e9, _TIMES),
    "friction": Range("a friction coefficient", "1/fs", 1e-12, 1e-6, 0.5, 1e3, {"1/ps": 1e-3, "1/s": 1e-15}),
    "diameter": Range("a diameter of an atom", "Å", 1e-3, 0.8, 12.0, 100.0, _LENGTHS),
    "well depth": Range("a Lennard-Jones well depth", "eV", 1e-12, 1e-7, 0.12, 1e3, {**_ENERGIES, "J": 6.241509e18}),
    "charge": Range("a charge", "e", 1e-9, 1e-4, 9.0, 1e3, {"C": 6.241509e18, "e x 18.2223": 1.0 / 18.2223}),
    "cut-off": Range("a cut-off", "Å", 0.7, 1.5, 30.0, 200.0, _LENGTHS),
    "distance": Range("a distance", "Å", 1e-3, 0.6, 100.0, 1e5, _LENGTHS),
    "reach": Range("a cut-off", "Å", 1e-3, 0.3, 100.0, 1e4, _LENGTHS),
    "width": Range("a width", "Å", 1e-6, 1e-3, 20.0, 1e3, _LENGTHS),
    "edge": Range("an edge of a cell", "Å", 0.5, 2.5, 2e3, 1e6, _LENGTHS),
    "radius": Range("a radius of an ion", "Å", 1e-2, 0.3, 20.0, 1e3, _LENGTHS),
    "number density": Range(
        "a number density", "1/Å³", 1e-15, 1e-12, 1.0, 100.0, {"1/nm³": 1e-3, "mol/L": 6.02214e-4, "1/m³": 1e-30}
    ),
    "bin width": Range("a width of bins", "Å", 1e-5, 1e-3, 1.0, 20.0, _LENGTHS),
    "bond length": Range("a bond length", "Å", 0.2, 0.3, 5.0, 50.0, _LENGTHS),
    "skin": Range("a skin", "Å", 1e-4, 0.02, 6.0, 50.0, {"nm": 10.0, "m": 1e10}),
    "overlap": Range("a distance of overlapping atoms", "Å", 1e-6, 1e-6, 1.6, 5.0, {"nm": 10.0, "m": 1e10}),
    "angle": Range("an angle", "rad", 0.1, 0.5, math.pi, math.pi, {"degrees": math.pi / 180.0}),
    "bond stiffness": Range("a force constant", "eV/Å²", 1e-9, 1e-6, 400.0, 1e6, _STIFFNESSES),
    "angle stiffness": Range(
        "a force constant of an angle",
        "eV/rad²",
        1e-9,
        1e-6,
        40.0,
        1e5,
        {k: _ENERGIES[k] for k in _ENERGIES if k != "K"},
    ),
    "bias": Range("an energy of a bias", "eV", 1e-9, 1e-7, 20.0, 1e4, _ENERGIES),
    "density": Range("a density", "g/cm³", 1e-5, 0.05, 6.0, 25.0, {"kg/m³": 1e-3, "kg/cm³": 1e3}),
    # No lower limit: infinite dilution is where theories and extrapolations begin.
    "concentration": Range("a concentration", "mol/L", 1e-300, 1e-300, 30.0, 120.0, {"mol/m³": 1e-3}),
    "molality": Range("a molality", "mol/kg", 0.0, 0.0, 40.0, 1e3, {"mmol/kg": 1e-3}),
    "permittivity": Range(
        "a relative permittivity",
        "",
        1.0,
        1.0,
        300.0,
        1e9,
        {"F/m": 1.0 / 8.8541878e-12},
        "vacuum has 1, water at 25 °C 78.3",
    ),
    "volume": Range("a volume", "Å³", 1.0, 100.0, 1e9, 1e12, {"nm³": 1e3, "m³": 1e30}),
    "length of a run": Range("a length of a run", "ps", 1e-3, 0.01, 1e3, 1e7, {"fs": 1e-3, "ns": 1e3, "s": 1e12}),
    "viscosity": Range("a viscosity", "Pa s", 1e-7, 1e-5, 0.2, 1e6, {"mPa s": 1e-3, "cP": 1e-3}),
    "mass": Range(
        "a mass of an atom", "g/mol", 1e-4, 0.1, 500.0, 1e9, {"kg": 6.02214e26, "electron masses": 5.4858e-4}
    ),
    "force": Range(
        "a force", "eV/Å", 1e-12, 1e-7, 20.0, 1e4, {"kcal/mol/Å": KCAL_PER_MOL, "kJ/mol/nm": KJ_PER_MOL / 10}
    ),
    "set pressure": Range("a pressure to keep", "bar", -1e6, -3e3, 5e4, 1e8, {"MPa": 10.0, "GPa": 1e4, "Pa": 1e-5}),
    "compressibility": Range("a compressibility", "1/bar", 1e-9, 1e-7, 2.0, 1e4, {"1/GPa": 1e-4, "1/Pa": 1e5}),
    "pressure": Range("a pressure", "GPa", -1e3, -1.0, 20.0, 1e6, {"bar": 1e-4, "atm": 1.01325e-4, "Pa": 1e-9}),
}
"""By kind of quantity. Signed quantities (charges, energies of a bias) are judged by their size."""


def number(
    name: str,
    value: Any,
    unit: str = "",
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
    infinite: bool = False,
) -> float:
    """A finite number as ``float``.

    Args:
        name: of the argument.
        value: what was given.
        unit: of the value, for the message.
        above: the value has to be larger than this.
        least: the value has to be this or larger.
        below: the value has to be smaller than this.
        most: the value has to be this or smaller.
        infinite: infinity is allowed as well (within the limits).

    Raises:
        InputError: no number, NaN, or out of these limits.
    """
    found = _real(value)
    lower = "" if above is None and least is None else f"above {above:g}" if above is not None else f"{least:g} or more"
    upper = "" if below is None and most is None else f"below {below:g}" if below is not None else f"{most:g} or less"
    limits = " and ".join(part for part in (lower, upper) if part)
    in_unit = f" in {unit}" if unit else ""
    need = f"{name} must be a {'' if infinite else 'finite '}number{in_unit}{', ' + limits if limits else ''}"
    if found is None or math.isnan(found) or (math.isinf(found) and not infinite):
        raise InputError(f"{need}, not {shown(value)}{_as_number(value)}")
    inside = (above is None or found > above) and (least is None or found >= least)
    if not (inside and (below is None or found < below) and (most is None or found <= most)):
        raise InputError(f"{need}, not {shown(value)}")
    return found


def positive(name: str, value: Any, unit: str = "") -> float:
    """A finite number above 0; see `number`."""
    return number(name, value, unit, above=0.0)


def not_negative(name: str, value: Any, unit: str = "") -> float:
    """A finite number, 0 or more; see `number`."""
    return number(name, value, unit, least=0.0)


def fraction(name: str, value: Any) -> float:
    """A number from 0 to 1; see `number`."""
    return number(name, value, least=0.0, most=1.0)


def quantity(name: str, value: Any, kind: str, *, zero: bool = False, signed: bool = False, warn: bool = True) -> float:
    """A physical quantity within its row of `RANGES`.

    Args:
        name: of the argument.
        value: what was given.
        kind: key of `RANGES`.
        zero: 0 is allowed, too.
        signed: the value may be negative; its size is judged.
        warn: warn of values that are possible but not ordinary.

    Raises:
        InputError: no finite number, a sign or a size that the quantity cannot have; the message names the unit that
            was probably meant.

    Warns:
        UserWarning: a value that is not ordinary.
    """
    limits = RANGES[kind]
    found = number(name, value, limits.unit)
    size = abs(found) if signed else found
    if size == 0.0 and zero:
        return found
    text = f"{name} = {found:g}{' ' + limits.unit if limits.unit else ''}"
    if not limits.least <= size <= limits.most:
        span = f"{'0, or ' if zero else ''}from {limits.least:g} to {limits.most:g}"
        unit = f" {limits.unit}" if limits.unit else ""
        raise InputError(f"{text} cannot be {limits.what}: it must be {span}{unit}{_meant(size, limits)}")
    if warn and limits.doubt[0] < size < limits.doubt[1]:
        caution(f"{text} is implausible for {limits.what}{_meant(size, limits)}")
    if warn and not limits.low <= size <= limits.high:
        caution(
            f"{text} is unusual for {limits.what}, which is ordinarily from {limits.low:g} to {limits.high:g}"
            f"{' ' + limits.unit if limits.unit else ''}{_meant(size, limits)}"
        )
    return found


def count(name: str, value: Any, *, least: int = 1, most: int | None = None) -> int:
    """An integer as ``int``: ``5``, ``numpy.int64(5)``, ``1e5``. An upper limit is named only where it is exceeded.

    Raises:
        InputError: anything else, or out of the limits.
    """
    found = _real(value)
    need = f"{name} must be {_integers(least)}"
    if most is not None and found is not None and found > most:
        raise InputError(f"{name} must be an integer from {least} to {most}, not {shown(value)}")
    if found is None or not math.isfinite(found) or found != math.floor(found):
        raise InputError(f"{need}, not {shown(value)}{_as_number(value)}")
    whole = int(value) if isinstance(value, int) else int(found)
    if whole < least:
        raise InputError(f"{need}, not {shown(value)}")
    return whole


def random_seed(value: Any, name: str = "seed") -> int:
    """A seed, from 0 to 2³² - 1: jax takes no more bits in 32-bit mode, and others would all give the same numbers.

    Raises:
        InputError: anything else.
    """
    return count(name, value, least=0, most=2**32 - 1)


def flag(name: str, value: Any) -> bool:
    """True or False; nothing else, since ``"no"`` and ``"none"`` would count as true.

    Raises:
        InputError: anything else.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise InputError(f"{name} must be True or False, not {shown(value)}")


def choice(name: str, value: Any, known: Iterable[str]) -> str:
    """One of several names.

    Raises:
        InputError: another name; the message lists those that are known and the nearest.
    """
    names = list(known)
    if isinstance(value, str) and value in names:
        return value
    near = nearest(value, names) if isinstance(value, str) else None
    hint = f"; did you mean {near!r}?" if near else ""
    raise InputError(f"{name} must be one of {', '.join(repr(one) for one in names)}, not {shown(value)}{hint}")


def nearest(text: str, known: Iterable[str]) -> str | None:
    """The one of the names that was probably meant, in either case; None where none is near."""
    lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(text.lower(), lower, n=1)
    return lower[near[0]] if near else None


def symbol(name: str, value: Any) -> str:
    """A chemical symbol.

    Raises:
        InputError: anything else; the message names the element that was probably meant.
    """
    from ase.data import atomic_numbers

    if isinstance(value, str) and value in atomic_numbers and value != "X":
        return str(value)
    raise InputError(f"{name} must be a chemical symbol such as 'Na', not {shown(value)}{near_symbol(value)}")


def near_symbol(value: Any) -> str:
    """``; did you mean 'Na'?`` for ``"na"``, ``"NA+"`` or ``"sodium"``; empty where no element is near."""
    from ase.data import atomic_names, atomic_numbers, chemical_symbols

    if not isinstance(value, str):
        return ""
    name, word = value.strip(), re.fullmatch(r"([A-Za-z]{1,2})[-+0-9]*", value.strip())
    found = chemical_symbols[atomic_names.index(name.capitalize())] if name.capitalize() in atomic_names[1:] else None
    if found is None and word is not None:
        letters = word[1]
        tried = (letters.capitalize(), letters[0].upper())
        found = next((one for one in tried if one in atomic_numbers and one != "X"), None)
    return f"; did you mean {found!r}?" if found else ""


def instance(name: str, value: Any, kinds: type | tuple[type, ...], described: str) -> Any:
    """An object of one of the given classes; ``described`` says in the message what is needed.

    Raises:
        InputError: anything else.
    """
    if isinstance(value, kinds):
        return value
    raise InputError(f"{name} must be {described}, not {shown(value)}")


def mapping(name: str, value: Any, example: str) -> dict[Any, Any]:
    """A dictionary; ``example`` shows one in the message.

    Raises:
        InputError: anything else.
    """
    if isinstance(value, Mapping):
        return dict(value)
    raise InputError(f"{name} must be a dictionary such as {example}, not {shown(value)}")


def sequence(name: str, value: Any, of: str) -> list[Any]:
    """A list, tuple or array as list; ``of`` names what it holds. A string is no sequence, nor is a dictionary.

    Raises:
        InputError: anything else.
    """
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return list(value)
    if isinstance(value, np.ndarray) and value.ndim:
        return list(value)
    raise InputError(f"{name} must be a list of {of}, not {shown(value)}")


def whole_slice(what: str, value: Any, of: str) -> slice:
    """A slice of integers whose step is not 0.

    Raises:
        InputError: anything else.
    """
    if not isinstance(value, slice):
        raise InputError(f"{what} is sliced by {of}, such as [100:], not indexed by {shown(value)}")
    for part in (value.start, value.stop, value.step):
        if isinstance(part, bool) or not (part is None or isinstance(part, int | np.integer)):
            raise InputError(f"{what} is sliced by integers, not by {shown(part)}")
    if value.step == 0:
        raise InputError(f"{what} cannot be sliced with the step 0")
    return value


def file_path(name: str, value: Any) -> Path:
    """A path as ``Path``; whether anything is there is for the caller to find out.

    Raises:
        InputError: neither a string nor a path, or an empty one.
    """
    if isinstance(value, str | Path) and str(value).strip():
        return Path(value).expanduser()
    raise InputError(f"{name} must be a path, not {shown(value)}")


def array(name: str, value: Any, shape: tuple[int | None, ...] | None, unit: str = "") -> NDArray[np.float64]:
    """A float64 array of finite numbers of a given shape, in which None stands for any length; None for any shape.

    Raises:
        InputError: another shape, or entries that are not finite numbers.
    """
    need = f"{name} must be an array of finite numbers{' in ' + unit if unit else ''}"
    if shape is not None:
        lengths = ", ".join("any" if n is None else str(n) for n in shape)
        need += f" of shape ({lengths}{',' if len(shape) == 1 else ''})"
    try:
        found = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{need}, not {shown(value)}") from error
    if found.dtype.kind not in "iuf" and not (found.size == 0 and isinstance(value, list | tuple)):
        raise InputError(f"{need}, not {shown(value)}")
    fits = shape is None or found.ndim == len(shape)
    if not fits or any(n is not None and n != m for n, m in zip(shape or (), found.shape, strict=False)):
        raise InputError(f"{need}, not of shape {found.shape}")
    found = found.astype(np.float64)
    if not np.all(np.isfinite(found)):
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(found))[0])
        raise InputError(f"{need}; entry {where} is {found[where]}")
    return found


def quantities(
    name: str,
    values: Any,
    kind: str,
    shape: tuple[int | None, ...] | None = None,
    *,
    zero: bool = False,
    signed: bool = False,
    warn: bool = True,
) -> NDArray[np.float64]:
    """Physical quantities within their row of `RANGES`, as an array; see `quantity` and `array`.

    The smallest and the largest are looked at, so that there is one warning of either side at most.

    Raises:
        InputError: no finite numbers, another shape, or a value that the quantity cannot have.
    """
    found = array(name, values, shape, RANGES[kind].unit)
    size = (np.abs(found) if signed else found).ravel()
    order = np.argsort(size[size != 0.0] if zero else size)
    kept = found.ravel()[size != 0.0] if zero else found.ravel()
    for one in dict.fromkeys(kept[order[[0, -1]]].tolist() if len(order) else []):
        quantity(name, one, kind, signed=signed, warn=warn)
    return found


def caution(message: str, category: type[Warning] = UserWarning) -> None:
    """One warning that points at the line of the user's program that called the library."""
    frame, depth, level = sys._getframe(1), 1, 2
    while frame is not None:
        depth += 1
        # Callbacks and tracing put frames of other packages in between: the outermost of ours counts.
        if frame.f_code.co_filename.startswith(PACKAGE):
            level = depth + 1
        frame = frame.f_back
    warnings.warn(message, category, stacklevel=level)


def shown(value: Any) -> str:
    """A value for a message, on one line and not too long: its type where its text would be."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    text = " ".join(repr(value).split())
    if value is None or isinstance(value, str | bytes | bool | Real):
        return text if len(text) <= 80 else f"{text[:77]}..."
    if isinstance(value, list | tuple | dict) and len(text) <= 60:
        return text
    name = type(value).__name__
    return f"{text} ({name})" if len(text) <= 60 and not text.startswith("<") else f"an object of type {name}"


def _real(value: Any) -> float | None:
    """The value as float, None for what is no real number."""
    if isinstance(value, bool | np.bool_ | str | bytes):
        return None
    if isinstance(value, Real):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if not hasattr(value, "__array__") or getattr(value, "ndim", None) != 0:
        return None
    try:
        found = np.asarray(value)
    except TypeError:  # a value inside jax.jit or jax.grad
        return None
    return float(found) if found.dtype.kind in "iuf" else None


def _integers(least: int) -> str:
    """The integers from ``least`` on, in words."""
    return {1: "a positive integer", 0: "a non-negative integer"}.get(least, f"an integer of at least {least}")


def _as_number(value: Any) -> str:
    """A remark for numbers that were given as text."""
    try:
        return f"; write {value.strip()} without quotes" if isinstance(value, str) and float(value) else ""
    except ValueError:
        return ""


def _meant(size: float, limits: Range) -> str:
    """The other units in which the value would be an ordinary one."""
    found = [
        f"{size * factor:.4g}, if it is in {unit}"
        for unit, factor in limits.units.items()
        if 0.99 * limits.low <= size * factor <= limits.high
    ]
    # A fraction of a degree is no temperature that anyone sets on another scale.
    found += [
        f"{size + zero:.5g}, if it is in {unit}" for unit, zero in limits.zeros.items() if 1.0 <= abs(size) <= 150.0
    ]
    return f" (write {'; '.join(found[:2])})" if found else limits.advice and f" ({limits.advice})"
