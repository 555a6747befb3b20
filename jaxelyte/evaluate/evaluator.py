"""The one way to evaluate a potential: prepare, plan lists, run a compiled program, and again with more room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxelyte import checks
from jaxelyte.errors import InputError
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.neighbors.loop import (
    GROWTH,
    ListPlan,
    build_lists,
    capacities,
    current_lists,
    grow,
    overflowed,
    place,
    plan_lists,
    with_capacities,
)
from jaxelyte.parallel import distribute
from jaxelyte.parallel.layout import chosen_devices
from jaxelyte.parallel.replicas import over_devices, share_replicas
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.potentials.derivatives import (
    EnergyForces,
    EnergyForcesStress,
    batch_energy_and_forces,
    batch_energy_forces_stress,
)
from jaxelyte.potentials.preparation import prepare_potential
from jaxelyte.system import System, as_batch, as_system

if TYPE_CHECKING:
    from ase import Atoms

Form = Literal["compiled", "plain"]

Quantity = Callable[[Potential, System, Neighbors], Array]
"""An observable of one system: potential, system and neighbour lists in, an array out. Pure and traceable by jax."""

Result = TypeVar("Result")

Attempt = Callable[[ListPlan], tuple[Result, Array, Array]]
"""Runs a program with a plan: its result, the room that the lists needed, and whether it was missing."""


class Evaluator:
    """A potential on systems of one shape.

    Lists are planned once, and grow where a row runs out of room. A program is compiled once for each structure of the
    potential and shape of the arrays, for all evaluators together: parameters, positions and cells are its arguments.

        evaluator = Evaluator(potential, frames)
        energies, forces = evaluator(systems)
        evaluator.map(lambda potential, system, neighbors: …)   # any function of one system

    Args:
        potential: any potential.
        systems: ``ase.Atoms``, a list of them of one shape, or a batch of `System`: what lists are planned for.
        form: "compiled" for speed; "plain" for derivatives by parameters and in forward mode.
        skin: Å by which lists reach beyond the cut-offs, for programs that keep them while atoms move.
        strain: cells that differ by no more from those given, as the largest stretch less one, need no new plan.
        devices: see `simulate`.

    Raises:
        InputError: systems that the potential cannot describe.
    """

    potential: Potential
    """As it is evaluated: prepared, and in its form."""

    systems: System
    """What lists were planned for, a batch."""

    plan: ListPlan

    def __init__(
        self,
        potential: Potential,
        systems: Atoms | Sequence[Atoms] | System,
        *,
        form: Form = "compiled",
        skin: float = 1.0,
        strain: float = 0.0,
        devices: str | int | Sequence[Any] | None = None,
    ) -> None:
        checks.choice("form", form, ("compiled", "plain"))
        skin = checks.quantity("skin", skin, "skin")
        self.strain = checks.number("strain", strain, least=0.0, most=0.5)
        batch = _batch(systems)
        shared = None if devices is None else chosen_devices(devices)
        potential = as_potential(potential)
        if shared is not None and len(batch.positions) == 1:
            potential, shared = distribute(potential, shared), None
        self._given: Potential | None = potential
        self._take(prepare_potential(potential, batch, self.strain), batch, form, skin, GROWTH, shared)

    @classmethod
    def of_prepared(
        cls,
        potential: Potential,
        systems: System,
        *,
        form: Form = "compiled",
        skin: float,
        room: float = GROWTH,
        strain: float = 0.0,
        devices: tuple[Any, ...] | None = None,
    ) -> Evaluator:
        """Of a potential that is prepared for all cells to come, or for those within a strain; see `plan_for`.

        Args:
            potential: prepared.
            systems: a batch.
            form: see the class.
            skin: see the class.
            room: for that many times the longest rows found now.
            strain: that the potential is prepared for.
            devices: among which the replicas are divided.
        """
        made = cls.__new__(cls)
        made._given, made.strain = potential if strain else None, strain
        made._take(potential, systems, form, skin, room, devices)
        return made

    def _take(
        self,
        prepared: Potential,
        systems: System,
        form: Form,
        skin: float,
        room: float,
        devices: tuple[Any, ...] | None,
    ) -> None:
        self.form: Form = form
        self.skin, self.room, self.devices, self.grown = skin, room, devices, 0
        potential = prepared.compiled() if form == "compiled" else prepared
        plan = plan_lists(systems, potential.requirements(), skin, room, self.strain)
        if devices is not None:
            plan = over_devices(plan, len(systems.positions), devices)
            potential = share_replicas(potential, devices)
        self.plan = plan
        self.potential, self.systems = place(plan, (potential, systems))
        self._cells = np.asarray(systems.cell, np.float64)

    def __call__(
        self, systems: Atoms | Sequence[Atoms] | System | None = None, *, stress: bool = False
    ) -> EnergyForces | EnergyForcesStress:
        """Energies (replicas,) in eV without constants, forces in eV/Å, and stresses in eV/Å³ where asked for."""
        return self.apply(batch_energy_forces_stress if stress else batch_energy_and_forces, systems)

    def energies(
        self, systems: Atoms | Sequence[Atoms] | System | None = None, potential: Potential | None = None
    ) -> Float[Array, " replicas"]:
        """Energies in eV without constants."""
        return self.map(energy, systems, potential)

    def map(
        self,
        quantity: Quantity,
        systems: Atoms | Sequence[Atoms] | System | None = None,
        potential: Potential | None = None,
    ) -> Array:
        """A function of each system, (replicas, …)."""
        return self.apply(Each(quantity), systems, potential=potential)

    def apply(
        self,
        function: Callable[..., Any],
        systems: Atoms | Sequence[Atoms] | System | None = None,
        *arguments: Any,
        potential: Potential | None = None,
    ) -> Any:
        """``function(potential, systems, neighbors, *arguments)`` of a batch, compiled, lists built anew.

        Args:
            function: pure, hashable, and the same object in each call, or it is compiled again.
            systems: those that were planned for by default; other atoms are checked and planned for anew.
            arguments: arrays.
            potential: prepared, with other parameters.
        """
        batch = self.systems if systems is None else self.ready_for(_batch(systems))
        given = self.potential if potential is None else potential
        return self.repaired(lambda plan: _applied(function, plan, given, batch, *arguments), batch)

    def ready_for(self, systems: System) -> System:
        """The batch where the program expects it; plans anew for other atoms, and cells beyond the planned strain."""
        if self._given is not None and not (self._same_atoms(systems) and self._covers(systems)):
            self.plan_for(systems)
        return place(self.plan, systems)

    def plan_for(self, systems: System) -> None:
        """Plan anew, for these systems; lists of the same kind keep at least the room that they have."""
        assert self._given is not None
        before = self.plan
        prepared = prepare_potential(self._given, systems, self.strain)
        self._take(prepared, systems, self.form, self.skin, self.room, self.devices)
        if isinstance(before, ListPlan) and isinstance(self.plan, ListPlan):
            known, new = capacities(before), capacities(self.plan)
            if known.shape == new.shape:
                self.plan = with_capacities(self.plan, np.maximum(known, new))

    def _same_atoms(self, systems: System) -> bool:
        known, now = np.asarray(self.systems.numbers), np.asarray(systems.numbers)
        return known.shape[1:] == now.shape[1:] and bool(
            np.all((known[:1] if len(known) != len(now) else known) == now)
        )

    def _covers(self, systems: System) -> bool:
        cells = np.asarray(systems.cell, np.float64)
        if systems.pbc != self.systems.pbc:
            return False
        before = np.broadcast_to(self._cells[:1], cells.shape) if len(cells) != len(self._cells) else self._cells
        if np.array_equal(before, cells):
            return True
        stretches = np.linalg.svd(np.linalg.solve(before, cells), compute_uv=False)
        return bool(np.all(np.abs(stretches - 1.0) <= self.strain))

    def repaired(self, attempt: Attempt[Result], systems: System | None = None) -> Result:
        """The result of a program whose lists had room, tried with more of it as long as they had not.

        Args:
            attempt: see `Attempt`.
            systems: that ran out of room, for lists whose room is counted anew.
        """
        while True:
            result, needed, overflow = attempt(self.plan)
            if not bool(overflow):
                return result
            self.grown += 1
            self.plan = grow(self.plan, np.asarray(needed), self.systems if systems is None else systems)


def energy(potential: Potential, system: System, neighbors: Neighbors) -> Array:
    """The energy of one system in eV, without constants: a `Quantity`."""
    return potential.energy(system, neighbors)


@dataclass(frozen=True)
class Each:
    """A quantity of one system as a function of a batch; equal for equal quantities, so that it compiles once."""

    quantity: Quantity

    def __call__(self, potential: Potential, systems: System, neighbors: Neighbors) -> Array:
        if self.quantity is energy:  # which batches better than by vmap
            return potential.energies(systems, neighbors)
        return jax.vmap(partial(self.quantity, potential))(systems, neighbors)


@partial(jax.jit, static_argnums=(0, 1))
def _applied(
    function: Callable[..., Any], plan: ListPlan, potential: Potential, systems: System, *arguments: Any
) -> tuple[Any, Array, Array]:
    neighbors, lists = current_lists(plan, build_lists(plan, systems), systems)
    return function(potential, systems, neighbors, *arguments), lists.needed, overflowed(plan, lists)


def _batch(systems: Atoms | Sequence[Atoms] | System) -> System:
    if isinstance(systems, Sequence):
        singles = [as_system(one) for one in systems]
        if len({(one.num_atoms, one.pbc) for one in singles}) != 1:
            raise InputError("systems that are evaluated together need one number of atoms and one periodicity")
        return jax.tree.map(lambda *x: jnp.stack(x), *singles)
    return as_batch(as_system(systems))
