"""What a free energy is of: the process with its sign, the standard state, and the corrections that are in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from jaxelyte.observables.diffusion import lattice_potential
from jaxelyte.potentials.base import Mix, Potential, Scaled, Sum
from jaxelyte.potentials.coulomb import ScreenedCoulomb
from jaxelyte.system import System
from jaxelyte.units import COULOMB
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

SAME_VOLUME = "none: the same atoms in the same cell; momenta and the ideal part cancel"
LATTICE_SUMS = ("auto", "ewald", "p3m")
NEGLIGIBLE = 1e-5
"""Net charge over the sum of absolute charges that is rounding."""


@dataclass(frozen=True)
class Contents:
    """What a free energy contains.

    Attributes:
        process: from where to where, and what a positive sign means.
        standard_state: that it refers to.
        corrections: for the finite size of a charged cell: what the energies include and what has to be added.
        image_energy: eV, the part of the value that is the interaction of net charges with their own images and the
            uniform background, were they points; zero without net charges.
    """

    process: str
    standard_state: str
    corrections: str
    image_energy: float = 0.0

    def as_dict(self) -> dict[str, str | float]:
        """For JSON."""
        content = asdict(self)
        content["image_energy_eV"] = content.pop("image_energy")
        return content

    def lines(self) -> list[str]:
        """For texts."""
        return [
            f"  process: {self.process}",
            f"  standard state: {self.standard_state}",
            f"  corrections: {self.corrections}",
        ]


OF_SAMPLES = Contents(
    "F(λ = 1) - F(λ = 0), positive where the end at λ = 1 is the less favourable one",
    SAME_VOLUME,
    "none added; what the energies given include",
)
"""Of samples whose potentials are not known."""


def of_mixture(initial: Potential, final: Potential, atoms: Atoms) -> Contents:
    """Contents of F(final) - F(initial) of the same atoms."""
    system = System.from_atoms(atoms)
    before, after = (_charges(one, system) for one in (initial, final))
    process = "F(final) - F(initial), positive where the final potential is the less favourable one"
    changed = np.flatnonzero(~np.isclose(after, before, rtol=0.0, atol=1e-9))
    if len(changed):
        kinds = sorted({atoms[int(n)].symbol for n in changed})
        process += f"; the charges of {counted(len(changed), 'atom')} ({', '.join(kinds)}) change"
        process += f", that of the system from {before.sum():+.4g} to {after.sum():+.4g} e"
    images = image_energy(final, system) - image_energy(initial, system)
    return Contents(process, SAME_VOLUME, corrections_of(images, bool(len(changed)) and all(atoms.pbc)), images)


def of_insertion(symbol: str, potential: Potential, before: System, after: System) -> Contents:
    """Contents of the excess chemical potential of one more particle."""
    images = image_energy(potential, after) - image_energy(potential, before)
    return Contents(
        f"one {symbol} from an ideal gas into the frames, positive where it is less favourable there",
        "an ideal gas of the same density and temperature; ideal_chemical_potential has the rest of μ",
        corrections_of(images, False),
        images,
    )


def corrections_of(images: float, charging: bool) -> str:
    """What the energies of a periodic cell include, and what has to be added."""
    if images != 0.0:
        return (
            f"none added; the value includes {images:.4f} eV of the net charge with its own periodic images and the "
            "neutralising background (as of a point charge): add charge_correction(charge, cell, permittivity).total"
        )
    return "none added; no net charge changes, so that no image term is included" if charging else "none added"


def image_energy(potential: Potential, system: System) -> float:
    """Energy in eV of the net charges of lattice sums with their images and background, as points: Σ ξ q²/2ε."""
    if not all(system.pbc):
        return 0.0
    total = 0.0
    for factor, term in _coulomb_terms(potential):
        charges = np.asarray(term._charges(system), np.float64)
        net, size = float(charges.sum()), float(np.abs(charges).sum())
        if term.method in LATTICE_SUMS and abs(net) > NEGLIGIBLE * size:
            total += factor * 0.5 * net**2 / float(np.asarray(term.permittivity))
    return COULOMB * lattice_potential(np.asarray(system.cell, np.float64)) * total if total else 0.0


def _charges(potential: Potential, system: System) -> np.ndarray:
    """(atoms,), e, of all Coulomb terms together."""
    charges = [np.asarray(term._charges(system), np.float64) for factor, term in _coulomb_terms(potential) if factor]
    return np.sum(charges, axis=0) if charges else np.zeros(system.num_atoms)


def _coulomb_terms(potential: Potential, factor: float = 1.0) -> Iterator[tuple[float, ScreenedCoulomb]]:
    """Coulomb terms of a potential and what each is multiplied by."""
    if isinstance(potential, ScreenedCoulomb):
        yield factor, potential
    elif isinstance(potential, Sum):
        for term in potential.terms:
            yield from _coulomb_terms(term, factor)
    elif isinstance(potential, Scaled):
        yield from _coulomb_terms(potential.potential, factor * float(np.asarray(potential.factor)))
    elif isinstance(potential, Mix):
        lam = float(np.asarray(potential.lam))
        yield from _coulomb_terms(potential.initial, factor * (1.0 - lam))
        yield from _coulomb_terms(potential.final, factor * lam)
