"""Shape and type checks at run time, for every function of jaxelyte, while the tests run.

jaxtyping's import hook decorates each function with beartype. Constructors are left out: jax rebuilds pytrees through
them with tracers, axis numbers, booleans or None in place of arrays, and batched systems have one axis more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let beartype check a function, unless it is a constructor or its annotations cannot be resolved."""
    if getattr(function, "__name__", "") == "__init__":
        return function
    annotations = dict(function.__annotations__)
    function.__annotations__ = {k: Any if isinstance(v, str) else v for k, v in annotations.items()}
    return _check(function)


def install() -> None:
    """Check all modules of jaxelyte that are imported from now on."""
    install_import_hook("jaxelyte", "typecheck.check")
