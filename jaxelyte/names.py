"""Names of arguments and pairs of species: one that is not known is an error that names the nearest.

`guarded` wraps a function, `guard_class` the constructor and the methods of a class. The package applies both to its
public names when they are first used (`jaxelyte.__init__`), so that every one of them explains a misspelt argument.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from jaxelyte import checks
from jaxelyte.errors import ArgumentError, InputError

SYNONYMS = {
    "dt": "timestep", "delta_t": "timestep", "t": "temperature", "temp": "temperature", "nsteps": "steps",
    "n_steps": "steps", "num_steps": "steps", "cutoff": "r_max", "rcut": "r_max", "r_cut": "r_max", "rmax": "r_max",
    "nbins": "bins", "n_bins": "bins", "folder": "output", "out": "output", "outdir": "output", "filename": "path",
    "file": "path", "fname": "path", "eps": "epsilon", "dr": "width", "box": "cell", "lattice": "cell",
    "stride": "every", "interval": "every", "thermostat_time": "tau", "gamma": "friction", "lr": "learning_rate",
    "n_epochs": "epochs", "batch": "batch_size", "skip": "discard", "equilibration": "discard", "top": "topology",
    "charge": "charges", "epsilon_r": "permittivity", "eps_r": "permittivity", "dielectric": "permittivity",
}  # fmt: skip
"""What other programs call an argument."""


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function; arguments that do not fit it are an `ArgumentError` instead of Python's TypeError.

    Nothing is checked before the call, which costs one more frame of the interpreter.
    """
    if getattr(function, "_guarded", False):
        return function

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            text = _misfit(function, args, kwargs) or _not_passed_on(function, kwargs, str(error))
            if text:
                raise ArgumentError(text) from error
            raise

    called._guarded = True  # pyright: ignore[reportFunctionMemberAccess, reportAttributeAccessIssue]
    return called


def guard_class(kind: type) -> None:
    """`guarded` for the constructor and the public methods of a class of this package and of its bases."""
    for one in kind.__mro__:
        if not one.__module__.startswith("jaxelyte") or "_methods_guarded" in vars(one):
            continue
        for name, value in list(vars(one).items()):
            if name.startswith("_") and name != "__init__":
                continue
            if inspect.isfunction(value):
                setattr(one, name, guarded(value))
            elif isinstance(value, classmethod | staticmethod) and inspect.isfunction(value.__func__):
                setattr(one, name, type(value)(guarded(value.__func__)))
        one._methods_guarded = True  # pyright: ignore[reportAttributeAccessIssue]


def guard_module(module: ModuleType) -> None:
    """`guarded` for the public functions and classes of a module."""
    for name, value in list(vars(module).items()):
        if name.startswith("_") or not getattr(value, "__module__", "").startswith("jaxelyte"):
            continue
        if inspect.isclass(value):
            guard_class(value)
        elif inspect.isfunction(value):
            setattr(module, name, guarded(value))


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'timestep'?`` for a name that is not among the known ones; empty where none is near."""
    names = list(known)
    synonym = SYNONYMS.get(name.lower())
    meant = synonym in names and name.lower() not in map(str.lower, names)
    near = synonym if meant else checks.nearest(name, names)
    return f"; did you mean {near!r}?" if near else ""


def _misfit(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Why arguments do not fit a function; empty where they do, and the error came from within it."""
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        reason = str(error)
    else:
        return ""
    method = bool(args) and next(iter(signature.parameters), "") in ("self", "cls")
    names, title = _arguments(signature), _title(function)
    takes = f"{title} takes {', '.join(names)}" if names else f"{title} takes no arguments"
    unknown = [name for name in kwargs if name not in names]
    if unknown:
        free = [name for name in names if name not in kwargs]
        return f"{title} has no argument {unknown[0]!r}{nearest(unknown[0], free) or '.'} {takes}"
    if "too many positional" in reason:
        room = [name for name, one in signature.parameters.items() if one.kind == one.POSITIONAL_OR_KEYWORD]
        count, given = len(room) - method, len(args) - method
        return f"{title} takes {count} arguments without a name, not {given}; name the others. {takes}"
    if reason.startswith("multiple values"):
        return f"{title} got {reason}. {takes}"
    return f"{title}: {reason}. {takes}"


def _not_passed_on(function: Callable[..., Any], kwargs: dict[str, Any], reason: str) -> str:
    """Why an argument that a function passes on to another one does not fit that; empty for other errors."""
    found = re.search(r"got an unexpected keyword argument '(\w+)'", reason)
    names = _arguments(inspect.signature(function))
    if found is None or found[1] not in kwargs or found[1] in names:
        return ""
    free = [name for name in names if name not in kwargs]
    title, hint = _title(function), nearest(found[1], free) or "."
    return f"{title} has no argument {found[1]!r}{hint} {title} takes {', '.join(names)}, and options that it passes on"


def _arguments(signature: inspect.Signature) -> list[str]:
    """Names of arguments that users give."""
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [n for n, one in signature.parameters.items() if one.kind not in several and n not in ("self", "cls")]


def _title(function: Callable[..., Any]) -> str:
    """What users call a function: ``rdf``, ``NVT``, ``Trajectory.frame``."""
    name = function.__qualname__.rpartition("<locals>.")[2]
    return name.removesuffix(".__init__") if "." in name else name


def pair(name: str, value: Any) -> tuple[str, str]:
    """Two chemical symbols, from ``("Na", "O")`` or ``"Na-O"``.

    Args:
        name: of the argument.
        value: what was given.

    Raises:
        InputError: anything else; the message names the element that was probably meant.
    """
    parts = [part.strip() for part in value.split("-")] if isinstance(value, str) else value
    if not isinstance(parts, tuple | list) or len(parts) != 2:
        raise InputError(f"{name} must be two chemical symbols, ('Na', 'O') or 'Na-O', not {checks.shown(value)}")
    first, second = (checks.symbol(f"each species of {name}", one) for one in parts)
    return first, second


def pairs(name: str, value: Any) -> tuple[tuple[str, str], ...]:
    """One or several pairs of chemical symbols: ``("Na", "O")``, ``"Na-O"``, ``"Na-O,Cl-O"``, or a list of them.

    Args:
        name: of the argument.
        value: what was given.

    Raises:
        InputError: anything else, or no pair at all.
    """
    given = value.split(",") if isinstance(value, str) else checks.sequence(name, value, "pairs such as ('Na', 'O')")
    if len(given) == 2 and not isinstance(value, str) and all(_short(one) for one in given):
        given = [tuple(given)]
    if not given:
        raise InputError(f"{name} holds no pair of species; give at least one, such as ('Na', 'O') or 'Na-O'")
    return tuple(pair(f"{name}[{n}]" if len(given) > 1 else name, one) for n, one in enumerate(given))


def _short(value: Any) -> bool:
    """Whether a value is text such as "Na", which is no pair by itself."""
    return isinstance(value, str) and "-" not in value and len(value) < 4
