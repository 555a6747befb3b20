"""Neighbour search of one domain: images in bins as wide as the radius, 27 bins for each of its atoms.

Works in fractional coordinates of any cell. Around a domain lies a layer as wide as the radius, filled with periodic
images of copies and of its own atoms, so that no pair has to look for its nearest image, and cells smaller than the
radius need nothing special: an atom then has several images there.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jaxelyte.lattice import combine
from jaxelyte.neighbors.lists import NeighborSpec
from jaxelyte.neighbors.search import compact
from jaxelyte.parallel.decompose import Room, Tables, own_domain, position_in_cell
from jaxelyte.parallel.layout import Layout
from jaxelyte.system import System

CANDIDATES_AT_ONCE = 2_000_000
"""Pairs that are compared at a time."""


@dataclass(frozen=True)
class Grid:
    """Bins over a domain and the layer around it.

    Attributes:
        halo: width of the layer, fractions of the cell; 0 along directions that are not periodic.
        bins: along each lattice vector.
    """

    halo: tuple[float, float, float]
    bins: tuple[int, int, int]

    @classmethod
    def around(cls, shape: tuple[int, int, int], halo: tuple[float, float, float]) -> Grid:
        """As many bins as are no narrower than the layer."""
        bins = [max(1, math.floor((1.0 / m + 2.0 * h) / h)) if h > 0 else 1 for m, h in zip(shape, halo, strict=True)]
        return cls(halo, (bins[0], bins[1], bins[2]))

    @property
    def count(self) -> int:
        """Number of bins."""
        return math.prod(self.bins)

    def image_shifts(self) -> np.ndarray:
        """Shape (shifts, 3): whole cells by which an image of a wrapped atom in the layer can differ from it."""
        reach = [math.floor(h) + 1 if h > 0 else 0 for h in self.halo]
        return np.array(list(itertools.product(*(range(-n, n + 1) for n in reach))), np.int32)

    def neighbor_steps(self) -> np.ndarray:
        """Shape (steps, 3): from a bin to itself and those beside it."""
        return np.array(list(itertools.product(*((-1, 0, 1) if n > 1 else (0,) for n in self.bins))), np.int32)


class Images(struct.PyTreeNode):
    """Images in and around a domain.

    Attributes:
        row: row in the domain's system, the number of rows for padding.
        shift: whole cells from the wrapped atom to the image.
        place: fractional coordinates of the image.
        table: shape (bins + 1, room), images in each bin, the number of images for padding; the last bin is empty.
    """

    row: Int[Array, " images"]
    shift: Int[Array, "images 3"]
    place: Float[Array, "images 3"]
    table: Int[Array, "bins room"]


def search_domain(
    layout: Layout,
    grid: Grid,
    radii: tuple[float, ...],
    specs: tuple[NeighborSpec, ...],
    room: Room,
    system: System,
    tables: Tables,
) -> tuple[list[tuple[Array, Array]], list[Int[Array, ""]]]:
    """Lists of this device's atoms, (index, shift) for each specification, and the room needed.

    Indices count the rows of the domain's system; padding is the number of rows. Needed: images, bin, then a number for
    each list.

    Args:
        layout: the domains.
        grid: bins, no narrower than the largest radius.
        radii: Å, cut-off plus skin of each list.
        specs: which atoms take part in each list.
        room: sizes.
        system: all atoms.
        tables: of this device.
    """
    rows, atoms = tables.rows, system.num_atoms
    inside, whole = position_in_cell(system)
    inside, whole = (jnp.take(x, rows, axis=0, mode="clip") for x in (inside, whole))
    numbers = jnp.take(system.numbers, rows, mode="clip")
    images, needed = _images(layout, grid, room, inside, rows < atoms)
    members = [_members(spec, numbers, rows < atoms) for spec in specs]
    steps = jnp.asarray(grid.neighbor_steps())
    center_bins = _bins(layout, grid, inside[: room.owned])
    none, dtype = len(rows), inside.dtype

    def row(i: Array) -> list[tuple[Array, Array, Array]]:
        near = center_bins[i] + steps
        exists = jnp.all((near >= 0) & (near < jnp.asarray(grid.bins, jnp.int32)), axis=-1)
        found = images.table[jnp.where(exists, _flat(grid, near), grid.count)].reshape(-1)
        index = jnp.take(images.row, found, mode="fill", fill_value=none)
        shift = jnp.take(images.shift, found, axis=0, mode="fill", fill_value=0)
        vectors = combine(jnp.take(images.place, found, axis=0, mode="clip") - inside[i], system.cell)
        square = jnp.sum(vectors**2, axis=-1)
        itself = (index == i) & jnp.all(shift == 0, axis=-1)
        # From images of wrapped atoms to images of the atoms as they are, which have travelled through whole cells.
        shift = shift - jnp.take(whole, index, axis=0, mode="clip") + whole[i]
        out = []
        for member, radius, (capacity, _) in zip(members, radii, room.lists, strict=True):
            keep = (square < jnp.asarray(radius, dtype) ** 2) & ~itself & (index < none)
            keep = keep & member[i] & jnp.take(member, index, mode="fill", fill_value=False)
            one = compact(keep[None], index[None], shift[None], capacity, none)
            out.append((one.index[0], one.shift[0], one.needed))
        return out

    block = max(1, min(room.owned, CANDIDATES_AT_ONCE // (len(steps) * room.bin)))
    everyone = jnp.arange(room.owned, dtype=jnp.int32)
    lists = jax.lax.map(row, everyone, batch_size=block)
    needed += [jnp.max(most) for _, _, most in lists]
    return [(index, shift) for index, shift, _ in lists], needed


def _members(spec: NeighborSpec, numbers: Int[Array, " rows"], there: Bool[Array, " rows"]) -> Bool[Array, " rows"]:
    if spec.numbers is None:
        return there
    return there & jnp.isin(numbers, jnp.asarray(spec.numbers, numbers.dtype))


def _lower(layout: Layout, grid: Grid, dtype: jnp.dtype) -> Float[Array, "3"]:
    """Fractional coordinates where the layer begins."""
    many = jnp.asarray(layout.shape, dtype)
    return own_domain(layout).astype(dtype) / many - jnp.asarray(grid.halo, dtype)


def _extent(layout: Layout, grid: Grid) -> np.ndarray:
    return 1.0 / np.array(layout.shape) + 2.0 * np.array(grid.halo)


def _bins(layout: Layout, grid: Grid, place: Float[Array, "images 3"]) -> Int[Array, "images 3"]:
    dtype = place.dtype
    scaled = (place - _lower(layout, grid, dtype)) * jnp.asarray(np.array(grid.bins) / _extent(layout, grid), dtype)
    return jnp.clip(jnp.floor(scaled).astype(jnp.int32), 0, jnp.asarray(grid.bins, jnp.int32) - 1)


def _flat(grid: Grid, bins: Int[Array, "*some 3"]) -> Int[Array, "*some"]:
    _, b, c = grid.bins
    return (bins[..., 0] * b + bins[..., 1]) * c + bins[..., 2]


def _images(
    layout: Layout, grid: Grid, room: Room, inside: Float[Array, "rows 3"], there: Bool[Array, " rows"]
) -> tuple[Images, list[Int[Array, ""]]]:
    """All images in the domain and the layer, sorted into bins, and the room needed: images, and atoms in a bin."""
    dtype, shifts = inside.dtype, jnp.asarray(grid.image_shifts())
    low = _lower(layout, grid, dtype)
    high = low + jnp.asarray(_extent(layout, grid), dtype)
    place = inside[:, None, :] + shifts.astype(dtype)
    open_ended = jnp.asarray([h == 0 for h in grid.halo])
    near = jnp.all(((place >= low) & (place <= high)) | open_ended, axis=-1) & there[:, None]
    chosen = jnp.nonzero(near.reshape(-1), size=room.images, fill_value=near.size)[0].astype(jnp.int32)
    real = chosen < near.size
    row = jnp.where(real, chosen // len(shifts), len(inside)).astype(jnp.int32)
    shift = shifts[chosen % len(shifts)]
    spot = jnp.take(inside, row, axis=0, mode="clip") + shift.astype(dtype)
    bins = jnp.where(real, _flat(grid, _bins(layout, grid, spot)), grid.count)
    order = jnp.argsort(bins)
    ordered = bins[order]
    first = jnp.searchsorted(ordered, jnp.arange(grid.count + 1, dtype=ordered.dtype)).astype(jnp.int32)
    slot = jnp.arange(room.images, dtype=jnp.int32) - first[ordered]
    slot = jnp.where(ordered < grid.count, slot, room.bin)
    table = jnp.full((grid.count + 1, room.bin), room.images, jnp.int32)
    table = table.at[ordered, slot].set(order.astype(jnp.int32), mode="drop")
    most = jnp.max(jnp.where(ordered < grid.count, slot + 1, 0))
    return Images(row, shift, spot, table), [jnp.sum(near, dtype=jnp.int32), most]
