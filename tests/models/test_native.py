"""The convolution in C against the convolution written in JAX, and how its library is built."""

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
from jaxelyte.models.tiling import Native
from jaxelyte.neighbors import neighbor_lists
from small_networks import CASES, assert_close, gradients, network, of_forces, six_atoms, with_copies

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="the code is for CPUs")

ROUNDING = {np.float32: 1e-5, np.float64: 1e-13}
"""Of sums of some hundred products of either sign in another order, relative to the largest number."""

MORE = {
    "channels in vectors": {"num_features": 16, "l_max": 2, "parity": False, "invariant_neurons": 16},
    "one hidden layer": {"invariant_layers": 1, "invariant_neurons": 5},
    "three of odd size, shifted softplus": {
        "invariant_layers": 3,
        "invariant_neurons": 19,
        "num_basis": 5,
        "nonlinearity_scalars": {"e": "ssp", "o": "tanh"},
    },
}


def in_c(potential: jxl.NequIPPotential) -> jxl.NequIPPotential:
    return replace(potential, kernel=Native())


@pytest.mark.parametrize(
    ("case", "dtype"),
    [(case, np.float64) for case in CASES | MORE]
    + [pytest.param(case, np.float32, marks=pytest.mark.more) for case in list(MORE)[::2]],
)
def test_energy_forces_and_derivatives_by_parameters(case: str, dtype: Any) -> None:
    plain, system = network(**(CASES | MORE)[case]), six_atoms(dtype)
    assert_close(gradients(in_c(plain), system), gradients(plain, system), ROUNDING[dtype])


def test_neighbours_without_lists_get_their_gradients() -> None:
    plain, system = network(), six_atoms(np.float64)
    assert_close(with_copies(plain, system, Native()), with_copies(plain, system, None), 1e-13)


def test_second_derivatives_and_no_forward_mode() -> None:
    plain, system = network(num_layers=1), six_atoms(np.float64)
    assert_close(of_forces(in_c(plain), system), of_forces(plain, system), 1e-13)
    lists = neighbor_lists(system, plain)
    energy = lambda x: in_c(plain).energy(system.replace(positions=x), lists)  # noqa: E731
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(energy, (system.positions,), (system.positions,))


def test_batches_of_systems_and_of_parameters() -> None:
    """`jax.vmap` of either: one system after the other."""
    plain, system = network(), six_atoms(np.float64)
    lists = neighbor_lists(system, plain)
    scales = jnp.asarray([1.0, 0.9, 1.1])

    def force(potential: jxl.NequIPPotential, scale: jax.Array) -> jax.Array:
        other = jax.tree.map(lambda leaf: leaf * scale, potential)
        energy = lambda x: other.energy(system.replace(positions=x), lists)  # noqa: E731
        return jax.grad(energy)(system.positions * scale)

    found, expected = (jax.jit(jax.vmap(lambda s, p=p: force(p, s)))(scales) for p in (in_c(plain), plain))
    assert_close({"forces": found}, {"forces": expected}, 1e-13)


def test_several_threads_and_one() -> None:
    """In a process of its own, since XLA starts its threads once; twice the same to the last digit."""
    script = """
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
import jaxelyte as jxl
from ase import Atoms
from dataclasses import replace
from jaxelyte.models import library
from jaxelyte.models.tiling import Native
from small_networks import gradients, network
atoms = Atoms("NaCl" * 30, scaled_positions=np.random.default_rng(0).random((60, 3)), cell=3 * [12.0], pbc=True)
system = jxl.System.from_atoms(atoms, dtype=np.float64)
plain = network(num_features=16, invariant_neurons=32)  # enough work for several threads
first, again = (gradients(replace(plain, kernel=Native()), system)["positions"] for _ in range(2))
library.PRIVATE_BYTES = 0  # no memory for the gradients of a second thread
library.library.cache_clear()
alone = gradients(replace(plain, kernel=Native()), system)["positions"]
expected = gradients(plain, system)["positions"]
assert (first == again).all(), "results depend on the order in which threads end"
assert (first != alone).any(), "one thread did all of the work"
for found in (first, alone):
    print(abs(found - expected).max() / abs(expected).max())
"""
    environment = os.environ | {"NPROC": "7", "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert all(float(line) < 1e-13 for line in done.stdout.split())


def test_without_a_compiler_or_with_one_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain, system = network(), six_atoms(np.float64)
    expected = gradients(plain, system)
    monkeypatch.setenv("JAXELYTE_CACHE", str(tmp_path))
    for compiler, said in {"/no/such/compiler": "No such file", "false": "could not be built"}.items():
        library.library.cache_clear()
        monkeypatch.setenv("CC", compiler)
        with pytest.warns(RuntimeWarning, match=said):
            assert_close(gradients(in_c(plain), system), expected, 1e-13)
    library.library.cache_clear()
    assert not list(tmp_path.iterdir()), "a failure leaves something behind"


def test_the_library_is_kept_and_complete(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain, system = network(num_layers=1, num_features=3), six_atoms(np.float64)
    monkeypatch.setenv("JAXELYTE_CACHE", str(tmp_path / "deep" / "folder"))
    library.library.cache_clear()
    gradients(in_c(plain), system)
    (kept,) = (tmp_path / "deep" / "folder").iterdir()
    library.library.cache_clear()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("compiled twice"))
    gradients(in_c(plain), system)
    assert kept.suffix == ".so"


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain, system = network(num_layers=1, num_features=5), six_atoms(np.float64)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JAXELYTE_CACHE", str(tmp_path / "file"))
    library.library.cache_clear()
    assert_close(gradients(in_c(plain), system), gradients(plain, system), 1e-13)
    library.library.cache_clear()
