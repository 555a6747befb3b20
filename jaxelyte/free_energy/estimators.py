"""The one place that calls pymbar."""

from __future__ import annotations

import logging
import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.special import expit, logsumexp

STARTS = 40
"""Places along a series where its equilibrium may begin."""

GAIN = 1.3
"""How many times as many independent samples another start has to give before it is taken instead of a tenth."""

NOISE = 3.0
"""The same where n are independent, 1 + this/√n: their number is known no better."""


@contextmanager
def _quiet_pymbar() -> Iterator[None]:
    """Pymbar without its warnings, with numpy.

    Where it finds jax on its import, it switches the whole process to 64 bits and compiles its solver for each number
    of samples anew, seconds for a call that takes milliseconds. So it does not find it; a pymbar that somebody else
    has imported before computes with jax, and finds 64 bits on for the time of a call.
    """
    logger = logging.getLogger("pymbar")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if "pymbar" not in sys.modules:
                found = sys.modules["jax"]
                sys.modules["jax"] = None  # pyright: ignore[reportArgumentType]
                try:
                    import pymbar  # noqa: F401
                finally:
                    sys.modules["jax"] = found
            yield
    finally:
        logger.setLevel(level)


def solve_mbar(energies: np.ndarray, counts: np.ndarray, guess: np.ndarray | None = None) -> Any:
    """Solution of the MBAR equations (Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008)).

    Args:
        energies: (states, samples), reduced.
        counts: (states,), samples drawn from each state, in their order.
        guess: (states,), reduced free energies to start from.

    Returns:
        pymbar's ``MBAR``.
    """
    with _quiet_pymbar():
        from pymbar import MBAR

        return MBAR(energies, counts, solver_protocol="robust", initial_f_k=guess)


def mbar_pulls(energies: np.ndarray, solution: Any) -> np.ndarray:
    """How much each sample pulls the reduced free energy of the last state relative to the first, (samples,).

    To first order in the deviations from the equations of MBAR, Σ_n P_kn = N_k with P_kn the chance that sample n is
    of state k: their derivatives with respect to f_l are Σ_n P_kn (δ_kl - P_ln). Samples of one state pull about their
    own mean. States without samples follow from the others, f = -ln Σ_n W_n.

    Args:
        energies: (states, samples), reduced, as `solve_mbar` had them.
        solution: of `solve_mbar`.
    """
    counts, free = np.asarray(solution.N_k), np.asarray(solution.f_k)
    some = counts > 0
    chance, response, log_total = chances(energies, solution)
    bounds = np.cumsum(counts)[:-1]

    def centred(values: np.ndarray) -> np.ndarray:
        return np.concatenate([part - part.mean() for part in np.split(values, bounds) if len(part)])

    pulls = []
    for state in (0, len(counts) - 1):
        if some[state]:
            by_chance = response[np.flatnonzero(some) == state][0]
            pulls.append(-centred(by_chance @ chance))
        else:
            weight = np.exp(free[state] - energies[state] - log_total)
            pulls.append(-centred(weight + (chance @ weight) @ response @ chance))
    return pulls[1] - pulls[0]


def chances(energies: np.ndarray, solution: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What follows from a solution for each sample.

    Returns:
        (sampled states, samples), chance of each sample to be of each state; (sampled states, sampled states), response
        of the free energies to their sums; (samples,), ln Σ_k N_k exp(f_k - u_k).
    """
    counts, free = np.asarray(solution.N_k), np.asarray(solution.f_k)
    some = counts > 0
    chance = (free[:, None] - energies)[some] + np.log(counts[some])[:, None]
    log_total = logsumexp(chance, axis=0)
    chance = np.exp(chance - log_total)
    return chance, np.linalg.pinv(np.diag(chance.sum(axis=1)) - chance @ chance.T, hermitian=True), log_total


def overlap_matrix(solution: Any) -> np.ndarray:
    """(states, states): chance that a sample of one state could as well have come from another; rows add up to one."""
    with _quiet_pymbar():
        return np.asarray(solution.compute_overlap()["matrix"])


def unbiased_weights(bias: np.ndarray, solution: Any) -> np.ndarray:
    """Weights of all samples in the state of no bias, adding up to one; ``bias`` as `solve_mbar` had it."""
    exponents = np.asarray(solution.f_k)[:, None] - bias + np.log(solution.N_k)[:, None]
    top = exponents.max(axis=0)
    logarithm = -(top + np.log(np.sum(np.exp(exponents - top), axis=0)))
    weight = np.exp(logarithm - logarithm.max())
    return weight / weight.sum()


def equilibrated(series: np.ndarray) -> int:
    """Number of samples to leave out at the start of a series, which is in equilibrium from there on.

    A tenth is left out, or what leaves the most independent values (Chodera, J. Chem. Theory Comput. 12, 1799 (2016)),
    in the first half at the latest, where these are clearly more: in series without a beginning the best start follows
    their noise, and averages over what is left were off by half a standard error.

    Args:
        series: (samples,).
    """
    if np.ptp(series) == 0:
        return 0
    with _quiet_pymbar():
        from pymbar import timeseries

        stride, tenth = max(1, len(series) // STARTS), len(series) // 10
        start, _, most = timeseries.detect_equilibration(series, nskip=stride)
        if np.ptp(series[tenth:]) > 0:
            correlation = max(1.0, float(timeseries.statistical_inefficiency(series[tenth:])))
            independent = (len(series) - tenth) / correlation
            if most < max(GAIN, 1.0 + NOISE / math.sqrt(independent)) * independent:
                return tenth
        return min(int(start), len(series) // 2)


class Bennett(NamedTuple):
    """One step by Bennett's acceptance ratio, reduced.

    Attributes:
        difference: of the free energies.
        ahead: (forward samples,), how much each pulls it, to first order.
        back: (backward samples,), the same.
        crossing: for both sides f (1 - f), f the chance of a sample to be of the other state; their sum is 1/variance
            of the difference (but for the ends of its range).
        overlap: ∫ p q/(p + q) of the distributions, at most 1/2.
    """

    difference: float
    ahead: np.ndarray
    back: np.ndarray
    crossing: tuple[np.ndarray, np.ndarray]
    overlap: float


def bar(forward: np.ndarray, backward: np.ndarray) -> Bennett:
    """Reduced free energy difference by Bennett's acceptance ratio (J. Comput. Phys. 22, 245 (1976)).

    Args:
        forward: (samples,), reduced work from the first state to the second, of samples of the first.
        backward: the other way round.
    """
    with _quiet_pymbar():
        from pymbar import bar as solve

        found = float(solve(forward, backward, compute_uncertainty=False)["Delta_f"])
    ratio = math.log(len(forward) / len(backward))
    ahead, back = expit(found - ratio - forward), expit(ratio - found - backward)
    crossing = ahead * (1.0 - ahead), back * (1.0 - back)
    slope = max(float(np.sum(crossing[0]) + np.sum(crossing[1])), 1e-12)  # none where nothing overlaps
    overlap = 0.5 * float(np.mean(expit(found - forward)) + np.mean(expit(-found - backward)))
    return Bennett(found, -(ahead - ahead.mean()) / slope, (back - back.mean()) / slope, crossing, overlap)


def zwanzig(work: np.ndarray) -> tuple[float, np.ndarray]:
    """-ln <exp(-w)> of reduced work w (Zwanzig, J. Chem. Phys. 22, 1420 (1954)), and the pull of each sample."""
    low = float(np.min(work))
    weight = np.exp(low - work)
    mean = float(np.mean(weight))
    return low - math.log(mean), -(weight / mean - 1.0) / len(work)
