"""Flexible SPC/Fw water with Joung-Cheatham ions: a classical potential of an electrolyte.

Water: Y. Wu, H. L. Tepper, G. A. Voth, J. Chem. Phys. 124, 024503 (2006), table I: harmonic bonds and angle, charges on
the atoms, Lennard-Jones on oxygen. Ions: I. S. Joung, T. E. Cheatham, J. Phys. Chem. B 112, 9020 (2008), the set fitted
with SPC/E water, Lorentz-Berthelot mixing. The two were not fitted together; SPC/Fw's Lennard-Jones parameters are
those of SPC/E to four digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols

from jaxelyte import checks
from jaxelyte.errors import InputError
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.bonded import HarmonicAngles, HarmonicBonds
from jaxelyte.potentials.coulomb import ScreenedCoulomb
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.potentials.topology import atomic_number, index_table
from jaxelyte.system import System, as_system
from jaxelyte.units import KCAL_PER_MOL

if TYPE_CHECKING:
    from ase import Atoms

BOND_LENGTH = 1.012
"""Equilibrium O-H distance in Å."""
ANGLE = math.radians(113.24)
"""Equilibrium H-O-H angle."""
BOND_CONSTANT = 1059.162 * KCAL_PER_MOL
"""k of ½ k (r - r0)² in eV/Å²."""
ANGLE_CONSTANT = 75.90 * KCAL_PER_MOL
"""k of ½ k (θ - θ0)² in eV/rad²."""
CHARGES = {"O": -0.82, "H": 0.41}
OXYGEN = (3.165492, 0.1554253 * KCAL_PER_MOL)
"""σ in Å and ε in eV."""

JOUNG_CHEATHAM = {
    "Li": (1.0, 0.791, 0.3367344),
    "Na": (1.0, 1.212, 0.3526418),
    "K": (1.0, 1.593, 0.4297054),
    "Rb": (1.0, 1.737, 0.4451036),
    "Cs": (1.0, 2.021, 0.0898565),
    "F": (-1.0, 2.257, 0.0074005),
    "Cl": (-1.0, 2.711, 0.0127850),
    "Br": (-1.0, 2.751, 0.0269586),
    "I": (-1.0, 2.919, 0.0427845),
}
"""Charge in e, R_min/2 in Å, ε in kcal/mol (table 5 of the paper, SPC/E columns)."""

IONS_EXAMPLE = "{'Na': (1.0, 2.16, 0.0153)}"
"""Charge in e, σ in Å, ε in eV."""

LONGEST_BOND = 1.4
"""Å; an O-H distance below this is a bond. Hydrogen bonds are longer than 1.5 Å."""


def ion_parameters(name: str) -> dict[str, tuple[float, float, float]]:
    """Charge in e, σ in Å and ε in eV of the ions of a published set.

    Raises:
        InputError: no such set.
    """
    if name != "joung-cheatham":
        raise InputError(f"unknown ions {name!r}; use 'joung-cheatham' or a dictionary such as {IONS_EXAMPLE}")
    scale = 2.0 ** (5.0 / 6.0)  # σ = 2^(-1/6) R_min
    return {s: (q, half * scale, eps * KCAL_PER_MOL) for s, (q, half, eps) in JOUNG_CHEATHAM.items()}


def find_water(atoms: Atoms | System) -> np.ndarray:
    """Water molecules of a structure, by O-H distances under its periodic boundary.

    Returns:
        Indices O, H, H; shape (molecules, 3).

    Raises:
        InputError: an oxygen that has not exactly two hydrogens, or a hydrogen without an oxygen; the message names it.
    """
    from vesin import NeighborList

    system = as_system(atoms)
    numbers = np.where(np.asarray(system.mask), np.asarray(system.numbers), 0)
    search = NeighborList(cutoff=LONGEST_BOND, full_list=True)
    first, second, distance = search.compute(
        points=np.asarray(system.positions, np.float64),
        box=np.asarray(system.cell, np.float64),
        periodic=np.array(system.pbc),
        quantities="ijd",
    )
    bonded = (numbers[first] == 1) & (numbers[second] == 8)
    nearest: dict[int, tuple[float, int]] = {}
    for h, o, d in zip(first[bonded].tolist(), second[bonded].tolist(), distance[bonded].tolist(), strict=True):
        nearest[h] = min(nearest.get(h, (math.inf, -1)), (d, o))
    for h in np.flatnonzero(numbers == 1).tolist():
        if h not in nearest:
            raise InputError(f"hydrogen {h} has no oxygen within {LONGEST_BOND} Å; SPC/Fw describes only H2O and ions")
    hydrogens: dict[int, list[int]] = {o: [] for o in np.flatnonzero(numbers == 8).tolist()}
    for h, (_, o) in sorted(nearest.items()):
        hydrogens[o].append(h)
    for o, bound in hydrogens.items():
        if len(bound) != 2:
            raise InputError(
                f"oxygen {o} has {len(bound)} hydrogens {bound} within {LONGEST_BOND} Å, not 2; SPC/Fw describes only "
                "H2O and ions"
            )
    return np.array([[o, *bound] for o, bound in hydrogens.items()], np.int32).reshape(-1, 3)


def spc_fw(
    atoms: Atoms | System,
    ions: str | Mapping[str, tuple[float, float, float]] = "joung-cheatham",
    *,
    tolerance: float = 1e-3,
    cutoff: float = 9.0,
    switch: float | None = None,
    tail_correction: bool | None = None,
    method: str = "auto",
) -> Potential:
    """SPC/Fw water and ions, for the molecules found in a structure.

    Args:
        atoms: water molecules and ions in any order; molecules may cross the boundary.
        ions: a published set, or per symbol charge in e, σ in Å and ε in eV.
        tolerance: RMS error of the electrostatic forces in eV/Å; see `ScreenedCoulomb`. (Forces in water are about
            1 eV/Å.)
        cutoff: of the Lennard-Jones part, Å.
        switch: where the Lennard-Jones potential starts to be switched off, Å; by default 1 Å before the cut-off, so
            that forces are smooth. Equal to the cut-off: plain truncation.
        tail_correction: see `LennardJones`.
        method: see `ScreenedCoulomb`.

    Returns:
        A sum of `ScreenedCoulomb`, `LennardJones`, `HarmonicBonds` and `HarmonicAngles`. It is for this order of the
        atoms: systems with other elements at the places of water are refused.

    Raises:
        InputError: atoms that are neither water nor known ions; the message names them. No parameters for ions, or no
            number where one is needed.
    """
    system = as_system(atoms)
    table = ion_parameters(ions) if isinstance(ions, str) else _ion_table(ions)
    cutoff = checks.quantity("cutoff", cutoff, "cut-off", warn=False)
    present = sorted(set(np.asarray(system.numbers)[np.asarray(system.mask)].tolist()) - {1, 8})
    known = {atomic_number(symbol): symbol for symbol in table}
    for number in present:
        if number not in known:
            where = int(np.argmax(np.asarray(system.numbers) == number))
            raise InputError(
                f"no ion parameters for {chemical_symbols[number]} (atom {where}); known: {', '.join(known.values())}. "
                "Pass ions={symbol: (charge, sigma, epsilon)}"
            )
    water = find_water(system)
    chosen = {known[number]: table[known[number]] for number in present}
    charges = CHARGES | {s: q for s, (q, _, _) in chosen.items()}
    sigma = {"O": OXYGEN[0], "H": 1.0} | {s: v for s, (_, v, _) in chosen.items()}
    epsilon = {"O": OXYGEN[1], "H": 0.0} | {s: v for s, (_, _, v) in chosen.items()}
    start = cutoff - min(1.0, 0.5 * cutoff) if switch is None else checks.positive("switch", switch, "Å")
    if start > cutoff:
        raise InputError(f"switch = {start:g} Å must not be beyond the cut-off, {cutoff:g} Å")
    dispersion = LennardJones(
        sigma, epsilon, cutoff=cutoff, switch=start if start < cutoff else None, tail_correction=tail_correction
    )
    bonds = np.concatenate([water[:, [0, 1]], water[:, [0, 2]]])
    excluded = np.concatenate([bonds, water[:, [1, 2]]])
    numbers = np.asarray(system.numbers)
    coulomb = ScreenedCoulomb(
        charges,
        tolerance=tolerance,
        method=method,
        exclusions=index_table(excluded, 2, "exclusions", elements=numbers[excluded]),
    )
    terms: Potential = coulomb + dispersion
    if len(water):
        terms = terms + HarmonicBonds(bonds, k=BOND_CONSTANT, length=BOND_LENGTH, elements=("O", "H"))
        terms = terms + HarmonicAngles(water[:, [1, 0, 2]], k=ANGLE_CONSTANT, angle=ANGLE, elements=("H", "O", "H"))
    return terms


def _ion_table(ions: Mapping[str, tuple[float, float, float]]) -> dict[str, tuple[float, float, float]]:
    """Parameters of ions as a user gives them; their values are judged by the potentials."""
    table = checks.mapping("ions", ions, IONS_EXAMPLE)
    for symbol, values in table.items():
        atomic_number(symbol)
        if isinstance(values, str) or not hasattr(values, "__len__") or len(values) != 3:
            raise InputError(
                f"ions[{symbol!r}] must be charge, sigma and epsilon, as in {IONS_EXAMPLE}, not {values!r}"
            )
    return {symbol: tuple(values) for symbol, values in table.items()}
