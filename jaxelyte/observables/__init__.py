"""Observables: accumulated in the compiled loop or read from a trajectory, with standard errors."""

from jaxelyte.observables.base import Observable
from jaxelyte.observables.blocks import block_error, standard_error
from jaxelyte.observables.conductivity import ConductivityResult, conductivity
from jaxelyte.observables.curve import RDFResult, load_result
from jaxelyte.observables.diffusion import DiffusivityResult, MSDResult, diffusivity, msd
from jaxelyte.observables.kirkwood_buff import (
    ActivityDerivative,
    KirkwoodBuffResult,
    activity_derivative,
    kirkwood_buff,
)
from jaxelyte.observables.pmf import PMFResult, pmf
from jaxelyte.observables.rdf import RDF, rdf
from jaxelyte.observables.velocity import VACFResult, vacf

__all__ = [
    "RDF",
    "ActivityDerivative",
    "ConductivityResult",
    "DiffusivityResult",
    "KirkwoodBuffResult",
    "MSDResult",
    "Observable",
    "PMFResult",
    "RDFResult",
    "VACFResult",
    "activity_derivative",
    "block_error",
    "conductivity",
    "diffusivity",
    "kirkwood_buff",
    "load_result",
    "msd",
    "pmf",
    "rdf",
    "standard_error",
    "vacf",
]
