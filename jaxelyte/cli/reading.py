"""Options that say how a file is read, as the arguments of `jaxelyte.open_trajectory`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxelyte.errors import InputError


def reading_options(
    interval: float | None, topology: Path | None, cell: str, units: str | None, elements: str, file_format: str | None
) -> dict[str, Any]:
    """The options of ``jaxelyte analyse`` that were given, by the names of the arguments.

    Args:
        interval: fs.
        topology: a file.
        cell: numbers separated by commas or spaces, Å.
        units: name.
        elements: such as 1=Na,2=Cl.
        file_format: name.

    Raises:
        InputError: a cell that is not made of numbers, or elements that are not pairs.
    """
    options = {
        "interval": interval,
        "topology": topology,
        "cell": _numbers(cell),
        "units": units,
        "elements": _pairs(elements),
        "format": file_format,
    }
    return {name: value for name, value in options.items() if value is not None}


def _numbers(text: str) -> list[float] | None:
    if not text.strip():
        return None
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise InputError(f"--cell {text!r} should hold numbers in Å separated by commas, such as 20,20,20") from error


def _pairs(text: str) -> dict[str, str] | None:
    if not text.strip():
        return None
    pairs = [part.split("=") for part in text.split(",") if part.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError(f"--elements {text!r} should hold types or names with their elements, such as 1=Na,2=Cl")
    return {key.strip(): value.strip() for key, value in pairs}
