"""Our potentials as ASE calculators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from jaxelyte.interop.driven import DrivenForces
from jaxelyte.periodicity import warn_of_periodicity
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.system import System, check_kind

if TYPE_CHECKING:
    from ase import Atoms


class Calculator(AseCalculator):
    """ASE calculator of any potential: energy, forces, stress; energies of the atoms where the potential has them.

    Units are ASE's: eV, eV/Å, eV/Å³ (Voigt order, tension positive). Float64 if ``jax_enable_x64`` is on, float32
    otherwise; the constant reference energy is always added in float64. Neighbour lists are built on the host for any
    cell, and kept while atoms hardly move. Their sizes change rarely, and calculators share compiled programs, so that
    a relaxation, a run, or a calculator for each of many frames compiles once or twice.

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
        self._forces = DrivenForces(potential)
        self._seen: Atoms | None = None
        self._cell_changes = False

    @property
    def compilations(self) -> int:
        """Calculations for which something had to be compiled."""
        return self._forces.compilations

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
        system = jax.tree.map(np.asarray, System.from_atoms(bare))
        self._look_at(bare)
        result = self._forces(system, np.zeros(3), changing=self._cell_changes)
        self.results |= {"energy": result.energy, "free_energy": result.energy, "forces": result.forces}
        if all(system.pbc):
            self.results["stress"] = full_3x3_to_voigt_6_stress(-result.virial / bare.get_volume())
        if "energies" in (properties or []) and "energies" in self.implemented_properties:
            self.results["energies"] = self._forces.atomic_energies()

    def _look_at(self, atoms: Atoms) -> None:
        """Notice other atoms, and a cell that moves: the potential is then prepared for a range of cells."""
        before, self._seen = self._seen, atoms
        if before is None or not np.array_equal(before.numbers, atoms.numbers) or any(before.pbc != atoms.pbc):
            warn_of_periodicity([atoms])
            self._cell_changes = False
        elif not np.array_equal(before.cell.array, atoms.cell.array):
            self._cell_changes = True
