"""Reduced-precision matrix products, on request."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxelyte.models.tiling import PRODUCTS, Precision

MANTISSA = {PRODUCTS["tf32"]: 10, PRODUCTS["bf16"]: 7}
"""Bits; the exponent has 8, as in float32."""


def products_in(precision: Precision) -> Any:
    """Context in which `product` has this precision, and everything else that of float32 if it asks for it."""
    return jax.default_matmul_precision(PRODUCTS[precision])


def product(x: Float[Array, "*some rows"], matrix: Float[Array, "rows columns"]) -> Float[Array, "*some columns"]:
    """``x @ matrix`` in the precision in force, derivatives likewise.

    Where there are no units for TF32 or bfloat16 the inputs are rounded to the nearest of their numbers. A GPU that
    cuts off instead errs up to twice as much.
    """
    config: Any = jax.config
    bits = MANTISSA.get(config.jax_default_matmul_precision)
    if x.dtype != jnp.float32 or bits is None:
        return jnp.matmul(x, matrix, precision="highest")
    return jax.lax.platform_dependent(x, matrix, cuda=jnp.matmul, default=partial(_rounded, bits))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rounded(bits: int, x: Array, matrix: Array) -> Array:
    few = [jax.lax.reduce_precision(one, 8, bits) for one in (x, matrix)]
    return jnp.matmul(*few, precision="highest")


def _gradients(bits: int, saved: tuple[Array, Array], gradient: Array) -> tuple[Any, Any]:
    x, matrix = saved
    rows, columns = matrix.shape
    of_matrix = _rounded(bits, x.reshape(-1, rows).T, gradient.reshape(-1, columns))
    return _rounded(bits, gradient, matrix.T), of_matrix


_rounded.defvjp(lambda bits, *saved: (_rounded(bits, *saved), saved), _gradients)
