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
    paths = layer.active_paths
    scale = (avg_num_neighbors * last.shape[0]) ** -0.5
    columns = [last[:, path.start : path.start + path.mul] for path in paths]
    radial = hidden @ (jnp.concatenate(columns, axis=1) * scale)
    gathered = {s: jnp.take(features[s], index, axis=0, mode="clip") for s in {path.source for path in paths}}
    out: list[list[Array]] = [[] for _ in layer.irreps_mid]
    column = 0
    for path in paths:
        weights = radial[..., column : column + path.mul]
        column += path.mul
        product = weights[:, :, None, :] * gathered[path.source]
        moment = jnp.einsum("nkac,nkb->nacb", product, harmonics[path.l2])
        table = jnp.asarray(path_table(path), moment.dtype)
        out[path.mid].append((path.offset, jnp.einsum("nacb,abm->nmc", moment, table)))
    return [jnp.concatenate([x for _, x in sorted(parts, key=lambda p: p[0])], axis=-1) if parts else None for parts in out]
