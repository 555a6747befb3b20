"""Distances, harmonics and radial functions of the edges.

Radial basis (Gasteiger et al., ICLR 2020, DimeNet): b_n(r) = (2 / r_max) sin(w_n r / r_max) / r · f(r / r_max) with the
trainable w_n = n π and the envelope f(x) = 1 - (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) - p(p+1)/2 x^(p+2), which
vanishes with its first two derivatives at x = 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxelyte.models.activations import Activation
from jaxelyte.models.constants import spherical_harmonics
from jaxelyte.models.products import product

if TYPE_CHECKING:
    from jaxelyte.models.config import NequIP


PI = (3.140625, math.pi - 3.140625, 1.2246467991473532e-16)
"""π in three parts, of which multiples of the first are exact also in float32."""

COEFFICIENTS = tuple((-1.0) ** n / math.factorial(2 * n + 1) for n in range(12))
"""Of the series of the sine."""


class EdgeGeometry(NamedTuple):
    """Distances in Å, shape (atoms, neighbors), and harmonics by degree, shape (atoms, 2l + 1, neighbors)."""

    distance: Float[Array, "atoms neighbors"]
    harmonics: dict[int, Float[Array, "atoms m neighbors"]]


def edge_geometry(
    vectors: Float[Array, "atoms neighbors 3"], mask: Bool[Array, "atoms neighbors"], r_max: float, l_max: int
) -> EdgeGeometry:
    """Distances and spherical harmonics of the edges; entries that are no pairs lie at 2 ``r_max`` along x."""
    far = jnp.asarray([2.0 * r_max, 0.0, 0.0], vectors.dtype)
    x, y, z = (jnp.where(mask, vectors[..., i], far[i]) for i in range(3))
    distance = jnp.sqrt(x * x + y * y + z * z)
    components = spherical_harmonics(l_max, (x / distance, y / distance, z / distance))
    return EdgeGeometry(distance, {degree: jnp.stack(parts, axis=1) for degree, parts in enumerate(components)})


def envelope(x: Float[Array, "..."], p: float) -> Float[Array, "..."]:
    """The polynomial envelope f(x), 0 from x = 1 on."""
    power = int(p) if float(p).is_integer() else p
    first = x**power
    value = 1.0 - first * ((p + 1.0) * (p + 2.0) / 2.0 - x * (p * (p + 2.0) - x * (p * (p + 1.0) / 2.0)))
    return jnp.where(x < 1.0, value, jnp.zeros((), x.dtype))


def radial_embedding(
    config: NequIP, frequencies: Float[Array, " basis"], geometry: EdgeGeometry
) -> Float[Array, "atoms neighbors basis"]:
    """Bessel functions times envelope; exactly 0 beyond the cut-off."""
    distance = geometry.distance
    prefactor = envelope(distance / config.r_max, config.polynomial_cutoff_p) * (2.0 / config.r_max) / distance
    return sine((distance / config.r_max)[..., None] * frequencies) * prefactor[..., None]


@jax.custom_jvp
def sine(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Of ``x`` up to some hundred periods, by its series: a twentieth of what XLA on CPUs takes for it."""
    half_turns = jnp.round(x * (1.0 / math.pi))
    return _series(x, half_turns, half_turns, 1.0)


@jax.custom_jvp
def cosine(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Its derivative, by the same series."""
    middle = jnp.round(x * (-1.0 / math.pi) + 0.5) - 0.5
    return _series(x, middle, middle + 0.5, -1.0)


sine.defjvps(lambda tangent, _, x: cosine(x) * tangent)
cosine.defjvps(lambda tangent, _, x: -sine(x) * tangent)


def _series(x: Float[Array, "..."], middle: Float[Array, "..."], half_turns: Float[Array, "..."], sign: float) -> Any:
    """The sine of x - sign π middle, at most π/2, times sign (-1)^half_turns, to the rounding of 1.

    The sign is in all constants so that sine and cosine have none in common: XLA would write those to memory.
    """
    rest = x - middle * (sign * PI[0]) - middle * (sign * PI[1]) - middle * (sign * PI[2])
    terms = 7 if rest.dtype == jnp.float32 else 12
    square, series = rest * rest, jnp.full((), sign * COEFFICIENTS[terms - 1], rest.dtype)
    for n in reversed(range(terms - 1)):
        series = series * square + sign * COEFFICIENTS[n]
    odd = half_turns - 2.0 * jnp.floor(half_turns * 0.5)
    return rest * series * (1.0 - 2.0 * odd)


def radial_hidden(
    act: Activation, weights: dict[str, Any], embedded: Float[Array, "atoms neighbors basis"]
) -> Float[Array, "atoms neighbors neurons"]:
    """The radial network up to its last, linear layer. It has no biases and maps 0 to 0."""
    hidden = embedded
    for i in range(len(weights) - 1):
        matrix = weights[f"layer{i}"]
        hidden = act.normalized(product(hidden, matrix * matrix.shape[0] ** -0.5))
    return hidden
