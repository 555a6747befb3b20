"""The GPU kernels of the convolution, run by Pallas' interpreter, against the convolution written in JAX."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxelyte as jxl
import small_networks
from jaxelyte.models import fused
from jaxelyte.models.tiling import Native, Tiling
from jaxelyte.neighbors import neighbor_lists
from jaxelyte.potentials.codec import identity
from small_networks import CASES, gradients, network, of_forces, six_atoms, with_copies

TILING = Tiling(edges=8, interpret=True)

ROUNDING = 1e-5
"""Of sums of some hundred float32 products of either sign in another order, relative to the largest number."""


@pytest.fixture(scope="module")
def system() -> jxl.System:
    return six_atoms(np.float32)


def assert_close(found: Any, expected: Any) -> None:
    small_networks.assert_close(found, expected, ROUNDING)


@pytest.mark.parametrize(
    ("case", "by_source"),
    [
        pytest.param("even channels", True, marks=pytest.mark.more),
        ("l = 2", True),
        pytest.param("channels that differ", False, marks=pytest.mark.more),
    ],
)
def test_energy_forces_and_derivatives_by_parameters(case: str, by_source: bool, system: jxl.System) -> None:
    plain = network(**CASES[case])
    kernel = replace(plain, kernel=replace(TILING, by_source=by_source))
    assert_close(gradients(kernel, system), gradients(plain, system))


@pytest.mark.more
def test_blocks_of_atoms_change_nothing(monkeypatch: pytest.MonkeyPatch, system: jxl.System) -> None:
    plain = network()
    monkeypatch.setattr(fused, "numbers_at_once", lambda: 150)  # room for an atom or two
    assert_close(gradients(replace(plain, kernel=TILING), system), gradients(plain, system))


@pytest.mark.parametrize(
    "room", [pytest.param(10**6, marks=pytest.mark.slow), pytest.param(150, marks=pytest.mark.more)]
)
def test_neighbours_without_lists_get_their_gradients(
    room: int, monkeypatch: pytest.MonkeyPatch, system: jxl.System
) -> None:
    plain = network()
    monkeypatch.setattr(fused, "numbers_at_once", lambda: room)
    assert_close(with_copies(plain, system, TILING), with_copies(plain, system, None))


@pytest.mark.more
def test_second_derivatives_and_no_forward_mode(system: jxl.System) -> None:
    plain = network(num_layers=1)
    kernel = replace(plain, kernel=TILING)
    assert_close(of_forces(kernel, system), of_forces(plain, system))
    lists = neighbor_lists(system, plain)
    energy = lambda x: kernel.energy(system.replace(positions=x), lists)  # noqa: E731
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(energy, (system.positions,), (system.positions,))


def test_the_compiled_form_reaches_every_network(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = network()
    coulomb = jxl.ScreenedCoulomb({"Na": 1.0, "Cl": -1.0}, permittivity=78.3)
    whole = jxl.mix(2.0 * inner, inner + coulomb, 0.3) + coulomb
    monkeypatch.setenv("JAXELYTE_NATIVE", "0")
    assert jax.tree.structure(whole.compiled()) == jax.tree.structure(whole)
    monkeypatch.delenv("JAXELYTE_NATIVE")
    for kernel in (Native(), TILING):
        if kernel == TILING:
            monkeypatch.setattr("jaxelyte.potentials.nequip.default_kernel", lambda *_: TILING)
        made = whole.compiled()
        assert made.terms[0].initial.potential.kernel == kernel
        assert made.terms[0].final.terms[0].kernel == kernel
        assert identity(made) == identity(whole)


def test_float64_is_left_to_the_reference(system: jxl.System) -> None:
    double = jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, system)
    plain = network()
    lists = neighbor_lists(double, plain)
    energy = jax.jit(lambda p: p.energy(double, lists))
    energies = [float(energy(p)) for p in (plain, replace(plain, kernel=TILING))]
    assert energies[0] == energies[1]


def test_kernels_compile_for_a_gpu_that_is_not_here(system: jxl.System) -> None:
    """As far as Triton's own representation: names, shapes and masks that the interpreter would let pass."""
    kernel = replace(network(**CASES["channels that differ"]), kernel=Tiling())
    lists = neighbor_lists(system, kernel)
    traced = jax.jit(jxl.energy_and_forces).trace(kernel, system, lists)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    for name in ("convolution", "convolution_edges", "convolution_features"):
        assert f'"{name}"' in text or f'name = "{name}"' in text, name
