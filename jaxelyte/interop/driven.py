"""Energy, forces and virial for a program that moves the atoms itself, call by call, and may change the cell."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxelyte.errors import InputError, SimulationError
from jaxelyte.evaluate.programs import COMPILED
from jaxelyte.neighbors.kept import KeptLists
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.neighbors.loop import ListPlan, ListState, current_lists
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.potentials.derivatives import batch_energy_forces_stress
from jaxelyte.potentials.preparation import prepare_potential
from jaxelyte.potentials.reference import reference_energies
from jaxelyte.system import System, as_batch

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
    leaves the range that the potential was prepared for, the program is compiled again. All potentials of one structure
    share their programs. Float64 where ``jax_enable_x64`` is on, float32 otherwise; the constant reference energy is
    added in float64.

    Attributes:
        potential: what was given.
        calls: evaluations so far.
        compilations: calls for which something had to be compiled.

    Raises:
        InputError: a skin that is not positive.
    """

    def __init__(self, potential: Potential, *, skin: float = 1.0) -> None:
        if not (np.isfinite(skin) and skin > 0.0):
            raise InputError(f"skin must be a positive distance in Å, not {skin}")
        self.potential = potential = as_potential(potential)
        self.calls = self.compilations = 0
        self._lists = KeptLists(float(skin), shared=True)
        self._prepared = potential
        self._prepared_for: System | None = None
        self._flexible = False
        self._reference = 0.0
        self._last: System | None = None

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
        energy, forces, virial = (np.asarray(x, np.float64) for x in self._with_room(_energy_forces_virial, batch))
        self.calls += 1
        if not (np.isfinite(energy) and np.all(np.isfinite(forces))):
            bad = np.flatnonzero(~np.isfinite(forces).all(axis=1))
            where = f"the force on atom {bad[0]} is {forces[bad[0]]} eV/Å; " if len(bad) else ""
            raise SimulationError(
                f"the energy is {float(energy)} eV; {where}atoms may overlap: relax the start, or shorten the time step"
            )
        return DrivenResult(float(energy) + self._reference, forces, virial)

    def atomic_energies(self) -> np.ndarray:
        """Energy of each atom in eV where the atoms are since the last call, of potentials that have these."""
        assert self._last is not None
        return np.asarray(self._with_room(_atomic_energies, self._last), np.float64)

    def _with_room(self, function: Any, batch: System) -> Any:
        programs, self._last = COMPILED.count, batch
        while True:
            result, needed = _evaluate(function, self._lists.plan(), self._prepared, batch, self._lists.state())
            if not self._lists.make_room(np.asarray(needed)):
                break
        self.compilations += COMPILED.count > programs
        return result

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
        self._reference = float(reference_energies(self.potential, as_batch(system))[0])

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


@partial(jax.jit, static_argnums=(0, 1))
def _evaluate(
    function: Any, plan: ListPlan, potential: Potential, systems: System, state: ListState
) -> tuple[Any, Array]:
    neighbors, state = current_lists(plan, state, systems)
    return function(potential, systems, neighbors), state.needed


def _energy_forces_virial(potential: Potential, systems: System, neighbors: Neighbors) -> tuple[Array, Array, Array]:
    """Energy, forces and virial of a batch of one."""
    result = batch_energy_forces_stress(potential, systems, neighbors)
    virial = -result.stress * jax.vmap(lambda system: system.volume)(systems)[:, None, None]
    return result.energy[0], result.forces[0], virial[0]


def _atomic_energies(potential: Any, systems: System, neighbors: Neighbors) -> Array:
    single, lists = jax.tree.map(lambda x: x[0], (systems, neighbors))
    return potential.atomic_energies(single, lists)


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
