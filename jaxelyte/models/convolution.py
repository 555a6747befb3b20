"""The convolution: sums over neighbours of radial weights times features times harmonics, then Clebsch-Gordan."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxelyte.models.constants import wigner_3j
from jaxelyte.models.structure import Layer, TensorPath


def path_table(path: TensorPath) -> np.ndarray:
    """Clebsch-Gordan table of a path in component normalisation, shape (2 l1 + 1, 2 l2 + 1, 2 l3 + 1)."""
    return wigner_3j(path.l1, path.l2, path.l3) * np.sqrt(2 * path.l3 + 1)


def convolve(
    layer: Layer,
    last: Float[Array, "neurons weights"],
    hidden: Float[Array, "atoms neighbors neurons"],
    harmonics: dict[int, Float[Array, "atoms neighbors m"]],
    features: list[Any],
    index: Int[Array, "atoms neighbors"],
    avg_num_neighbors: float,
) -> list[Any]:
    """Messages to each atom, by (merged) block of the layer's intermediate irreps, None where not needed.

    Args:
        layer: which paths to evaluate.
        last: last matrix of the radial network, all paths.
        hidden: its input, 0 where an entry is no pair.
        harmonics: by degree.
        features: by block, after the first linear map.
        index: neighbours.
        avg_num_neighbors: the sums are divided by its square root.
    """
    scale = (avg_num_neighbors * last.shape[0]) ** -0.5
    paths = layer.active_paths
    sources = {path.source: features[path.source] for path in paths}
    gathered = {
        source: [jnp.take(x[:, a], index, axis=0, mode="clip") for a in range(x.shape[1])]
        for source, x in sources.items()
    }
    out: list[list[tuple[int, Array]]] = [[] for _ in layer.irreps_mid]
    # One product for all paths, and `split`, whose gradient is a concatenation: that of slices is a sum of padded
    # arrays, and a product for each path makes the gradient of `hidden` a sum over paths of arrays of its size.
    columns = jnp.concatenate([last[:, path.start : path.start + path.mul] for path in paths], axis=1) * scale
    parts = jax.lax.split(hidden @ columns, [path.mul for path in paths], axis=2)
    for path, weights in zip(paths, parts, strict=True):
        moments = neighbor_sum(weights, gathered[path.source], harmonics[path.l2])
        message = jnp.einsum("nbac,abm->nmc", moments, jnp.asarray(path_table(path), moments.dtype))
        out[path.mid].append((path.offset, message))
    return [_in_order(parts) if parts else None for parts in out]


def neighbor_sum(
    weights: Float[Array, "atoms neighbors channels"],
    features: list[Float[Array, "atoms neighbors channels"]],
    harmonics: Float[Array, "atoms neighbors b"],
) -> Float[Array, "atoms b a channels"]:
    """Σ_j R_u(r_ij) x_j[u, a] Y(r_ij)[b]: for each atom one matrix product over its neighbours.

    The components a of the features come as a list: products of arrays of one shape, and sums of such products in the
    gradient, compile to flat loops, a broadcast over a does not. Harmonics stand on the left and the neighbour axis in
    front, the order in which neither the product nor its two gradients transpose the large array.
    """
    atoms, _, channels = weights.shape
    product = jnp.concatenate([weights * component for component in features], axis=-1)
    moments = jnp.einsum("nkb,nkq->nbq", harmonics, product)
    return moments.reshape(atoms, harmonics.shape[-1], len(features), channels)


def _in_order(parts: list[tuple[int, Array]]) -> Array:
    return jnp.concatenate([array for _, array in sorted(parts, key=lambda part: part[0])], axis=-1)
