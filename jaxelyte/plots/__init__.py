"""Pictures of results; matplotlib is imported when the first one is drawn."""

from jaxelyte.plots.curves import conductivity, correlations, diffusivity, msd, pmf, running_integrals, vacf
from jaxelyte.plots.distributions import rdf, rdf_panels
from jaxelyte.plots.palette import element_color, pair_color
from jaxelyte.plots.runs import log
from jaxelyte.plots.sampling import convergence, free_energy, metadynamics, observables_fit, series, umbrella, viscosity
from jaxelyte.plots.structure import angles, compared, residence, structure_factor
from jaxelyte.plots.style import COLORS, new_axes
from jaxelyte.plots.training import learning, parity, spread, stability

__all__ = [
    "COLORS",
    "angles",
    "compared",
    "conductivity",
    "convergence",
    "correlations",
    "diffusivity",
    "element_color",
    "free_energy",
    "learning",
    "log",
    "metadynamics",
    "msd",
    "new_axes",
    "observables_fit",
    "pair_color",
    "parity",
    "pmf",
    "rdf",
    "rdf_panels",
    "residence",
    "running_integrals",
    "series",
    "spread",
    "stability",
    "structure_factor",
    "umbrella",
    "vacf",
    "viscosity",
]
