"""Derivatives of a function that has a program of its own, and for second derivatives a reference."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero


def with_second_derivatives(forward: Any, backward: Any, reference: Any) -> Any:
    """A function ``forward(static, args, whole)`` with a gradient of its own.

    The gradient is ``backward(static, args, whole, gradient, wanted)``, its own that of ``reference``. ``static`` is
    hashable, ``whole`` are integers. ``wanted`` are the names of those args that anything is differentiated by;
    gradients by the others are not read.
    """

    @partial(jax.custom_vjp, nondiff_argnums=(0, 1))
    def gradients(static: Any, wanted: frozenset[str], args: Any, whole: Any, gradient: Any) -> Any:
        return backward(static, args, whole, gradient, wanted)

    def second(static: Any, _: frozenset[str], saved: Any, cotangent: Any) -> Any:
        args, whole, gradient = saved

        @jax.default_matmul_precision("highest")
        def first(args: Any, gradient: Any) -> Any:
            return jax.vjp(lambda args: reference(static, args, whole), args)[1](gradient)[0]

        of_args, of_gradient = jax.vjp(first, args, gradient)[1](cotangent)
        return of_args, None, of_gradient

    # The rules call the functions themselves, which an outer derivative then meets with their own rules.
    gradients.defvjp(lambda static, wanted, *saved: (gradients(static, wanted, *saved), saved), second)

    @partial(jax.custom_vjp, nondiff_argnums=(0,))
    def function(static: Any, args: Any, whole: Any) -> Any:
        return forward(static, args, whole)

    def begin(static: Any, args: Any, whole: Any) -> Any:
        moving = {name: any(leaf.perturbed for leaf in jax.tree.leaves(given)) for name, given in args.items()}
        args, whole = jax.tree.map(lambda x: x.value, (args, whole))
        # What is saved is arrays; names are kept as those of a dictionary without any.
        return function(static, args, whole), (args, whole, {name: () for name, moves in moving.items() if moves})

    def end(static: Any, saved: Any, gradient: Any) -> Any:
        args, whole, wanted = saved
        shown = jax.tree.map(_array, gradient)
        return gradients(static, frozenset(wanted), args, whole, shown), None

    function.defvjp(begin, end, symbolic_zeros=True)
    return function


def _array(cotangent: Any) -> Any:
    zero: Any = cotangent
    return jnp.zeros(zero.shape, zero.dtype) if isinstance(cotangent, SymbolicZero) else cotangent
