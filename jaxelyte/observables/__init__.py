"""Observables: accumulated in the compiled loop or read from a trajectory, with standard errors."""

from jaxelyte.observables.angles import Angles, angles
from jaxelyte.observables.base import Observable
from jaxelyte.observables.blocks import block_error, standard_error
from jaxelyte.observables.conductivity import ConductivityResult, conductivity
from jaxelyte.observables.curve import RDFResult, load_result
from jaxelyte.observables.diffusion import DiffusivityResult, MSDResult, diffusivity, msd
from jaxelyte.observables.distribution import AnglesResult
from jaxelyte.observables.kirkwood_buff import (
    ActivityDerivative,
    KirkwoodBuffResult,
    activity_derivative,
    kirkwood_buff,
)
from jaxelyte.observables.partial_volumes import PartialVolumes, partial_molar_volumes
from jaxelyte.observables.partials import StructureFactorResult
from jaxelyte.observables.pmf import PMFResult, pmf
from jaxelyte.observables.rdf import RDF, rdf
from jaxelyte.observables.recorded import Distance, PressureTensor, Sample, Series, SeriesResult
from jaxelyte.observables.residence import ResidenceResult, residence_time
from jaxelyte.observables.structure_factor import StructureFactor, structure_factor
from jaxelyte.observables.velocity import VACFResult, vacf
from jaxelyte.observables.viscosity import ViscosityResult, viscosity
from jaxelyte.wording import plus_minus

__all__ = [
    "RDF",
    "ActivityDerivative",
    "Angles",
    "AnglesResult",
    "ConductivityResult",
    "DiffusivityResult",
    "Distance",
    "KirkwoodBuffResult",
    "MSDResult",
    "Observable",
    "PMFResult",
    "PartialVolumes",
    "PressureTensor",
    "RDFResult",
    "ResidenceResult",
    "Sample",
    "Series",
    "SeriesResult",
    "StructureFactor",
    "StructureFactorResult",
    "VACFResult",
    "ViscosityResult",
    "activity_derivative",
    "angles",
    "block_error",
    "conductivity",
    "diffusivity",
    "kirkwood_buff",
    "load_result",
    "msd",
    "partial_molar_volumes",
    "plus_minus",
    "pmf",
    "rdf",
    "residence_time",
    "standard_error",
    "structure_factor",
    "vacf",
    "viscosity",
]
