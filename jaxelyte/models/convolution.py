"""The convolution: sums over neighbours of radial weights times features times harmonics, then Clebsch-Gordan."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxelyte.models.constants import wigner_3j
from jaxelyte.models.plan import Layer, TensorPath


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
    groups = path_groups(layer)
    scale = (avg_num_neighbors * last.shape[0]) ** -0.5
    columns = [last[:, path.start : path.start + path.mul] for group in groups for path in group]
    radial = hidden @ (jnp.concatenate(columns, axis=1) * scale)
    # A split, not slices: the gradient of a split is one concatenation, that of slices is a sum of padded arrays.
    sizes = [sum(path.mul for path in group) for group in groups]
    weights = jnp.split(radial, np.cumsum(sizes)[:-1].tolist(), axis=-1)
    gathered = {s: jnp.take(features[s], index, axis=0, mode="clip") for s in {group[0].source for group in groups}}
    out: list[list[tuple[int, Array]]] = [[] for _ in layer.irreps_mid]
    for group, weight in zip(groups, weights, strict=True):
        moments = neighbor_sum(weight, gathered[group[0].source], harmonics[group[0].l2], len(group))
        for i, path in enumerate(group):
            table = jnp.asarray(path_table(path), weight.dtype)
            message = jnp.einsum("nbac,abm->nmc", moments[:, :, i], table)
            out[path.mid].append((path.offset, message))
    return [_in_order(parts) if parts else None for parts in out]


def neighbor_sum(
    weight: Float[Array, "atoms neighbors weights"],
    features: Float[Array, "atoms neighbors a channels"],
    harmonics: Float[Array, "atoms neighbors b"],
    paths: int,
) -> Float[Array, "atoms b paths a channels"]:
    """Σ_j R_p,u(r_ij) x_j[u, a] Y(r_ij)[b]: for each atom one matrix product over its neighbours.

    Harmonics stand on the left and the neighbour axis in front, the one order in which neither the product nor its two
    gradients transpose the large array of weights times features.
    """
    atoms, neighbors, a, channels = features.shape
    product = weight.reshape(atoms, neighbors, paths, 1, channels) * features[:, :, None]
    flat = product.reshape(atoms, neighbors, paths * a * channels)
    moments = jnp.einsum("nkb,nkq->nbq", harmonics, flat)
    return moments.reshape(atoms, harmonics.shape[-1], paths, a, channels)


def path_groups(layer: Layer) -> list[list[TensorPath]]:
    """The active paths, those with the same features and harmonics together."""
    groups: dict[tuple[int, int], list[TensorPath]] = {}
    for path in layer.active_paths:
        groups.setdefault((path.source, path.l2), []).append(path)
    return list(groups.values())


def _in_order(parts: list[tuple[int, Array]]) -> Array:
    return jnp.concatenate([array for _, array in sorted(parts, key=lambda part: part[0])], axis=-1)
