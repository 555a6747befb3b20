"""Harmonic bonds and angles between given atoms."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.potentials.base import Potential, Scalar
from jaxelyte.potentials.geometry import nearest_vectors
from jaxelyte.potentials.topology import as_leaf, check_indices, index_table
from jaxelyte.system import System


@struct.dataclass
class HarmonicBonds(Potential):
    """U = Σ ½ k (r - r0)² over bonds, at the nearest image.

    Attributes:
        bonds: shape (bonds, 2), atom indices; static.
        k: eV/Å², a number or one per bond. (Many force fields quote ½k.)
        length: r0 in Å, a number or one per bond.

    Raises:
        InputError: a table of another shape, or one that names an atom twice.
    """

    bonds: Any = struct.field(pytree_node=False)
    k: Any = struct.field(kw_only=True)
    length: Any = struct.field(kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bonds", index_table(self.bonds, 2, "bonds"))
        object.__setattr__(self, "k", as_leaf(self.k))
        object.__setattr__(self, "length", as_leaf(self.length))

    def validate(self, system: System) -> None:
        check_indices(self.bonds, system, "bonds")

    def interaction(self, system: System, neighbors: Neighbors) -> Scalar:
        dtype = system.positions.dtype
        first, second = self.bonds.array.T
        vectors = nearest_vectors(system, system.positions[second] - system.positions[first])
        stretch = jnp.sqrt(jnp.sum(vectors**2, axis=-1)) - jnp.asarray(self.length, dtype)
        return 0.5 * jnp.sum(jnp.asarray(self.k, dtype) * stretch**2)


@struct.dataclass
class HarmonicAngles(Potential):
    """U = Σ ½ k (θ - θ0)² over angles a-b-c with the apex b, at nearest images.

    Attributes:
        angles: shape (angles, 3), atom indices with the apex in the middle; static.
        k: eV/rad², a number or one per angle. (Many force fields quote ½k.)
        angle: θ0 in radians, a number or one per angle.

    Raises:
        InputError: a table of another shape, or one that names an atom twice.
    """

    angles: Any = struct.field(pytree_node=False)
    k: Any = struct.field(kw_only=True)
    angle: Any = struct.field(kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "angles", index_table(self.angles, 3, "angles"))
        object.__setattr__(self, "k", as_leaf(self.k))
        object.__setattr__(self, "angle", as_leaf(self.angle))

    def validate(self, system: System) -> None:
        check_indices(self.angles, system, "angles")

    def interaction(self, system: System, neighbors: Neighbors) -> Scalar:
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
