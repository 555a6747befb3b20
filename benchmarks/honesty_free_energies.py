"""Cases of free energies: exact samples of springs that become stiffer, by all estimators; see honesty.py."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from honesty import Case

from jaxelyte.free_energy import difference
from jaxelyte.free_energy.quadrature import even_nodes, nodes_and_weights
from jaxelyte.units import BOLTZMANN

TEMPERATURE = 300.0
THERMAL = BOLTZMANN * TEMPERATURE
ATOMS = 3
ESTIMATORS = ("TI", "BAR", "MBAR")


def springs(rng: np.random.Generator, lam: np.ndarray, ratio: float, count: int) -> list[np.ndarray]:
    """Exact samples of U1 - U0 of three atoms on springs from 1 to ``ratio`` eV/Å²; ΔF = 9/2 k_B T ln(ratio)."""
    stiffness = 1.0 + lam * (ratio - 1.0)
    return [0.5 * (ratio - 1.0) * rng.chisquare(3 * ATOMS, count) * THERMAL / k for k in stiffness]


def nodes_for(rng: np.random.Generator, windows: int, rule: str, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """λ and weights; "adapt" places them by a pilot of 100 samples, as `free_energy` does."""
    if rule != "adapt":
        return nodes_and_weights(windows, rule)
    lam, _ = nodes_and_weights(windows, "clenshaw-curtis")
    spread = np.array([np.std(gap) for gap in springs(rng, lam, ratio, 100)])
    return nodes_and_weights(windows, even_nodes(lam, spread, windows).tolist())


@lru_cache(maxsize=2000)
def estimates(
    seed: int, ratio: float, windows: int, rule: str, count: int
) -> tuple[dict[str, tuple[float, float]], tuple[str, ...]]:
    """All estimates of one set of samples, and the warnings but for that of a missing error bar."""
    rng = np.random.default_rng(seed)
    lam, weights = nodes_for(rng, windows, rule, ratio)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = difference(springs(rng, lam, ratio, count), lam, TEMPERATURE, weights=weights)
    texts = tuple(str(one.message) for one in caught if "no error bar" not in str(one.message))
    return result.estimates, texts


def spring(seed: int, *, estimator: str, ratio: float, windows: int, rule: str, count: int) -> Case:
    """ΔF between springs by one estimator."""
    found, texts = estimates(seed, ratio, windows, rule, count)
    for text in texts:
        warnings.warn(text, stacklevel=2)
    return Case(*found[estimator], None, 1.5 * ATOMS * THERMAL * math.log(ratio))


CASES: dict[str, Callable[[int], Case]] = {
    f"{name}, springs 1:{ratio:g}, {windows} {rule}, {count} samples": partial(
        spring, estimator=name, ratio=ratio, windows=windows, rule=rule, count=count
    )
    for ratio, windows, rule in (
        (4.0, 4, "clenshaw-curtis"),
        (4.0, 8, "clenshaw-curtis"),
        (4.0, 8, "gauss-legendre"),
        (100.0, 8, "gauss-legendre"),
        (100.0, 8, "clenshaw-curtis"),
        (100.0, 8, "adapt"),
        (1e4, 8, "clenshaw-curtis"),
        (1e4, 12, "adapt"),
    )
    for count in (100, 400)
    for name in ESTIMATORS
}
