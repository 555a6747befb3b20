"""Start structures: boxes of water and ions without overlaps, ready for minimisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_masses, atomic_numbers

from jaxelyte import checks
from jaxelyte.errors import InputError
from jaxelyte.units import AVOGADRO

if TYPE_CHECKING:
    from ase import Atoms

BOND_LENGTH, ANGLE = 1.0, math.radians(109.47)
"""Water of the start structure in Å and radians: between the common models and the liquid."""

CHARGES: dict[str, int] = {
    **dict.fromkeys(("Li", "Na", "K", "Rb", "Cs"), 1),
    **dict.fromkeys(("Mg", "Ca", "Sr", "Ba", "Zn"), 2),
    **dict.fromkeys(("F", "Cl", "Br", "I"), -1),
}
"""e, of the ions whose charge in water is beyond doubt."""

MOST = 1_000_000
ORIENTATIONS = 40
ARRANGEMENTS = 50
CLOSEST = 1.2
"""Å; a start structure with a shorter distance between molecules is refused."""


def electrolyte(
    ions: Mapping[str, int],
    *,
    waters: int | None = None,
    density: float | None = None,
    concentration: float | None = None,
    seed: int = 0,
) -> Atoms:
    """A cubic, periodic box of water and ions: molecules on a lattice, in random order and orientation.

    The molecules do not overlap, but the structure is far from equilibrium: minimise it, then equilibrate.

    Args:
        ions: number of each ion, ``{"Na": 4, "Cl": 4}``; empty for pure water.
        waters: number of water molecules; by default derived from concentration and density.
        density: mass density in g/cm³; 1.0 unless it follows from ``waters`` and a concentration.
        concentration: concentration of the first ion in mol/L.
        seed: seed of the random choices; the same seed gives the same box.

    Returns:
        Waters first (O, H, H each), then ions in the order given; atoms may lie outside the cell.

    Raises:
        InputError: unknown symbols, counts that are negative, contradictory or missing sizes, a density at which the
            molecules overlap.

    Warns:
        UserWarning: a net charge of the ions; an unusual density or concentration.
    """
    counts = _checked(ions)
    seed = checks.random_seed(seed)
    waters, length = _size(counts, waters, density, concentration)
    rng = np.random.default_rng(seed)
    charged = sum(counts.values())
    sites, spacing = _lattice(waters + charged, length)
    sites = sites[_spread(sites, waters + charged, charged, length, rng)]
    ion_sites, water_sites = sites[:charged], sites[charged:]
    placed = _place_waters(water_sites, ion_sites, length, spacing, rng)
    symbols = ["O", "H", "H"] * waters + [s for s, n in counts.items() for _ in range(n)]
    from ase import Atoms

    atoms = Atoms(symbols, positions=np.concatenate([placed, ion_sites]), cell=[length] * 3, pbc=True)
    _check_contacts(atoms, waters)
    return atoms


def _checked(ions: Mapping[str, int]) -> dict[str, int]:
    """Number of each ion, in the order given."""
    counts = {}
    for symbol, count in checks.mapping("ions", ions, "{'Na': 4, 'Cl': 4}").items():
        if not isinstance(symbol, str) or atomic_numbers.get(symbol, 0) == 0:
            near = checks.near_symbol(symbol) or "; name ions like 'Na' or 'Cl'"
            raise InputError(f"{symbol!r} is not a chemical symbol{near}")
        counts[symbol] = checks.count(f"the number of {symbol}", count, least=0, most=MOST)
    _check_neutral(counts)
    return counts


def _check_neutral(counts: Mapping[str, int]) -> None:
    """Warn of cations and anions that do not compensate; a single kind of ions is charged on purpose."""
    charges = {symbol: CHARGES.get(symbol) for symbol, count in counts.items() if count}
    known = [charge for charge in charges.values() if charge is not None]
    if len(known) < len(charges) or not known or min(known) > 0 or max(known) < 0:
        return
    net = sum(counts[symbol] * CHARGES[symbol] for symbol in charges)
    if net:
        listed = ", ".join(f"{counts[symbol]} {symbol} of {charge:+d} e" for symbol, charge in charges.items())
        checks.caution(
            f"the ions have a net charge of {net:+d} e ({listed}); a periodic box of them is neutralised by a uniform "
            "background. Is a number wrong?"
        )


def _size(
    counts: dict[str, int], waters: int | None, density: float | None, concentration: float | None
) -> tuple[int, float]:
    """Number of waters and the edge of the box in Å."""
    if density is not None:
        density = checks.quantity("density", density, "density")
    if concentration is not None:
        concentration = checks.quantity("concentration", concentration, "concentration")
    if waters is not None:
        waters = checks.count("waters", waters, least=0, most=MOST)
    gram = 1.0e24 / AVOGADRO  # g/mol in g/cm³ of one Å³
    salt = sum(n * float(atomic_masses[atomic_numbers[s]]) for s, n in counts.items())
    water = float(atomic_masses[8] + 2.0 * atomic_masses[1])
    first = next(iter(counts.values()), 0)
    if concentration is not None:
        if first == 0:
            raise InputError("a concentration needs at least one ion; give waters and density for pure water")
        if waters is not None and density is not None:
            raise InputError("waters, density and concentration contradict each other; give two of them")
        volume = first / (concentration * AVOGADRO / 1.0e27)
        if waters is None:
            waters = round(((density or 1.0) * volume / gram - salt) / water)
    elif waters is not None:
        volume = (waters * water + salt) * gram / (density or 1.0)
    else:
        raise InputError("give waters, or a concentration in mol/L")
    if waters < 0:
        raise InputError(
            f"concentration = {concentration:g} mol/L at a density of {density or 1.0:g} g/cm³ leaves no room for "
            "water; lower the concentration or raise the density"
        )
    if waters + sum(counts.values()) == 0:
        raise InputError("neither waters nor ions: the box would be empty")
    if waters + sum(counts.values()) > MOST:
        raise InputError(f"{waters} waters and {sum(counts.values())} ions are more molecules than can be placed")
    return waters, volume ** (1.0 / 3.0)


def _lattice(molecules: int, length: float) -> tuple[np.ndarray, float]:
    """Sites of the cubic, body- or face-centred lattice that keeps at least ``molecules`` sites farthest apart."""
    bases = {
        1.0: [[0, 0, 0]],
        math.sqrt(3.0) / 2.0: [[0, 0, 0], [0.5, 0.5, 0.5]],
        math.sqrt(0.5): [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    }
    best: tuple[float, int, list[list[float]]] | None = None
    for distance, basis in bases.items():
        cells = math.ceil((molecules / len(basis)) ** (1.0 / 3.0) - 1e-9)
        candidate = (distance * length / cells, cells, basis)
        best = candidate if best is None or candidate[0] > best[0] else best
    assert best is not None
    spacing, cells, basis = best
    corners = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    return ((corners + np.array(basis)).reshape(-1, 3)) * length / cells, spacing


def _spread(sites: np.ndarray, molecules: int, ions: int, length: float, rng: np.random.Generator) -> np.ndarray:
    """Random choice of sites, ions first; of several the one whose ions are farthest apart."""
    best, choice = -1.0, rng.permutation(len(sites))[:molecules]
    for _ in range(ARRANGEMENTS if ions > 1 else 0):
        order = rng.permutation(len(sites))[:molecules]
        chosen = sites[order[:ions]]
        apart = _distances(chosen[:, None], chosen[None], length)
        closest = float(np.min(apart[~np.eye(ions, dtype=bool)]))
        if closest > best:
            best, choice = closest, order
    return choice


def _place_waters(
    sites: np.ndarray, ions: np.ndarray, length: float, spacing: float, rng: np.random.Generator
) -> np.ndarray:
    """Turn every molecule to the best of some random orientations; shape (3 waters, 3)."""
    half = ANGLE / 2.0
    arms = BOND_LENGTH * np.array([[math.sin(half), math.cos(half), 0.0], [-math.sin(half), math.cos(half), 0.0]])
    # Start from the centres alone, then each molecule sees the hydrogens placed before it.
    # Ions count as molecules of three atoms at one place.
    atoms = np.repeat(np.concatenate([sites, ions]), 3, axis=0).reshape(-1, 3, 3)
    neighbors = _neighbors(atoms[:, 0], 1.8 * spacing, length)
    for i, site in enumerate(sites):
        trial = np.einsum("oab,hb->oha", _rotations(rng, ORIENTATIONS), arms) + site
        near = atoms[neighbors[i]].reshape(-1, 3)
        if len(near):
            score = np.min(_distances(trial[:, :, None], near, length), axis=(1, 2))
            trial = trial[[int(np.argmax(score))]]
        atoms[i, 1:] = trial[0]
    return atoms[: len(sites)].reshape(-1, 3)


def _neighbors(points: np.ndarray, cutoff: float, length: float) -> list[np.ndarray]:
    """For each point, the others within the cut-off under the periodic boundary."""
    from vesin import NeighborList

    search = NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    first, second = search.compute(
        points=points, box=np.eye(3) * length, periodic=np.array([True] * 3), quantities="ij"
    )
    first, second = first[first != second], second[first != second]
    return np.split(second.astype(int), np.cumsum(np.bincount(first.astype(int), minlength=len(points)))[:-1])


def _rotations(rng: np.random.Generator, count: int) -> np.ndarray:
    """Uniform random rotation matrices from unit quaternions (Shoemake)."""
    q = rng.normal(size=(count, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _distances(a: np.ndarray, b: np.ndarray, length: float) -> np.ndarray:
    vectors = a - b
    return np.linalg.norm(vectors - length * np.round(vectors / length), axis=-1)


def _check_contacts(atoms: Atoms, waters: int) -> None:
    from vesin import NeighborList

    search = NeighborList(cutoff=CLOSEST, full_list=False)
    box, periodic = atoms.cell.array, np.array([True] * 3)
    first, second, distance = search.compute(points=atoms.positions, box=box, periodic=periodic, quantities="ijd")
    water = 3 * waters
    molecule = np.concatenate([np.arange(water) // 3, water + np.arange(len(atoms) - water)])
    clash = molecule[first] != molecule[second]
    if np.any(clash):
        k = int(np.flatnonzero(clash)[np.argmin(distance[clash])])
        raise InputError(f"atoms {first[k]} and {second[k]} start {distance[k]:.2f} Å apart; ask for a lower density")
