"""Harmonic restraints to fixed points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxelyte import checks
from jaxelyte.errors import InputError
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.potentials.base import PerSystem, Scalar
from jaxelyte.potentials.geometry import shortest_vectors
from jaxelyte.potentials.topology import (
    IndexTable,
    as_leaf,
    check_indices,
    check_parameter,
    check_rows,
    concrete,
    element_numbers,
    parameter,
)
from jaxelyte.registry import GUARD
from jaxelyte.system import System
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

FAR, ON, LOOKED_AT = 1.0, 0.2, 20
"""Å that an atom is away from its anchor, or sits on another; anchors looked at."""


@struct.dataclass
class HarmonicRestraint(PerSystem):
    """U = Σ ½ k |r_i - r_i⁰|² over atoms, with the nearest image of r_i - r_i⁰.

    Dynamics under it does not conserve the total momentum.

    Attributes:
        anchors: r⁰ in Å, shape (atoms, 3), or (restrained, 3) together with ``indices``.
        k: eV/Å², a number or one per restrained atom.
        indices: atoms that are restrained, in the order of ``anchors``; all by default. Static.
        elements: chemical symbols of the restrained atoms; systems in which other elements stand at these indices are
            then refused. Kept with ``indices``.

    Raises:
        InputError: anchors that are not a table of finite points, or do not match ``indices`` or the system; a negative
            force constant; a system whose atoms sit on each other's anchors.
    """

    anchors: Any
    k: Any
    indices: Any = struct.field(pytree_node=False, default=None, kw_only=True)
    elements: Any = struct.field(pytree_node=False, default=None, kw_only=True, metadata=GUARD)

    def __post_init__(self) -> None:
        if not isinstance(self.anchors, jax.Array) and not hasattr(self.anchors, "aval"):
            self._read_anchors()
        object.__setattr__(self, "anchors", as_leaf(self.anchors))
        object.__setattr__(self, "k", parameter("k", self.k, "bond stiffness", zero=True))
        shape = np.shape(self.anchors) if isinstance(self.anchors, jax.Array) else None
        if self.indices is not None and not isinstance(self.indices, IndexTable):
            object.__setattr__(self, "indices", _index_list(self.indices, shape))
        if self.elements is not None:
            table = self.indices or IndexTable(np.arange(0 if shape is None else shape[0], dtype=np.int32))
            known = element_numbers(self.elements, table.array.shape, "anchors")
            object.__setattr__(self, "indices", IndexTable(table.array, known))
            object.__setattr__(self, "elements", None)

    def _read_anchors(self) -> None:
        # Placeholders of jax, which are plain objects, pass.
        if type(self.anchors) is not object:
            try:
                points: np.ndarray = np.asarray(self.anchors, np.float64)
            except (TypeError, ValueError):
                points = np.zeros(())
            if points.ndim < 2 or points.shape[-1] != 3 or not points.size or not np.all(np.isfinite(points)):
                raise InputError(
                    f"anchors must be finite points in Å of shape (atoms, 3), not {checks.shown(self.anchors)}"
                )

    translation_invariant = False

    def check(self, system: System) -> None:
        """Raise `InputError` unless there is an anchor for every restrained atom."""
        atoms = int(np.sum(np.asarray(system.mask)))
        if not isinstance(self.anchors, jax.Array):
            raise InputError(f"anchors must be points in Å, not {checks.shown(self.anchors)}")
        if self.indices is not None:
            check_indices(self.indices, system, "indices")
        elif self.anchors.shape[0] != atoms:
            raise InputError(
                f"{self.anchors.shape[0]} anchors for {counted(atoms, 'atom')}; give one per atom, or indices"
            )
        check_parameter("k", self.k, "bond stiffness", zero=True)
        check_rows("k", self.k, self.anchors.shape[0], "anchors")
        points = concrete(self.anchors)
        if points is not None and not np.all(np.isfinite(points)):
            raise InputError(f"anchor {int(np.argwhere(~np.isfinite(points))[0, 0])} is not finite")
        if points is not None and points.ndim == 2:
            self._check_order(points, system)

    def _check_order(self, points: np.ndarray, system: System) -> None:
        """Raise `InputError` where most atoms are away from their anchors and sit on those of others."""
        if len(np.unique(points, axis=0)) < len(points):
            return  # anchors that coincide are no structure, in whatever order
        chosen = np.arange(len(points)) if self.indices is None else self.indices.array
        away = shortest_vectors(system, system.positions[chosen] - jnp.asarray(points, system.positions.dtype))
        far = np.flatnonzero(np.linalg.norm(np.asarray(away, np.float64), axis=-1) > FAR)
        if 2 * len(far) < len(points) or len(far) < 2:
            return
        mixed_up = [n for n in far[:LOOKED_AT] if _taken(system, chosen, points[n])]
        if 2 * len(mixed_up) > len(far[:LOOKED_AT]):
            raise InputError(
                f"{len(far)} of {len(points)} restrained atoms are more than {FAR} Å from their anchors, and other "
                f"atoms sit on these, such as on that of atom {int(chosen[mixed_up[0]])}: the atoms stand in another "
                "order than the anchors. Take both from the same structure"
            )

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        dtype = system.positions.dtype
        anchors = jnp.asarray(self.anchors, dtype)
        chosen = np.arange(anchors.shape[0]) if self.indices is None else self.indices.array
        away = shortest_vectors(system, system.positions[chosen] - anchors)
        square = jnp.where(system.mask[chosen], jnp.sum(away**2, axis=-1), jnp.zeros((), dtype))
        return 0.5 * jnp.sum(jnp.asarray(self.k, dtype) * square)


def restrained(atoms: Atoms, k: float) -> HarmonicRestraint:
    """Restraint of all atoms to where they start.

    Args:
        atoms: the start structure.
        k: eV/Å².

    Raises:
        InputError: a negative force constant.
    """
    return HarmonicRestraint(atoms.get_positions(), checks.positive("k", k, "eV/Å²"))


def _index_list(indices: Any, anchors: tuple[int, ...] | None) -> IndexTable:
    found = np.atleast_1d(np.asarray(indices))
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer) or len(set(found.tolist())) != len(found):
        raise InputError(f"indices must be different integers, one per anchor, not {checks.shown(indices)}")
    if anchors is not None and len(found) != anchors[0]:
        raise InputError(f"{len(found)} indices for {anchors[0]} anchors; give one anchor per index")
    if np.any(found < 0):
        raise InputError(f"indices must count from 0, not {int(np.min(found))}")
    return IndexTable(found.astype(np.int32))


def _taken(system: System, chosen: np.ndarray, point: np.ndarray) -> bool:
    """Whether one of the restrained atoms sits on an anchor."""
    away = shortest_vectors(system, system.positions[chosen] - jnp.asarray(point, system.positions.dtype))
    return bool(np.min(np.linalg.norm(np.asarray(away, np.float64), axis=-1)) < ON)
