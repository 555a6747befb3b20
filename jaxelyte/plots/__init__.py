"""Pictures of results; matplotlib is imported when the first one is drawn."""

from jaxelyte.plots.curves import rdf
from jaxelyte.plots.runs import log
from jaxelyte.plots.style import COLORS, new_axes

__all__ = ["COLORS", "log", "new_axes", "rdf"]
