"""The linear maps of a network as matrices that an evaluation multiplies by, made of the flat weights once.

Matrices are scaled and cut to the channels in use. Maps with nothing between them are one: what the first layer does
before its neighbours is a row for each species, and the two maps after the last layer are one vector. Constants of
activations stay where they are: they cost nothing in the loop that evaluates the function.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxelyte.models.constants import sum_terms
from jaxelyte.models.products import product
from jaxelyte.models.structure import Linear, Plan, width

if TYPE_CHECKING:
    from collections.abc import Sequence

Features = list[Any]
"""One array (atoms, 2l + 1, channels) per block of irreps, or None where it is not needed."""

Matrices = tuple[Any, ...]
"""One array (inputs, channels in use) or (inputs, species, channels in use) per path, None where none is in use."""


class LayerMaps(NamedTuple):
    """Of one layer; those before the neighbours are empty in the first."""

    linear_1: Matrices
    self_connection: Matrices
    linear_2: Matrices


class Maps(NamedTuple):
    """Of a network.

    Attributes:
        features: embedding of each species, by block.
        mixed: the first layer's map of it, which neighbours are gathered from.
        own: the self-connection of it, without blocks where there is none.
        layers: the others by layer.
        output: the vector of each block of the last features, None where it does not reach the energy.
        scales: of the energies, eV, by species.
    """

    features: Features
    mixed: Features
    own: Features
    layers: tuple[LayerMaps, ...]
    output: list[Any]
    scales: Float[Array, " species"]


@partial(jax.jit, static_argnums=0)
@jax.default_matmul_precision("highest")
def make_maps(plan: Plan, params: Any) -> Maps:
    """The maps of a network with these parameters."""
    first, embedding = plan.layers[0], jnp.asarray(params["chemical_embedding"])
    kinds = jnp.eye(plan.embedding.irreps_in[0].mul, dtype=embedding.dtype)
    features = linear(plan.embedding, matrices_of(plan.embedding, embedding), [kinds[:, None]])
    layers = []
    for number, layer in enumerate(plan.layers):
        given = params[f"layer{number}"]
        own = layer.self_connection and matrices_of(layer.self_connection, given["self_connection"])
        layers.append(
            LayerMaps(
                matrices_of(layer.linear_1, given["linear_1"]),
                own or (),
                matrices_of(layer.linear_2, given["linear_2"]),
            )
        )
    mixed, own = linear(first.linear_1, layers[0].linear_1, features), []
    if first.self_connection:
        own = linear(first.self_connection, layers[0].self_connection, features, kinds)
    layers[0] = layers[0]._replace(linear_1=(), self_connection=())
    return Maps(features, mixed, own, tuple(layers), _output(plan, params), params["scale"] * params["scales"])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def known_maps(plan: Plan, params: Any, maps: Maps) -> Maps:  # noqa: ARG001 - what derivatives are made of
    """``maps``, which were made of ``params``: derivatives with respect to these are those of `make_maps`."""
    return maps


def _of_params(plan: Plan, saved: tuple[Any, Maps], gradient: Maps) -> tuple[Any, Maps]:
    params, maps = saved
    return jax.vjp(partial(make_maps, plan), params)[1](gradient)[0], jax.tree.map(jnp.zeros_like, maps)


known_maps.defvjp(lambda plan, params, maps: (known_maps(plan, params, maps), (params, maps)), _of_params)


def _output(plan: Plan, params: Any) -> list[Any]:
    """The last two maps as one."""
    hidden = matrices_of(plan.output_hidden, params["conv_to_output_hidden"])
    last = matrices_of(plan.output, params["output_hidden_to_scalar"])
    found: list[Any] = [None] * len(plan.output_hidden.irreps_in)
    for path, matrix in zip(plan.output_hidden.paths, hidden, strict=True):
        for after, vector in zip(plan.output.paths, last, strict=True):
            if matrix is not None and vector is not None and after.source == path.target:
                both = matrix @ vector
                before = found[path.source]
                found[path.source] = both if before is None else before + both
    return found


def matrices_of(plan: Linear, weight: Float[Array, " weights"]) -> Matrices:
    """The flat weight by path, scaled, and cut to the channels in use."""
    found = []
    for path in plan.paths:
        low, high = plan.used[path.target]
        matrix = jnp.asarray(weight)[path.start : path.start + math.prod(path.shape)].reshape(path.shape)
        found.append(matrix[..., low:high] * plan.scale(path.target) if high > low else None)
    return tuple(found)


def linear(
    plan: Linear, matrices: Matrices, features: Features, kinds: Float[Array, "atoms species"] | None = None
) -> Features:
    """The equivariant linear map on the channels in use; None for blocks that are not.

    Args:
        plan: the map. If its weights are those of species, ``kinds`` has to be given.
        matrices: of its paths.
        features: by block.
        kinds: species of the atoms, one-hot.
    """
    out: Features = []
    for target, span in enumerate(plan.used):
        if not width(span):
            out.append(None)
            continue
        rows: list[Any] = [None] * len(features)
        for path, matrix in zip(plan.paths, matrices, strict=True):
            if path.target == target:
                rows[path.source] = matrix.reshape(len(matrix), -1)
        if all(row is None for row in rows):
            like = next(x for x in features if x is not None)
            out.append(jnp.zeros((len(like), plan.irreps_out[target].dim, width(span)), like.dtype))
            continue
        total = multiply(features, rows)
        if kinds is not None:
            # Not channels times one-hot species before the product: its gradient sums rows, slow on CPUs.
            total = total.reshape(*total.shape[:2], -1, width(span))
            total = jnp.sum(total * kinds[:, None, :, None], axis=2)
        out.append(total)
    return out


def multiply(features: Features, matrices: Sequence[Any]) -> Float[Array, "atoms m channels"]:
    """Sum of the products of blocks with their matrices, where they have one."""
    return sum_terms([product(x, matrix) for x, matrix in zip(features, matrices, strict=True) if matrix is not None])
