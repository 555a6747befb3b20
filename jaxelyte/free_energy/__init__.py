"""Free energies: potentials of mean force by biased sampling."""

from jaxelyte.free_energy.metadynamics import MetadynamicsResult, metadynamics
from jaxelyte.free_energy.umbrella import UmbrellaResult, umbrella_pmf, umbrella_sampling

__all__ = ["MetadynamicsResult", "UmbrellaResult", "metadynamics", "umbrella_pmf", "umbrella_sampling"]
