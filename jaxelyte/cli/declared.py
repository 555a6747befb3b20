"""``jaxelyte types``: what a file may name; and ``--plugin``: files that declare more."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jaxelyte.errors import InputError
from jaxelyte.registry import REGISTRIES, Argument, arguments, takes_atoms

if TYPE_CHECKING:
    from rich.table import Table


def load_plugin(path: Path) -> None:
    """Run a Python file, which declares potentials or observables by `jaxelyte.register`.

    Raises:
        InputError: no Python file, one with the name of a module that is imported already, or one that fails.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path) if path.suffix == ".py" and path.is_file() else None
    if spec is None or spec.loader is None:
        raise InputError(f"--plugin {path}: there is no such Python file (NAME.py)")
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) != str(path):
        raise InputError(f"--plugin {path}: a module called {path.stem!r} is in use; give the file another name")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[path.stem]
        raise InputError(f"--plugin {path} fails: {type(error).__name__}: {error}") from error


def _written(argument: Argument) -> str:
    if argument.required:
        return argument.name
    if argument.default is None or isinstance(argument.default, tuple | list | dict):
        return f"[{argument.name}]"
    value = argument.default
    shown = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else f"{value:g}"
    return f"[{argument.name} = {shown}]"


def _summary(made: object) -> str:
    return (inspect.getdoc(made) or "").partition("\n\n")[0].replace("\n", " ")


def rows() -> list[tuple[str, str, str, str]]:
    """Kind, name, keys and first sentence of all that a file may name."""
    found = []
    for kind, registry in REGISTRIES.items():
        for name in registry.names():
            made = registry.find(name)
            keys = ", ".join(_written(one) for one in arguments(made))
            note = " (made for the atoms of the run)" if takes_atoms(made) else ""
            found.append((kind, name, keys, _summary(made) + note))
    return found


def types_table() -> Table:
    """`rows` for people; keys in brackets may be left out."""
    from rich.table import Table

    table = Table("kind", "type", "keys; those in brackets may be left out", "what it is")
    for row in rows():
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    return table


def described(name: str) -> str:
    """The documentation of what a name stands for.

    Raises:
        InputError: nothing has the name.
    """
    for registry in REGISTRIES.values():
        if name in registry.names():
            return inspect.getdoc(registry.find(name)) or f"{name} has no documentation"
    known = ", ".join(name for registry in REGISTRIES.values() for name in registry.names())
    raise InputError(f"there is no type {name!r}; types: {known}")
