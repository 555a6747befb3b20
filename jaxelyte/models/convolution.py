"""The convolution: sums over neighbours of radial weights times features times harmonics, then Clebsch-Gordan."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxelyte.models.activations import Activation
from jaxelyte.models.constants import wigner_3j
from jaxelyte.models.products import product
from jaxelyte.models.radial import radial_hidden
from jaxelyte.models.structure import Layer, TensorPath

BLOCK_FLOATS = {"cpu": 2**18, "gpu": 2**28}
"""Numbers that a block of atoms makes on the way: 1 MiB, half the cache of a core; on a GPU 1 GiB at the least."""

GPU_SHARE = 1 / 8
"""Of the memory of a GPU: a block there. One block is a quarter faster than two, which are made again backwards."""


def path_table(path: TensorPath) -> np.ndarray:
    """Clebsch-Gordan table of a path in component normalisation, shape (2 l1 + 1, 2 l2 + 1, 2 l3 + 1)."""
    return wigner_3j(path.l1, path.l2, path.l3) * np.sqrt(2 * path.l3 + 1)


def convolve(
    layer: Layer,
    act: Activation,
    radial: dict[str, Any],
    embedded: Float[Array, "atoms neighbors basis"],
    harmonics: dict[int, Float[Array, "atoms m neighbors"]],
    features: list[Any],
    index: Int[Array, "atoms neighbors"],
    avg_num_neighbors: float,
) -> list[Any]:
    """Messages to each atom, by (merged) block of the layer's intermediate irreps, None where not needed.

    Radial weights and products of an edge are some thousand numbers. They are made for a few atoms at a time, so many
    as the cache holds, and made again in the backward pass instead of being stored: on a CPU that halves the time of
    forces, and a training step needs a tenth of the memory. In small systems the features of the neighbours are
    gathered in the loop as well; in large ones beforehand, since each round adds an array of all atoms to the gradient
    of what is gathered from, which would cost the square of their number.

    Args:
        layer: which paths to evaluate.
        act: function of the radial network.
        radial: matrices of the radial network.
        embedded: its input, 0 where an entry is no pair.
        harmonics: by degree.
        features: by block, after the first linear map.
        index: neighbours.
        avg_num_neighbors: the sums are divided by its square root.
    """
    sources = sorted({path.source for path in layer.active_paths})

    gather = partial(gather_features, {source: features[source] for source in sources})
    body = partial(_messages, layer, act, radial, avg_num_neighbors)
    atoms, neighbors, _ = embedded.shape
    blocks = -(-atoms // block_size(layer, neighbors, radial))
    if blocks > 1:
        size = -(-atoms // blocks)
        inside = gathers_within(sum(features[source].size for source in sources))
        part = jax.checkpoint(lambda e, h, x: body(e, h, gather(x) if inside else x), prevent_cse=False)
        edges = (embedded, harmonics, index if inside else gather(index))
        found = jax.lax.map(lambda x: part(*x), jax.tree.map(lambda x: cut_blocks(x, blocks, size), edges))
        found = join_blocks(found, atoms)
    else:
        found = body(embedded, harmonics, gather(index))
    return [found.get(mid) for mid in range(len(layer.irreps_mid))]


def gather_features(features: dict[int, Array], index: Int[Array, "some neighbors"]) -> dict[int, list[Array]]:
    """Features of the neighbours, one array a component: see `neighbor_sums`."""
    columns = {source: [block[:, a] for a in range(block.shape[1])] for source, block in features.items()}
    return jax.tree.map(lambda x: jnp.take(x, index, axis=0, mode="clip"), columns)


def block_size(layer: Layer, neighbors: int, radial: dict[str, Any]) -> int:
    """Atoms whose edges are worked on at a time: as many as `BLOCK_FLOATS` has room for."""
    paths = layer.active_paths
    floats = sum((2 * path.l1 + 2) * path.mul for path in paths) + sum(x.shape[0] for x in radial.values())
    return max(1, numbers_at_once() // (max(1, neighbors) * floats))


def gathers_within(numbers: int) -> bool:
    """Whether so many features are few enough to gather from them in each block; see `convolve`."""
    return numbers <= numbers_at_once() // 4


def numbers_at_once() -> int:
    """Room for the numbers of a block on the default device."""
    if jax.default_backend() == "cpu":
        return BLOCK_FLOATS["cpu"]
    memory = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", 0)
    return max(BLOCK_FLOATS["gpu"], int(GPU_SHARE * memory) // 4)


def cut_blocks(x: Array, blocks: int, size: int) -> Array:
    """The array in blocks of ``size`` atoms; the last is filled up with zeros, which are no pairs."""
    filling = jnp.zeros((blocks * size - len(x), *x.shape[1:]), x.dtype)
    return jnp.concatenate([x, filling]).reshape(blocks, size, *x.shape[1:])


def join_blocks(tree: Any, atoms: int) -> Any:
    """The inverse of `cut_blocks` for every array of a tree."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:atoms], tree)


