"""Kinetic temperatures by species, and whether energy passes between the atoms.

A thermostat that controls the total kinetic energy only (one Nosé-Hoover chain, stochastic velocity rescaling) leaves
atoms that are hardly coupled at energies of their own: the mean is the target, single atoms are not. In equilibrium an
atom that was hot in the first part of a run is not so in the last one, so the correlation between both over the atoms
is zero but for its noise.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from ase.data import chemical_symbols

from jaxelyte.arrays import finite
from jaxelyte.observables.blocks import BlockError, block_error, error_entries
from jaxelyte.units import BOLTZMANN
from jaxelyte.wording import plus_minus

LEAST_SPREAD = 0.05
"""Standard deviation of lasting temperatures of atoms, relative to their mean, that is worth a warning."""

LEAST_DIFFERENCE = 0.05
"""Deviation of a species from the mean, in the same way."""

SIGMAS = 4.0
"""That either has to exceed."""

ENDS = 0.375
"""Share of the blocks at each end that are compared; what is between them keeps them independent."""

FEWEST_ATOMS = 6
"""Below which the correlation over the atoms says nothing."""


class Equipartition(NamedTuple):
    """Result of `equipartition`.

    Attributes:
        species: kinetic temperature of each species: mean in K, and its error.
        spread: lasting standard deviation between atoms, relative to the mean; NaN where it is not known.
        fault: what is wrong, in words; empty where nothing is.
    """

    species: dict[str, tuple[float, BlockError]]
    spread: float
    fault: str

    def entry(self) -> dict[str, Any]:
        """For a summary."""
        by_species = {
            name: {"value": value} | error_entries(found.error, found.bound, found.freedom) | {"unit": "K"}
            for name, (value, found) in self.species.items()
        }
        return {"by_species": by_species, "lasting_spread_of_atoms": finite(self.spread), "fault": self.fault or None}


def equipartition(
    kinetic: np.ndarray, frames: np.ndarray, numbers: np.ndarray, masses: np.ndarray, *, center_fixed: bool
) -> Equipartition:
    """Judge sums of kinetic energies over consecutive blocks of frames.

    Args:
        kinetic: (blocks, replicas, atoms), eV, summed over the frames of each block.
        frames: (blocks,), how many these are.
        numbers: (replicas, atoms), atomic numbers; 0 for padding.
        masses: (replicas, atoms), g/mol.
        center_fixed: the total momentum is zero: an atom of mass m then has 3 (1 - m/M) degrees of freedom.
    """
    there = numbers > 0
    total = np.sum(np.where(there, masses, 0.0), axis=1, keepdims=True)
    degrees = np.where(there, 3.0 * (1.0 - masses / total if center_fixed else 1.0), 0.0)
    species = {}
    for number in np.unique(numbers[there]):
        chosen = numbers == number
        of_kind = 2.0 / BOLTZMANN * np.sum(np.where(chosen, kinetic, 0.0), axis=2) / frames[:, None]
        weight = np.sum(np.where(chosen, degrees, 0.0), axis=1)
        if np.all(weight > 0):
            series = of_kind / weight
            mean = float(np.sum(frames @ series) / (frames.sum() * series.shape[1]))
            species[chemical_symbols[number]] = (mean, block_error(series))
    usable = there & (degrees > 0)
    spread, certain = _lasting_spread(kinetic, frames, degrees, usable)
    mean = float(np.sum(kinetic[:, usable]) * 2.0 / BOLTZMANN / (frames.sum() * degrees[usable].sum()))
    return Equipartition(species, spread, _fault(species, mean, spread, certain))


def _lasting_spread(
    kinetic: np.ndarray, frames: np.ndarray, degrees: np.ndarray, usable: np.ndarray
) -> tuple[float, bool]:
    """Relative standard deviation of lasting temperatures, and whether it is certain.

    The covariance over the atoms of their mean temperatures in the first and the last part of the run is the variance
    of what lasts; Fisher's transform of the correlation, atanh(r) (n - 3)^½, is normal of width one where nothing does.
    """
    part = int(ENDS * len(kinetic))
    count = int(usable.sum()) - len(usable)
    if part < 1 or count < FEWEST_ATOMS:
        return math.nan, False
    ends = []
    for chosen in (slice(0, part), slice(len(kinetic) - part, None)):
        sums = kinetic[chosen].sum(axis=0) / frames[chosen].sum()
        kelvin = np.where(usable, sums / np.where(usable, degrees, 1.0), np.nan)
        kelvin = kelvin / np.nanmean(kelvin, axis=1, keepdims=True)
        ends.append((kelvin - 1.0)[usable])
    first, last = ends
    widths = math.sqrt(float(first @ first) * float(last @ last))
    if widths == 0.0:
        return math.nan, False
    covariance = float(first @ last) / count
    correlation = min(float(first @ last) / widths, 1.0 - 1e-9)
    spread = math.sqrt(max(covariance, 0.0))
    return spread, math.atanh(correlation) * math.sqrt(count - 3) > SIGMAS and spread > LEAST_SPREAD


def _fault(species: dict[str, tuple[float, BlockError]], mean: float, spread: float, certain: bool) -> str:
    off = [
        f"{name} {plus_minus(value, found.error, unit='K')}"
        for name, (value, found) in species.items()
        if abs(value - mean) > max(SIGMAS * float(found.error), LEAST_DIFFERENCE * mean)
    ]
    if off:
        return f"kinetic temperatures of species differ from the mean of {mean:.0f} K: {', '.join(off)}"
    if certain:
        return f"kinetic temperatures of single atoms differ lastingly, by {spread:.0%} of the mean of {mean:.0f} K"
    return ""
