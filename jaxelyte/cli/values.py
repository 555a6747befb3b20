"""Values of TOML files, checked as arguments are: no text for a number, no number for a switch, nothing infinite."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from jaxelyte import checks
from jaxelyte.errors import InputError

KIND = "argument"
"""Type of the problems that are in our words already."""


def by(check: Callable[[str, Any], Any]) -> BeforeValidator:
    """A check of `jaxelyte.checks`, its message without the name and the value, which stand before it."""

    def run(value: Any) -> Any:
        try:
            return check("it", value)
        except InputError as error:
            text = str(error).replace(f", not {checks.shown(value)}", "")
            text = re.sub(r"^it = \S+( \S+)? cannot", "it cannot", text)
            if isinstance(value, str) and value[:1].isdigit() and "number" in text and "without quotes" not in text:
                text = "give a plain number; units are eV, Å, fs and K"
            raise PydanticCustomError(KIND, "{text}", {"text": text}) from error

    return BeforeValidator(run)


def _text(name: str, value: Any) -> str:
    if isinstance(value, str) and value.strip():
        return value
    raise InputError(f"{name} must be text in quotes")


def _texts(name: str, value: Any) -> str | list[str]:
    return [_text(name, one) for one in _filled(name, value)] if isinstance(value, list) else _text(name, value)


def _filled(name: str, value: list[Any]) -> list[Any]:
    if value:
        return value
    raise InputError(f"{name} must hold one or more")


def _path(name: str, value: Any) -> Path:
    path = checks.file_path(name, value)
    if "\0" in str(path):
        raise InputError(f"{name} must be a path")
    return path


def _velocities(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return checks.choice(name, value, ("atoms",))
    return checks.positive(name, value, "K")


def _nodes(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [checks.fraction(f"each of {name}", one) for one in _filled(name, value)]
    return checks.choice(name, value, ("gauss-legendre", "clenshaw-curtis", "trapezoid"))


def _cell(name: str, value: Any) -> Any:
    found = checks.array(name, value, None, "Å")
    if found.shape not in ((3,), (6,), (9,), (3, 3)):
        raise InputError(f"{name} must be three lengths in Å, six with angles in degrees, or nine numbers or 3 x 3")
    return value


def _cell_or_file(name: str, value: Any) -> Any:
    return str(_path(name, value)) if isinstance(value, str) else _cell(name, value)


Number = Annotated[float, by(checks.number)]
Positive = Annotated[float, by(checks.positive)]
NotNegative = Annotated[float, by(checks.not_negative)]
Temperature = Annotated[float, by(lambda name, value: checks.quantity(name, value, "temperature"))]
TimeStep = Annotated[float, by(lambda name, value: checks.quantity(name, value, "time step"))]
Length = Annotated[float, by(lambda name, value: checks.quantity(name, value, "length of a run"))]
Count = Annotated[int, by(checks.count)]
CountOrZero = Annotated[int, by(lambda name, value: checks.count(name, value, least=0))]
Integer = Annotated[int, by(lambda name, value: checks.count(name, value, least=-(2**31)))]
Seed = Annotated[int, by(lambda name, value: checks.random_seed(value, name))]
Flag = Annotated[bool, by(checks.flag)]
Text = Annotated[str, by(_text)]
Texts = Annotated[str | list[str], by(_texts)]
File = Annotated[Path, by(_path)]
StartVelocities = Annotated[Any, by(_velocities)]
Nodes = Annotated[Any, by(_nodes)]
Cell = Annotated[Any, by(_cell)]
CellOrFile = Annotated[Any, by(_cell_or_file)]
