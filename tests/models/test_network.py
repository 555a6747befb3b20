"""Symmetries, smoothness and gradients of the network, over several sets of hyperparameters, in float64."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxelyte.models import NequIP, convolution

R_MAX = 4.0
ATOMS, PADDING = 7, 2

CONFIGURATIONS = {
    "parity l2 x3": NequIP(r_max=R_MAX, num_layers=3, l_max=2, num_features=2, parity=True),
    "even l1 x4 resnet": NequIP(r_max=R_MAX, num_layers=4, l_max=1, num_features=3, parity=False, resnet=True),
    "parity l3 x2 without sc": NequIP(r_max=R_MAX, num_layers=2, l_max=3, num_features=2, parity=True, use_sc=False),
    "scalars x1": NequIP(r_max=R_MAX, num_layers=1, l_max=0, num_features=4, parity=False),
    "norm l2 x2": NequIP(r_max=R_MAX, num_layers=2, l_max=2, num_features=2, parity=True, nonlinearity_type="norm"),
}


class Model(NamedTuple):
    """A random model and its compiled energy: (types, positions, padding vectors) -> (energies, forces)."""

    config: NequIP
    params: Any
    energies: Any
    evaluate: Any

    def __call__(self, types: np.ndarray, positions: np.ndarray, padding: np.ndarray | None = None) -> Any:
        padding = np.ones((ATOMS, PADDING, 3)) if padding is None else padding
        energies, forces = self.evaluate(self.params, jnp.asarray(types), jnp.asarray(positions), jnp.asarray(padding))
        return np.asarray(energies), np.asarray(forces)


def all_pairs(atoms: int) -> np.ndarray:
    return np.array([[j for j in range(atoms) if j != i] for i in range(atoms)])


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def model(request: pytest.FixtureRequest) -> Model:
    options = CONFIGURATIONS[request.param]
    options = NequIP.from_dict({**vars(options), "invariant_neurons": 6, "avg_num_neighbors": 0.5})
    config, params = options.init(jax.random.key(3), ("O", "H", "Na"))
    params["scale"] = jnp.asarray(30.0)  # random weights make small energies
    # At the initial frequencies n π the basis itself vanishes at the cut-off, which would hide a wrong envelope.
    params["radial_basis"]["bessel_weights"] += 0.4
    index = np.concatenate([all_pairs(ATOMS), np.full((ATOMS, PADDING), ATOMS)], axis=1)
    mask = jnp.asarray(index < ATOMS)

    def energies(params: Any, types: Any, positions: Any, padding: Any) -> Any:
        vectors = positions[jnp.asarray(index[:, : ATOMS - 1])] - positions[:, None]
        vectors = jnp.concatenate([vectors, padding], axis=1)
        return config.atomic_energies(params, types, vectors, jnp.asarray(index), mask)

    @jax.jit
    def evaluate(params: Any, types: Any, positions: Any, padding: Any) -> Any:
        def total(positions: Any) -> Any:
            values = energies(params, types, positions, padding)
            return jnp.sum(values), values

        (_, values), gradient = jax.value_and_grad(total, has_aux=True)(positions)
        return values, -gradient

    return Model(config, params, energies, evaluate)


@pytest.fixture
def cluster(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    while True:
        positions = rng.uniform(-2.5, 2.5, (ATOMS, 3))
        distances = np.linalg.norm(positions[:, None] - positions, axis=-1)[~np.eye(ATOMS, dtype=bool)]
        # Some pairs within the cut-off, some beyond, none on it.
        if distances.min() > 1.2 and distances.max() > R_MAX and np.abs(distances - R_MAX).min() > 0.05:
            return rng.integers(0, 3, ATOMS).astype(np.int32), positions


def test_rotation_turns_forces_and_keeps_energies(model: Model, cluster: tuple[np.ndarray, np.ndarray]) -> None:
    types, positions = cluster
    rotation = Rotation.from_euler("xyz", [0.7, -0.4, 1.9]).as_matrix()
    energies, forces = model(types, positions)
    turned_energies, turned_forces = model(types, positions @ rotation.T)
    assert np.ptp(energies) > 1e-2  # the model is not constant
    np.testing.assert_allclose(turned_energies, energies, atol=1e-11)
    np.testing.assert_allclose(turned_forces, forces @ rotation.T, atol=1e-10)


def test_inversion(model: Model, cluster: tuple[np.ndarray, np.ndarray]) -> None:
    types, positions = cluster
    energies, forces = model(types, positions)
    mirrored_energies, mirrored_forces = model(types, -positions)
    # Without parity three layers and more tell left from right (1 x 1 -> 1 is a cross product); fewer cannot.
    if model.config.parity or model.config.num_layers < 3:
        np.testing.assert_allclose(mirrored_energies, energies, atol=1e-11)
        np.testing.assert_allclose(mirrored_forces, -forces, atol=1e-10)
    else:
        assert np.abs(mirrored_energies - energies).max() > 1e-6


def test_translation_and_permutation(
    model: Model, cluster: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> None:
    types, positions = cluster
    energies, forces = model(types, positions)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-11)
    order = rng.permutation(ATOMS)
    moved_energies, moved_forces = model(types[order], positions[order] + np.array([0.3, -7.0, 11.0]))
    np.testing.assert_allclose(moved_energies, energies[order], atol=1e-11)
    np.testing.assert_allclose(moved_forces, forces[order], atol=1e-10)


def test_padding_may_hold_anything(model: Model, cluster: tuple[np.ndarray, np.ndarray]) -> None:
    types, positions = cluster
    energies, forces = model(types, positions)
    for value in (0.0, 1.7, 1e6):
        padded_energies, padded_forces = model(types, positions, np.full((ATOMS, PADDING, 3), value))
        np.testing.assert_array_equal(padded_energies, energies)
        np.testing.assert_array_equal(padded_forces, forces)


def test_forces_are_finite_differences(model: Model, cluster: tuple[np.ndarray, np.ndarray]) -> None:
    types, positions = cluster
    direction = np.random.default_rng(1).normal(size=positions.shape)
    step = 1e-4
    _, forces = model(types, positions)
    ahead, behind = (model(types, positions + s * step * direction)[0].sum() for s in (1.0, -1.0))
    np.testing.assert_allclose((ahead - behind) / (2 * step), -np.sum(forces * direction), rtol=1e-6, atol=1e-8)


def test_atoms_leave_smoothly(model: Model) -> None:
    """At depth d inside the cut-off the energy falls as d³ or faster, the force as d², and both are 0 outside."""
    types = np.array([0, 1, 2, 0, 1, 2, 0], np.int32)
    far = np.array([[0.0, 0.0, 100.0 * i] for i in range(1, ATOMS - 1)])

    def pair(distance: float) -> tuple[float, float]:
        # A pair of atoms, the others alone.
        positions = np.concatenate([np.zeros((1, 3)), distance * np.array([[0.48, 0.6, 0.64]]), far])
        energies, forces = model(types, positions)
        return energies[:2].sum(), np.linalg.norm(forces[0])

    alone, no_force = pair(R_MAX + 1e-9)
    assert no_force == 0.0
    energies, forces = np.array([pair(R_MAX * (1.0 - depth)) for depth in (4e-4, 2e-4)]).T
    assert forces[1] > 0.0
    # Without a self-connection lone atoms have no features, so that each layer brings its own factor d³.
    assert (energies[0] - alone) / (energies[1] - alone) > 0.85 * 8.0
    assert forces[0] / forces[1] > 0.85 * 4.0


def test_gradients_of_parameters(model: Model, cluster: tuple[np.ndarray, np.ndarray]) -> None:
    types, positions = cluster
    padding = jnp.ones((ATOMS, PADDING, 3))

    @jax.jit
    @jax.value_and_grad
    def evaluate(params: Any) -> Any:
        return jnp.sum(model.energies(params, jnp.asarray(types), jnp.asarray(positions), padding))

    energy, gradient = evaluate(model.params)
    assert jax.tree.structure(gradient) == jax.tree.structure(model.params)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
    assert np.abs(gradient["radial_basis"]["bessel_weights"]).max() > 0.0
    assert np.abs(gradient["chemical_embedding"]).max() > 0.0
    # Doubling the last linear map doubles the energy, so its weights times their gradients sum up to the energy.
    weight = model.params["output_hidden_to_scalar"]
    np.testing.assert_allclose(np.sum(weight * gradient["output_hidden_to_scalar"]), energy, rtol=1e-12)


@pytest.mark.parametrize("inside", [True, False], ids=["gathered within", "gathered before"])
def test_blocks_of_atoms_change_nothing(
    inside: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages, their gradient, and the derivative of that along a direction, for blocks that do not divide 7 atoms."""
    config = NequIP(r_max=R_MAX, num_layers=2, l_max=2, num_features=2, invariant_neurons=6, type_names=("O",))
    config, params = config.init(jax.random.key(1))
    plan, layer, neighbors = config.plan, config.plan.layers[1], 5
    shapes = (
        [(ATOMS, neighbors, config.num_basis)],
        [(ATOMS, 2 * degree + 1, neighbors) for degree in range(3)],
        [(ATOMS, 2 * degree + 1, mul) for mul, degree, _ in layer.irreps_in],
    )
    embedded, harmonics, features = ([jnp.asarray(rng.normal(size=s)) for s in group] for group in shapes)
    index = jnp.asarray(rng.integers(0, ATOMS, (ATOMS, neighbors)))
    start = (params["layer1"]["radial"], embedded[0], dict(enumerate(harmonics)), features)
    direction = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), start)

    def results() -> Any:
        def total(inputs: Any) -> Any:
            messages = convolution.convolve(layer, plan.radial, *inputs, index, 3.0)
            return sum(jnp.sum(jnp.sin(x)) for x in messages if x is not None)

        return jax.jit(lambda x, along: jax.jvp(jax.value_and_grad(total), (x,), (along,)))(start, direction)

    whole, asked = results(), []
    monkeypatch.setattr(convolution, "block_size", lambda *_: asked.append(0) or 3)
    monkeypatch.setitem(convolution.BLOCK_FLOATS, "cpu" if jax.default_backend() == "cpu" else "gpu", 10**6 * inside)
    cut = results()
    assert asked
    for x, y in zip(jax.tree.leaves(whole), jax.tree.leaves(cut), strict=True):
        assert np.allclose(x, y, rtol=1e-11, atol=1e-12 * (1.0 + np.abs(x).max()))


