"""Derivatives of a function that has a program of its own, and for second derivatives a reference."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax


def with_second_derivatives(forward: Any, backward: Any, reference: Any) -> Any:
    """A function ``forward(static, args, whole)`` with the gradient ``backward(static, args, whole, gradient)``.

    The gradient of the gradient is that of ``reference``. ``static`` is hashable, ``whole`` are integers.
    """

    @partial(jax.custom_vjp, nondiff_argnums=(0,))
    def gradients(static: Any, args: Any, whole: Any, gradient: Any) -> Any:
        return backward(static, args, whole, gradient)

    def second(static: Any, saved: Any, cotangent: Any) -> Any:
        args, whole, gradient = saved

        @jax.default_matmul_precision("highest")
        def first(args: Any, gradient: Any) -> Any:
            return jax.vjp(lambda args: reference(static, args, whole), args)[1](gradient)[0]

        of_args, of_gradient = jax.vjp(first, args, gradient)[1](cotangent)
        return of_args, None, of_gradient

    # The rules call the functions themselves, which an outer derivative then meets with their own rules.
    gradients.defvjp(lambda static, *saved: (gradients(static, *saved), saved), second)

    @partial(jax.custom_vjp, nondiff_argnums=(0,))
    def function(static: Any, args: Any, whole: Any) -> Any:
        return forward(static, args, whole)

    function.defvjp(
        lambda static, *saved: (function(static, *saved), saved),
        lambda static, saved, gradient: (gradients(static, *saved, gradient), None),
    )
    return function
