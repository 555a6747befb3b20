"""GPU kernels of the convolution: products of an edge and their sums over neighbours never leave the registers.

Written as arrays the convolution makes some thousand numbers an edge, which a GPU writes to memory and reads again.
Here only the radial weights are arrays. A program of a kernel takes one atom and one path (or the paths of one input
block), and for a few neighbours at a time gathers their features, multiplies and adds up. With h_b the harmonics of an
edge, x_a the features of its neighbour, w the radial weights, C the Clebsch-Gordan coefficients and g_m the gradient of
the message:

    message_m = Σ_k w Σ_a x_a (Σ_b C_abm h_b)
    D_ab = Σ_m C_abm g_m;  ∂w = Σ_a x_a Σ_b h_b D_ab,  ∂h_b = Σ_channels w Σ_a x_a D_ab
    ∂x_a = Σ_k w Σ_m g_m (Σ_b C_abm h_b), over the edges that lead to the atom

Lists hold every pair from both sides. The edges that lead to an atom are therefore its own with the vector reversed,
which changes the sign of harmonics of odd degree and nothing else: ∂x is a sum over its neighbours, too, and
nothing is scattered. Where atoms of other devices are among the neighbours, which have no lists here, atomic additions
take its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jaxtyping import Array

from jaxelyte.models.activations import Activation
from jaxelyte.models.constants import sum_terms
from jaxelyte.models.convolution import path_table, radial_weights
from jaxelyte.models.structure import Layer, TensorPath
from jaxelyte.models.tiling import Tiling


@dataclass(frozen=True)
class Static:
    """All of a layer that is no array."""

    layer: Layer
    act: Activation
    avg_num_neighbors: float
    tiling: Tiling
    mirrored: bool

    @property
    def paths(self) -> tuple[TensorPath, ...]:
        return self.layer.active_paths

    @property
    def sources(self) -> list[int]:
        return sorted({path.source for path in self.paths})

    @property
    def degrees(self) -> list[int]:
        """Of the harmonics that are read: Y_0 = 1 is not."""
        return sorted({path.l2 for path in self.paths} - {0})

    @property
    def columns(self) -> list[int]:
        """Where the radial weights of each path begin."""
        return [sum(path.mul for path in self.paths[:n]) for n in range(len(self.paths))]

    @property
    def groups(self) -> list[list[int]]:
        """Numbers of the paths of each program of the gradient of edges."""
        if not self.tiling.by_source:
            return [[n] for n in range(len(self.paths))]
        return [[n for n, path in enumerate(self.paths) if path.source == source] for source in self.sources]

    def weights(self, radial: Any, embedded: Any) -> Array:
        return radial_weights(self.layer, self.act, radial, self.avg_num_neighbors, embedded)


def _power(n: int) -> int:
    """The least power of two that is no less than ``n``: Triton knows no other shapes."""
    return 1 << (n - 1).bit_length()


class _Edges:
    """What a program reads of some neighbours of its atom."""

    def __init__(self, static: Static, refs: dict[str, Any], atom: Array, chunk: Array) -> None:
        self.static, self.refs, self.atom = static, refs, atom
        self.at, self.inside = _places(static, refs, chunk)
        found = plgpu.load(refs["index"].at[atom, self.at], mask=self.inside, other=0)
        rows = next(iter(refs["features"].values())).shape[0]
        self.real = self.inside & (found >= 0) & (found < rows)
        self.neighbor = jnp.where(self.real, found, jnp.zeros_like(found))

    def weights(self, number: int) -> Array:
        """Radial weights of a path, shape (edges, channels)."""
        place, mask = _weight_place(self.static, self.refs["weights"], self.atom, self.at, self.inside, number)
        return plgpu.load(place, mask=mask, other=0.0)

    def harmonics(self, degree: int) -> list[Any]:
        """By component, shape (edges, 1); a number for degree 0."""
        if degree == 0:
            return [1.0]
        ref = self.refs["harmonics"][degree]
        parts = [plgpu.load(ref.at[self.atom, self.at, m], mask=self.inside, other=0.0) for m in range(2 * degree + 1)]
        return [part[:, None] for part in parts]

    def gathered(self, ref: Any) -> list[Array]:
        """Rows of the neighbours by component, shape (edges, channels)."""
        across, mask = self.channels(ref.shape[2])
        return [
            plgpu.load(ref.at[self.neighbor[:, None], a, across[None, :]], mask=mask, other=0.0)
            for a in range(ref.shape[1])
        ]

    def channels(self, mul: int) -> tuple[Array, Array]:
        """Numbers of the channels, and the mask of all that is there."""
        across = jnp.arange(_power(mul), dtype=jnp.int32)
        return across, self.real[:, None] & (across < mul)[None, :]


def _places(static: Static, refs: dict[str, Any], chunk: Array) -> tuple[Array, Array]:
    at = chunk * static.tiling.edges + jnp.arange(static.tiling.edges, dtype=jnp.int32)
    return at, at < refs["index"].shape[1]


def _weight_place(static: Static, ref: Any, atom: Array, at: Array, inside: Array, number: int) -> tuple[Any, Array]:
    """Where the radial weights of a path stand, and which are there."""
    mul = static.paths[number].mul
    across = jnp.arange(_power(mul), dtype=jnp.int32)
    place = ref.at[atom, at[:, None], static.columns[number] + across[None, :]]
    return place, inside[:, None] & (across < mul)[None, :]


def _coupling(path: TensorPath, keep: Callable[[int, int, int], Any]) -> dict[Any, list[tuple[float, int]]]:
    """Coefficients that are not 0, collected as ``keep(a, b, m)`` = (key, other index) says."""
    table = path_table(path)
    found: dict[Any, list[tuple[float, int]]] = {}
    for a, b, m in zip(*np.nonzero(np.abs(table) > 1e-12), strict=True):
        key, other = keep(int(a), int(b), int(m))
        found.setdefault(key, []).append((float(table[a, b, m]), other))
    return found


def forward_program(static: Static, refs: dict[str, Any], atom: Array, number: int) -> None:
    """Messages of one path to one atom."""
    path = static.paths[number]
    pairs = _coupling(path, lambda a, b, m: ((a, m), b))

    def add(chunk: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        edges = _Edges(static, refs, atom, chunk)
        weights, h = edges.weights(number), edges.harmonics(path.l2)
        products = [weights * x for x in edges.gathered(refs["features"][path.source])]
        new = list(sums)
        for (a, m), terms in pairs.items():
            new[m] = new[m] + products[a] * sum_terms([c * h[b] for c, b in terms])
        return tuple(new)

    _store_sums(static, refs, atom, add, refs["messages"][number])


def feature_program(static: Static, refs: dict[str, Any], atom: Array, number: int) -> None:
    """Gradient of one atom's features from one path, collected from its neighbours."""
    path = static.paths[number]
    pairs = _coupling(path, lambda a, b, m: ((a, m), b))
    sign = (-1.0) ** path.l2

    def add(chunk: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        edges = _Edges(static, refs, atom, chunk)
        weights, h = edges.weights(number), edges.harmonics(path.l2)
        products = [weights * g for g in edges.gathered(refs["every"][number])]
        new = list(sums)
        for (a, m), terms in pairs.items():
            new[a] = new[a] + products[m] * sum_terms([sign * c * h[b] for c, b in terms])
        return tuple(new)

    _store_sums(static, refs, atom, add, refs["of_features"][number])


def scatter_program(static: Static, refs: dict[str, Any], atom: Array, number: int) -> None:
    """Gradients of the features of one atom's neighbours from one path."""
    path = static.paths[number]
    pairs = _coupling(path, lambda a, b, m: ((a, b), m))

    def add(chunk: Array, _: None) -> None:
        edges = _Edges(static, refs, atom, chunk)
        weights, h = edges.weights(number), edges.harmonics(path.l2)
        gradient = _own_gradient(static, refs, atom, number)
        for a in range(2 * path.l1 + 1):
            turned = [h[b] * _joint(pairs[a, b], gradient) for b in range(len(h)) if (a, b) in pairs]
            if turned:
                _add_to_neighbors(edges, refs["of_features"][path.source], a, weights * sum_terms(turned))

    jax.lax.fori_loop(0, _chunks(static, refs["extent"][atom]), add, None)


def _add_to_neighbors(edges: _Edges, ref: Any, component: int, values: Array) -> None:
    """Add to a component of the features of the neighbours, which may be the same atom several times."""
    mul = ref.shape[2]
    across, mask = edges.channels(mul)
    if not edges.static.tiling.interpret:
        plgpu.atomic_add(ref, (edges.neighbor[:, None], component, across[None, :]), values, mask=mask)
        return

    def one(edge: Array, _: None) -> None:
        row = edges.neighbor[edge]
        ref[row, component, :] += jnp.where(mask[edge], values[edge], jnp.zeros_like(values[edge]))[:mul]

    jax.lax.fori_loop(0, len(values), one, None)


def edge_program(static: Static, refs: dict[str, Any], atom: Array, group: int) -> None:
    """Gradients of the radial weights and harmonics of one atom's edges from some paths."""
    numbers = static.groups[group]
    degrees = refs["of_harmonics"][group]

    def some(chunk: Array, _: None) -> None:
        edges = _Edges(static, refs, atom, chunk)
        x = edges.gathered(refs["features"][static.paths[numbers[0]].source])
        of_h: dict[tuple[int, int], list[Array]] = {}
        for n in numbers:
            path = static.paths[n]
            pairs = _coupling(path, lambda a, b, m: ((a, b), m))
            gradient = _own_gradient(static, refs, atom, n)
            # For each harmonic Σ_a x_a D_ab: its sum with h is ∂w, its product with w is ∂h.
            parts = [
                sum_terms([x[a] * _joint(pairs[a, b], gradient) for a in range(len(x)) if (a, b) in pairs])
                for b in range(2 * path.l2 + 1)
            ]
            of_weights = sum_terms([h * part for h, part in zip(edges.harmonics(path.l2), parts, strict=True)])
            place, mask = _weight_place(static, refs["of_weights"], atom, edges.at, edges.inside, n)
            plgpu.store(place, of_weights, mask=mask)
            if path.l2:
                weights = edges.weights(n)
                for b, part in enumerate(parts):
                    of_h.setdefault((path.l2, b), []).append(jnp.sum(weights * part, axis=1))
        for (degree, b), terms in of_h.items():
            plgpu.store(degrees[degree].at[atom, edges.at, b], sum_terms(terms), mask=edges.inside)

    def none(chunk: Array, _: None) -> None:
        at, inside = _places(static, refs, chunk)
        for n in numbers:
            place, mask = _weight_place(static, refs["of_weights"], atom, at, inside, n)
            plgpu.store(place, jnp.zeros(mask.shape, jnp.float32), mask=mask)
        for degree, ref in degrees.items():
            for b in range(2 * degree + 1):
                plgpu.store(ref.at[atom, at, b], jnp.zeros(at.shape, jnp.float32), mask=inside)

    full = _chunks(static, refs["extent"][atom])
    jax.lax.fori_loop(0, full, some, None)
    jax.lax.fori_loop(full, _chunks(static, refs["index"].shape[1]), none, None)


def _own_gradient(static: Static, refs: dict[str, Any], atom: Array, number: int) -> list[Array]:
    """Gradient of the atom's own message, by component, shape (1, channels)."""
    path = static.paths[number]
    across = jnp.arange(_power(path.mul), dtype=jnp.int32)
    return [
        plgpu.load(refs["own"][number].at[atom, m, across], mask=across < path.mul, other=0.0)[None, :]
        for m in range(2 * path.l3 + 1)
    ]


def _joint(terms: list[tuple[float, int]], gradient: list[Array]) -> Array:
    return sum_terms([c * gradient[m] for c, m in terms])


def _chunks(static: Static, neighbors: Any) -> Any:
    return (neighbors + static.tiling.edges - 1) // static.tiling.edges


def _store_sums(static: Static, refs: dict[str, Any], atom: Array, add: Callable[[Array, Any], Any], ref: Any) -> None:
    """Sums over the neighbours of an atom, by component, into its row."""
    _, components, mul = ref.shape
    zeros = jnp.zeros((static.tiling.edges, _power(mul)), jnp.float32)
    sums = jax.lax.fori_loop(0, _chunks(static, refs["extent"][atom]), add, (zeros,) * components)
    across = jnp.arange(_power(mul), dtype=jnp.int32)
    for m, one in enumerate(sums):
        plgpu.store(ref.at[atom, m, across], jnp.sum(one, axis=0), mask=across < mul)


def run_programs(
    static: Static, program: Callable[..., None], count: int, given: Any, made: Any, start: Any, name: str
) -> Any:
    """Run ``program(static, refs, atom, number)`` for each atom and number.

    Args:
        static: of the layer.
        program: what one program does with the references of ``given``, ``made`` and ``start``.
        count: programs for each atom.
        given: arrays that are read, with the structure that the program knows them by.
        made: shapes of arrays that are written.
        start: arrays that are added to.
        name: for profiles.

    Returns:
        What was written, and what was added to.
    """
    in_leaves, in_tree = jax.tree.flatten((given, start))
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), start)
    out_leaves, out_tree = jax.tree.flatten((made, shapes))
    added = len(jax.tree.leaves(start))

    def kernel(*refs: Any) -> None:
        read, _ = jax.tree.unflatten(in_tree, refs[: len(in_leaves)])
        written, sums = jax.tree.unflatten(out_tree, refs[len(in_leaves) :])
        atom = pl.program_id(0)  # outside the branches, where the interpreter does not know it
        branches = [partial(program, static, {**read, **written, **sums}, atom, number) for number in range(count)]
        if count == 1:
            branches[0]()
        else:
            jax.lax.switch(pl.program_id(1), branches)

    kernel.__name__ = name
    call = pl.pallas_call(
        kernel,
        out_shape=out_leaves,
        grid=(given["index"].shape[0], count),
        input_output_aliases={len(in_leaves) - added + n: len(out_leaves) - added + n for n in range(added)},
        compiler_params=plgpu.CompilerParams(num_warps=static.tiling.warps, num_stages=1),
        interpret=static.tiling.interpret,
        name=name,
    )
    return jax.tree.unflatten(out_tree, call(*in_leaves))
