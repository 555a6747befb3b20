"""Scalar nonlinearities by name, scaled to unit second moment under a normal distribution as e3nn does.

The scaling constants are part of published models, so they are kept to the digit: e3nn estimates
1 / sqrt(<f(z)²>) from a million normal deviates of seed 0 (PyTorch, float64). The exact integrals, which differ in the
third digit, would not reproduce a published energy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxelyte.errors import UnsupportedError


def shifted_softplus(x: Array) -> Array:
    """ln(1 + exp x) - ln 2, which vanishes at 0."""
    return jax.nn.softplus(x) - math.log(2.0)


class Activation(NamedTuple):
    """A nonlinearity: the function, its second-moment constant and its parity (+1, -1, or 0 for neither)."""

    function: Callable[[Array], Array]
    constant: float
    parity: int

    def normalized(self, x: Array) -> Array:
        """The function scaled to unit second moment."""
        return self.function(x) * self.constant


ACTIVATIONS: dict[str, Activation] = {
    "silu": Activation(jax.nn.silu, 1.6791767923989418, 0),
    "ssp": Activation(shifted_softplus, 1.878204668541552, 0),
    "tanh": Activation(jnp.tanh, 1.5937334472592695, -1),
    "abs": Activation(jnp.abs, 1.001110600838467, 1),
}

RADIAL_ACTIVATIONS = ("silu", "ssp")


def activation(name: str, option: str, allowed: tuple[str, ...] = tuple(ACTIVATIONS)) -> Activation:
    """Look up a nonlinearity.

    Raises:
        UnsupportedError: the name is not among ``allowed``.
    """
    if name not in allowed:
        raise UnsupportedError(f"{option} = {name!r} is not supported; choose one of {', '.join(allowed)}")
    return ACTIVATIONS[name]


def output_parity(act: Activation, parity: int, option: str) -> int:
    """Parity of a scalar of given parity after the nonlinearity.

    Raises:
        UnsupportedError: an odd scalar under a function that is neither even nor odd breaks inversion symmetry.
    """
    if parity == 1:
        return 1
    if act.parity == 0:
        raise UnsupportedError(f"{option}['o'] must be an even or odd function such as 'tanh' or 'abs'")
    return act.parity
