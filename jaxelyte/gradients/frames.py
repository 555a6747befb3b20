"""Stored frames in batches: a potential is evaluated on a few at a time, with its derivatives by all parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxelyte import checks
from jaxelyte.errors import InputError
from jaxelyte.evaluate import Evaluator
from jaxelyte.evaluate.evaluator import Each, Quantity, energy
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.observables.sampling import complete_cells
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.preparation import prepare_potential
from jaxelyte.system import System, batch_of
from jaxelyte.trajectory import Trajectory

SKIN = 1e-3
"""Å; lists are built anew for each frame, so nothing may move."""


@dataclass(frozen=True)
class Frames:
    """Frames of one shape, on the host, in the order of time; replicas one after the other.

    Attributes:
        positions: (frames, atoms, 3), Å.
        cells: (frames, 3, 3), Å, complete.
        template: one of them as a system.
        at_once: frames that are evaluated together, which bounds the memory.
        replicas: whose frames these are, as many of each; 1 where they were chosen.
    """

    positions: np.ndarray
    cells: np.ndarray
    template: System
    at_once: int
    replicas: int = 1

    @classmethod
    def from_trajectory(cls, trajectory: Trajectory, *, at_once: int) -> Frames:
        """All frames of all replicas, which must have the same species in the same order.

        Raises:
            InputError: no frame, replicas that differ, a batch size that is not positive.
        """
        if len(trajectory) == 0:
            raise InputError("the trajectory holds no frame")
        at_once = checks.count("at_once", at_once)
        if np.any(trajectory.numbers != trajectory.numbers[0]):
            raise InputError("replicas with different species cannot be averaged together; take them one by one")
        system = System.from_atoms(trajectory.frame(0))
        dtype = np.dtype(system.positions.dtype)
        positions = np.asarray(trajectory.positions, dtype)
        cells = complete_cells(np.asarray(trajectory.cells_of(slice(None))), trajectory.pbc)
        order = (1, 0, 2, 3)
        return cls(
            positions.transpose(order).reshape(-1, *positions.shape[2:]),
            np.broadcast_to(cells, (*positions.shape[:2], 3, 3)).transpose(order).reshape(-1, 3, 3).astype(dtype),
            system,
            at_once,
            trajectory.replicas,
        )

    def __len__(self) -> int:
        return len(self.positions)

    def chosen(self, rows: np.ndarray) -> Frames:
        """Some of the frames."""
        return Frames(self.positions[rows], self.cells[rows], self.template, self.at_once)

    def system(self, row: int) -> System:
        """One frame."""
        return self.template.replace(positions=jnp.asarray(self.positions[row]), cell=jnp.asarray(self.cells[row]))

    def batch(self, rows: np.ndarray) -> System:
        """Frames with a leading axis."""
        wide = batch_of(self.template, len(rows))
        return wide.replace(positions=jnp.asarray(self.positions[rows]), cell=jnp.asarray(self.cells[rows]))

    def ready(self, potential: Potential) -> Potential:
        """The potential made ready for all frames."""
        rows = np.arange(len(self)) if np.ptp(self.cells, axis=0).max() > 0 else np.array([0])
        return prepare_potential(potential, self.batch(rows))

    def prepared(self, potential: Potential) -> Evaluator:
        """The same with lists that have room for each of the frames."""
        return Evaluator.of_prepared(self.ready(potential), self.batch(np.arange(len(self))), form="plain", skin=SKIN)

    def parts(self) -> list[np.ndarray]:
        """Rows of each batch; the last one is filled up with its last row, see `map`."""
        starts = range(0, len(self), self.at_once)
        return [np.minimum(np.arange(start, start + self.at_once), len(self) - 1) for start in starts]

    def map(self, quantity: Quantity, potential: Potential, evaluator: Evaluator) -> np.ndarray:
        """A quantity of every frame, (frames, …), float64.

        Args:
            quantity: A.
            potential: prepared as that of the evaluator.
            evaluator: of `prepared`.
        """
        each = Each(quantity)
        found = [evaluator.apply(each, self.batch(rows), potential=potential) for rows in self.parts()]
        return np.concatenate([np.asarray(one, np.float64) for one in found])[: len(self)]

    def energies(self, potential: Potential, evaluator: Evaluator) -> np.ndarray:
        """(frames,), eV, without reference energies."""
        return self.map(energy, potential, evaluator)

    def pull_back(
        self, quantity: Quantity, potential: Potential, evaluator: Evaluator, weights: np.ndarray
    ) -> Potential:
        """Σ_i weights_i · ∂A_i/∂θ: one vector-Jacobian product, a few frames at a time, summed in float64.

        Args:
            quantity: A.
            potential: prepared as that of the evaluator.
            evaluator: of `prepared`.
            weights: (frames, …), as A.
        """
        total: Any = None
        pulled = Pulled(quantity)
        for rows in self.parts():
            # Rows that only fill up count nothing.
            new = np.concatenate([[True], np.diff(rows) > 0])
            own = np.where(new.reshape(-1, *(1,) * (weights.ndim - 1)), weights[rows], 0.0)
            own = jnp.asarray(own, self.positions.dtype)
            wide = leafwise(np.asarray, evaluator.apply(pulled, self.batch(rows), own, potential=potential))
            total = wide if total is None else leafwise(np.add, total, wide)
        return total


def leafwise(function: Callable[..., Any], *trees: Any) -> Any:
    """A function of the leaves of trees like a potential, in float64.

    Leaves stay arrays, also those without dimensions: a potential takes numbers for parameters given by a user, and
    refuses those that its parameters cannot have, which derivatives and their errors can.
    """

    def applied(*leaves: Any) -> Any:
        found = np.asarray(function(*leaves), np.float64)
        return found if np.all(np.isfinite(found)) else jnp.asarray(found)

    return jax.tree.map(applied, *trees)


@dataclass(frozen=True)
class Pulled:
    """Σ_i weights_i · ∂A_i/∂θ over several frames."""

    quantity: Quantity

    def __call__(
        self, potential: Potential, systems: System, neighbors: Neighbors, weights: Float[Array, "frames *shape"]
    ) -> Potential:
        def total(potential: Potential) -> Array:
            return jnp.sum(weights * Each(self.quantity)(potential, systems, neighbors))

        return jax.grad(total, allow_int=True)(potential)
