"""Linear maps made once: the compiled form computes what the plain one does, with fewer products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

import jaxelyte as jxl
from jaxelyte.models.linear import make_maps
from jaxelyte.neighbors import neighbor_lists
from small_networks import CASES, assert_close, gradients, network, six_atoms

MORE = {
    "residual": {"resnet": True, "num_layers": 3, "chemical_embedding_irreps_out": "4x0e"},
    "residual from the first layer on": {"resnet": True, "l_max": 0, "parity": False},
    "no self-connection": {"use_sc": False},
    "norms": {"nonlinearity_type": "norm"},
    "hidden scalars of both parities": {"conv_to_output_hidden_irreps_out": "3x0e + 2x0o + 4x0e"},
}


def folded(plain: jxl.NequIPPotential) -> jxl.NequIPPotential:
    return replace(plain, maps=make_maps(plain.config.plan, plain.params))


@pytest.mark.parametrize("case", CASES | MORE)
def test_values_forces_and_derivatives_by_parameters(case: str) -> None:
    plain, system = network(**(CASES | MORE)[case]), six_atoms(np.float64)
    found, expected = gradients(folded(plain), system), gradients(plain, system)
    size = len(jax.tree.leaves(plain.params))
    assert not any(np.any(leaf) for leaf in found["params"][size:]), "what depends on parameters counts once"
    found["params"] = found["params"][:size]
    assert_close(found, expected, 1e-14)


def test_maps_are_used_and_parameters_are_not() -> None:
    """Spoilt parameters change nothing of the linear maps any more; spoilt maps do."""
    plain, system = network(), six_atoms(np.float64)
    lists = neighbor_lists(system, plain)
    energy = float(plain.energy(system, lists))
    names = ["chemical_embedding", "conv_to_output_hidden", "output_hidden_to_scalar", "scale", "scales"]
    spoilt: dict[str, Any] = plain.params | {name: 2.0 * plain.params[name] for name in names}
    made = folded(plain)
    assert float(replace(made, params=spoilt).energy(system, lists)) == pytest.approx(energy, rel=1e-13)
    maps = made.maps._replace(scales=2.0 * made.maps.scales)
    assert float(replace(made, maps=maps).energy(system, lists)) == pytest.approx(2 * energy, rel=1e-13)


def equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else [value]:
                if isinstance(inner, jax.extend.core.ClosedJaxpr):
                    yield from equations(inner.jaxpr)
                elif isinstance(inner, jax.extend.core.Jaxpr):
                    yield from equations(inner)


def test_products_that_are_left_out() -> None:
    """Before the first neighbours there is none, after the last layer one; and weights are not scaled again."""
    plain = network(num_layers=1, l_max=1)
    system = six_atoms(np.float64)
    lists = neighbor_lists(system, plain)

    def products(potential: jxl.NequIPPotential) -> int:
        jaxpr = jax.make_jaxpr(lambda p: p.energy(system, lists))(potential)
        return sum(equation.primitive.name == "dot_general" for equation in equations(jaxpr.jaxpr))

    # Embedding, map of it, self-connection; the product of the two last maps.
    assert products(plain) - products(folded(plain)) == 4


def test_the_compiled_form_has_them_in_the_widest_precision() -> None:
    plain = network()
    narrow = replace(plain, params=jax.tree.map(lambda leaf: leaf.astype(np.float32), plain.params))
    made = narrow.compiled().maps
    if made is None:
        pytest.skip("the compiled form is the plain one here")
    expected = make_maps(plain.config.plan, jax.tree.map(lambda leaf: jnp.asarray(leaf, np.float64), narrow.params))
    for a, b in zip(jax.tree.leaves(made), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
