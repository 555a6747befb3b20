"""The second stage of training in C: against the convolution written in JAX, and against differences of forces."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxelyte as jxl
from jaxelyte.models import library
from jaxelyte.models.table import training_knots
from jaxelyte.models.tiling import Native
from jaxelyte.neighbors import neighbor_lists
from jaxelyte.potentials.derivatives import EnergyForcesStress, batch_energy_forces_stress, parameter_gradient
from jaxelyte.potentials.forms import Tangents, in_form
from small_networks import CASES, assert_close, network, six_atoms

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="the code is for CPUs")

ROUNDING = {np.float32: 2e-5, np.float64: 1e-12}
"""Of sums of some thousand products of either sign in another order, relative to the largest number."""

MORE = {
    "l = 3, three layers": {"l_max": 3, "num_layers": 3, "num_features": 4},
    "channels in vectors": {"num_features": 16, "l_max": 2, "parity": False, "invariant_neurons": 32, "resnet": True},
    "no hidden layer": {"invariant_layers": 0, "polynomial_cutoff_p": 5.5},
    "three of odd size, shifted softplus": {
        "invariant_layers": 3,
        "invariant_neurons": 19,
        "num_basis": 5,
        "nonlinearity_scalars": {"e": "ssp", "o": "tanh"},
    },
}


def two_frames(potential: jxl.Potential, dtype: Any) -> tuple[Any, Any, EnergyForcesStress]:
    """Frames with their lists, and numbers to multiply energies, forces and stresses by."""
    one = six_atoms(dtype)
    lists = neighbor_lists(one, potential)
    systems, lists = jax.tree.map(lambda x: jnp.stack([x, x]), (one, lists))
    systems = systems.replace(positions=systems.positions.at[1].multiply(0.98))
    rng = np.random.default_rng(7)
    weights = (jnp.asarray(rng.normal(size=(2, *shape)), dtype) for shape in ((), (6, 3), (3, 3)))
    return systems, lists, EnergyForcesStress(*weights)


def second_stage(potential: jxl.NequIPPotential, dtype: Any, knots: int = 0) -> dict[str, Any]:
    given = two_frames(potential, dtype)
    gradient = jax.jit(lambda p: parameter_gradient(p, *given, stress=True, knots=knots))
    found = jax.block_until_ready(gradient(potential))
    return {"params": jax.tree.leaves(found)}


@pytest.mark.more
@pytest.mark.parametrize(
    ("case", "dtype"),
    [(case, np.float64) for case in CASES | MORE] + [(case, np.float32) for case in ("l = 2", "channels in vectors")],
)
def test_the_second_stage_is_that_of_the_reference(case: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    potential = network(**(CASES | MORE)[case])
    assert in_form(potential, Tangents()).kernel == Native(tangents=True)
    found = second_stage(potential, dtype)
    monkeypatch.setenv("JAXELYTE_NATIVE", "0")
    assert in_form(potential, Tangents()) is potential
    assert_close(found, second_stage(potential, dtype), ROUNDING[dtype])


@pytest.mark.parametrize("knots", [0, 64])
def test_the_second_stage_is_the_difference_of_forces(knots: int) -> None:
    """Central differences of energies, forces and stresses, which no second derivative goes into.

    With tables it is that of the interpolated weights, however few knots there are.
    """
    potential = network(**CASES["l = 2"])
    systems, lists, weights = two_frames(potential, np.float64)
    gradient = second_stage(potential, np.float64, knots)["params"]
    leaves, tree = jax.tree.flatten(potential)
    rng = np.random.default_rng(11)
    directions = [jnp.asarray(rng.normal(size=leaf.shape)) for leaf in leaves]
    shifts = [n for n, (path, _) in enumerate(jax.tree.leaves_with_path(potential)) if "shift" in str(path[-1])]
    for n in shifts:  # constants of the energy, which predictions are without
        assert not np.any(gradient[n])
        directions[n] = jnp.zeros_like(directions[n])

    @jax.jit
    def weighted(step: jax.Array) -> jax.Array:
        moved = [jnp.asarray(leaf) + step * one for leaf, one in zip(leaves, directions, strict=True)]
        form = replace(jax.tree.unflatten(tree, moved), kernel=Native(knots=knots))
        found = batch_energy_forces_stress(form, systems, lists)
        return sum((jnp.sum(a * b) for a, b in zip(found, weights, strict=True)), jnp.zeros(()))

    h = 1e-3
    near, far = (float(weighted(jnp.asarray(k * h)) - weighted(jnp.asarray(-k * h))) / (2 * k * h) for k in (1, 2))
    expected = (4 * near - far) / 3
    found = sum(float(jnp.sum(a * b)) for a, b in zip(gradient, directions, strict=True))
    size = sum(float(jnp.sum(jnp.abs(a * b))) for a, b in zip(gradient, directions, strict=True))
    assert abs(found - expected) < 1e-7 * size


@pytest.mark.more
def test_tables_stand_for_the_radial_network() -> None:
    potential = network(**CASES["l = 2"])
    knots = training_knots(potential.config, potential.params)
    assert knots == 256
    found, expected = (second_stage(potential, np.float64, n) for n in (knots, 0))
    assert_close(found, expected, 1e-5)
    with pytest.raises(AssertionError):
        assert_close(found, expected, 1e-13)
    rough = jax.tree.map(lambda leaf: 30.0 * leaf, potential.params)
    assert training_knots(potential.config, rough) == 0


@pytest.mark.more
def test_derivatives_by_vectors_and_along_parameters_are_those_of_the_reference() -> None:
    plain, system = network(num_layers=2), six_atoms(np.float64)
    lists = neighbor_lists(system, plain)
    rng = np.random.default_rng(5)
    change = jnp.asarray(rng.normal(size=(6, 3)))
    other = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), plain)

    def energy(potential: Any, positions: jax.Array) -> jax.Array:
        return potential.energy(system.replace(positions=positions), lists)

    def by_positions(potential: Any) -> Any:
        along = lambda x: jax.jvp(lambda y: energy(potential, y), (x,), (change,))[1]  # noqa: E731
        return jax.grad(along)(system.positions)

    def along_both(potential: Any) -> Any:
        direction = jax.tree.unflatten(jax.tree.structure(potential), jax.tree.leaves(other))
        return jax.jvp(energy, (potential, system.positions), (direction, change))

    for function in (by_positions, along_both, lambda p: energy(p, system.positions)):
        found, expected = (jax.jit(function)(p) for p in (in_form(plain, Tangents()), plain))
        assert_close({"all": found}, {"all": expected}, 1e-12)


@pytest.mark.more
def test_a_committee_gets_the_gradient_of_each_member() -> None:
    plain = network()
    given = two_frames(plain, np.float64)
    scales = jnp.asarray([1.0, 0.9, 1.1])
    gradient = lambda s: parameter_gradient(jax.tree.map(lambda x: x * s, plain), *given, stress=True)  # noqa: E731
    found = jax.tree.leaves(jax.jit(jax.vmap(gradient))(scales))
    for n, scale in enumerate(scales):
        expected = jax.tree.leaves(jax.jit(gradient)(scale))
        assert_close({"params": [leaf[n] for leaf in found]}, {"params": expected}, 1e-13)


@pytest.mark.more
def test_several_threads_and_one() -> None:
    """In a process of its own, since XLA starts its threads once; twice the same to the last digit."""
    script = """
