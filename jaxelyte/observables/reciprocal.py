"""Products of density waves on reciprocal lattice vectors, inside jit: any triclinic cell, bounded memory.

A wave factorises in fractional coordinates, exp(2πi (m·s)) = exp(2πi (m_x s_x + m_y s_y)) exp(2πi m_z s_z), so that the
sum over atoms is a product of matrices: rows (m_x, m_y) by atoms, times atoms by m_z.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxelyte.arrays import HashableArray
from jaxelyte.lattice import combine, inverse_rows
from jaxelyte.observables.base import CompensatedSum

CPU_TILE = 1 << 18
"""Numbers in the largest array at a time: few enough for the caches of one core."""

DEVICE_TILE = 1 << 24
"""The same on a GPU, where each tile costs a few kernel launches instead."""


class WaveGrid(NamedTuple):
    """Half of the reciprocal lattice vectors (the others are their inversions) that any cell needs; static, hashable.

    Attributes:
        rows: (rows, 2), integers (m_x, m_y); (0, 0) comes first.
        reach: largest m_z; all from -reach to reach belong to each row, to the first only those above 0.
    """

    rows: HashableArray
    reach: int


def wave_grid(cells: np.ndarray, k_max: float) -> WaveGrid:
    """Integers of all vectors up to k_max in 1/Å in cells of shape (…, 3, 3), Å.

    m = k·a / 2π along each lattice vector a, so |m| <= k_max |a| / 2π in any cell.
    """
    x, y, z = largest_integers(cells, k_max)
    rows = [(0, n) for n in range(y + 1)] + list(itertools.product(range(1, x + 1), range(-y, y + 1)))
    return WaveGrid(HashableArray(np.array(rows, np.int32)), z)


def largest_integers(cells: np.ndarray, k_max: float) -> tuple[int, int, int]:
    """Largest integer along each reciprocal lattice vector up to k_max in 1/Å in cells (…, 3, 3), Å."""
    longest = np.linalg.norm(cells.reshape(-1, 3, 3), axis=-1).max(axis=0)
    x, y, z = (math.floor(k_max * length / (2.0 * math.pi) + 1e-9) for length in longest)
    return x, y, z


def add_waves(
    acc: CompensatedSum,
    fractional: Float[Array, "3 atoms"],
    cell: Float[Array, "3 3"],
    members: tuple[HashableArray, ...],
    *,
    grid: WaveGrid,
    k_max: float,
    bins: int,
) -> tuple[CompensatedSum, Int[Array, " bins"]]:
    """Add Σ Re ρ_a(k) ρ_b(-k) for all pairs a <= b, and Σ |k|, in bins of |k|; also give the vectors in each bin.

    Args:
        acc: (pairs + 1, bins), the last row of |k| in 1/Å; pairs in the order of `species_pairs`.
        fractional: positions in units of the lattice vectors, in [0, 1].
        cell: Å, rows are the lattice vectors.
        members: indices of the atoms of each species.
        grid: the vectors.
        k_max: 1/Å.
        bins: of equal width up to k_max.
    """
    dtype = fractional.dtype
    scale, limit = jnp.asarray(bins / k_max, dtype), jnp.asarray(bins, dtype)
    reciprocal = jnp.asarray(2.0 * math.pi, dtype) * inverse_rows(cell)
    along = np.arange(-grid.reach, grid.reach + 1)
    places = [jnp.asarray(m.array, jnp.int32) for m in members]
    third = [_wave(_turn(jnp.asarray(along, dtype) * fractional[2, place][:, None])) for place in places]
    edges = [jnp.concatenate(parts, axis=1) for parts in third]
    steps = jnp.asarray(along, jnp.int32)

    def tile(carry: tuple[CompensatedSum, Array], rows: Array) -> tuple[tuple[CompensatedSum, Array], None]:
        acc, counts = carry
        first = rows.astype(dtype)
        waves = [_density(fractional[:, place], first, edge) for place, edge in zip(places, edges, strict=True)]
        numbers = jnp.stack(jnp.broadcast_arrays(rows[:, 0, None], rows[:, 1, None], steps[None, :]), axis=-1)
        length = jnp.sqrt(jnp.sum(combine(numbers.astype(dtype), reciprocal) ** 2, axis=-1))
        # Padding rows have m_x = -1; of the row through the origin only the upper half counts.
        half = (rows[:, 0, None] > 0) | ((rows[:, 0, None] == 0) & ((rows[:, 1, None] > 0) | (steps[None, :] > 0)))
        place = jnp.where(half, jnp.minimum(length * scale, limit).astype(jnp.int32), bins).reshape(-1)
        # Bins by a product with zeros and ones: a scatter of floats has no fixed order on GPUs.
        hot = jax.nn.one_hot(place, bins, dtype=dtype)
        pairs = species_pairs(len(members))
        products = [waves[a][0] * waves[b][0] + waves[a][1] * waves[b][1] for a, b in pairs]
        terms = jnp.stack([*products, length]).reshape(len(pairs) + 1, -1)
        sums = jnp.matmul(terms, hot, precision=jax.lax.Precision.HIGHEST)
        return (acc.add(sums), counts + jnp.sum(hot, axis=0).astype(jnp.int32)), None

    start = (acc, jnp.zeros(bins, jnp.int32))
    tiles = _tiles(grid, sum(len(m) for m in members), bins)
    if len(tiles) == 1:
        return tile(start, jnp.asarray(tiles[0]))[0]
    return jax.lax.scan(tile, start, jnp.asarray(tiles))[0]


def species_pairs(species: int) -> list[tuple[int, int]]:
    """Pairs a <= b by number: (0, 0), (0, 1), …, (1, 1), …."""
    return list(itertools.combinations_with_replacement(range(species), 2))


def _density(
    fractional: Float[Array, "3 members"], rows: Float[Array, "rows 2"], third: Float[Array, "members twice"]
) -> tuple[Float[Array, "rows steps"], Float[Array, "rows steps"]]:
    """Real and imaginary part of ρ(k) = Σ_j exp(i k·r_j) of one species, for all m_z of some rows (m_x, m_y)."""
    x, y = fractional[0][None, :], fractional[1][None, :]
    # Whole turns are taken off each term first, which keeps the phase of the sum accurate in float32.
    real, imaginary = _wave(_turn(rows[:, 0, None] * x) + _turn(rows[:, 1, None] * y))
    exact = jax.lax.Precision.HIGHEST
    a, b = jnp.matmul(real, third, precision=exact), jnp.matmul(imaginary, third, precision=exact)
    steps = third.shape[1] // 2
    return a[:, :steps] - b[:, steps:], a[:, steps:] + b[:, :steps]


def _wave(turns: Array) -> tuple[Array, Array]:
    """Cosine and sine of 2π times a number of turns."""
    angle = jnp.asarray(2.0 * math.pi, turns.dtype) * turns
    return jnp.cos(angle), jnp.sin(angle)


def _turn(turns: Array) -> Array:
    """The same angle within half a turn."""
    return turns - jnp.round(turns)


def _tiles(grid: WaveGrid, atoms: int, bins: int) -> np.ndarray:
    """Rows in tiles of equal size, (tiles, height, 2), padded by rows with m_x = -1."""
    at_once = CPU_TILE if jax.default_backend() == "cpu" else DEVICE_TILE
    rows = grid.rows.array
    height = max(1, min(len(rows), at_once // max(atoms, (2 * grid.reach + 1) * bins)))
    count = -(-len(rows) // height)
    padding = np.full((count * height - len(rows), 2), -1, rows.dtype)
    return np.concatenate([rows, padding]).reshape(count, height, 2)
