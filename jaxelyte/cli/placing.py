"""Where in a file the value stands that an error is about: ``[run] of salt.toml``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxelyte.errors import InputError

FIRST_WORD = re.compile(r"\W*([A-Za-z_]\w*)")


@contextlib.contextmanager
def placed(section: str) -> Iterator[None]:
    """Errors in the input that are raised within belong to this section, unless an inner one has them already."""
    try:
        yield
    except InputError as error:
        if not hasattr(error, "section"):
            error.section = section  # pyright: ignore[reportAttributeAccessIssue]
        raise


@contextlib.contextmanager
def of_file(path: Path, config: Any) -> Iterator[None]:
    """Errors in the input that are raised within name the file and the section that the value stands in.

    The section is that of `placed`, else the one with a key that the message begins with.

    Args:
        path: the file.
        config: what was read from it.
    """
    try:
        yield
    except InputError as error:
        message = str(error)
        section = getattr(error, "section", None) or _section_of(message, config)
        where = f"{section} of {path}" if section else str(path)
        error.args = (f"{where}: {message}",)
        raise


def _section_of(message: str, config: Any) -> str:
    found = FIRST_WORD.match(message)
    sections = {name: getattr(config, name) for name in type(config).model_fields}
    for name, section in sections.items():
        if found is not None and found[1] in getattr(type(section), "model_fields", {}):
            return f"[{name}]"
    return ""
