"""One system on several devices: the cell is cut into domains, which exchange what they need at their borders."""

from jaxelyte.parallel.distributed import Distributed, distribute
from jaxelyte.parallel.layout import Layout
from jaxelyte.parallel.work import Work, work

__all__ = ["Distributed", "Layout", "Work", "distribute", "work"]
