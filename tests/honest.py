"""Error bars of the estimators of free energies, over repeats of exact samples of known answer.

Run as a program it prints a table: estimator, case, repeats, root mean square deviation in error bars, shares within
one sigma and within 95 %, shares without an error bar and with a warning; deviations of errors from few degrees of
freedom are mapped to a normal distribution through Student's t.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from jaxelyte.free_energy import difference
from jaxelyte.free_energy.quadrature import even_nodes, nodes_and_weights
from jaxelyte.units import BOLTZMANN

TEMPERATURE = 300.0
THERMAL = BOLTZMANN * TEMPERATURE
ATOMS = 3


@dataclass(frozen=True)
class Repeat:
    """One repeat: deviation in error bars (NaN without an error bar), and whether there was a warning."""

    pull: float
    warned: bool


@dataclass(frozen=True)
class Row:
    """Repeats of one estimator in one case."""

    estimator: str
    case: str
    repeats: tuple[Repeat, ...]

    @property
    def answered(self) -> np.ndarray:
        """Pulls of repeats with an error bar and without a warning."""
        return np.array([one.pull for one in self.repeats if math.isfinite(one.pull) and not one.warned])

    @property
    def refused(self) -> float:
        """Share without an error bar."""
        return float(np.mean([not math.isfinite(one.pull) for one in self.repeats]))

    @property
    def warned(self) -> float:
        """Share with an error bar and a warning."""
        return float(np.mean([math.isfinite(one.pull) and one.warned for one in self.repeats]))

    @property
    def spread(self) -> float:
        """Root mean square pull of those answered; NaN for fewer than ten."""
        found = self.answered
        return float(np.sqrt(np.mean(found**2))) if len(found) >= 10 else math.nan

    def within(self, sigma: float) -> float:
        """Share of those answered within so many sigma."""
        found = self.answered
        return float(np.mean(np.abs(found) < sigma)) if len(found) >= 10 else math.nan

    def __str__(self) -> str:
        return (
            f"{self.estimator:9s} {self.case:42s} {len(self.repeats):5d} {self.spread:6.2f} {self.within(1.0):6.3f} "
            f"{self.within(1.96):6.3f} {self.refused:8.3f} {self.warned:7.3f}"
        )


HEAD = f"{'estimator':9s} {'case':42s} seeds  rms z  in 1σ in 95%  refused  warned"


def normal(pull: float, freedom: float) -> float:
    """A deviation in errors of so many degrees of freedom, mapped to a normal distribution."""
    if not math.isfinite(pull) or not math.isfinite(freedom):
        return pull
    return math.copysign(float(stats.norm.isf(max(stats.t.sf(abs(pull), freedom), 1e-300))), pull)


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


def free_energies(
    ratio: float, windows: int, rule: str, count: int, seeds: Iterable[int], *, scale: float = 1.0
) -> list[Row]:
    """TI, BAR and MBAR between springs; ``scale`` multiplies the error bars, to see whether a test notices."""
    exact = 1.5 * ATOMS * THERMAL * math.log(ratio)
    found: dict[str, list[Repeat]] = {name: [] for name in ("TI", "BAR", "MBAR")}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        lam, weights = nodes_for(rng, windows, rule, ratio)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            result = difference(springs(rng, lam, ratio, count), lam, TEMPERATURE, weights=weights)
        for name, repeats in found.items():
            value, error = result.estimates[name]
            warned = any("no error bar" not in str(one.message) for one in told)
            repeats.append(Repeat((value - exact) / (scale * error), warned))
    case = f"springs 1:{ratio:g}, {windows} {rule}, {count} samples"
    return [Row(name, case, tuple(repeats)) for name, repeats in found.items()]


CASES: list[Callable[[range], list[Row]]] = [
    lambda seeds, r=ratio, w=windows, rule=rule, n=count: free_energies(r, w, rule, n, seeds)
    for ratio, windows, rule in (
        (4.0, 4, "clenshaw-curtis"),
        (4.0, 8, "clenshaw-curtis"),
        (4.0, 8, "gauss-legendre"),
        (100.0, 4, "gauss-legendre"),
        (100.0, 8, "gauss-legendre"),
        (100.0, 8, "clenshaw-curtis"),
        (100.0, 8, "adapt"),
        (1e4, 8, "gauss-legendre"),
        (1e4, 8, "clenshaw-curtis"),
        (1e4, 8, "adapt"),
        (1e4, 12, "adapt"),
    )
    for count in (100, 400)
]


if __name__ == "__main__":
    repeats = range(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
    print(HEAD)
    for case in CASES:
        for row in case(repeats):
            print(row, flush=True)
