"""The NequIP network as a pure function, with a dense neighbour axis.

For atom i with neighbours j, features x (channels u of irreps l), harmonics Y of the direction of r_ij and radial
functions R_p of the distance, one for each path p = (l1, l2, l3) and channel, a layer computes

    m_i[p, u, m3] = Σ_{m1 m2} C[m1, m2, m3] Σ_j R_p,u(r_ij) x_j[u, m1] Y_l2(r_ij)[m2] / √(average neighbours)

The inner sum runs over neighbours only, one matrix product per atom and degree l2; the Clebsch-Gordan contraction with
C follows at the atom, where it costs nothing. (The textbook order contracts on every edge.) Arrays of features are
(atoms, 2l + 1, channels), one per block of irreps, None where the block cannot reach the energy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxelyte.models.convolution import convolve
from jaxelyte.models.linear import Features, Maps, known_maps, linear, make_maps, multiply
from jaxelyte.models.products import products_in
from jaxelyte.models.radial import edge_geometry, radial_embedding
from jaxelyte.models.structure import Layer, Plan
from jaxelyte.models.table import traced_tables
from jaxelyte.models.tiling import Kernel, Native, Tiling, precision_of

if TYPE_CHECKING:
    from jaxelyte.models.config import NequIP

Exchange = Callable[[Features], Features]
"""From features of the atoms of one device to the same with rows for the neighbours that other devices own."""

Convolution = Callable[[int, Any, Features], Features]
"""From number of the layer, matrices of its radial network and features of the neighbours to messages."""

Tables = tuple[Array, ...]
"""Radial weights of each layer, see `jaxelyte.models.table`."""

NORM_FLOOR = 1e-8
"""Smallest norm that the "norm" nonlinearity divides by, part of the published definition."""


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
    maps: Maps | None = None,
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
        tables: radial weights by layer in place of the radial networks, for `Native`, of the dtype of ``vectors``;
            those of its ``knots`` are made here.
        maps: the linear maps, where they were made of ``params`` before, of the dtype of ``vectors``.
    """
    # On GPUs the default for float32 is TF32, with 10 bits of mantissa: forces wrong in the third digit.
    with products_in(precision_of(kernel)):
        edges = (config, params["radial_basis"]["bessel_weights"], vectors, index, mask)
        if isinstance(kernel, Native):
            if kernel.knots:
                tables = traced_tables(config, params, kernel.knots)
            convolution = _in_c(*edges, kernel, tables)
        else:
            convolution = _in_jax(*edges, kernel, mirrored=exchange is None)
        plan = config.plan
        made: Any = make_maps(plan, params) if maps is None else known_maps(plan, params, maps)
        return _atomic_energies(plan, params, types, convolution, exchange, made)


def _atomic_energies(
    plan: Plan,
    params: Any,
    types: Int[Array, " atoms"],
    convolution: Convolution,
    exchange: Exchange | None,
    maps: Maps,
) -> Float[Array, " atoms"]:
    def of_species(table: Features) -> Features:
        return [None if block is None else jnp.take(block, types, axis=0) for block in table]

    features, own = of_species(maps.features), of_species(maps.own)
    kinds = jnp.take(jnp.eye(len(maps.scales), dtype=maps.scales.dtype), types, axis=0)
    for i, (layer, matrices) in enumerate(zip(plan.layers, maps.layers, strict=True)):
        mixed = linear(layer.linear_1, matrices.linear_1, features) if i else of_species(maps.mixed)
        messages = convolution(i, params[f"layer{i}"]["radial"], mixed if exchange is None else exchange(mixed))
        if layer.self_connection is not None and i:
            own = linear(layer.self_connection, matrices.self_connection, features, kinds)
        out = linear(layer.linear_2, matrices.linear_2, messages)
        features = _finish_layer(layer, features, out if layer.self_connection is None else _add(out, own))
    return jnp.take(maps.scales, types) * multiply(features, maps.output)[:, 0, 0]


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
    kernel: Native,
    tables: Tables | None,
) -> Convolution:
    """Convolutions of these edges in C."""
    from jaxelyte.models.native import convolve_native

    rows = jnp.where(mask, index, -jnp.ones_like(index))

    def convolution(number: int, radial: Any, mixed: Features) -> Features:
        given = (config, config.plan.layers[number], radial, frequencies, vectors, mixed, rows)
        return convolve_native(*given, None if tables is None else tables[number], tangents=kernel.tangents)

    return convolution


def _add(out: Features, own: Features) -> Features:
    return [a if b is None else a + b for a, b in zip(out, own, strict=True)]


def _finish_layer(layer: Layer, features: Features, out: Features) -> Features:
    """The rest of a layer after its linear maps: nonlinearity, residual."""
    new = apply_gate(layer, out) if layer.gate.norm is None else apply_norm(layer, out)
    if layer.resnet:
        new = [None if n is None else n + old for n, old in zip(new, features, strict=True)]
    return new


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
