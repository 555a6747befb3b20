"""Harmonic restraints to fixed points."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxelyte.arrays import HashableArray
from jaxelyte.errors import InputError
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.potentials.base import Potential, Scalar
from jaxelyte.potentials.geometry import shortest_vectors
from jaxelyte.potentials.topology import as_leaf, check_indices, concrete
from jaxelyte.system import System


@struct.dataclass
class HarmonicRestraint(Potential):
    """U = Σ ½ k |r_i - r_i⁰|² over atoms, with the nearest image of r_i - r_i⁰.

    Dynamics under it does not conserve the total momentum.

    Attributes:
        anchors: r⁰ in Å, shape (atoms, 3), or (restrained, 3) together with ``indices``.
        k: eV/Å², a number or one per restrained atom.
        indices: atoms that are restrained, in the order of ``anchors``; all by default. Static.

    Raises:
        InputError: anchors that are not a table of finite points, or do not match ``indices`` or the system.
    """

    anchors: Any
    k: Any
    indices: Any = struct.field(pytree_node=False, default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "anchors", as_leaf(self.anchors))
        object.__setattr__(self, "k", as_leaf(self.k))
        points = concrete(self.anchors)
        if points is not None and (points.ndim < 2 or points.shape[-1] != 3 or not np.all(np.isfinite(points))):
            raise InputError(f"anchors must be finite points of shape (atoms, 3), not an array of shape {points.shape}")
        if self.indices is not None and not isinstance(self.indices, HashableArray):
            indices = np.atleast_1d(np.asarray(self.indices))
            if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer) or len(set(indices)) != len(indices):
                raise InputError(f"indices must be different whole numbers, one per anchor, not {self.indices}")
            if points is not None and len(indices) != points.shape[0]:
                raise InputError(f"{len(indices)} indices for {points.shape[0]} anchors; give one anchor per index")
            if np.any(indices < 0):
                raise InputError(f"indices must count from 0, not {int(np.min(indices))}")
            object.__setattr__(self, "indices", HashableArray(indices.astype(np.int32)))

    @property
    def translation_invariant(self) -> bool:
        return False

    def validate(self, system: System) -> None:
        """Raise `InputError` unless there is an anchor for every restrained atom."""
        atoms = int(np.sum(np.asarray(system.mask)))
        if self.indices is not None:
            check_indices(self.indices, system, "indices")
        elif self.anchors.shape[0] != atoms:
            raise InputError(f"{self.anchors.shape[0]} anchors for {atoms} atoms; give one per atom, or indices")

    def interaction(self, system: System, neighbors: Neighbors) -> Scalar:
        dtype = system.positions.dtype
        anchors = jnp.asarray(self.anchors, dtype)
        chosen = np.arange(anchors.shape[0]) if self.indices is None else self.indices.array
        away = shortest_vectors(system, system.positions[chosen] - anchors)
        square = jnp.where(system.mask[chosen], jnp.sum(away**2, axis=-1), jnp.zeros((), dtype))
        return 0.5 * jnp.sum(jnp.asarray(self.k, dtype) * square)
