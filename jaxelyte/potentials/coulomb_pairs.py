"""Pair sums of the Coulomb interaction: over all pairs with images, over lists, and over excluded pairs."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxelyte.arrays import HashableArray
from jaxelyte.lattice import combine
from jaxelyte.neighbors.lists import NeighborList
from jaxelyte.potentials.base import Scalar
from jaxelyte.potentials.geometry import nearest_vectors, row_pairs
from jaxelyte.system import System

PairTerm = Callable[[Float[Array, "*pairs"]], Float[Array, "*pairs"]]
"""Energy per charge product in 1/Å from squared distances in Å² inside the cut-off."""


def sum_all_pairs(
    system: System,
    positions: Float[Array, "charged 3"],
    charges: Float[Array, " charged"],
    real: Bool[Array, " charged"],
    term: PairTerm,
    cutoff: float | None,
    offsets: HashableArray | None,
) -> Scalar:
    """½ Σ q_i q_j term(r²) over all pairs and images; for few charges cheaper than a list, and it never overflows.

    Args:
        system: gives cell and periodicity.
        positions: of the charged atoms.
        charges: e.
        real: False for padding rows, which may repeat the position of an atom.
        term: see `PairTerm`.
        cutoff: Å, or None for every pair.
        offsets: lattice offsets about the nearest image, from `image_offsets`; None where nothing is periodic.
    """
    count = len(charges)
    vectors = nearest_vectors(system, positions[None, :, :] - positions[:, None, :])[None]
    itself = np.eye(count, dtype=bool)[None]
    if offsets is not None:
        shifts = jnp.asarray(offsets.array, vectors.dtype)
        vectors = vectors + combine(shifts, system.cell)[:, None, None, :]
        itself = itself & ~np.any(offsets.array != 0, axis=1)[:, None, None]
    square = jnp.sum(vectors**2, axis=-1)
    product = charges[:, None] * charges
    keep = ~itself & real[:, None] & real
    if cutoff is not None:
        keep = keep & (square < cutoff**2)
    values = term(jnp.where(keep, square, jnp.ones((), square.dtype)))
    return 0.5 * jnp.sum(jnp.where(keep, product * values, jnp.zeros((), values.dtype)))


def sum_listed(
    system: System,
    lists: NeighborList,
    rows: Int[Array, " charged"],
    charges: Float[Array, " charged"],
    everyone: Float[Array, " atoms"],
    term: PairTerm,
    cutoff: float,
) -> Scalar:
    """½ Σ q_i q_j term(r²) over the entries of a neighbour list within the cut-off, rows of charged atoms only.

    Args:
        system: one system.
        lists: a full list among the charged species.
        rows: indices of the charged atoms.
        charges: their charges, e.
        everyone: charges of all atoms, e.
        term: see `PairTerm`.
        cutoff: Å.
    """
    vectors, index = row_pairs(lists, system, rows)
    square = jnp.sum(vectors**2, axis=-1)
    keep = square < cutoff**2
    values = term(jnp.where(keep, square, jnp.ones((), square.dtype)))
    other = jnp.take(everyone, index, mode="fill", fill_value=0)
    rows_sum = jnp.sum(jnp.where(keep, other * values, jnp.zeros((), values.dtype)), axis=1)
    return 0.5 * jnp.sum(charges * rows_sum)


def sum_excluded(
    system: System,
    charges: Float[Array, " atoms"],
    pairs: HashableArray,
    weights: HashableArray,
    term: PairTerm,
    cutoff: float | None,
) -> Scalar:
    """Σ w q_i q_j term(r²) over given pairs at their nearest image: what exclusions take away from a full sum.

    Args:
        system: one system.
        charges: of all atoms, e.
        pairs: shape (pairs, 2), atom indices.
        weights: shape (pairs,), the share that is excluded: 1 minus the scale that remains.
        term: see `PairTerm`.
        cutoff: Å, or None.
    """
    first, second = pairs.array[:, 0], pairs.array[:, 1]
    vectors = nearest_vectors(system, system.positions[second] - system.positions[first])
    square = jnp.sum(vectors**2, axis=-1)
    product = jnp.asarray(weights.array, charges.dtype) * charges[first] * charges[second]
    keep = system.mask[first] & system.mask[second]
    if cutoff is not None:
        keep = keep & (square < cutoff**2)
    values = term(jnp.where(keep, square, jnp.ones((), square.dtype)))
    return jnp.sum(jnp.where(keep, product * values, jnp.zeros((), values.dtype)))
