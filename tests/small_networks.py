"""Small networks, six atoms for them, and their derivatives: for tests of the forms that a convolution has."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.models.network import atomic_energies
from jaxelyte.models.tiling import Kernel
from jaxelyte.neighbors import neighbor_lists

CASES = {
    "even channels": {},
    "l = 2": {"l_max": 2, "num_features": 4, "parity": False},
    "channels that differ": {"feature_irreps_hidden": "6x0e + 3x0o + 5x1o + 2x1e"},
}


def network(**options: Any) -> jxl.NequIPPotential:
    given = {"r_max": 4.0, "num_layers": 2, "l_max": 1, "num_features": 4, "num_basis": 4, "invariant_neurons": 8}
    config, params = jxl.NequIP(**given | {"avg_num_neighbors": 9.0} | options).init(jax.random.key(1), ["Na", "Cl"])
    return jxl.NequIPPotential(params, config)


def six_atoms(dtype: Any) -> jxl.System:
    """In a cell so small that atoms are neighbours of their own images and each other's several times."""
    rng = np.random.default_rng(3)
    cell = [[5.0, 0.0, 0.0], [1.0, 4.5, 0.0], [-1.0, 0.5, 5.5]]
    atoms = Atoms("NaClNaClNaCl", scaled_positions=rng.random((6, 3)), cell=cell, pbc=True)
    return jxl.System.from_atoms(atoms, dtype=dtype)


def gradients(potential: jxl.Potential, system: jxl.System) -> Any:
    """Energy and its derivatives with respect to positions and parameters."""
    lists = neighbor_lists(system, potential)

    @jax.jit
    def both(potential: jxl.Potential, positions: jax.Array) -> Any:
        energy = lambda p, x: p.energy(system.replace(positions=x), lists)  # noqa: E731
        return jax.value_and_grad(energy, argnums=(0, 1))(potential, positions)

    value, (params, positions) = both(potential, system.positions)
    return {"energy": value, "positions": positions, "params": jax.tree.leaves(params)}


def with_copies(potential: jxl.NequIPPotential, system: jxl.System, kernel: Kernel | None) -> Any:
    """Derivatives where copies of atoms, as of another device, are gathered from: lists know them, they have none."""
    found = neighbor_lists(system, potential).get(potential.requirements()[0])
    atoms, dtype = system.num_atoms, system.positions.dtype
    index = jnp.where(found.mask & (jnp.arange(found.index.shape[1]) % 2 == 1), found.index + atoms, found.index)
    index = jnp.where(found.mask, index, 10 * atoms)
    types = jnp.asarray([0, 1] * 3, jnp.int32)

    def energy(params: Any, vectors: jax.Array) -> jax.Array:
        copies = lambda many: [None if x is None else jnp.concatenate([x, 1.1 * x]) for x in many]  # noqa: E731
        given = (potential.config, params, types, vectors, index, found.mask)
        return jnp.sum(atomic_energies(*given, exchange=copies, kernel=kernel))

    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), potential.params)
    of_params, of_vectors = jax.jit(jax.grad(energy, argnums=(0, 1)))(params, found.vectors(system))
    return {"params": jax.tree.leaves(of_params), "vectors": of_vectors}


def of_forces(potential: jxl.Potential, system: jxl.System) -> Any:
    """Derivatives of a sum over forces, as force matching needs them, in reverse mode twice."""
    lists = neighbor_lists(system, potential)
    direction = jnp.asarray(np.random.default_rng(5).normal(size=(6, 3)), system.positions.dtype)

    def projected(potential: jxl.Potential, positions: jax.Array) -> jax.Array:
        energy = lambda x: potential.energy(system.replace(positions=x), lists)  # noqa: E731
        return jnp.sum(jax.grad(energy)(positions) * direction)

    of_params, of_positions = jax.jit(jax.grad(projected, argnums=(0, 1)))(potential, system.positions)
    return {"params": jax.tree.leaves(of_params), "positions": of_positions}


def assert_close(found: Any, expected: Any, rounding: float) -> None:
    """Relative to the largest number of each kind."""
    for name in expected:
        many, right = jax.tree.leaves(found[name]), jax.tree.leaves(expected[name])
        scale = max(float(np.abs(leaf).max()) for leaf in right)
        for a, b in zip(many, right, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=rounding * scale, err_msg=name)
