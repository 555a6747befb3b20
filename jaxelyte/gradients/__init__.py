"""Derivatives of averages and free energies by all parameters of a potential."""

from jaxelyte.gradients.fitting import ObservablesFit, fit_observables
from jaxelyte.gradients.frames import Quantity, energy
from jaxelyte.gradients.free_energies import FreeEnergyGradient, free_energy_gradient
from jaxelyte.gradients.path import PathGradient, path_gradient
from jaxelyte.gradients.quantities import FrameRDF, InsertionFactor, frame_rdf, insertion_factor, pressure_virial
from jaxelyte.gradients.reweighting import Average, AverageGradient, Reweighting, effective_samples
from jaxelyte.gradients.targets import Target

__all__ = [
    "Average",
    "AverageGradient",
    "FrameRDF",
    "FreeEnergyGradient",
    "InsertionFactor",
    "ObservablesFit",
    "PathGradient",
    "Quantity",
    "Reweighting",
    "Target",
    "effective_samples",
    "energy",
    "fit_observables",
    "frame_rdf",
    "free_energy_gradient",
    "insertion_factor",
    "path_gradient",
    "pressure_virial",
]
