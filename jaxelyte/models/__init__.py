"""Neural potentials as pure functions of a configuration and a tree of arrays."""

from jaxelyte.models.config import NequIP, Nonlinearity

__all__ = ["NequIP", "Nonlinearity"]
