"""The convolution on CPUs as compiled C (`native.c`), called by XLA, and its derivatives.

XLA makes of a convolution many small loops and products with few rows, on one core; here an atom's neighbours stay in
the cache, from their vectors to the message, and atoms are divided among XLA's threads. How the code is made:
`jaxelyte.models.library`. Without a compiler the convolution is that of `jaxelyte.models.convolution`, with a warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxelyte.models.convolution import active_columns, convolve
from jaxelyte.models.derivatives import with_second_derivatives
from jaxelyte.models.library import library, mid_channels, room_step
from jaxelyte.models.radial import edge_geometry, radial_embedding
from jaxelyte.models.structure import Layer

if TYPE_CHECKING:
    from jaxelyte.models.config import NequIP


class Static(NamedTuple):
    """What is fixed for a convolution; hashable.

    Attributes:
        config: the network.
        layer: of it.
        name: under which XLA knows the code.
    """

    config: NequIP
    layer: Layer
    name: str

    @property
    def sources(self) -> list[int]:
        """Blocks of the features that are read."""
        return sorted({path.source for path in self.layer.active_paths})

    @property
    def mids(self) -> list[int]:
        """Blocks of the messages that are made."""
        return sorted({path.mid for path in self.layer.active_paths})


def convolve_native(
    config: NequIP,
    layer: Layer,
    radial: dict[str, Any],
    frequencies: Float[Array, " basis"],
    vectors: Float[Array, "atoms neighbors 3"],
    features: list[Any],
    index: Int[Array, "atoms neighbors"],
    table: Float[Array, "knots 3 columns"] | None = None,
    tangents: bool = False,
) -> list[Any]:
    """The convolution of a layer from vectors to neighbours, its radial basis and harmonics included, in C.

    An entry is no pair where its index is no row of the features.

    Args:
        config: the network.
        layer: of it.
        radial: matrices of the layer's radial network.
        frequencies: of the radial basis.
        vectors: r_ij in Å.
        features: by block, after the first linear map.
        index: neighbours.
        table: radial weights in place of the network's (`jaxelyte.models.table`). In reverse mode derivatives by
            parameters, and second derivatives, are those of the network.
        tangents: for forward mode, and reverse mode over it, instead of reverse mode; see `jaxelyte.models.tangents`.

    Returns:
        What `jaxelyte.models.convolution.convolve` does.
    """
    sizes = tuple(radial[f"layer{n}"].shape[0] for n in range(len(radial)))
    program = "tangents.c" if tangents else "native.c"
    name = library(config, layer, sizes, str(vectors.dtype), table is not None, program)
    static = Static(config, layer, name or "")
    args = {
        "radial": radial,
        "frequencies": frequencies,
        "vectors": vectors,
        "features": {source: features[source] for source in static.sources},
    }
    if table is not None:
        args["table"] = table
    function = convolution
    if name is None:
        function = reference
    elif tangents:
        from jaxelyte.models.tangents import convolution_with_tangents as function
    found = function(static, args, index.astype(jnp.int32))
    return [found.get(mid) for mid in range(len(layer.irreps_mid))]


def packed_radial(static: Static, args: dict[str, Any]) -> Array:
    """What the code makes radial weights of: a table, or frequencies and matrices.

    All matrices of the radial network and their transposed ones are scaled and filled up as the code reads them.
    """
    if "table" in args:
        return args["table"]
    radial, config = args["radial"], static.config
    layers = [radial[f"layer{n}"] for n in range(len(radial))]
    layers[-1] = active_columns(static.layer, layers[-1])
    scales = [matrix.shape[0] ** -0.5 for matrix in layers]
    scales[-1] *= (config.avg_num_neighbors or 1.0) ** -0.5
    step = room_step([matrix.shape[0] for matrix in layers])
    pairs = [(matrix * scale, matrix.T * scale) for matrix, scale in zip(layers, scales, strict=True)]
    rows = [args["frequencies"][None], *(one for pair in pairs for one in pair)]
    return jnp.concatenate([jnp.pad(one, ((0, 0), (0, -one.shape[1] % step))).ravel() for one in rows])


def message_shapes(static: Static, args: dict[str, Any]) -> list[jax.ShapeDtypeStruct]:
    """Of what a convolution makes, by block."""
    vectors, irreps = args["vectors"], static.layer.irreps_mid
    return [
        jax.ShapeDtypeStruct((len(vectors), irreps[mid].dim, width), vectors.dtype)
        for mid, width in mid_channels(static.layer).items()
    ]


def _forward(static: Static, args: dict[str, Any], index: Array) -> dict[int, Array]:
    call = jax.ffi.ffi_call(f"{static.name}_forward", message_shapes(static, args), vmap_method="sequential")
    features = (args["features"][n] for n in static.sources)
    found = call(args["vectors"], index, packed_radial(static, args), *features)
    return dict(zip(static.mids, found, strict=True))


def _backward(
    static: Static, args: dict[str, Any], index: Array, gradient: dict[int, Array], wanted: frozenset[str]
) -> dict[str, Any]:
    features = [args["features"][n] for n in static.sources]
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (args["vectors"], *features)]
    call = jax.ffi.ffi_call(f"{static.name}_backward", shapes, vmap_method="sequential")
    messages = [gradient[mid] for mid in static.mids]
    of_vectors, *of_features = call(args["vectors"], index, packed_radial(static, args), *features, *messages)
    of_args = {name: jax.tree.map(jnp.zeros_like, x) for name, x in args.items()}
    of_args |= {"vectors": of_vectors, "features": dict(zip(static.sources, of_features, strict=True))}
    given = {name: args[name] for name in ("radial", "frequencies")}
    if wanted & set(given):
        # By the parameters it is that of the reference.
        _, pull = jax.vjp(lambda given: reference(static, args | given, index), given)
        of_args |= pull(gradient)[0]
    return of_args


@jax.default_matmul_precision("highest")
def reference(static: Static, args: dict[str, Any], index: Array) -> dict[int, Array]:
    """The same in plain JAX."""
    config, layer = static.config, static.layer
    rows = next(iter(args["features"].values())).shape[0]
    degree = max(path.l2 for path in layer.active_paths)
    geometry = edge_geometry(args["vectors"], (index >= 0) & (index < rows), config.r_max, degree)
    embedded = radial_embedding(config, args["frequencies"], geometry)
    features = [args["features"].get(n) for n in range(len(layer.linear_1.irreps_out))]
    edges = (args["radial"], embedded, geometry.harmonics, features, index)
    found = convolve(layer, config.plan.radial, *edges, config.avg_num_neighbors or 1.0)
    return {mid: x for mid, x in enumerate(found) if x is not None}


convolution = with_second_derivatives(_forward, _backward, reference)
