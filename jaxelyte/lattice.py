"""Products with 3 x 3 matrices of lattice vectors, written out.

A product of matrices would not fuse with what surrounds it, and on GPUs it runs in TF32 unless told otherwise: a cell
of 25 Å would be rounded to 0.01 Å.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def inverse_rows(cell: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """Reciprocal vectors without the 2π as rows: ``inv(cell).T``, by cross products.

    A LAPACK call on a 3 x 3 matrix would cost more than the rest of a small energy.
    """
    normals = jnp.stack([jnp.cross(cell[(a + 1) % 3], cell[(a + 2) % 3]) for a in range(3)])
    return normals / jnp.sum(cell[0] * normals[0])


def combine(coefficients: Float[Array, "*batch 3"], rows: Float[Array, "3 3"]) -> Float[Array, "*batch 3"]:
    """``coefficients @ rows``: the vectors with these coefficients in the basis of the rows."""
    a, b, c = (coefficients[..., k, None] * rows[k] for k in range(3))
    return a + b + c


def fractional(vectors: Float[Array, "*batch 3"], cell: Float[Array, "3 3"]) -> Float[Array, "*batch 3"]:
    """Fractional coordinates: ``vectors @ inv(cell)``."""
    return combine(vectors, inverse_rows(cell).T)


def deformation(before: Float[Array, "3 3"], after: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """F with ``before @ F = after``: what a change of the cell does to row vectors."""
    return combine(inverse_rows(before).T, after)


def strain_of(before: Float[Array, "3 3"], after: Float[Array, "3 3"]) -> Float[Array, ""]:
    """‖F - 1‖ by the Frobenius norm, F the deformation: no vector is stretched or shortened by a larger share."""
    change = deformation(before, after)
    return jnp.sqrt(jnp.sum((change - jnp.eye(3, dtype=change.dtype)) ** 2))