import os, jax, numpy as np
jax.config.update("jax_enable_x64", True)
import jaxelyte as jxl
from ase import Atoms
from jaxelyte.models import library
from jaxelyte.neighbors import neighbor_lists
from jaxelyte.potentials.derivatives import EnergyForcesStress, parameter_gradient
from small_networks import network
atoms = Atoms("NaCl" * 30, scaled_positions=np.random.default_rng(0).random((60, 3)), cell=3 * [12.0], pbc=True)
system = jxl.System.from_atoms(atoms, dtype=np.float64)
plain = network(num_features=16, invariant_neurons=32)  # enough work for several threads
batch = jax.tree.map(lambda x: jax.numpy.asarray(x)[None], (system, neighbor_lists(system, plain)))
rng = np.random.default_rng(1)
weights = EnergyForcesStress(*(jax.numpy.asarray(rng.normal(size=s)) for s in ((1,), (1, 60, 3), (1, 3, 3))))
def run():
    gradient = jax.jit(lambda p: parameter_gradient(p, *batch, weights, stress=True))
    return [np.asarray(leaf) for leaf in jax.tree.leaves(gradient(plain))]
first, again = run(), run()
library.PRIVATE_BYTES = 0  # no memory for what a second thread would add to
library.library.cache_clear()
alone = run()
os.environ["CC"] = "cc -DALLOCATE(bytes)=((bytes)<100?NULL:calloc(1,bytes))"  # no memory to ask for threads with
library.PRIVATE_BYTES = 2**30
library.library.cache_clear()
serial = run()
assert all((a == b).all() for a, b in zip(first, serial)), "parts one after the other are not the same parts"
assert all((a == b).all() for a, b in zip(first, again)), "results depend on the order in which threads end"
assert any((a != b).any() for a, b in zip(first, alone)), "one thread did all of the work"
print(max(abs(a - b).max() for a, b in zip(first, alone)) / max(abs(a).max() for a in first))
"""
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    environment = os.environ | {"NPROC": "7", "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-13


def test_without_memory_there_is_an_error_and_without_a_compiler_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    potential = network(num_layers=1, num_features=3)
    found = second_stage(potential, np.float64)
    monkeypatch.setenv("CC", "cc -DALLOCATE(bytes)=NULL")
    library.library.cache_clear()
    with pytest.raises(jax.errors.JaxRuntimeError, match="no memory is left for the convolution"):
        second_stage(potential, np.float64)
    monkeypatch.setenv("CC", "false")
    library.library.cache_clear()
    with pytest.warns(RuntimeWarning, match="could not be built"):
        assert_close(found, second_stage(potential, np.float64), 1e-12)
    library.library.cache_clear()
