"""Histogram of pair distances with all images, inside jit: integer counts, any triclinic cell."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

CPU_TILE = 1 << 15
"""Distances computed at a time: few enough for the caches of one core."""

DEVICE_TILE = 1 << 22
"""The same on a GPU, where each tile costs a few kernel launches instead."""


def pair_histogram(
    fractional: Float[Array, "3 atoms"],
    cell: Float[Array, "3 3"],
    a: np.ndarray,
    b: np.ndarray,
    *,
    offsets: np.ndarray,
    r_max: float,
    bins: int,
) -> Int[Array, " bins"]:
    """Ordered pairs (i in a, j in b), i ≠ j, by distance; all images within r_max.

    Args:
        fractional: positions in units of the lattice vectors, in [0, 1).
        cell: Å, rows are the lattice vectors.
        a: indices of the centres.
        b: indices of the neighbours.
        offsets: (images, 3), lattice offsets around the nearest image that are within reach.
        r_max: Å.
        bins: of equal width up to r_max.
    """
    dtype = fractional.dtype
    images = jnp.asarray(offsets.T, dtype)
    per_width, limit = jnp.asarray(bins / r_max, dtype), jnp.asarray(bins, dtype)
    neighbors, index_b = fractional[:, b], jnp.asarray(b, jnp.int32)

    def tile(counts: Array, block: tuple[Array, Array]) -> tuple[Array, None]:
        index_a, centers = block
        # Component by component: arrays of (rows, neighbours) vectorise, those with a last axis of three do not.
        separation = [neighbors[k][None, :] - centers[k][:, None] for k in range(3)]
        nearest = [s - jnp.round(s) for s in separation]
        image = [n[:, :, None] + images[k] for k, n in enumerate(nearest)]
        squared = sum(cartesian(image, cell, k) ** 2 for k in range(3))
        place = jnp.minimum(jnp.sqrt(squared) * per_width, limit).astype(jnp.int32)
        # Padding rows have index -1; they and the atom itself go to the place behind the last bin.
        other = (index_a[:, None] != index_b[None, :]) & (index_a[:, None] >= 0)
        place = jax.lax.optimization_barrier(jnp.where(other[:, :, None], place, bins))
        return counts.at[place.reshape(-1)].add(1, mode="promise_in_bounds"), None

    at_once = CPU_TILE if jax.default_backend() == "cpu" else DEVICE_TILE
    height = max(1, min(len(a), at_once // (len(b) * len(offsets))))
    tiles = -(-len(a) // height)
    rows = np.concatenate([a, np.full(tiles * height - len(a), -1)]).reshape(tiles, height)
    empty = jnp.zeros(bins + 1, jnp.int32)
    index, centers = jnp.asarray(rows, jnp.int32), jnp.moveaxis(fractional[:, rows], 0, 1)
    if tiles == 1:
        return tile(empty, (index[0], centers[0]))[0][:bins]
    return jax.lax.scan(tile, empty, (index, centers))[0][:bins]


def fractional_coordinates(
    positions: Float[Array, "atoms 3"], cell: Float[Array, "3 3"]
) -> tuple[Float[Array, "3 atoms"], Float[Array, ""]]:
    """Positions in units of the lattice vectors, wrapped into [0, 1], and the volume of the cell in Å³."""
    a, b, c = cell[0], cell[1], cell[2]
    normals = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], axis=1)
    determinant = jnp.sum(a * normals[:, 0])
    inverse = normals / determinant
    components = [positions[:, k] for k in range(3)]
    fractional = jnp.stack([cartesian(components, inverse, k) for k in range(3)])
    return fractional - jnp.floor(fractional), jnp.abs(determinant)


def cartesian(vectors: list[Array], matrix: Float[Array, "3 3"], k: int) -> Array:
    """Component k of row vectors times a matrix, without a matrix unit (which may round to fewer bits)."""
    return vectors[0] * matrix[0, k] + vectors[1] * matrix[1, k] + vectors[2] * matrix[2, k]
