"""Our potentials as ASE calculators."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from jaxelyte.neighbors.host import host_list
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.periodicity import warn_of_periodicity
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.potentials.derivatives import energy_and_forces, energy_forces_stress
from jaxelyte.potentials.preparation import prepare_potential
from jaxelyte.potentials.reference import reference_energies
from jaxelyte.system import System, check_kind

if TYPE_CHECKING:
    from ase import Atoms


class Calculator(AseCalculator):
    """ASE calculator of any potential: energy, forces, stress; energies of the atoms where the potential has them.

    Units are ASE's: eV, eV/Å, eV/Å³ (Voigt order, tension positive). Float64 where ``jax_enable_x64`` is on, float32
    otherwise; the constant reference energy is added in float64 in any case. Neighbour lists are made on the host, any
    cell, and padded to sizes that change rarely, so that a relaxation or a run compiles once or twice.

    Args:
        potential: any `Potential`.

    Raises:
        InputError: at calculation, for atoms that the potential cannot describe.
    """

    def __init__(self, potential: Potential, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        potential = as_potential(potential)
        own = ["energies"] if hasattr(potential, "atomic_energies") else []
        self.implemented_properties = ["energy", "free_energy", "forces", "stress", *own]
        self.potential = potential
        self.compilations = 0
        self._prepared: Potential | None = None
        self._prepared_for: tuple[Any, ...] = ()
        self._capacities: tuple[int, ...] = ()
        self._reference = 0.0
        self._programs: dict[str, Any] = {}

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill ``self.results``; called by ASE."""
        check_kind(self.atoms if atoms is None else atoms)
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        bare = self.atoms.copy()
        bare.set_constraint()  # constraints are ASE's business, forces are computed for all atoms
        system = System.from_atoms(bare)
        potential = self._prepare(system)
        neighbors = self._neighbors(potential, system)
        if all(system.pbc):
            result = self._program("stress", energy_forces_stress)(potential, system, neighbors)
            self.results["stress"] = full_3x3_to_voigt_6_stress(np.asarray(result.stress, np.float64))
        else:
            result = self._program("forces", energy_and_forces)(potential, system, neighbors)
        energy = float(result.energy) + self._reference
        self.results |= {
            "energy": energy,
            "free_energy": energy,
            "forces": np.asarray(result.forces, np.float64),
        }
        if "energies" in (properties or []) and "energies" in self.implemented_properties:
            program = self._program("energies", _atomic_energies)
            self.results["energies"] = np.asarray(program(potential, system, neighbors), np.float64)

    def _prepare(self, system: System) -> Potential:
        key = (np.asarray(system.cell).tobytes(), np.asarray(system.numbers).tobytes(), system.pbc)
        if self._prepared is None or key != self._prepared_for:
            warn_of_periodicity([system.to_atoms() if self.atoms is None else self.atoms])
            self._prepared, self._prepared_for = prepare_potential(self.potential, system).compiled(), key
            self._reference = float(reference_energies(self.potential, jax.tree.map(lambda x: x[None], system))[0])
        return self._prepared

    def _neighbors(self, potential: Potential, system: System) -> Neighbors:
        specs = potential.requirements()
        found = [host_list(system, spec) for spec in specs]
        sizes = [lists.index.shape[1] for lists in found]
        if len(sizes) != len(self._capacities):
            self._capacities = (0,) * len(sizes)
        if any(size > room for size, room in zip(sizes, self._capacities, strict=True)):
            # A quarter of spare room, in steps of 8: growing anew is rare.
            self._capacities = tuple(
                max(room, 8 * math.ceil(1.25 * size / 8)) for size, room in zip(sizes, self._capacities, strict=True)
            )
        padded = [host_list(system, spec, room) for spec, room in zip(specs, self._capacities, strict=True)]
        return Neighbors(tuple(padded), specs)

    def _program(self, name: str, function: Any) -> Any:
        if name not in self._programs:
            self._programs[name] = jax.jit(partial(_counted, self, function))
        return self._programs[name]


def _counted(calculator: Calculator, function: Any, *arguments: Any) -> Any:
    """Runs at tracing only: counts compilations."""
    calculator.compilations += 1
    return function(*arguments)


def _atomic_energies(potential: Any, system: System, neighbors: Neighbors) -> Any:
    return potential.atomic_energies(system, neighbors)
