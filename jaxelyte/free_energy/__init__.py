"""Free energies: mixtures of two potentials, and potentials of mean force by biased sampling."""

from jaxelyte.free_energy.difference import FreeEnergyResult, difference
from jaxelyte.free_energy.insertion import (
    ChargeCorrection,
    Insertion,
    charge_correction,
    ideal_chemical_potential,
    widom,
)
from jaxelyte.free_energy.metadynamics import MetadynamicsResult, metadynamics
from jaxelyte.free_energy.mixing import free_energy
from jaxelyte.free_energy.path import PathResult, free_energy_path
from jaxelyte.free_energy.umbrella import UmbrellaResult, umbrella_pmf, umbrella_sampling

__all__ = [
    "ChargeCorrection",
    "FreeEnergyResult",
    "Insertion",
    "MetadynamicsResult",
    "PathResult",
    "UmbrellaResult",
    "charge_correction",
    "difference",
    "free_energy",
    "free_energy_path",
    "ideal_chemical_potential",
    "metadynamics",
    "umbrella_pmf",
    "umbrella_sampling",
    "widom",
]
