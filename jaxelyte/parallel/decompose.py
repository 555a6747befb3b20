"""Who owns which atom, who needs a copy, and the messages between them: the part of a device, inside ``shard_map``.

All positions are known to every device (12 bytes an atom in float32), so ownership needs no messages: an atom that has
left a domain is simply found in another one when the lists are built anew. What is divided is what costs: neighbour
lists, everything per pair, features, and their gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jaxelyte.lattice import fractional
from jaxelyte.parallel.layout import AXIS, Layout, Shape
from jaxelyte.system import System


class Tables(struct.PyTreeNode):
    """Atoms of one domain and its messages; with a leading axis of domains outside ``shard_map``.

    Attributes:
        owned: shape (owned,), atoms of the domain, the number of atoms for padding.
        copies: shape (copies,), atoms of other domains within reach, in the order in which messages bring them.
        sends: for each offset of the layout, rows of ``owned`` that go there; ``len(owned)`` for padding.
    """

    owned: Int[Array, "*domains owned"]
    copies: Int[Array, "*domains copies"]
    sends: tuple[Int[Array, "*domains message"], ...]

    @property
    def rows(self) -> Int[Array, " rows"]:
        """Atom in each row of the domain's system (of one domain)."""
        return jnp.concatenate([self.owned, self.copies])


@dataclass(frozen=True)
class Room:
    """Sizes of the arrays of a domain.

    Attributes:
        owned: atoms of its own.
        images: periodic images of its atoms and copies that lie in or around it, itself included.
        bin: images in one bin of the search.
        sends: atoms in each message.
        lists: for each list, neighbours in a row with skin, and of the exact list.
    """

    owned: int
    images: int
    bin: int
    sends: tuple[int, ...]
    lists: tuple[tuple[int, int], ...]

    def numbers(self) -> list[int]:
        """All sizes in a row, the order of `Found.needed`."""
        return [self.owned, self.images, self.bin, *self.sends, *(n for pair in self.lists for n in pair)]

    @classmethod
    def of(cls, numbers: list[int], messages: int) -> Room:
        """Inverse of `numbers`."""
        rest = numbers[3 + messages :]
        pairs = tuple(zip(rest[::2], rest[1::2], strict=True))
        return cls(numbers[0], numbers[1], numbers[2], tuple(numbers[3 : 3 + messages]), pairs)


def position_in_cell(system: System) -> tuple[Float[Array, "atoms 3"], Int[Array, "atoms 3"]]:
    """Fractional coordinates wrapped into [0, 1] where periodic, and the whole cells taken away."""
    coordinates = fractional(system.positions, system.cell)
    whole = jnp.where(jnp.asarray(system.pbc), jnp.floor(coordinates), jnp.zeros((), coordinates.dtype))
    return coordinates - whole, whole.astype(jnp.int32)


def own_domain(layout: Layout) -> Int[Array, "3"]:
    """Place of this device's domain in the layout."""
    _, b, c = layout.shape
    number = jax.lax.axis_index(AXIS)
    return jnp.stack([number // (b * c), number // c % b, number % c]).astype(jnp.int32)


def owners(inside: Float[Array, "atoms 3"], shape: Shape) -> Int[Array, "atoms 3"]:
    """Domain of each atom, from wrapped fractional coordinates."""
    many = jnp.asarray(shape, jnp.int32)
    place = jnp.floor(inside * many.astype(inside.dtype)).astype(jnp.int32)
    return jnp.where(many > 1, jnp.clip(place, 0, many - 1), 0)


def within_reach(
    inside: Float[Array, "atoms 3"], domain: Int[Array, "3"], shape: Shape, halo: tuple[float, float, float]
) -> Bool[Array, " atoms"]:
    """True for atoms of which an image lies in a domain or nearer than ``halo`` (fractions of the cell) to it."""
    dtype = inside.dtype
    many = jnp.asarray(shape, dtype)
    away = inside - (domain.astype(dtype) + 0.5) / many
    away = jnp.abs(away - jnp.round(away))
    return jnp.all((away <= 0.5 / many + jnp.asarray(halo, dtype)) | (many == 1), axis=-1)


def divide(
    layout: Layout, halo: tuple[float, float, float], offsets: tuple[Shape, ...], room: Room, system: System
) -> tuple[Tables, list[Int[Array, ""]]]:
    """This device's tables, and the room that they need: its atoms, then each message.

    Args:
        layout: the domains.
        halo: how far a domain sees beyond its faces, fractions of the cell.
        offsets: from `Layout.offsets`.
        room: sizes of the tables.
        system: all atoms.
    """
    atoms = system.num_atoms
    inside, _ = position_in_cell(system)
    mine = own_domain(layout)
    own = jnp.all(owners(inside, layout.shape) == mine, axis=-1) & system.mask
    needed = [jnp.sum(own, dtype=jnp.int32)]
    owned = jnp.nonzero(own, size=room.owned, fill_value=atoms)[0].astype(jnp.int32)
    here = jnp.take(inside, owned, axis=0, mode="clip")
    many = jnp.asarray(layout.shape, jnp.int32)
    sends, copies = [], [jnp.zeros(0, jnp.int32)]
    for offset, size in zip(offsets, room.sends, strict=True):
        target = (mine + jnp.asarray(offset, jnp.int32)) % many
        wanted = within_reach(here, target, layout.shape, halo) & (owned < atoms)
        needed.append(jnp.sum(wanted, dtype=jnp.int32))
        rows = jnp.nonzero(wanted, size=size, fill_value=room.owned)[0].astype(jnp.int32)
        names = jnp.take(owned, rows, mode="fill", fill_value=atoms)
        sends.append(rows)
        copies.append(jax.lax.ppermute(names, AXIS, layout.permutation(offset)))
    return Tables(owned, jnp.concatenate(copies), tuple(sends)), needed


def exchange(layout: Layout, offsets: tuple[Shape, ...], tables: Tables, features: list[Any]) -> list[Any]:
    """Append the rows of copies to arrays with a row for each atom of the domain; one message for all arrays together.

    The derivative sends what arrives at copies back to their owners and adds it there: ``ppermute`` and the gather
    are differentiated by jax.
    """
    if not offsets:
        return features
    there = [x for x in features if x is not None]
    flat = jnp.concatenate([x.reshape(len(x), -1) for x in there], axis=1)
    received = [flat]
    for offset, rows in zip(offsets, tables.sends, strict=True):
        message = jnp.take(flat, rows, axis=0, mode="fill", fill_value=0)
        received.append(jax.lax.ppermute(message, AXIS, layout.permutation(offset)))
    whole = jnp.concatenate(received, axis=0)
    parts = iter(jax.lax.split(whole, [x[0].size for x in there], axis=1))
    return [None if x is None else next(parts).reshape(-1, *x.shape[1:]) for x in features]