def _messages(
    layer: Layer,
    act: Activation,
    radial: dict[str, Any],
    avg_num_neighbors: float,
    embedded: Float[Array, "atoms neighbors basis"],
    harmonics: dict[int, Float[Array, "atoms m neighbors"]],
    gathered: dict[int, list[Float[Array, "atoms neighbors channels"]]],
) -> dict[int, Array]:
    """Messages to some of the atoms, by block of the intermediate irreps."""
    weights = radial_weights(layer, act, radial, avg_num_neighbors, embedded)
    return sum_messages(layer, weights, gathered, harmonics)


def radial_weights(
    layer: Layer,
    act: Activation,
    radial: dict[str, Any],
    avg_num_neighbors: float,
    embedded: Float[Array, "atoms neighbors basis"],
) -> Float[Array, "atoms neighbors columns"]:
    """Radial weights of the active paths, one after the other, normalised."""
    hidden, last = radial_hidden(act, radial, embedded), radial[f"layer{len(radial) - 1}"]
    scale = (avg_num_neighbors * last.shape[0]) ** -0.5
    # One product for all paths: one for each makes the gradient of `hidden` a sum over paths of arrays of its size.
    return product(hidden, active_columns(layer, last) * scale)


def active_columns(layer: Layer, last: Float[Array, "neurons weights"]) -> Float[Array, "neurons columns"]:
    """Of the last matrix of a radial network those that the active paths need, one path after the other."""
    return jnp.concatenate([last[:, p.start : p.start + p.mul] for p in layer.active_paths], axis=1)


def sum_messages(
    layer: Layer,
    weights: Float[Array, "atoms neighbors columns"],
    gathered: dict[int, list[Float[Array, "atoms neighbors channels"]]],
    harmonics: dict[int, Float[Array, "atoms m neighbors"]],
) -> dict[int, Array]:
    """Messages from radial weights, by block of the intermediate irreps."""
    paths = layer.active_paths
    # The gradient of `split` is a concatenation, that of slices a sum of padded arrays.
    parts = jax.lax.split(weights, [path.mul for path in paths], axis=2)
    products = [
        [part * component for component in gathered[path.source]] for path, part in zip(paths, parts, strict=True)
    ]
    messages: dict[int, Array] = {}
    for degree in sorted({path.l2 for path in paths}):
        those = [n for n, path in enumerate(paths) if path.l2 == degree]
        sums = neighbor_sums([products[n] for n in those], harmonics[degree])
        for n, moments in zip(those, sums, strict=True):
            table = jnp.asarray(path_table(paths[n]), moments.dtype)
            messages[n] = jnp.einsum("nbac,abm->nmc", moments, table, precision="highest")
    return by_irrep(paths, [messages[n] for n in range(len(paths))])


def by_irrep(paths: tuple[TensorPath, ...], messages: list[Array]) -> dict[int, Array]:
    """Messages of the paths, one after the other along the channels of their block of the intermediate irreps."""
    out: dict[int, list[tuple[int, Array]]] = {}
    for path, message in zip(paths, messages, strict=True):
        out.setdefault(path.mid, []).append((path.offset, message))
    return {
        mid: jnp.concatenate([array for _, array in sorted(parts, key=lambda part: part[0])], axis=-1)
        for mid, parts in out.items()
    }


def neighbor_sums(
    columns: list[list[Float[Array, "atoms neighbors _"]]], harmonics: Float[Array, "atoms b neighbors"]
) -> list[Float[Array, "atoms b _ _"]]:
    """Σ_j Y(r_ij)[b] (R x)_j[a, u] of several paths: for each atom one matrix product over its neighbours.

    One product for all paths with harmonics of a degree is several times as fast as one for each: their matrices have
    2 l + 1 rows, and the columns of all paths are some hundred. With the neighbours on the last axis of the harmonics
    no operand has to be transposed. The components a of the features come as a list: products of arrays of one shape,
    and sums of such products in the gradient, compile to flat loops, a broadcast over a does not.
    """
    flat = [array for arrays in columns for array in arrays]
    moments = jnp.einsum("nbk,nkq->nbq", harmonics, jnp.concatenate(flat, axis=-1), precision="highest")
    shape = harmonics.shape[:2]
    parts = jax.lax.split(moments, [sum(x.shape[-1] for x in arrays) for arrays in columns], axis=2)
    return [part.reshape(*shape, len(arrays), -1) for part, arrays in zip(parts, columns, strict=True)]
