"""The convolution by GPU kernels: when they run, on which blocks of atoms, and their derivatives.

The kernels are in `jaxelyte.models.kernels`. Second derivatives come from the reference implementation,
`jaxelyte.models.convolution`. Forward mode is refused by JAX: use the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxelyte.models.activations import Activation
from jaxelyte.models.constants import sum_terms
from jaxelyte.models.convolution import (
    BLOCK_FLOATS,
    by_irrep,
    convolve,
    cut_blocks,
    gather_features,
    join_blocks,
    numbers_at_once,
    sum_messages,
)
from jaxelyte.models.derivatives import with_second_derivatives
from jaxelyte.models.kernels import (
    Static,
    edge_program,
    feature_program,
    forward_program,
    run_programs,
    scatter_program,
)
from jaxelyte.models.products import products_in
from jaxelyte.models.structure import Layer
from jaxelyte.models.tiling import Tiling

ROOM = 2
"""Numbers in the arrays of radial weights at once, in units of those that the reference implementation makes."""


def convolve_fused(
    layer: Layer,
    act: Activation,
    radial: dict[str, Any],
    embedded: Float[Array, "atoms neighbors basis"],
    harmonics: dict[int, Float[Array, "atoms m neighbors"]],
    features: list[Any],
    index: Int[Array, "atoms neighbors"],
    avg_num_neighbors: float,
    tiling: Tiling,
    mirrored: bool,
) -> list[Any]:
    """`jaxelyte.models.convolution.convolve` by the kernels; arguments and result as there, in float32.

    ``embedded`` has to be 0 where an entry is no pair, and the harmonics of degree 0 have to be 1. With ``mirrored``
    every pair has to be there from both sides. Systems whose radial weights need too much memory are worked through in
    blocks of atoms, and the weights made again for the gradient.
    """
    static = Static(layer, act, avg_num_neighbors, tiling, mirrored)
    given = {
        "harmonics": {degree: jnp.swapaxes(harmonics[degree], 1, 2) for degree in static.degrees},
        "features": {source: features[source] for source in static.sources},
    }
    whole = {"index": index.astype(jnp.int32), "extent": _extent(embedded)}
    row = index.shape[1] * sum(path.mul for path in static.paths)
    at_once = ROOM * numbers_at_once()
    if len(index) * row > at_once:  # made twice in any case: small blocks leave the memory to the arrays of all edges
        at_once = min(at_once, ROOM * BLOCK_FLOATS["gpu"])
    blocks = -(-len(index) // max(1, at_once // max(1, row)))
    if blocks > 1:
        found = _by_blocks((static, blocks), given | {"radial": radial, "embedded": embedded}, whole)
    else:
        found = _at_once(static, given | {"weights": static.weights(radial, embedded)}, whole)
    return [found.get(mid) for mid in range(len(layer.irreps_mid))]


def _reference_at_once(static: Static, args: dict[str, Any], whole: dict[str, Any]) -> dict[int, Array]:
    gathered = gather_features(args["features"], whole["index"])
    return sum_messages(static.layer, args["weights"], gathered, _all_degrees(args))


def _reference_by_blocks(key: tuple[Static, int], args: dict[str, Any], whole: dict[str, Any]) -> dict[int, Array]:
    static, features = key[0], [args["features"].get(n) for n in range(len(key[0].layer.linear_1.irreps_out))]
    edges = (static.layer, static.act, args["radial"], args["embedded"], _all_degrees(args), features, whole["index"])
    return {mid: x for mid, x in enumerate(convolve(*edges, static.avg_num_neighbors)) if x is not None}


def _all_degrees(args: dict[str, Any]) -> dict[int, Array]:
    edges = args["weights"] if "weights" in args else args["embedded"]
    shape = (edges.shape[0], 1, edges.shape[1])
    return {0: jnp.ones(shape, edges.dtype)} | {d: jnp.swapaxes(x, 1, 2) for d, x in args["harmonics"].items()}


def _run_forward(static: Static, args: dict[str, Any], whole: dict[str, Any]) -> dict[int, Array]:
    shapes = _shapes(args["weights"], [(2 * path.l3 + 1, path.mul) for path in static.paths])
    made = run_programs(
        static, forward_program, len(static.paths), args | whole, {"messages": shapes}, {}, "convolution"
    )[0]
    return by_irrep(static.paths, made["messages"])


def _run_backward(
    static: Static, args: dict[str, Any], whole: dict[str, Any], gradient: dict[int, Array], wanted: frozenset[str]
) -> dict[str, Any]:
    del wanted
    messages = _by_path(static, gradient)
    return _of_edges(static, args, whole, messages) | {
        "features": _of_features(static, args, whole, messages, messages)
    }


def _by_path(static: Static, gradient: dict[int, Array]) -> list[Array]:
    first = {mid: min(p.offset for p in static.paths if p.mid == mid) for mid in gradient}
    return [gradient[p.mid][..., p.offset - first[p.mid] :][..., : p.mul] for p in static.paths]


def _of_edges(static: Static, args: dict[str, Any], whole: dict[str, Any], own: list[Array]) -> dict[str, Any]:
    """Gradients of radial weights and harmonics; ``own`` are those of the atoms' messages, by path."""
    degrees = [sorted({static.paths[n].l2 for n in numbers} - {0}) for numbers in static.groups]
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), args)
    made = {
        "of_weights": like["weights"],
        "of_harmonics": [{degree: like["harmonics"][degree] for degree in some} for some in degrees],
    }
    given = args | whole | {"own": own}
    written, _ = run_programs(static, edge_program, len(static.groups), given, made, {}, "convolution_edges")
    parts = written["of_harmonics"]
    return {
        "weights": written["of_weights"],
        "harmonics": {
            degree: sum_terms([one[degree] for one in parts if degree in one]) for degree in args["harmonics"]
        },
    }


