"""Hyperparameters: what is refused, by name; irreps in e3nn's order."""

from __future__ import annotations

from typing import Any

import jax
import pytest

from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.models import NequIP
from jaxelyte.models.irreps import Block, format_irreps, parse_irreps, simplify, sort_permutation
from jaxelyte.models.plan import make_plan


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r_max": -1.0}, "r_max = -1 Å cannot be a cut-off"),
        ({"num_layers": 0}, "num_layers must be a positive integer"),
        ({"num_features": 2.5}, "num_features must be a positive integer"),
        ({"l_max": -1}, "l_max must be a non-negative integer"),
        ({"parity": "yes"}, "parity must be True or False, not 'yes'"),
        ({"polynomial_cutoff_p": 1}, "polynomial_cutoff_p must be a finite number, 2 or more"),
        ({"nonlinearity_type": "relu"}, "nonlinearity_type = 'relu' is not supported"),
        ({"nonlinearity_scalars": {"e": "silu", "x": "tanh"}}, "nonlinearity_scalars = .* must map 'e' and 'o'"),
        ({"type_names": ("Na", "Na")}, "names a species twice"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NequIP(**{"r_max": 4.0} | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nonlinearity_scalars": {"e": "relu"}}, r"nonlinearity_scalars\['e'\] = 'relu' is not supported"),
        ({"nonlinearity_scalars": {"o": "silu"}}, r"nonlinearity_scalars\['o'\] must be an even or odd"),
        ({"nonlinearity_scalars": {"e": "tanh"}}, r"nonlinearity_scalars\['e'\] = 'tanh' is not supported"),
        ({"irreps_edge_sh": "2x0e+1o"}, "irreps_edge_sh = '2x0e.1o' must hold each harmonic once"),
        ({"irreps_edge_sh": "0e+1o+2o"}, "mixes parities"),
        ({"feature_irreps_hidden": "4x0e+banana"}, "feature_irreps_hidden = '4x0e.banana' is not a sum of irreps"),
        ({"feature_irreps_hidden": "4x1o"}, "no even scalars"),
    ],
)
def test_bad_structures_are_named(options: dict[str, Any], message: str) -> None:
    config = NequIP(**{"r_max": 4.0, "l_max": 1, "num_features": 2, "type_names": ("Na",)} | options)
    with pytest.raises(InputError, match=message):
        make_plan(config)


def test_unknown_keys_name_the_nearest_option() -> None:
    with pytest.raises(InputError, match="no option 'num_layer'; did you mean 'num_layers'"):
        NequIP.from_dict({"r_max": 4.0, "num_layer": 2})
    with pytest.raises(InputError, match="needs r_max"):
        NequIP.from_dict({"l_max": 2})
    assert NequIP.from_dict({"r_max": 4.0, "num_layers": 2}) == NequIP(r_max=4.0, num_layers=2)


def test_species_must_be_elements_and_agree() -> None:
    config = NequIP(r_max=4.0, num_features=2, l_max=1, invariant_neurons=4)
    key = jax.random.key(0)
    with pytest.raises(InputError, match="no species"):
        config.init(key)
    with pytest.raises(InputError, match="'Xy' is not a chemical symbol"):
        config.init(key, ["Xy"])
    bound, _ = config.init(key, ["Na", "Cl"])
    assert bound.type_names == ("Na", "Cl")
    with pytest.raises(InputError, match="differ from"):
        bound.init(key, ["K", "Cl"])


def test_equal_configurations_are_one_static_value() -> None:
    first = NequIP(r_max=4, nonlinearity_scalars={"e": "silu", "o": "tanh"}, type_names=["Na"])  # pyright: ignore[reportArgumentType]
    second = NequIP(r_max=4.0, type_names=("Na",))
    assert first == second
    assert hash(first) == hash(second)
    assert first.plan is second.plan


def test_irreps_sort_by_degree_then_odd_before_even() -> None:
    irreps = parse_irreps("3x1o+2x0e+1x1e+4x0o", "irreps")
    assert [str(irreps[i]) for i in sort_permutation(irreps)] == ["4x0o", "2x0e", "3x1o", "1x1e"]
    assert format_irreps(irreps) == "3x1o+2x0e+1x1e+4x0o"
    assert simplify([Block(2, 0, 1), Block(0, 1, 1), Block(3, 0, 1), Block(1, 0, -1)]) == (
        Block(5, 0, 1),
        Block(1, 0, -1),
    )


def test_only_what_reaches_the_energy_is_evaluated() -> None:
    plan = NequIP(r_max=4.0, num_layers=3, l_max=2, parity=False, num_features=4, type_names=("Na",)).plan
    assert [len(layer.paths) for layer in plan.layers] == [3, 15, 15]
    assert [len(layer.active_paths) for layer in plan.layers] == [3, 15, 3]
    assert {path.l3 for path in plan.layers[-1].active_paths} == {0}
    assert plan.layers[-1].linear_2.used == ((0, 4), (0, 0), (0, 0))  # no gates either
    # With parity the features that cannot become an even scalar in the one step left are dropped a layer before.
    plan = NequIP(r_max=4.0, num_layers=2, l_max=1, parity=True, num_features=4, type_names=("Na",)).plan
    assert [str(b) for b, n in zip(plan.layers[0].gate.irreps_out, plan.layers[0].needed, strict=True) if n] == [
        "4x0e",
        "4x1o",
    ]


def test_unsupported_is_an_input_error() -> None:
    assert issubclass(UnsupportedError, InputError)
