"""Recognise mixtures that diverge at an end: atoms that one of the potentials does not see."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.interop.ase_calculator import Calculator
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.nequip import NequIPPotential

if TYPE_CHECKING:
    from ase import Atoms

TOUCHING = 0.6
"""Å between a ghost and another atom in the trial; closer than any bond."""

NOTICED = 1e-4
"""eV/Å that the forces on others change by when an atom comes close that they notice; above rounding in float32."""

STEEP = 10.0
"""eV that half that distance costs more where a mixture is called singular; restraints far away cost less."""


def check_end_points(initial: Potential, final: Potential, atoms: Atoms) -> None:
    """Refuse a mixture in which an atom appears out of nothing, or disappears, where others may sit on it.

    Near the ghost's end <dU/dλ> diverges as λ^(-3/4) for r⁻¹² cores (Beutler et al., Chem. Phys. Lett. 222, 529
    (1994)), and a network has no meaning at all for atoms on top of each other.

    Raises:
        InputError: names the atom, the potential that does not see it, and the way around.
    """
    several = {"initial": initial, "final": final}
    calculators = {name: Calculator(potential) for name, potential in several.items()}
    shaken = _shaken(atoms)
    forces = {name: _forces(calculator, shaken) for name, calculator in calculators.items()}

    def noticed(name: str, atom: int) -> bool:
        return _noticed(calculators[name], shaken, forces[name], atom)

    for name, other in (("initial", "final"), ("final", "initial")):
        candidates = _candidates(atoms, forces[name])
        unseen = [atom for atom in candidates if not noticed(name, atom)]
        # Atoms that are all held in place and notice nobody are an Einstein crystal, where nobody sits on another.
        if not unseen or (len(unseen) == len(candidates) and np.all(np.any(forces[name] != 0.0, axis=1))):
            continue
        atom = next((one for one in unseen if noticed(other, one)), None)
        if atom is None:
            continue
        cost = _closing_energy(calculators[other], atoms, atom)
        network = _holds_network(several[other])
        if network or not cost < STEEP:
            why = "the other is a network, which knows nothing of overlaps"
            if not network:
                why = f"an overlap with it costs {cost:.3g} eV in the other"
            raise InputError(
                f"atom {atom} ({atoms[atom].symbol}) is a ghost in the {name} potential, and {why}: "
                "a linear mixture of the two diverges at that end. Grow a cavity first "
                "(a soft repulsion, such as a Gaussian barrier about the atom), then mix it into the full potential: "
                "free_energy_path([ghost, ghost + cavity, full + cavity, full], …), or follow a soft core: "
                "SoftCoreLennardJones with couplings from 0 to 1; or pass check=False"
            )


def _candidates(atoms: Atoms, forces: np.ndarray) -> list[int]:
    """One atom of each species, and one without a force."""
    first = [int(np.flatnonzero(atoms.numbers == number)[0]) for number in np.unique(atoms.numbers)]
    return sorted({*first, *(int(one) for one in np.flatnonzero(np.all(forces == 0.0, axis=1))[:1])})


def _noticed(calculator: Calculator, atoms: Atoms, forces: np.ndarray, atom: int) -> bool:
    """Whether the forces on other atoms change when this one is moved close to one of them."""
    if len(atoms) == 1:
        return True
    after = atoms.copy()
    after.positions[atom] = atoms.positions[0 if atom != 0 else 1] + [2.0 * TOUCHING, 0.0, 0.0]
    change = np.delete(forces - _forces(calculator, after), atom, axis=0)
    return not bool(np.max(np.abs(change)) < NOTICED)


def _forces(calculator: Calculator, atoms: Atoms) -> np.ndarray:
    atoms.calc = calculator
    return atoms.get_forces()


def _shaken(atoms: Atoms) -> Atoms:
    """Off special positions, where forces vanish by symmetry."""
    copy = atoms.copy()
    copy.positions += np.random.default_rng(0).normal(scale=0.02, size=copy.positions.shape)
    return copy


def _closing_energy(calculator: Calculator, atoms: Atoms, ghost: int) -> float:
    """What it costs in eV to halve the distance of an overlap, which walls and restraints hardly notice."""
    copy = atoms.copy()
    copy.calc = calculator
    other = 0 if ghost != 0 else 1
    energies = []
    for distance in (TOUCHING, TOUCHING / 2.0):
        copy.positions[ghost] = copy.positions[other] + [distance, 0.0, 0.0]
        energies.append(copy.get_potential_energy())
    cost = float(energies[1] - energies[0])
    return cost if np.isfinite(cost) else np.inf


def _holds_network(potential: Any) -> bool:
    """Whether a network is a part of a potential."""
    if isinstance(potential, NequIPPotential):
        return True
    if isinstance(potential, Potential):
        return any(_holds_network(getattr(potential, f.name)) for f in dataclasses.fields(potential))  # pyright: ignore[reportArgumentType]
    return isinstance(potential, tuple) and any(_holds_network(one) for one in potential)
