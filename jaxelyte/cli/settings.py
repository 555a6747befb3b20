"""Tables of a file that are made of a class of settings: its fields, their defaults, and its own checks."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

from pydantic import create_model, model_validator

from jaxelyte.cli.sections import Section
from jaxelyte.cli.values import Flag, Integer, Number, Text
from jaxelyte.errors import InputError

_PLAIN: dict[str, Any] = {"float": Number, "int": Integer, "bool": Flag, "str": Text}

KINDS: dict[str, Any] = {**_PLAIN, **{f"{name} | None": kind | None for name, kind in _PLAIN.items()}}
"""Values of a file by the annotation of the field; fields of other types have no key."""


def section_of(settings: type, *, optional: tuple[str, ...] = ()) -> type[Section]:
    """A table with the fields of a frozen dataclass that are numbers, switches or names.

    Args:
        settings: the class, which checks its values when it is made.
        optional: fields that may be missing although the class needs them; then nothing is checked.
    """
    fields = {one.name: one for one in dataclasses.fields(settings) if one.type in KINDS}
    keys: dict[str, Any] = {}
    for name, field in fields.items():
        if name in optional:
            keys[name] = (KINDS[str(field.type)] | None, None)
        else:
            keys[name] = (KINDS[str(field.type)], ... if field.default is dataclasses.MISSING else field.default)

    def checked(self: Section) -> Section:
        values = {name: getattr(self, name) for name in fields}
        if any(values[name] is None for name in optional):
            return self
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is doubtful is said once, when the settings are used
                settings(**values)
        except InputError as error:
            raise ValueError(str(error)) from error
        return self

    check: Any = model_validator(mode="after")(checked)
    return create_model(settings.__name__, __base__=Section, __validators__={"checked": check}, **keys)
