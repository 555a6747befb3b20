"""The GPU kernels of the convolution, run by Pallas' interpreter, against the convolution written in JAX."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.models import fused
from jaxelyte.models.network import atomic_energies
from jaxelyte.models.tiling import Tiling
from jaxelyte.neighbors import neighbor_lists
from jaxelyte.potentials.codec import identity

TILING = Tiling(edges=8, interpret=True)

ROUNDING = 1e-5
"""Of sums of some hundred float32 products of either sign in another order, relative to the largest number."""


def network(**options: Any) -> jxl.NequIPPotential:
    given = {"r_max": 4.0, "num_layers": 2, "l_max": 1, "num_features": 4, "num_basis": 4, "invariant_neurons": 8}
    config, params = jxl.NequIP(**given | {"avg_num_neighbors": 9.0} | options).init(jax.random.key(1), ["Na", "Cl"])
    return jxl.NequIPPotential(params, config)


@pytest.fixture(scope="module")
def system() -> jxl.System:
    """Six atoms in a cell so small that atoms are neighbours of their own images and each other's several times."""
    rng = np.random.default_rng(3)
    cell = [[5.0, 0.0, 0.0], [1.0, 4.5, 0.0], [-1.0, 0.5, 5.5]]
    atoms = Atoms("NaClNaClNaCl", scaled_positions=rng.random((6, 3)), cell=cell, pbc=True)
    return jxl.System.from_atoms(atoms, dtype=np.float32)


def gradients(potential: jxl.Potential, system: jxl.System) -> Any:
    """Energy and its derivatives with respect to positions and parameters."""
    lists = neighbor_lists(system, potential)

    @jax.jit
    def both(potential: jxl.Potential, positions: jax.Array) -> Any:
        energy = lambda p, x: p.interaction(system.replace(positions=x), lists)  # noqa: E731
        return jax.value_and_grad(energy, argnums=(0, 1))(potential, positions)

    value, (params, positions) = both(potential, system.positions)
    return {"energy": value, "positions": positions, "params": jax.tree.leaves(params)}


def assert_close(found: Any, expected: Any) -> None:
    for name in expected:
        many, right = jax.tree.leaves(found[name]), jax.tree.leaves(expected[name])
        scale = max(float(np.abs(leaf).max()) for leaf in right)
        for a, b in zip(many, right, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=ROUNDING * scale, err_msg=name)


CASES = {
    "even channels": {},
    "l = 2": {"l_max": 2, "num_features": 4, "parity": False},
    "channels that differ": {"feature_irreps_hidden": "6x0e + 3x0o + 5x1o + 2x1e"},
}


@pytest.mark.parametrize(("case", "by_source"), list(zip(CASES, [True, True, False], strict=True)))
def test_energy_forces_and_derivatives_by_parameters(case: str, by_source: bool, system: jxl.System) -> None:
    plain = network(**CASES[case])
    kernel = replace(plain, kernel=replace(TILING, by_source=by_source))
    assert_close(gradients(kernel, system), gradients(plain, system))


def test_blocks_of_atoms_change_nothing(monkeypatch: pytest.MonkeyPatch, system: jxl.System) -> None:
    plain = network()
    monkeypatch.setattr(fused, "numbers_at_once", lambda: 150)  # room for an atom or two
    assert_close(gradients(replace(plain, kernel=TILING), system), gradients(plain, system))


@pytest.mark.parametrize("room", [10**6, 150])
def test_neighbours_without_lists_get_their_gradients(
    room: int, monkeypatch: pytest.MonkeyPatch, system: jxl.System
) -> None:
    """Copies of atoms, as of another device, are gathered from; the lists know them, but they have none."""
    plain = network()
    monkeypatch.setattr(fused, "numbers_at_once", lambda: room)
    found = neighbor_lists(system, plain).get(plain.requirements()[0])
    atoms = system.num_atoms
    index = jnp.where(found.mask & (jnp.arange(found.index.shape[1]) % 2 == 1), found.index + atoms, found.index)
    index = jnp.where(found.mask, index, 10 * atoms)
    types = jnp.asarray([0, 1] * 3, jnp.int32)

    def energy(params: Any, vectors: jax.Array, kernel: Tiling | None) -> jax.Array:
        copies = lambda many: [None if x is None else jnp.concatenate([x, 1.1 * x]) for x in many]  # noqa: E731
        given = (plain.config, params, types, vectors, index, found.mask)
        return jnp.sum(atomic_energies(*given, exchange=copies, kernel=kernel))

    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), plain.params)
    for_both = jax.jit(jax.grad(energy, argnums=(0, 1)), static_argnums=2)
    results = [for_both(params, found.vectors(system), kernel) for kernel in (TILING, None)]
    assert_close(*({"params": jax.tree.leaves(a), "vectors": b} for a, b in results))


def test_second_derivatives_and_no_forward_mode(system: jxl.System) -> None:
    """∂/∂θ of a sum over forces, as force matching needs it, in reverse mode twice."""
    plain = network(num_layers=1)
    lists = neighbor_lists(system, plain)
    direction = jnp.asarray(np.random.default_rng(5).normal(size=(6, 3)), jnp.float32)

    def projected(potential: jxl.Potential, positions: jax.Array) -> jax.Array:
        energy = lambda x: potential.interaction(system.replace(positions=x), lists)  # noqa: E731
        return jnp.sum(jax.grad(energy)(positions) * direction)

    both = jax.jit(jax.grad(projected, argnums=(0, 1)))
    (a, x), (b, y) = (both(p, system.positions) for p in (replace(plain, kernel=TILING), plain))
    assert_close({"params": jax.tree.leaves(a), "positions": x}, {"params": jax.tree.leaves(b), "positions": y})
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(
            lambda x: replace(plain, kernel=TILING).interaction(system.replace(positions=x), lists),
            (system.positions,),
            (direction,),
        )


def test_the_compiled_form_reaches_every_network(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = network()
    coulomb = jxl.ScreenedCoulomb({"Na": 1.0, "Cl": -1.0}, permittivity=78.3)
    whole = jxl.mix(2.0 * inner, inner + coulomb, 0.3) + coulomb
    assert jax.tree.structure(whole.compiled()) == jax.tree.structure(whole)  # on a CPU nothing changes
    monkeypatch.setattr("jaxelyte.potentials.nequip.default_tiling", lambda: TILING)
    made = whole.compiled()
    assert made.terms[0].initial.potential.kernel == TILING
    assert made.terms[0].final.terms[0].kernel == TILING
    assert identity(made) == identity(whole)


def test_float64_is_left_to_the_reference(system: jxl.System) -> None:
    double = jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, system)
    plain = network()
    lists = neighbor_lists(double, plain)
    energies = [float(p.interaction(double, lists)) for p in (plain, replace(plain, kernel=TILING))]
    assert energies[0] == energies[1]


def test_kernels_compile_for_a_gpu_that_is_not_here(system: jxl.System) -> None:
    """As far as Triton's own representation: names, shapes and masks that the interpreter would let pass."""
    kernel = replace(network(**CASES["channels that differ"]), kernel=Tiling())
    lists = neighbor_lists(system, kernel)
    traced = jax.jit(jxl.energy_and_forces).trace(kernel, system, lists)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    for name in ("convolution", "convolution_edges", "convolution_features"):
        assert f'"{name}"' in text or f'name = "{name}"' in text, name
