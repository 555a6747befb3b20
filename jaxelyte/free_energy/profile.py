"""From weighted distances to a potential of mean force with jackknife errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from jaxelyte import checks, units
from jaxelyte.errors import InputError
from jaxelyte.observables import PMFResult, RDFResult, pmf
from jaxelyte.observables.blocks import FEWEST

BLOCKS = 10
"""Stretches of a run whose omission, one at a time, gives the standard errors."""

REFERENCE = 1.0
"""Å at the far end of the range, over which the potential of mean force is set to its known mean."""


def block_bounds(samples: int) -> list[tuple[int, int]]:
    """Begin and end of stretches of one length; what is left over at the start is in none of them."""
    count = min(BLOCKS, samples)
    length = samples // count
    return list(pairwise(range(samples - count * length, samples + 1, length)))


def bin_edges(lowest: float, highest: float, width: float) -> np.ndarray:
    """Edges of bins that begin at multiples of their width.

    Raises:
        InputError: fewer than four bins.
    """
    first, last = np.floor(lowest / width + 1e-9), np.ceil(highest / width - 1e-9)
    if last - first < 4:
        raise InputError(f"distances from {lowest:.2f} to {highest:.2f} Å fill fewer than four bins of {width} Å")
    return width * np.arange(first, last + 1)


def distribution(edges: np.ndarray, weight: np.ndarray, level: float) -> np.ndarray:
    """g(r) up to a factor, set by ln g at the far end: weights per volume of the shell, (bins,).

    The last bins within `REFERENCE` have the mean g that ``level`` = <g> there says.
    """
    g = weight / (4.0 * np.pi / 3.0 * np.diff(edges**3))
    far = 0.5 * (edges[1:] + edges[:-1]) > edges[-1] - REFERENCE
    shell = np.diff(edges**3)[far]
    mean = np.sum(g[far] * shell) / np.sum(shell)
    return g * (level / mean) if mean > 0 else np.full(len(g), np.nan)


def profile(
    edges: np.ndarray,
    whole: np.ndarray,
    others: Sequence[np.ndarray],
    species: tuple[str, str],
    temperature: float,
    samples: int,
    charges: Mapping[str, float] | None,
    permittivity: float | None,
) -> PMFResult:
    """A potential of mean force from the weights in bins of all data, and of all but one stretch each.

    Args:
        edges: (bins + 1,), Å.
        whole: (bins,), weights.
        others: the same without one stretch each; none where there are to be no error bars.
        species: chemical symbols of the pair.
        temperature: K.
        samples: number of samples.
        charges: in e of both species, with ``permittivity``: the end of the range is then at the screened Coulomb
            energy instead of zero.
        permittivity: relative, of the solvent.
    """
    level = 1.0
    if charges is not None and permittivity is not None:
        r = 0.5 * (edges[1:] + edges[:-1])
        far, shell = r > edges[-1] - REFERENCE, np.diff(edges**3)
        energy = units.COULOMB * charges[species[0]] * charges[species[1]] / (permittivity * r)
        boltzmann = np.exp(-energy / (units.BOLTZMANN * temperature))
        level = float(np.sum((boltzmann * shell)[far]) / np.sum(shell[far]))
    g = distribution(edges, whole, level)
    without = np.array([distribution(edges, one, level) for one in others]).reshape(-1, len(g))
    count = len(without)
    error = np.full(len(g), np.nan)
    if count >= FEWEST:
        error = np.sqrt((count - 1) / count * np.sum((without - without.mean(axis=0)) ** 2, axis=0))
    # Pseudo-values: leaving one of them out of their mean gives what leaving out its stretch gave.
    stretches = count * g - (count - 1) * without
    nothing = np.full(len(g), np.nan)
    result = RDFResult(
        pairs=(species,),
        edges=edges,
        g=g,
        error=error,
        coordination=nothing,
        coordination_error=nothing,
        samples=samples,
        replicas=1,
        density=np.array([np.nan]),
        stretches=stretches[:, None],
    )
    return pmf(result, temperature, charges=charges, permittivity=permittivity)


def checked_species(species: Any) -> tuple[str, str]:
    """Names of two species.

    Raises:
        InputError: anything else.
    """
    names = species if isinstance(species, tuple | list) else ()
    if len(names) != 2 or not all(isinstance(name, str) and name for name in names):
        raise InputError(f"species must be two chemical symbols such as ('Na', 'Cl'), not {checks.shown(species)}")
    return names[0], names[1]


def checked_screening(
    charges: Mapping[str, float] | None, permittivity: float | None, species: tuple[str, str]
) -> None:
    """Charges of both species in e and the solvent's permittivity, or neither.

    Raises:
        InputError: one without the other, charges that are missing, or values that they cannot have.
    """
    if (charges is None) != (permittivity is None):
        raise InputError("the screened Coulomb energy needs both charges= and permittivity=")
    if charges is None:
        return
    table = checks.mapping("charges", charges, "{'Na': 1.0, 'Cl': -1.0}")
    missing = [name for name in species if name not in table]
    if missing:
        raise InputError(f"charges = {table} say nothing about {', '.join(missing)}")
    for name, charge in table.items():
        checks.quantity(f"charges[{name!r}]", charge, "charge", zero=True, signed=True)
    checks.quantity("permittivity", permittivity, "permittivity")


def symbols_of(atoms: Any, pair: tuple[int, int]) -> tuple[str, str]:
    """Chemical symbols of two atoms."""
    one = atoms[0] if isinstance(atoms, list) else atoms
    if max(pair) >= len(one):
        raise InputError(f"pair = {pair} names an atom beyond the {len(one)} of the system")
    return str(one[pair[0]].symbol), str(one[pair[1]].symbol)
