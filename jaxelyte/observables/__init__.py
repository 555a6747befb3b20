"""Observables: accumulated in the compiled loop or read from a trajectory, with standard errors."""

from jaxelyte.observables.base import Observable
from jaxelyte.observables.blocks import block_error, standard_error
from jaxelyte.observables.curve import RDFResult, load_result
from jaxelyte.observables.rdf import RDF, rdf

__all__ = ["RDF", "Observable", "RDFResult", "block_error", "load_result", "rdf", "standard_error"]
