"""Neighbour lists: what potentials ask for, host search for one frame, Verlet lists inside the loop."""

from jaxelyte.neighbors.host import neighbor_lists
from jaxelyte.neighbors.lists import NeighborList, Neighbors, NeighborSpec

__all__ = ["NeighborList", "NeighborSpec", "Neighbors", "neighbor_lists"]