def test_blocks_hold_what_the_cache_holds() -> None:
    """Large systems are cut, small ones are not, and no neighbourhood is too large for a block of one atom."""
    config = NequIP(r_max=R_MAX, num_layers=2, num_features=8, type_names=("O", "H"))
    config, params = config.init(jax.random.key(0))
    layer, radial = config.plan.layers[0], params["layer0"]["radial"]
    sizes = [convolution.block_size(layer, neighbors, radial) for neighbors in (10, 40, 10**9)]
    assert sizes[0] > 2 * sizes[1] > 2
    assert sizes[2] == 1
    room = convolution.BLOCK_FLOATS["cpu" if jax.default_backend() == "cpu" else "gpu"]
    assert convolution.gathers_within(room // 8)
    assert not convolution.gathers_within(room)


def test_blocks_are_not_kept_for_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks, forces need a third of the memory at most; with everything kept it would be the same."""
    config = NequIP(r_max=R_MAX, num_layers=1, l_max=2, num_features=8, type_names=("O",))
    config, params = config.init(jax.random.key(0))
    atoms, neighbors = 64, 20
    index = jnp.asarray((np.arange(atoms)[:, None] + 1 + np.arange(neighbors)) % atoms)
    types, mask = jnp.zeros(atoms, jnp.int32), jnp.ones((atoms, neighbors), bool)

    def needed(size: int) -> int:
        monkeypatch.setattr(convolution, "block_size", lambda *_: size)
        total = lambda vectors: jnp.sum(config.atomic_energies(params, types, vectors, index, mask))  # noqa: E731
        program = jax.jit(jax.grad(total)).lower(jax.ShapeDtypeStruct((atoms, neighbors, 3), jnp.float64))
        return program.compile().memory_analysis().temp_size_in_bytes

    assert needed(4) < needed(atoms) / 3


def test_single_precision_follows_the_input(cluster: tuple[np.ndarray, np.ndarray]) -> None:
    types, positions = cluster
    config = NequIP(
        r_max=R_MAX, num_layers=2, l_max=1, num_features=2, invariant_neurons=4, type_names=("O", "H", "Na")
    )
    config, params = config.init(jax.random.key(0))
    index = jnp.asarray(all_pairs(ATOMS))
    vectors = positions[all_pairs(ATOMS)] - positions[:, None]
    results = []
    for dtype in (np.float64, np.float32):
        cast = jax.tree.map(lambda x, dtype=dtype: x.astype(dtype), params)
        mask = jnp.ones(index.shape, bool)
        evaluate = jax.jit(config.atomic_energies)
        results.append(evaluate(cast, jnp.asarray(types), jnp.asarray(vectors, dtype), index, mask))
        assert results[-1].dtype == dtype
    np.testing.assert_allclose(results[1], results[0], atol=1e-4)
