"""Cases of free energies: exact samples of springs that become stiffer, by all estimators; see honesty.py."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache, partial

import numpy as np
from honesty import Case, Entry
from scipy.signal import lfilter

from jaxelyte.free_energy import difference
from jaxelyte.free_energy.quadrature import even_nodes, nodes_and_weights
from jaxelyte.units import BOLTZMANN

TEMPERATURE = 300.0
THERMAL = BOLTZMANN * TEMPERATURE
ATOMS = 3
ESTIMATORS = ("TI", "BAR", "MBAR")

REPEATS, MOST = 1000, 3000
"""Of the springs at ratios 4, 100 and 10,000: the share within one error is then known to 0.015, and to 0.009."""


def springs(
    rng: np.random.Generator, lam: np.ndarray, ratio: float, count: int, memory: float = 0.0
) -> list[np.ndarray]:
    """Exact samples of U1 - U0 of three atoms on springs from 1 to ``ratio`` eV/Å²; ΔF = 9/2 k_B T ln(ratio).

    With a memory, in samples, positions are AR(1) series whose squares are correlated as exp(-t/memory).
    """
    stiffness = 1.0 + lam * (ratio - 1.0)
    if not memory:
        squares = [rng.chisquare(3 * ATOMS, count) for _ in lam]
    else:
        stay = math.exp(-0.5 / memory)
        noise = math.sqrt(1.0 - stay**2) * rng.normal(size=(len(lam), 3 * ATOMS, count))
        noise[..., 0] /= math.sqrt(1.0 - stay**2)
        squares = np.sum(np.square(lfilter([1.0], [1.0, -stay], noise)), axis=1)
    return [0.5 * (ratio - 1.0) * square * THERMAL / k for square, k in zip(squares, stiffness, strict=True)]


def nodes_for(rng: np.random.Generator, windows: int, rule: str, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """λ and weights; "adapt" places them by a pilot of 100 samples, as `free_energy` does."""
    if rule != "adapt":
        return nodes_and_weights(windows, rule)
    lam, _ = nodes_and_weights(windows, "clenshaw-curtis")
    spread = np.array([np.std(gap) for gap in springs(rng, lam, ratio, 100)])
    return nodes_and_weights(windows, even_nodes(lam, spread, windows).tolist())


@lru_cache(maxsize=2 * MOST)
def estimates(
    seed: int, ratio: float, windows: int, rule: str, count: int, memory: float = 0.0
) -> tuple[dict[str, tuple[float, float, float]], tuple[str, ...]]:
    """Value, error and its degrees of freedom by estimator, of one set of samples; warnings but for that of none."""
    rng = np.random.default_rng(seed)
    lam, weights = nodes_for(rng, windows, rule, ratio)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = difference(springs(rng, lam, ratio, count, memory), lam, TEMPERATURE, weights=weights)
    texts = tuple(str(one.message) for one in caught if "no error bar" not in str(one.message))
    return {name: (*result.estimates[name], result.freedom[name]) for name in ESTIMATORS}, texts


def spring(
    seed: int, *, estimator: str, ratio: float, windows: int, rule: str, count: int, memory: float = 0.0
) -> Case:
    """ΔF between springs by one estimator."""
    found, texts = estimates(seed, ratio, windows, rule, count, memory)
    for text in texts:
        warnings.warn(text, stacklevel=2)
    return Case(*found[estimator], 1.5 * ATOMS * THERMAL * math.log(ratio))


def _entries() -> dict[str, Entry]:
    found = {}
    for ratio, windows, rule, count, memory, hard, seeds in (
        (4.0, 8, "clenshaw-curtis", 100, 0.0, False, REPEATS),
        (100.0, 8, "adapt", 400, 0.0, False, MOST),
        (1e4, 8, "adapt", 400, 0.0, False, REPEATS),
        (4.0, 8, "clenshaw-curtis", 400, 0.0, False, 200),
        (100.0, 8, "gauss-legendre", 400, 0.0, True, REPEATS),
        (1e4, 8, "clenshaw-curtis", 400, 0.0, True, REPEATS),
        (4.0, 8, "gauss-legendre", 400, 0.0, False, 200),
        (100.0, 8, "adapt", 100, 0.0, False, 200),
        (100.0, 8, "clenshaw-curtis", 400, 0.0, False, 200),
        (4.0, 4, "clenshaw-curtis", 1000, 5.0, False, 200),
        (100.0, 8, "adapt", 1000, 5.0, False, 200),
        (1e4, 12, "adapt", 100, 0.0, False, 200),
        (4.0, 2, "clenshaw-curtis", 400, 0.0, True, 200),
        (4.0, 4, "clenshaw-curtis", 25, 0.0, True, 200),
        (4.0, 4, "clenshaw-curtis", 200, 10.0, True, 800),
        (100.0, 6, "adapt", 400, 0.0, True, 200),
    ):
        correlated = f", memory {memory:g}" if memory else ""
        for name in ESTIMATORS:
            case = partial(spring, estimator=name, ratio=ratio, windows=windows, rule=rule, count=count, memory=memory)
            title = f"{name}, springs 1:{ratio:g}, {windows} {rule}, {count} samples{correlated}"
            found[title] = Entry(case, hard=hard, seeds=seeds)
    return found


CASES: dict[str, Entry] = _entries()
