"""Ewald summation: the formulas, on device. Which parameters to use is decided in `ewald_plan`.

Splitting 1/r = erfc(α r)/r + erf(α r)/r of the periodic Coulomb sum in units of e²/(4π ε0 ε_r):

    U_real  = ½ Σ_{i,j,n} q_i q_j [v(r) - v(r_c)] - ½ v(r_c) Σ q_i²,    v(r) = erfc(α r)/r, r < r_c
    U_recip = 1/(2V) Σ_{k≠0} (4π/k²) exp(-k²/4α²) |S(k)|²,              S(k) = Σ_j q_j exp(i k·r_j)
    U_self  = -α/√π Σ q_i²,      U_background = -π Q²/(2 α² V)

(Frenkel and Smit, Understanding Molecular Simulation, chapter 12.) The constant v(r_c) makes the energy continuous
when a pair crosses the cut-off; the forces do not know it, and the term in Σ q_i² compensates it on average: the charge
within r_c of an ion is minus that of the ion (Wolf et al., J. Chem. Phys. 110, 8254 (1999)).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc
from jaxtyping import Array, Float

from jaxelyte.lattice import inverse_rows
from jaxelyte.potentials.base import Scalar


def real_term(square: Float[Array, "*pairs"], alpha: float, cutoff: float) -> Float[Array, "*pairs"]:
    """v(r) - v(r_c) in 1/Å, from squared distances in Å² that must lie in (0, r_c²)."""
    r = jnp.sqrt(square)
    return erfc(alpha * r) / r - math.erfc(alpha * cutoff) / cutoff


def self_energy(charges: Float[Array, " charged"], volume: Scalar, alpha: float, cutoff: float) -> Scalar:
    """Self term, cut-off constant and neutralising background, in e²/Å units of the splitting."""
    square = jnp.sum(charges**2)
    constant = alpha / math.sqrt(math.pi) + 0.5 * math.erfc(alpha * cutoff) / cutoff
    return -constant * square - math.pi / (2.0 * alpha**2) * jnp.sum(charges) ** 2 / volume


def reciprocal_energy(
    charges: Float[Array, " charged"],
    fractional: Float[Array, "charged 3"],
    cell: Float[Array, "3 3"],
    alpha: float,
    kmax: tuple[int, int, int],
    total: Callable[[Array], Array] | None = None,
) -> Scalar:
    """Direct reciprocal sum over the integer box |n_a| <= kmax_a, as one matrix product.

    exp(2πi n·f) factorises over the three axes, so the structure factors are
    (charges x phases along a)ᵀ (phases along b x phases along c): flops of a GEMM instead of charged x k cosines.
    Half of the k-vectors (n_a >= 0) is enough, the other half being their complex conjugates.

    Args:
        charges: e.
        fractional: wrapped fractional coordinates.
        cell: Å, rows.
        alpha: splitting parameter in 1/Å.
        kmax: largest index along each axis.
        total: sum over devices, where each holds some of the charges.

    Returns:
        The energy in e²/Å units.
    """
    dtype = fractional.dtype
    ranges = [np.arange(0, kmax[0] + 1), np.arange(-kmax[1], kmax[1] + 1), np.arange(-kmax[2], kmax[2] + 1)]
    indices = [jnp.asarray(r, dtype) for r in ranges]
    angles = [2.0 * math.pi * fractional[:, a, None] * indices[a] for a in range(3)]
    (ca, cb, cc), (sa, sb, sc) = [jnp.cos(x) for x in angles], [jnp.sin(x) for x in angles]
    real = cb[:, :, None] * cc[:, None, :] - sb[:, :, None] * sc[:, None, :]
    imag = sb[:, :, None] * cc[:, None, :] + cb[:, :, None] * sc[:, None, :]
    plane = jnp.stack([real, imag], axis=1).reshape(len(charges), -1)
    line = jnp.concatenate([ca, sa], axis=1) * charges[:, None]
    product = jnp.matmul(line.T, plane, precision="highest").reshape(2, len(ranges[0]), 2, len(ranges[1]), -1)
    if total is not None:
        product = total(product)
    structure_real = product[0, :, 0] - product[1, :, 1]
    structure_imag = product[0, :, 1] + product[1, :, 0]
    kernel = _kernel(indices, cell, alpha)
    twice = jnp.where(indices[0] == 0, 0.5, 1.0).astype(dtype)[:, None, None]
    volume = jnp.abs(jnp.linalg.det(cell))
    return jnp.sum(twice * kernel * (structure_real**2 + structure_imag**2)) / volume


def _kernel(indices: list[Array], cell: Float[Array, "3 3"], alpha: float) -> Float[Array, "a b c"]:
    """(4π/k²) exp(-k²/4α²) on the box of integer indices, zero at k = 0."""
    rows = 2.0 * math.pi * inverse_rows(cell)
    na, nb, nc = indices
    k = na[:, None, None, None] * rows[0] + nb[:, None, None] * rows[1] + nc[:, None] * rows[2]
    square = jnp.sum(k**2, axis=-1)
    origin = (na[:, None, None] == 0) & (nb[:, None] == 0) & (nc == 0)
    safe = jnp.where(origin, jnp.ones((), square.dtype), square)
    return jnp.where(origin, jnp.zeros((), square.dtype), 4.0 * math.pi / safe * jnp.exp(-safe / (4.0 * alpha**2)))
