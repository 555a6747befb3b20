"""The NequIP network as a pure function, with a dense neighbour axis.

For atom i with neighbours j, features x (channels u of irreps l), harmonics Y of the direction of r_ij and radial
functions R_p of the distance, one for each path p = (l1, l2, l3) and channel, a layer computes

    m_i[p, u, m3] = Σ_{m1 m2} C[m1, m2, m3] Σ_j R_p,u(r_ij) x_j[u, m1] Y_l2(r_ij)[m2] / √(average neighbours)

The inner sum runs over neighbours only, one matrix product per atom and degree l2; the Clebsch-Gordan contraction with
C follows at the atom, where it costs nothing. (The textbook order contracts on every edge.) Arrays of features are
(atoms, 2l + 1, channels), one per block of irreps, None where the block cannot reach the energy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxelyte.models.constants import sum_terms
from jaxelyte.models.convolution import convolve
from jaxelyte.models.radial import edge_geometry, radial_embedding
from jaxelyte.models.structure import Layer, Linear
from jaxelyte.models.tiling import Kernel, Native, Tiling

if TYPE_CHECKING:
    from jaxelyte.models.config import NequIP

Features = list[Any]
"""One array (atoms, 2l + 1, channels) per block of irreps, or None where it is not needed."""

Exchange = Callable[[Features], Features]
"""From features of the atoms of one device to the same with rows for the neighbours that other devices own."""

Convolution = Callable[[int, Any, Features], Features]
"""From number of the layer, matrices of its radial network and features of the neighbours to messages."""

Tables = tuple[Array, ...]
"""Radial weights of each layer, see `jaxelyte.models.table`."""

NORM_FLOOR = 1e-8
"""Smallest norm that the "norm" nonlinearity divides by, part of the published definition."""


# On GPUs the default for float32 is TF32, with 10 bits of mantissa: forces wrong in the third digit.
@jax.default_matmul_precision("highest")
def atomic_energies(
    config: NequIP,
    params: Any,
    types: Int[Array, " atoms"],
    vectors: Float[Array, "atoms neighbors 3"],
    index: Int[Array, "atoms neighbors"],
    mask: Bool[Array, "atoms neighbors"],
    *,
    exchange: Exchange | None = None,
    kernel: Kernel | None = None,
    tables: Tables | None = None,
) -> Float[Array, " atoms"]:
    """Energy of each atom in eV without shifts: scale · scales[type] · network.

    Args:
        config: the model.
        params: its arrays, of the dtype of ``vectors``.
        types: species of each atom, 0 to species - 1.
        vectors: r_ij in Å from atom i to neighbour j; where ``mask`` is False, any vector.
        index: the neighbours; any value where ``mask`` is False.
        mask: True where an entry is a pair. Pairs beyond the cut-off contribute nothing.
        exchange: appends rows of other devices to the features that neighbours are gathered from.
        kernel: how to convolve, None for plain JAX; kernels for GPUs are used where the dtype is float32.
        tables: radial weights by layer in place of the radial networks, for `Native`, of the dtype of ``vectors``.
    """
    plan = config.plan
    edges = (config, params["radial_basis"]["bessel_weights"], vectors, index, mask)
    if isinstance(kernel, Native):
        convolution = _in_c(*edges, tables)
    else:
        convolution = _in_jax(*edges, kernel, mirrored=exchange is None)
    one_hot = jnp.eye(len(config.type_names), dtype=vectors.dtype)
    table = linear(plan.embedding, params["chemical_embedding"], [one_hot[:, None, :]])
    features: Features = [jnp.take(block, types, axis=0) for block in table]
    kinds = jnp.take(one_hot, types, axis=0)
    for i, layer in enumerate(plan.layers):
        weights = params[f"layer{i}"]
        mixed = linear(layer.linear_1, weights["linear_1"], features)
        messages = convolution(i, weights["radial"], mixed if exchange is None else exchange(mixed))
        features = _finish_layer(layer, weights, features, kinds, messages)
    hidden = linear(plan.output_hidden, params["conv_to_output_hidden"], features)
    energy = linear(plan.output, params["output_hidden_to_scalar"], hidden)[0][:, 0, 0]
    return params["scale"] * jnp.take(params["scales"], types) * energy


def _in_jax(
    config: NequIP,
    frequencies: Float[Array, " basis"],
    vectors: Float[Array, "atoms neighbors 3"],
    index: Int[Array, "atoms neighbors"],
    mask: Bool[Array, "atoms neighbors"],
    kernel: Kernel | None,
    mirrored: bool,
) -> Convolution:
    """Convolutions of these edges in JAX or by kernels for GPUs."""
    geometry = edge_geometry(vectors, mask, config.r_max, max(b.l for b in config.plan.harmonics))
    embedded = radial_embedding(config, frequencies, geometry)
    act, neighbors = config.plan.radial, config.avg_num_neighbors or 1.0

    def convolution(number: int, radial: Any, mixed: Features) -> Features:
        edges = (config.plan.layers[number], act, radial, embedded, geometry.harmonics, mixed, index, neighbors)
        if isinstance(kernel, Tiling) and embedded.dtype == jnp.float32:
            from jaxelyte.models.fused import convolve_fused

            return convolve_fused(*edges, kernel, mirrored=mirrored)
        return convolve(*edges)

    return convolution


def _in_c(
    config: NequIP,
    frequencies: Float[Array, " basis"],
    vectors: Float[Array, "atoms neighbors 3"],
    index: Int[Array, "atoms neighbors"],
    mask: Bool[Array, "atoms neighbors"],
    tables: Tables | None,
) -> Convolution:
    """Convolutions of these edges in C."""
    from jaxelyte.models.native import convolve_native

    rows = jnp.where(mask, index, -jnp.ones_like(index))

    def convolution(number: int, radial: Any, mixed: Features) -> Features:
        given = (config, config.plan.layers[number], radial, frequencies, vectors, mixed, rows)
        return convolve_native(*given, None if tables is None else tables[number])

    return convolution


def _finish_layer(
    layer: Layer, weights: Any, features: Features, kinds: Float[Array, "atoms species"], messages: Features
) -> Features:
    """The rest of a layer after its convolution: linear map, self-connection, nonlinearity, residual."""
    out = linear(layer.linear_2, weights["linear_2"], messages)
    if layer.self_connection is not None:
        own = linear(layer.self_connection, weights["self_connection"], features, kinds)
        out = [a if b is None else a + b for a, b in zip(out, own, strict=True)]
    new = apply_gate(layer, out) if layer.gate.norm is None else apply_norm(layer, out)
    if layer.resnet:
        new = [None if n is None else n + old for n, old in zip(new, features, strict=True)]
    return new


def linear(
    plan: Linear,
    weight: Float[Array, " weights"],
    features: Features,
    kinds: Float[Array, "atoms species"] | None = None,
) -> Features:
    """The equivariant linear map on the channels in use; None for blocks that are not.

    Args:
        plan: the map. If its weights are those of species, ``kinds`` has to be given.
        weight: its weights, one matrix after the other.
        features: by block.
        kinds: species of the atoms, one-hot.
    """
    out: Features = []
    for target, (low, high) in enumerate(plan.used):
        paths = [path for path in plan.paths if path.target == target]
        if low == high:
            out.append(None)
            continue
        if not paths:
            atoms = next(x for x in features if x is not None).shape[0]
            out.append(jnp.zeros((atoms, plan.irreps_out[target].dim, high - low), weight.dtype))
            continue
        scaled = weight * plan.scale(target)
        rows = [_matrix(scaled, path.start, path.shape)[..., low:high] for path in paths]
        products = [features[p.source] @ row.reshape(len(row), -1) for p, row in zip(paths, rows, strict=True)]
        total = sum_terms(products)
        if kinds is not None:
            # Not channels times one-hot species before the product: its gradient sums rows, slow on CPUs.
            total = total.reshape(*total.shape[:2], -1, high - low)
            total = jnp.sum(total * kinds[:, None, :, None], axis=2)
        out.append(total)
    return out


def _matrix(weight: Float[Array, " weights"], start: int, shape: tuple[int, ...]) -> Float[Array, "rows *columns"]:
    return weight[start : start + math.prod(shape)].reshape(shape)


def apply_gate(layer: Layer, features: Features) -> Features:
    """Scalars through their functions, other irreps times functions of their gates."""
    gate = layer.gate

    def take(slot: tuple[int, int, int]) -> Array:
        block, offset, mul = slot
        first = offset - layer.linear_2.used[block][0]
        return features[block][..., first : first + mul]

    need = layer.needed
    out: Features = [
        act.normalized(take(slot)) if n else None for (slot, act), n in zip(gate.scalars, need, strict=False)
    ]
    for (slot, gate_slot, act), n in zip(gate.gated, need[len(gate.scalars) :], strict=True):
        out.append(take(slot) * act.normalized(take(gate_slot)) if n else None)
    return out


def apply_norm(layer: Layer, features: Features) -> Features:
    """Each irrep x becomes f(|x|) x / |x|, with |x| no smaller than `NORM_FLOOR`."""
    act = layer.gate.norm
    assert act is not None
    out: Features = []
    for x in features:
        if x is None:
            out.append(None)
            continue
        square = jnp.sum(x * x, axis=1, keepdims=True)
        norm = jnp.sqrt(jnp.maximum(square, jnp.asarray(NORM_FLOOR**2, x.dtype)))
        out.append(act.function(norm) / norm * x)
    return out
