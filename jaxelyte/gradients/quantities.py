"""Quantities of one frame, for `Reweighting` and `fit_observables`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.observables import RDF
from jaxelyte.observables.sampling import as_trajectory, first_systems
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.derivatives import energy_forces_stress
from jaxelyte.system import System

GIGAPASCAL = 160.2176634
"""GPa in one eV/Å³."""


@dataclass(frozen=True)
class FrameRDF:
    """g(r) of one frame, (pairs, bins); hashable, so that it is static under jit.

    Args:
        observable: prepared for the frames.
    """

    observable: RDF

    @property
    def r(self) -> np.ndarray:
        """(bins,), Å, centres."""
        assert self.observable.r_max is not None
        assert self.observable.bins is not None
        return (np.arange(self.observable.bins) + 0.5) * self.observable.r_max / self.observable.bins

    def __call__(self, potential: Potential, system: System, neighbors: Neighbors) -> Array:
        found = self.observable.update(self.observable.init(system), system)
        dtype = system.positions.dtype
        bins = len(self.r)
        edges = np.linspace(0.0, float(self.observable.r_max or 0.0), bins + 1)
        shell = jnp.asarray(4.0 * np.pi / 3.0 * np.diff(edges**3), dtype)
        density = found.density.high + found.density.low
        return found.counts.astype(dtype) / (density[:, None] * shell)


def frame_rdf(source: Any, pairs: Any, *, r_max: float | None = None, bins: int | None = None) -> FrameRDF:
    """`FrameRDF` for the frames of a run; see `rdf` for the arguments."""
    trajectory = as_trajectory(source)
    return FrameRDF(RDF(pairs, r_max=r_max, bins=bins).prepare(first_systems(trajectory), trajectory.cells))


def pressure_virial(potential: Potential, system: System, neighbors: Neighbors) -> Array:
    """Pressure of the interactions in GPa, -tr(σ)/3; that of the ideal gas, N k_B T/V, does not depend on θ."""
    stress = energy_forces_stress(potential, system, neighbors).stress
    return -jnp.trace(stress) / 3.0 * GIGAPASCAL
