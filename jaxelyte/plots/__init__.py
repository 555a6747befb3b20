"""Pictures of results; matplotlib is imported when the first one is drawn."""

from jaxelyte.plots.curves import correlations, diffusivity, msd, pmf, rdf, running_integrals, vacf
from jaxelyte.plots.runs import log
from jaxelyte.plots.style import COLORS, new_axes
from jaxelyte.plots.training import learning, parity, spread, stability

__all__ = [
    "COLORS",
    "correlations",
    "diffusivity",
    "learning",
    "log",
    "msd",
    "new_axes",
    "parity",
    "pmf",
    "rdf",
    "running_integrals",
    "spread",
    "stability",
    "vacf",
]
