"""Mesh part of P3M: the only adapter to jax-pme.

jax-pme gives the B-spline assignment, the k-vectors of the mesh and the influence function; the energy is formed here
as U = 1/(2V) Σ_k G(k) |ρ(k)|² / W(k)², which is Σ ½ q φ without the second interpolation and the second transform.
Positions are wrapped first (jax-pme's mesh indices lose digits in float32 otherwise), and dtype promotion is relaxed
inside, because jax-pme multiplies integer mesh sizes with floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxelyte.lattice import inverse_rows
from jaxelyte.potentials.base import Scalar

ORDER = 5
"""B-spline order: the highest that jax-pme offers, and the cheapest at the accuracies that forces need."""


# On GPUs products of float32 are TF32 by default: charges on the mesh wrong in the fourth digit.
@jax.default_matmul_precision("highest")
def mesh_energy(
    charges: Float[Array, " charged"],
    fractional: Float[Array, "charged 3"],
    cell: Float[Array, "3 3"],
    alpha: float,
    mesh: tuple[int, int, int],
    total: Callable[[Array], Array] | None = None,
) -> Scalar:
    """Reciprocal-space energy on a mesh, in e²/Å units; compare `ewald.reciprocal_energy`.

    Args:
        charges: e.
        fractional: wrapped fractional coordinates.
        cell: Å, rows; any triclinic cell.
        alpha: splitting parameter in 1/Å.
        mesh: points along each lattice vector; the last one even.
        total: sum over devices, where each holds some of the charges.
    """
    with jax.numpy_dtype_promotion("standard"):
        from jaxpme.kspace import generate_kvectors, p3m_influence
        from jaxpme.mesh import bspline

        weights, to_mesh, _ = bspline(ORDER)
        dtype = fractional.dtype
        unit = jnp.eye(3, dtype=dtype)
        # Fractional coordinates go with a unit cell: jax-pme then has no cell of its own to invert.
        state = weights(unit, fractional, np.ones(mesh, np.int8))
        assigned = to_mesh(charges, state)
        density = jnp.fft.rfftn(assigned if total is None else total(assigned))
        k = generate_kvectors(2.0 * math.pi * inverse_rows(cell), mesh, for_ewald=False, dtype=dtype)
        # The influence function depends on the mesh alone. jax-pme takes it from k · cell, whose derivative with
        # respect to the cell is zero, but comes out as rounding noise over rounding noise: a wrong stress in triclinic
        # cells. On the unit cell it is a constant.
        bare = generate_kvectors(2.0 * math.pi * unit, mesh, for_ewald=False, dtype=dtype)
        influence = p3m_influence(bare, unit, jnp.asarray(mesh, dtype), ORDER)
    square = jnp.sum(k**2, axis=-1)
    origin = np.zeros(square.shape, bool)
    origin[0, 0, 0] = True
    safe = jnp.where(origin, jnp.ones((), dtype), square)
    kernel = 4.0 * math.pi / safe * jnp.exp(-safe / (4.0 * alpha**2)) * influence
    kernel = jnp.where(origin, jnp.zeros((), dtype), kernel)
    # The half spectrum of a real transform: all but the first and the (even) last plane stand for two k-vectors.
    planes = np.full(mesh[2] // 2 + 1, 1.0)
    planes[0] = planes[-1] = 0.5
    power = density.real**2 + density.imag**2
    volume = jnp.abs(jnp.linalg.det(cell))
    return jnp.sum(jnp.asarray(planes, dtype) * kernel * power) / volume
