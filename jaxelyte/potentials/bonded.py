"""Harmonic bonds and angles between given atoms."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from jaxelyte.errors import InputError
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.potentials.base import PerSystem, Scalar
from jaxelyte.potentials.geometry import nearest_vectors
from jaxelyte.potentials.topology import (
    check_indices,
    check_parameter,
    check_rows,
    concrete,
    index_table,
    parameter,
)
from jaxelyte.registry import GUARD
from jaxelyte.system import System

TORN = 0.25
"""eV that a bond of twice its length has to cost to be a wrong bond and no soft one: ten k_B T at 300 K."""


@struct.dataclass
class HarmonicBonds(PerSystem):
    """U = Σ ½ k (r - r0)² over bonds, at the nearest image.

    Attributes:
        bonds: shape (bonds, 2), atom indices; static.
        k: eV/Å², a number or one per bond. (Many force fields quote ½k.)
        length: r0 in Å, a number or one per bond.
        elements: chemical symbols of the two atoms, ``("O", "H")`` or one row per bond; systems in which other elements
            stand at these indices are then refused. Kept with ``bonds``.

    Raises:
        InputError: a table without rows, of another shape, or one that names an atom twice; parameters that are
            negative; a system with other elements, or with bonds of more than twice their length.
    """

    bonds: Any = struct.field(pytree_node=False)
    k: Any = struct.field(kw_only=True)
    length: Any = struct.field(kw_only=True)
    elements: Any = struct.field(pytree_node=False, default=None, kw_only=True, metadata=GUARD)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bonds", index_table(self.bonds, 2, "bonds", elements=self.elements, empty=False))
        object.__setattr__(self, "elements", None)
        object.__setattr__(self, "k", parameter("k", self.k, "bond stiffness", zero=True))
        object.__setattr__(self, "length", parameter("length", self.length, "bond length", zero=True))

    def check(self, system: System) -> None:
        check_indices(self.bonds, system, "bonds")
        check_parameter("k", self.k, "bond stiffness", zero=True)
        check_parameter("length", self.length, "bond length", zero=True)
        for name in ("k", "length"):
            check_rows(name, getattr(self, name), len(self.bonds), "bonds")
        self._check_stretch(system)

    def _check_stretch(self, system: System) -> None:
        """Raise `InputError` where atoms are so far apart that they are not the bonded ones."""
        length, k = concrete(self.length), concrete(self.k)
        if length is None or k is None:
            return
        first, second = self.bonds.array.T
        found = np.asarray(nearest_vectors(system, system.positions[second] - system.positions[first]), np.float64)
        distance = np.linalg.norm(found, axis=-1)
        torn = (distance > 2.0 * length) & (length > 0.0) & (0.5 * k * (distance - length) ** 2 > TORN)
        if np.any(torn):
            row = int(np.argmax(np.where(torn, distance, 0.0)))
            raise InputError(
                f"{int(np.sum(torn))} of {len(torn)} bonds are more than twice as long as their length at rest: bond "
                f"{row} between atoms {first[row]} and {second[row]} is {distance[row]:.2f} Å, at rest "
                f"{np.broadcast_to(length, torn.shape)[row]:g} Å. Were the bonds made for atoms in this order?"
            )

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        dtype = system.positions.dtype
        first, second = self.bonds.array.T
        vectors = nearest_vectors(system, system.positions[second] - system.positions[first])
        stretch = jnp.sqrt(jnp.sum(vectors**2, axis=-1)) - jnp.asarray(self.length, dtype)
        return 0.5 * jnp.sum(jnp.asarray(self.k, dtype) * stretch**2)


@struct.dataclass
class HarmonicAngles(PerSystem):
    """U = Σ ½ k (θ - θ0)² over angles a-b-c with the apex b, at nearest images.

    Attributes:
        angles: shape (angles, 3), atom indices with the apex in the middle; static.
        k: eV/rad², a number or one per angle. (Many force fields quote ½k.)
        angle: θ0 in radians, a number or one per angle.
        elements: chemical symbols of the three atoms, see `HarmonicBonds`. Kept with ``angles``.

    Raises:
        InputError: a table without rows, of another shape, or one that names an atom twice; a negative force constant,
            an angle beyond π; a system with other elements.
    """

    angles: Any = struct.field(pytree_node=False)
    k: Any = struct.field(kw_only=True)
    angle: Any = struct.field(kw_only=True)
    elements: Any = struct.field(pytree_node=False, default=None, kw_only=True, metadata=GUARD)

    def __post_init__(self) -> None:
        object.__setattr__(self, "angles", index_table(self.angles, 3, "angles", elements=self.elements, empty=False))
        object.__setattr__(self, "elements", None)
        object.__setattr__(self, "k", parameter("k", self.k, "angle stiffness", zero=True))
        object.__setattr__(self, "angle", parameter("angle", self.angle, "angle"))

    def check(self, system: System) -> None:
        check_indices(self.angles, system, "angles")
        check_parameter("k", self.k, "angle stiffness", zero=True)
        check_parameter("angle", self.angle, "angle")
        for name in ("k", "angle"):
            check_rows(name, getattr(self, name), len(self.angles), "angles")

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        dtype = system.positions.dtype
        first, apex, last = self.angles.array.T
        arm = nearest_vectors(system, system.positions[first] - system.positions[apex])
        other = nearest_vectors(system, system.positions[last] - system.positions[apex])
        bend = angle_between(arm, other) - jnp.asarray(self.angle, dtype)
        return 0.5 * jnp.sum(jnp.asarray(self.k, dtype) * bend**2)


def angle_between(a: Float[Array, "*angles 3"], b: Float[Array, "*angles 3"]) -> Float[Array, "*angles"]:
    """Angle in radians between vectors: atan2(|a x b|, a·b), exact near 0 and π, where the arc cosine loses digits.

    The gradient at exactly 0 and π, where the angle has a kink, is zero rather than undefined.
    """
    cross = jnp.sum(jnp.cross(a, b) ** 2, axis=-1)
    straight = cross == 0.0
    sine = jnp.sqrt(jnp.where(straight, jnp.ones((), cross.dtype), cross))
    sine = jnp.where(straight, jnp.zeros((), cross.dtype), sine)
    return jnp.arctan2(sine, jnp.sum(a * b, axis=-1))
