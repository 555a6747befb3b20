"""Constant reference energies in float64, whatever the precision of a run."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte.potentials.base import Potential
from jaxelyte.system import System


def reference_energies(potential: Potential, systems: System) -> np.ndarray:
    """Constant energies in eV of each replica, (replicas,); leading axis of the systems: replicas.

    They reach 1e5 eV, of which float32 would keep 0.01 eV.
    """
    with jax.enable_x64(True):
        return np.asarray(in_float64(potential).constants(in_float64(systems)), np.float64)


def in_float64(tree: Any) -> Any:
    """A potential or systems with all floating leaves in float64; to be called within ``jax.enable_x64(True)``."""

    def widen(leaf: jax.Array) -> jax.Array:
        return jnp.asarray(np.asarray(leaf), np.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(widen, jax.tree.map(jnp.asarray, tree))
