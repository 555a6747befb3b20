"""Radial weights by tables: against the network that they replace, and forces in C with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.models.convolution import radial_weights
from jaxelyte.models.network import atomic_energies
from jaxelyte.models.radial import EdgeGeometry, radial_embedding
from jaxelyte.models.table import TOLERANCE, interpolate, radial_derivatives, radial_tables
from jaxelyte.models.tiling import Native
from jaxelyte.neighbors import neighbor_lists
from jaxelyte.potentials.nequip import species_table
from small_networks import assert_close, gradients, network, six_atoms

NETWORKS = {
    "silu": {},
    "shifted softplus": {"nonlinearity_scalars": {"e": "ssp", "o": "tanh"}, "polynomial_cutoff_p": 4.5},
}


@pytest.mark.parametrize("case", NETWORKS)
def test_weights_and_slopes_at_random_distances(case: str) -> None:
    """Against the network in JAX, differentiated by JAX; 2 x the tolerance between the distances that were checked."""
    potential = network(**NETWORKS[case])
    config, params = potential.config, jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), potential.params)
    distances = np.append(np.random.default_rng(0).uniform(0.5, config.r_max, 400), config.r_max)

    def weights(number: int, r: jax.Array) -> jax.Array:
        layer, radial = config.plan.layers[number], jax.tree.map(jnp.asarray, params[f"layer{number}"]["radial"])
        embedded = radial_embedding(config, jnp.asarray(params["radial_basis"]["bessel_weights"]), EdgeGeometry(r, {}))
        return radial_weights(layer, config.plan.radial, radial, config.avg_num_neighbors or 1.0, embedded)

    tables = radial_tables(config, params)
    assert tables is not None
    for number, table in enumerate(tables):
        column = jnp.asarray(distances)[:, None]
        one, first = (lambda r, n=number: weights(n, r)), jnp.ones_like(column)
        slope = lambda r, f=one, d=first: jax.jvp(f, (r,), (d,))[1]  # noqa: E731
        exact = [np.asarray(x)[:, 0] for x in (one(column), slope(column), jax.jvp(slope, (column,), (first,))[1])]
        for found, expected in zip(radial_derivatives(config, params, number, distances), exact, strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
        step = config.r_max / len(table)
        value, per_step = interpolate(table[:, :, : exact[0].shape[1]], distances / step)
        for found, expected, limit in zip((value, per_step / step), exact, TOLERANCE, strict=False):
            assert np.abs(found - expected).max() < 2 * limit * np.sqrt(np.mean(expected**2))
        assert not table[:, :, exact[0].shape[1] :].any()


def test_forces_in_c_by_tables() -> None:
    """To the tolerance of the tables; derivatives by parameters are those of the network."""
    plain, system = network(num_features=16, l_max=2, parity=False), six_atoms(np.float32)
    exact = replace(plain, kernel=Native())
    made = radial_tables(plain.config, plain.params)
    assert made is not None
    by_table = replace(exact, tables=tuple(map(jnp.float32, made)))
    found, expected = gradients(by_table, system), gradients(exact, system)
    assert len(jax.tree.leaves(by_table)) == len(jax.tree.leaves(exact)) + 2
    names = ("energy", "positions")
    assert_close({n: found[n] for n in names}, {n: expected[n] for n in names}, 1e-5)
    doubled = replace(by_table, tables=tuple(2 * one for one in by_table.tables))
    other = float(gradients(doubled, system)["energy"])
    assert abs(other / float(expected["energy"]) - 1) > 0.01, "the tables are not used"


@pytest.mark.parametrize("name", ["licl", "licl_ions"])
def test_forces_of_published_models(reference: Path, name: str) -> None:
    """In float64, where nothing else rounds: to 1e-5 eV/Å, of forces of some eV/Å."""
    folder = reference / name
    potential, frame = jxl.load_nequip(folder), np.load(folder / "reference.npz")
    atoms = Atoms(frame["0_numbers"], frame["0_positions"], cell=frame["0_cell"], pbc=True)
    system = jxl.System.from_atoms(atoms, dtype=np.float64)
    spec, lists = potential.requirements()[0], neighbor_lists(system, potential)
    made = radial_tables(potential.config, potential.params)
    assert made is not None
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), potential.params)
    types = jnp.asarray(species_table(potential.config.type_names).array)[system.numbers]

    @jax.jit
    def forces(tables: tuple[jax.Array, ...]) -> jax.Array:
        def energy(positions: jax.Array) -> jax.Array:
            found = lists.get(spec)
            edges = (found.vectors(system.replace(positions=positions)), found.index, found.mask)
            given = (potential.config, params, types, *edges)
            return jnp.sum(atomic_energies(*given, kernel=Native(), tables=tables))

        return -jax.grad(energy)(system.positions)

    error = np.abs(forces(tuple(map(jnp.asarray, made))) - frame["0_forces"])
    assert 1e-9 < error.max() < 1e-5  # not exact, or the tables are not used


def test_compiled_makes_them_unless_told_not_to_and_keeps_a_choice() -> None:
    plain, system = network(), six_atoms(np.float64)
    if plain.compiled().kernel != Native():
        pytest.skip("the code in C is not the default here")
    assert plain.compiled().tables is not None
    without = plain.compiled(tables=False)
    assert without.tables is None
    assert without.compiled() is without
    assert (2.0 * plain + plain).compiled(tables=False).compiled().terms[0].potential.tables is None
    assert jax.jit(lambda p: jnp.float32(p.compiled().tables is None))(plain) == 1  # parameters are traced
    assert_close(  # float64 is without
        {"forces": gradients(plain.compiled(), system)["positions"]},
        {"forces": gradients(without, system)["positions"]},
        1e-14,
    )


def test_what_is_no_number_stays_so() -> None:
    plain = network().compiled()
    system = six_atoms(np.float32)
    lists = neighbor_lists(system, plain)
    spoilt = system.replace(positions=system.positions.at[2, 1].set(jnp.nan))
    assert not np.isfinite(plain.energy(spoilt, lists))
