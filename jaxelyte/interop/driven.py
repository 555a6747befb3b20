"""Energy, forces and virial for a program that moves the atoms itself, call by call, and may change the cell."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxelyte.errors import InputError, SimulationError, UnsupportedError
from jaxelyte.neighbors.kept import KeptLists
from jaxelyte.neighbors.loop import ListPlan, ListState, current_lists
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.potentials.derivatives import batch_energy_forces_stress
from jaxelyte.potentials.memory import learning_stride
from jaxelyte.potentials.preparation import prepare_potential
from jaxelyte.potentials.reference import reference_energies
from jaxelyte.system import System

STRETCH = 0.03
"""Strain of the cell that a potential is prepared for where the other program says that its box changes."""


class DrivenResult(NamedTuple):
    """Total energy in eV, forces in eV/Å, shape (atoms, 3), and virial W = -dU/dε = Σ r ⊗ F in eV, shape (3, 3)."""

    energy: float
    forces: np.ndarray
    virial: np.ndarray


class DrivenForces:
    """A potential as a function of positions and cell that another program changes, with lists kept between calls.

    Rows of the lists have room to spare, so that a steady run compiles once; where a row outgrows it, or the cell
    leaves the range that the potential was prepared for, the program is compiled again. Float64 where
    ``jax_enable_x64`` is on, float32 otherwise; the constant reference energy is added in float64.

    Attributes:
        potential: what was given.
        calls: evaluations so far.
        compilations: how often the program was traced.

    Raises:
        InputError: a skin that is not positive.
        UnsupportedError: a potential that changes during a run.
    """

    def __init__(self, potential: Potential, *, skin: float = 1.0) -> None:
        if not (np.isfinite(skin) and skin > 0.0):
            raise InputError(f"skin must be a positive distance in Å, not {skin}")
        potential = as_potential(potential)
        if learning_stride(potential):
            raise UnsupportedError(
                f"{type(potential).__name__} changes during a run, which only jaxelyte's own loop can do; "
                "use jaxelyte.simulate, or leave that term out"
            )
        self.potential = potential
        self.calls = self.compilations = 0
        self._lists = KeptLists(float(skin))
        self._prepared = potential
        self._prepared_for: System | None = None
        self._flexible = False
        self._reference = 0.0
        # A partial object of its own: jax would share the programs, and their count, of one function.
        self._program = jax.jit(partial(_evaluate, self), static_argnums=0)

    @property
    def skin(self) -> float:
        """Å, by which the lists reach beyond the cut-offs."""
        return self._lists.skin

    @property
    def builds(self) -> int:
        """How often the lists were built."""
        return self._lists.builds

    def __call__(self, system: System, origin: np.ndarray, *, changing: bool = False) -> DrivenResult:
        """Energy, forces and virial.

        Args:
            system: numpy arrays in float64; of each atom any image.
            origin: shape (3,), Å, the corner of the cell; it may move.
            changing: True if the cell will change from call to call; Ewald sums are then prepared for all cells within
                3 % instead of this one.

        Raises:
            InputError: atoms that the potential cannot describe.
            SimulationError: positions or results that are not finite.
        """
        self.prepare(system, changing=changing)
        positions = self._lists.follow(system, origin, self._prepared.requirements())
        batch = _on_device(system.replace(positions=positions))
        while True:
            *result, needed = self._program(self._lists.plan(), self._prepared, batch, self._lists.state())
            if not self._lists.make_room(np.asarray(needed)):
                break
        self.calls += 1
        energy, forces, virial = (np.asarray(x, np.float64) for x in result)
        if not (np.isfinite(energy) and np.all(np.isfinite(forces))):
            bad = np.flatnonzero(~np.isfinite(forces).all(axis=1))
            where = f"the force on atom {bad[0]} is {forces[bad[0]]} eV/Å; " if len(bad) else ""
            raise SimulationError(
                f"the energy is {float(energy)} eV; {where}atoms may overlap: relax the start, or shorten the time step"
            )
        return DrivenResult(float(energy) + self._reference, forces, virial)

    def prepare(self, system: System, *, changing: bool = False) -> None:
        """Make the potential ready for these atoms and this cell; nothing where it is.

        Raises:
            InputError: atoms that the potential cannot describe.
            SimulationError: positions or a cell that are not finite.
        """
        _check_finite(system)
        if self._covers(system, changing):
            return
        self._prepared = prepare_potential(self.potential, system, STRETCH if changing else 0.0).compiled()
        self._prepared_for, self._flexible = system, changing
        self._reference = float(reference_energies(self.potential, jax.tree.map(lambda x: x[None], system))[0])

    def _covers(self, system: System, changing: bool) -> bool:
        old = self._prepared_for
        if old is None or old.pbc != system.pbc or not np.array_equal(old.numbers, system.numbers):
            return False
        if changing and not self._flexible:
            return False
        if np.array_equal(old.cell, system.cell):
            return True
        if not changing:
            return False
        stretches = np.linalg.svd(np.linalg.solve(np.asarray(old.cell), np.asarray(system.cell)), compute_uv=False)
        return bool(np.all(np.abs(stretches - 1.0) < STRETCH))


def _evaluate(
    owner: DrivenForces, plan: ListPlan, potential: Potential, systems: System, state: ListState
) -> tuple[Array, Array, Array, Array]:
    owner.compilations += 1  # runs at tracing only
    neighbors, state = current_lists(plan, state, systems)
    result = batch_energy_forces_stress(potential, systems, neighbors)
    virial = -result.stress * jax.vmap(lambda system: system.volume)(systems)[:, None, None]
    return result.energy[0], result.forces[0], virial[0], state.needed


def _on_device(system: System) -> System:
    """A batch of one, in the floating type of the session."""
    dtype = jax.dtypes.canonicalize_dtype(np.float64)

    def move(x: Any) -> Array:
        return jnp.asarray(x, dtype if np.issubdtype(x.dtype, np.floating) else None)[None]

    return jax.tree.map(move, system)


def _check_finite(system: System) -> None:
    if not np.all(np.isfinite(system.cell)):
        raise SimulationError(f"the cell is not finite: {np.asarray(system.cell).tolist()}; shorten the time step")
    finite = np.isfinite(np.asarray(system.positions)).all(axis=1)
    if not np.all(finite):
        bad = int(np.argmin(finite))
        raise SimulationError(
            f"position of atom {bad} is {np.asarray(system.positions)[bad]}; relax the start, or shorten the time step"
        )
