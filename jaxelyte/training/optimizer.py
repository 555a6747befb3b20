"""Optimisers and learning rates."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from jaxelyte.training.settings import Optimization


def make_optimizer(settings: Optimization, sizes: Any) -> optax.GradientTransformation:
    """The transformation of gradients into steps of unit learning rate.

    All numbers that move are one vector to it, so that an update is a few loops instead of some for each array.

    Args:
        settings: see `Optimization`.
        sizes: a tree of floats like the parameters: how far each moves, relative to the learning rate. Those of size 0
            stay, and count neither for the norm that is clipped nor for the decay.
    """
    scale = {
        "adam": optax.scale_by_adam,
        "adamw": optax.scale_by_adam,
        "amsgrad": optax.scale_by_amsgrad,
    }[settings.optimizer]()
    parts = [] if settings.clip_norm is None else [optax.clip_by_global_norm(settings.clip_norm)]
    inner = optax.chain(*parts, scale)
    factors = jax.tree.leaves(sizes)

    def moving(tree: Any) -> Array:
        leaves = zip(jax.tree.leaves(tree), factors, strict=True)
        return jnp.concatenate([jnp.ravel(leaf) for leaf, factor in leaves if factor])

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        # Optax raises decay rates to the power of an integer count, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            moved, state = inner.update(moving(updates), state)
        leaves, structure = jax.tree.flatten(updates)
        given = jax.tree.leaves(params)
        found, start, steps = [], 0, jnp.asarray(moved)
        for leaf, factor, param in zip(leaves, factors, given, strict=True):
            if not factor:
                found.append(jnp.zeros_like(leaf))
                continue
            step = factor * steps[start : start + leaf.size].reshape(leaf.shape)
            found.append(step + settings.weight_decay * param if settings.optimizer == "adamw" else step)
            start += leaf.size
        return jax.tree.unflatten(structure, found), state

    return optax.GradientTransformation(lambda params: inner.init(moving(params)), update)


class Plateau(NamedTuple):
    """State of the learning rate and of the search for the best epoch; plain numbers, so that JSON holds it exactly.

    Attributes:
        rate: learning rate.
        best: smallest validation error so far.
        best_epoch: where it was, from 0; -1 for the weights to start from.
        waited: epochs without a better one since the last cut (or best).
    """

    rate: float
    best: float = math.inf
    best_epoch: int = -1
    waited: int = 0

    def update(self, error: float, epoch: int, settings: Optimization) -> Plateau:
        """The state after an epoch with this validation error."""
        if error < self.best:
            return Plateau(self.rate, error, epoch, 0)
        waited = self.waited + 1
        if settings.schedule == "plateau" and waited > settings.patience:
            return self._replace(rate=self.rate * settings.factor, waited=0)
        return self._replace(waited=waited)


def learning_rate(settings: Optimization, rate: float, step: int, total_steps: int) -> float:
    """Learning rate of a step: warm-up, then the plateau's rate, a cosine, or a constant."""
    if settings.warmup and step < settings.warmup:
        return rate * (step + 1) / settings.warmup
    if settings.schedule == "cosine":
        done = (step - settings.warmup) / max(1, total_steps - settings.warmup)
        return 0.5 * rate * (1.0 + math.cos(math.pi * min(1.0, done)))
    return rate
