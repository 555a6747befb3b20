"""Shape and dtype checks at run time, for every function of jaxelyte, while the tests run.

jaxtyping's import hook decorates each function with beartype. Two things are left out:

- Constructors: jax rebuilds pytrees through them with tracers, axis numbers, booleans or None in place of arrays, and a
  batched system has one axis more than its annotations say.
- Arguments that are no arrays: pyright checks ours, and those of users are for the library's own errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, install_import_hook

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def has_shape(annotation: Any) -> bool:
    """True for ``Float[Array, "atoms 3"]`` and for what contains such an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return True
    return any(has_shape(part) for part in get_args(annotation))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let beartype check the arrays that go into and come out of a function."""
    if function.__name__ == "__init__":
        return function
    shapes = {name: hint if has_shape(hint) else Any for name, hint in function.__annotations__.items()}
    function.__annotations__ = shapes
    return _check(function)


def install() -> None:
    """Check all modules of jaxelyte that are imported from now on."""
    install_import_hook("jaxelyte", "typecheck.check")
