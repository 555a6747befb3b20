"""Histogram of the angles of triplets, inside jit: integer counts, any cell, all images within the cut-offs."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxelyte.lattice import combine
from jaxelyte.neighbors.search import nearest_shift
from jaxelyte.observables.histogram import CPU_TILE, DEVICE_TILE
from jaxelyte.system import System


class Side(NamedTuple):
    """Neighbours of a centre at one end.

    Attributes:
        vectors: (room, 3), Å, from the centre.
        number: (room,), which candidate each is: atom and image.
        real: (room,), False where there is no neighbour.
        full: True where there were more neighbours than room.
    """

    vectors: Float[Array, "room 3"]
    number: Int[Array, " room"]
    real: Bool[Array, " room"]
    full: Bool[Array, ""]


def angle_histogram(
    system: System,
    centers: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    *,
    offsets: np.ndarray,
    r_max: tuple[float, float],
    capacity: tuple[int, int],
    bins: int,
) -> tuple[Int[Array, " bins"], Int[Array, ""]]:
    """Triplets by the angle at their centre, and the number of centres that have more neighbours than there is room.

    Args:
        system: one system.
        centers: indices of the centres.
        ends: indices of what may stand at the two ends; equal ones and equal cut-offs count each triplet once.
        offsets: (images, 3), lattice offsets around the nearest image that are within reach.
        r_max: Å, of each end.
        capacity: room for neighbours at each end.
        bins: of equal width up to 180 degrees.
    """
    alike = np.array_equal(*ends)
    same = alike and r_max[0] == r_max[1]
    scale = jnp.asarray(bins / np.pi, system.positions.dtype)

    def one(center: Array) -> tuple[Array, Array]:
        sides = [
            _neighbors(system, center, members, offsets, limit, room)
            for members, limit, room in zip(ends[: 1 if same else 2], r_max, capacity, strict=False)
        ]
        first, second = sides[0], sides[-1]
        u, v = first.vectors[:, None, :], second.vectors[None, :, :]
        # The arctangent is accurate at all angles, the arccosine is not near 0 and 180 degrees.
        angle = jnp.arctan2(jnp.sqrt(jnp.sum(jnp.cross(u, v) ** 2, axis=-1)), jnp.sum(u * v, axis=-1))
        real = first.real[:, None] & second.real[None, :]
        if same:
            real &= first.number[:, None] < second.number[None, :]
        elif alike:
            real &= first.number[:, None] != second.number[None, :]
        place = jnp.minimum((angle * scale).astype(jnp.int32), bins - 1)
        full = first.full | second.full
        return jnp.where(real & (center >= 0), place, bins), full & (center >= 0)

    def tile(carry: tuple[Array, Array], rows: Array) -> tuple[tuple[Array, Array], None]:
        counts, overflow = carry
        place, full = jax.lax.optimization_barrier(jax.vmap(one)(rows))
        counts = counts.at[place.reshape(-1)].add(1, mode="promise_in_bounds")
        return (counts, overflow + jnp.sum(full, dtype=jnp.int32)), None

    start = (jnp.zeros(bins + 1, jnp.int32), jnp.zeros((), jnp.int32))
    largest = max(capacity[0] * capacity[1], len(offsets) * max(len(e) for e in ends))
    (counts, overflow), _ = jax.lax.scan(tile, start, jnp.asarray(_tiles(centers, largest)))
    return counts[:bins], overflow


def _neighbors(
    system: System, center: Array, members: np.ndarray, offsets: np.ndarray, limit: float, room: int
) -> Side:
    """Atoms and images of ``members`` within ``limit`` Å of a centre, the first ``room`` of them."""
    away = system.positions[jnp.asarray(members, jnp.int32)] - system.positions[center]
    shift = nearest_shift(system, away)[:, None, :] + jnp.asarray(offsets)
    vectors = (away[:, None, :] + combine(shift.astype(away.dtype), system.cell)).reshape(-1, 3)
    itself = (jnp.asarray(members, jnp.int32) == center)[:, None] & jnp.all(shift == 0, axis=-1)
    square = jnp.asarray(limit, away.dtype) ** 2
    close = (jnp.sum(vectors**2, axis=-1) < square) & ~itself.reshape(-1)
    candidates = len(vectors)
    (number,) = jnp.nonzero(close, size=room, fill_value=candidates)
    number = number.astype(jnp.int32)
    return Side(
        vectors=jnp.take(vectors, number, axis=0, mode="clip"),
        number=number,
        real=number < candidates,
        full=jnp.sum(close, dtype=jnp.int32) > room,
    )


def _tiles(centers: np.ndarray, largest: int) -> np.ndarray:
    """Centres in tiles of equal size, (tiles, height), padded by -1."""
    at_once = CPU_TILE if jax.default_backend() == "cpu" else DEVICE_TILE
    height = max(1, min(len(centers), at_once // largest))
    count = -(-len(centers) // height)
    padded = np.concatenate([centers, np.full(count * height - len(centers), -1)])
    return padded.reshape(count, height).astype(np.int32)
