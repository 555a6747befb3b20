"""The convolution on CPUs in forward mode, and reverse mode over it, in C (`tangents.c`): the second stage of training.

The gradient of a loss on energies, forces and stress with respect to the parameters is that of a directional derivative
of the energy (`jaxelyte.potentials.derivatives.parameter_gradient`). For that a convolution is evaluated together with
its tangent along changes of vectors and features. The gradient of the two with respect to the radial network, the
features and the changes of these is the second program. With respect to vectors and their changes, which do not depend
on parameters, it is that of the reference; so is the tangent along changes of parameters.

With a table (`jaxelyte.models.table`) made of the parameters the gradient with respect to these goes through the
table; tangents along changes of parameters and gradients with respect to vectors are those of the radial network.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from jaxelyte.models.native import Static, message_shapes, packed_radial, reference

CHANGED = ("vectors", "features")
"""What tangents are made along."""


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def convolution_with_tangents(static: Static, args: dict[str, Any], index: Array) -> dict[int, Array]:
    """Messages by block, as `jaxelyte.models.native.convolution`, which has a gradient; this has a tangent.

    Args:
        static: of the layer, with the name of these programs.
        args: parameters of the radial network or a table, vectors, features.
        index: neighbours.
    """
    still = {name: jax.tree.map(jnp.zeros_like, args[name]) for name in CHANGED}
    both: Any = _both(static, args, still, index)
    return both[0]


@partial(convolution_with_tangents.defjvp, symbolic_zeros=True)
def _tangent(static: Static, primals: tuple[dict[str, Any], Array], tangents: tuple[dict[str, Any], Any]) -> Any:
    (args, index), changes = primals, tangents[0]
    of_parameters = jax.tree.leaves([change for name, change in changes.items() if name not in CHANGED])
    if any(not isinstance(change, SymbolicZero) for change in of_parameters):
        return jax.jvp(lambda args: reference(static, args, index), (args,), (jax.tree.map(_array, changes),))
    moving = {name: jax.tree.map(_array, changes[name]) for name in CHANGED}
    return _both(static, args, moving, index)


def _array(change: Any) -> Array:
    zero: Any = change
    return jnp.zeros(zero.shape, zero.dtype) if isinstance(change, SymbolicZero) else change


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _both(static: Static, args: dict[str, Any], moving: dict[str, Any], index: Array) -> Any:
    """Messages and their tangents."""
    shapes = message_shapes(static, args)
    found = _call(static, "tangent_forward", [*shapes, *shapes], args, moving, index)
    return tuple(dict(zip(static.mids, part, strict=True)) for part in (found[: len(shapes)], found[len(shapes) :]))


def _call(static: Static, name: str, made: Any, args: dict[str, Any], moving: dict[str, Any], *more: Any) -> Any:
    index, *rest = more
    features, moves = ([given["features"][n] for n in static.sources] for given in (args, moving))
    call = jax.ffi.ffi_call(f"{static.name}_{name}", made, vmap_method="sequential")
    return call(args["vectors"], index, packed_radial(static, args), *features, moving["vectors"], *moves, *rest)


def _both_forward(static: Static, args: Any, moving: Any, index: Any) -> Any:
    """Keeps ``()`` last where derivatives with respect to vectors or their changes are wanted, else None."""
    wanted = args["vectors"].perturbed or moving["vectors"].perturbed
    args, moving, index = (jax.tree.map(lambda x: x.value, given) for given in (args, moving, index))
    return _both(static, args, moving, index), (args, moving, index, () if wanted else None)


def _both_backward(static: Static, kept: Any, cotangent: Any) -> Any:
    args, moving, index, of_vectors = kept
    cotangent = jax.tree.map(_array, cotangent)
    gradients = [part[mid] for part in cotangent for mid in static.mids]
    features = [args["features"][n] for n in static.sources]
    parameters = {name: x for name, x in args.items() if name not in CHANGED}
    radial, pull = jax.vjp(lambda given: packed_radial(static, args | given), parameters)
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (radial, *features, *features)]
    of_radial, *of_features = _call(static, "tangent_backward", shapes, args, moving, index, *gradients)
    by_vectors = (jnp.zeros_like(args["vectors"]),) * 2
    if of_vectors is not None:
        by_vectors = _of_vectors(static, args, moving, index, cotangent)
    by_features = of_features[: len(features)], of_features[len(features) :]
    of_args, of_moving = (
        {"vectors": vectors, "features": dict(zip(static.sources, rows, strict=True))}
        for vectors, rows in zip(by_vectors, by_features, strict=True)
    )
    return of_args | pull(of_radial)[0], of_moving, None


def _of_vectors(static: Static, args: Any, moving: Any, index: Array, cotangent: Any) -> Any:
    """Gradients with respect to vectors and their changes."""

    @jax.default_matmul_precision("highest")
    def both(vectors: Array, change: Array) -> Any:
        given = (vectors, args["features"]), (change, moving["features"])
        function = lambda x, features: reference(static, args | {"vectors": x, "features": features}, index)  # noqa: E731
        return jax.jvp(function, *given)

    return jax.vjp(both, args["vectors"], moving["vectors"])[1](cotangent)


_both.defvjp(_both_forward, _both_backward, symbolic_zeros=True)