def _of_features(
    static: Static, args: dict[str, Any], whole: dict[str, Any], own: list[Array], every: list[Array]
) -> dict[int, Array]:
    """Gradient of the features: with mirrored lists that of the atoms of the lists, else of all atoms."""
    features, count = args["features"], len(static.paths)
    given = args | whole | {"own": own, "every": every}
    if not static.mirrored:
        start = {"of_features": jax.tree.map(jnp.zeros_like, features)}
        return run_programs(static, scatter_program, count, given, {}, start, "convolution_scatter")[1]["of_features"]
    shapes = _shapes(args["weights"], [(2 * path.l1 + 1, path.mul) for path in static.paths])
    made = run_programs(static, feature_program, count, given, {"of_features": shapes}, {}, "convolution_features")[0]
    return {
        source: sum_terms([x for p, x in zip(static.paths, made["of_features"], strict=True) if p.source == source])
        for source in features
    }


def _shapes(weights: Array, rows: list[tuple[int, int]]) -> list[jax.ShapeDtypeStruct]:
    """Of arrays with a row for each atom."""
    return [jax.ShapeDtypeStruct((weights.shape[0], *row), weights.dtype) for row in rows]


_at_once = with_second_derivatives(_run_forward, _run_backward, _reference_at_once)


def _run_blocks(key: tuple[Static, int], args: dict[str, Any], whole: dict[str, Any]) -> dict[int, Array]:
    static, _ = key

    def messages(part: dict[str, Any]) -> dict[int, Array]:
        weights = static.weights(args["radial"], part["embedded"])
        return _run_forward(static, part | {"weights": weights, "features": args["features"]}, {})

    with products_in(static.tiling.precision):
        return _map_blocks(messages, key, args, whole)[0]


def _run_blocks_backward(
    key: tuple[Static, int],
    args: dict[str, Any],
    whole: dict[str, Any],
    gradient: dict[int, Array],
    wanted: frozenset[str],
) -> dict[str, Any]:
    del wanted
    static, _ = key
    every = _by_path(static, gradient)

    def gradients(part: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        weights, pull = jax.vjp(static.weights, args["radial"], part["embedded"])
        given, own = part | {"weights": weights, "features": args["features"]}, part["own"]
        of_edges = _of_edges(static, given, {}, own)
        of_radial, of_embedded = pull(of_edges.pop("weights"))
        of_features = _of_features(static, given, {}, own, every)
        rows, sums = (of_features, {}) if static.mirrored else ({}, of_features)
        return of_edges | {"embedded": of_embedded, "features": rows}, (of_radial, sums)

    with products_in(static.tiling.precision):
        rows, (of_radial, sums) = _map_blocks(gradients, key, args, whole | {"own": every}, totals=True)
    return rows | {"radial": of_radial, "features": rows["features"] or sums}


def _map_blocks(
    function: Callable[[dict[str, Any]], Any],
    key: tuple[Static, int],
    args: dict[str, Any],
    more: dict[str, Any],
    totals: bool = False,
) -> tuple[Any, Any]:
    """``function`` of blocks of atoms: its rows one after the other, and with ``totals`` the sum of what it adds."""
    atoms, blocks = len(args["embedded"]), key[1]
    size = -(-atoms // blocks)
    edges = {"embedded": args["embedded"], "harmonics": args["harmonics"]} | more
    cut = jax.tree.map(lambda x: cut_blocks(x, blocks, size), edges)

    def step(sums: Any, part: Any) -> tuple[Any, Any]:
        rows, added = function(part) if totals else (function(part), ())
        return jax.tree.map(jnp.add, sums, added), rows

    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), cut)
    start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, one)[1]) if totals else ()
    sums, rows = jax.lax.scan(step, start, cut)
    return join_blocks(rows, atoms), sums


_by_blocks = with_second_derivatives(_run_blocks, _run_blocks_backward, _reference_by_blocks)


def _extent(embedded: Float[Array, "atoms neighbors basis"]) -> Int[Array, " atoms"]:
    """Entries of each row up to the last pair."""
    there = jnp.any(embedded != 0, axis=-1)
    places = jnp.arange(1, embedded.shape[1] + 1, dtype=jnp.int32)
    return jnp.max(jnp.where(there, places, jnp.zeros_like(places)), axis=1, initial=0)
