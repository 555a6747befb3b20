"""Cases of distribution functions, features of their curves, structure factors and angles; see honesty.py.

Pair counts of each frame are drawn from a known g(r), by Poisson's law; with memory, the first shell is fuller and
emptier in turns. The exact value of a feature is that of the same evaluation without noise. Frames of an ideal gas are
evaluated atom by atom: g(r) = S(k) = 1, angles of 90° on average.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
from ase import Atoms
from honesty import Case, Entry
from scipy.signal import lfilter

import jaxelyte as jxl
from jaxelyte.observables.base import CompensatedSum
from jaxelyte.observables.rdf import PairCounts
from jaxelyte.system import System

EDGE, CENTERS, NEIGHBORS = 14.0, 16, 64
"""Å, and numbers of Na and O."""


@lru_cache(maxsize=1)
def prepared() -> tuple[Any, System]:
    """An observable that knows its system."""
    atoms = Atoms(["Na"] * CENTERS + ["O"] * NEIGHBORS, np.random.default_rng(0).random((80, 3)) * EDGE)
    atoms.cell, atoms.pbc = [EDGE] * 3, True
    system = System.from_atoms(atoms)
    return jxl.RDF((("Na", "O"),), r_max=6.5, width=0.1).prepare(system), system


def curve(r: np.ndarray) -> np.ndarray:
    """A contact peak, a minimum and a second shell."""
    return (
        1.0 / (1.0 + np.exp(-(r - 2.2) / 0.05)) * (1.0 + 3.0 * np.exp(-(((r - 2.5) / 0.25) ** 2)))
        - 0.75 * np.exp(-(((r - 3.3) / 0.35) ** 2))
        + 0.5 * np.exp(-(((r - 4.4) / 0.4) ** 2))
    )


def counted(counts: np.ndarray) -> Any:
    """The result of pair counts (frames, replicas, bins)."""
    observable, system = prepared()
    shape = counts.shape[:2]
    density: Any = np.full((*shape, 1), CENTERS * NEIGHBORS / EDGE**3)
    numbers: dict[str, Any] = {
        "counts": counts[:, :, None],
        "samples": np.ones(shape, int),
        "centers": np.full((*shape, 1), CENTERS),
        "density": CompensatedSum(density, 0.0 * density),
    }
    return observable.result(PairCounts(**numbers), system)


@lru_cache(maxsize=256)
def distribution(seed: int, tau: float, frames: int, replicas: int) -> Any:
    """A radial distribution function; seed -1: without noise."""
    edges = np.linspace(0.0, 6.5, 66)
    expected = CENTERS * NEIGHBORS / EDGE**3 * 4.0 * np.pi / 3.0 * np.diff(edges**3) * curve(edges[:-1] + 0.05)
    if seed < 0:
        return counted(np.broadcast_to(expected, (frames, replicas, 65)))
    rng = np.random.default_rng(seed)
    kicks = rng.normal(size=(frames, replicas))
    keep = np.exp(-1.0 / tau) if tau else 0.0
    kicks[1:] *= np.sqrt(1.0 - keep**2)
    mode = np.asarray(lfilter([1.0], [1.0, -keep], kicks, axis=0))[:, :, None]
    shape = np.exp(-(((edges[:-1] - 2.6) / 0.4) ** 2))
    return counted(rng.poisson(expected * np.exp(0.3 * mode * shape - 0.045 * shape**2)))


def height(found: Any) -> tuple[float, float]:
    """Value of g in a bin of the first peak."""
    return float(found.g[25]), float(found.error[25])


def flank(found: Any) -> tuple[float, float]:
    """Value of g in a bin where pairs are rare."""
    return float(found.g[20]), float(found.error[20])


def shell(found: Any) -> tuple[float, float]:
    """Neighbours within the first minimum."""
    return found.coordination_at(found.first_minimum().position)


def within(found: Any) -> tuple[float, float]:
    """Neighbours within a fixed distance."""
    return found.coordination_at(3.3)


def peak_position(found: Any) -> tuple[float, float]:
    """Position of the first peak."""
    feature = found.first_peak()
    return feature.position, feature.position_error


def peak_height(found: Any) -> tuple[float, float]:
    """Height of the first peak."""
    feature = found.first_peak()
    return feature.height, feature.height_error


def minimum_position(found: Any) -> tuple[float, float]:
    """Position of the first minimum."""
    feature = found.first_minimum()
    return feature.position, feature.position_error


def well(found: Any, *, name: str) -> tuple[float, float]:
    """Depth of a minimum or height of the barrier of the potential of mean force."""
    feature = getattr(jxl.pmf(found, 300.0), name)
    return feature.energy, feature.energy_error


def point(found: Any) -> tuple[float, float]:
    """Potential of mean force at a distance."""
    mean_force = jxl.pmf(found, 300.0)
    return float(mean_force.value[30]), float(mean_force.error[30])


def feature(
    seed: int,
    *,
    of: Callable[[Any], tuple[float, float]],
    tau: float,
    frames: int,
    replicas: int = 1,
    few: bool = False,
) -> Case:
    """A number of the curve; ``few``: from the spread of 16 stretches."""
    value, error = of(distribution(seed, tau, frames, replicas))
    exact, _ = of(distribution(-1, 0.0, frames, replicas))
    return Case(value, error, 15 if few else None, exact)


@lru_cache(maxsize=4)
def gas(seed: int) -> Any:
    """30 frames of an ideal gas."""
    rng = np.random.default_rng(seed)
    positions = rng.random((30, 1, 40, 3)) * 12.0
    steps = np.arange(30)
    return jxl.Trajectory(
        positions, np.repeat([11, 8], 20), np.full(40, 20.0), np.eye(3) * 12.0, (True, True, True), steps, 10.0 * steps
    )


def ideal(seed: int, *, what: str) -> Case:
    """A number of the ideal gas."""
    frames = gas(seed)
    if what == "rdf":
        found = jxl.rdf(frames, "Na", "O", r_max=6.0, width=0.5)
        return Case(
            float(found.g[8]),
            float(found.error[8]),
            None,
            1.0,
        )
    if what == "angles":
        found = jxl.angles(frames, ("O", "Na", "O"), r_max=5.0, bins=20)
        return Case(found.mean, found.mean_error, None, 90.0)
    if what == "angle density":
        found = jxl.angles(frames, ("O", "Na", "O"), r_max=5.0, bins=20)
        share = 0.5 * -np.diff(np.cos(np.radians(found.edges)))[9] / (found.edges[10] - found.edges[9])
        return Case(float(found.value[9]), float(found.error[9]), None, share)
    found = jxl.structure_factor(frames, k_max=4.0, width=0.4, weighting="x-ray" if what == "total" else None)
    if what == "total":
        assert found.total is not None
        assert found.total_error is not None
        # One minus what a finite number of atoms takes: nothing, for waves other than k = 0.
        return Case(float(found.total[7]), float(found.total_error[7]), None, 1.0)
    value, error = found[("Na", "Na")]
    return Case(float(value[7]), float(error[7]), None, 1.0)


def of_curve(
    of: Callable[[Any], tuple[float, float]], tau: float, frames: int, *, few: bool = False, **options: Any
) -> Entry:
    """A feature of the curve."""
    return Entry(partial(feature, of=of, tau=tau, frames=frames, few=few, **options))


CASES: dict[str, Entry] = {
    "g(r), first peak, 200 frames": of_curve(height, 0.0, 200),
    "g(r), first peak, 400 frames, memory 5": of_curve(height, 5.0, 400),
    "g(r), first peak, 50 frames of 8 replicas, memory 5": of_curve(height, 5.0, 50, replicas=8),
    "g(r), rare pairs, 400 frames, memory 5": of_curve(flank, 5.0, 400),
    "coordination number, fixed distance, memory 5": of_curve(within, 5.0, 400),
    "coordination number, first minimum, memory 5": of_curve(shell, 5.0, 400),
    "peak position, memory 5": of_curve(peak_position, 5.0, 400, few=True),
    "peak height, memory 5": of_curve(peak_height, 5.0, 400, few=True),
    "minimum position, memory 5": of_curve(minimum_position, 5.0, 400, few=True),
    "potential of mean force, a point, memory 5": of_curve(point, 5.0, 400),
    "potential of mean force, contact, memory 5": of_curve(partial(well, name="contact"), 5.0, 400, few=True),
    "potential of mean force, barrier, memory 5": of_curve(partial(well, name="barrier"), 5.0, 400, few=True),
    "g(r), ideal gas": Entry(partial(ideal, what="rdf")),
    "structure factor, partial of an ideal gas": Entry(partial(ideal, what="partial")),
    "structure factor, total of an ideal gas": Entry(partial(ideal, what="total")),
    "mean angle, ideal gas": Entry(partial(ideal, what="angles")),
    "distribution of angles, ideal gas": Entry(partial(ideal, what="angle density")),
}
