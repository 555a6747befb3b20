"""The one place that calls pymbar."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import jax
import numpy as np

from jaxelyte.errors import InputError


def solve_mbar(energies: np.ndarray, counts: np.ndarray, guess: np.ndarray | None = None) -> Any:
    """Solution of the MBAR equations (Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008)).

    pymbar computes with jax where it finds it, and would switch the whole process to 64 bits for that; within the
    contexts here it finds them already on, and leaves the settings alone.

    Args:
        energies: (states, samples), reduced.
        counts: (states,), samples drawn from each state, in their order.
        guess: (states,), reduced free energies to start from.

    Returns:
        pymbar's ``MBAR``.

    Raises:
        InputError: pymbar is not installed.
    """
    # It warns on import about time scales and bits.
    logger = logging.getLogger("pymbar")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                from pymbar import MBAR
            except ImportError as error:
                raise InputError("MBAR needs the package pymbar: pip install 'jaxelyte[analysis]'") from error
            return MBAR(energies, counts, solver_protocol="robust", initial_f_k=guess)
    finally:
        logger.setLevel(level)


def overlap_matrix(solution: Any) -> np.ndarray:
    """(states, states): chance that a sample of one state could as well have come from another; rows add up to one."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        return np.asarray(solution.compute_overlap()["matrix"])


def unbiased_weights(bias: np.ndarray, solution: Any) -> np.ndarray:
    """Weights of all samples in the state of no bias, adding up to one; ``bias`` as `solve_mbar` had it."""
    exponents = np.asarray(solution.f_k)[:, None] - bias + np.log(solution.N_k)[:, None]
    top = exponents.max(axis=0)
    logarithm = -(top + np.log(np.sum(np.exp(exponents - top), axis=0)))
    weight = np.exp(logarithm - logarithm.max())
    return weight / weight.sum()
