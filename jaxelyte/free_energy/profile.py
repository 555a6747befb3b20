"""From weighted distances to a potential of mean force with its errors."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from jaxelyte import checks, units
from jaxelyte.errors import InputError
from jaxelyte.observables import PMFResult, RDFResult, pmf
from jaxelyte.observables.blocks import block_error

BLOCKS = 64
"""Stretches of time that errors are found from."""

STRETCHES = 16
"""Stretches that are kept for errors of positions and heights of minima."""

REFERENCE = 1.0
"""Å at the far end of the range, over which the potential of mean force is set to its known mean."""


def block_bounds(samples: int, blocks: int = BLOCKS) -> list[tuple[int, int]]:
    """Begin and end of stretches that contain all samples, alike in length to one."""
    return list(pairwise(np.linspace(0, samples, min(blocks, samples) + 1).astype(int)))


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
    pulls: np.ndarray | None,
    species: tuple[str, str],
    temperature: float,
    samples: int,
    charges: Mapping[str, float] | None,
    permittivity: float | None,
) -> PMFResult:
    """A potential of mean force from the weights in bins, and how much each stretch of time moves them.

    Args:
        edges: (bins + 1,), Å.
        whole: (bins,), weights.
        pulls: (stretches, bins), to first order what each stretch adds to the deviation of ln of the weight; None where
            there are to be no error bars.
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
    moved = np.zeros((0, len(g)))
    error = np.full(len(g), np.nan)
    if pulls is not None:
        end = 0.5 * (edges[1:] + edges[:-1]) > edges[-1] - REFERENCE
        moved = (pulls - (pulls[:, end] @ (whole[end] / whole[end].sum()))[:, None]) * len(pulls)
        error = g * block_error(moved[:, None]).error
        moved = np.array([moved[a:b].mean(axis=0) for a, b in block_bounds(len(moved), STRETCHES)])
    # Leaving one of them out of their mean gives what leaving out its stretch gave, to first order.
    stretches = g * (1.0 + moved)
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


def pulls_of(sums: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """How much stretches move ln of the weights in bins, if these are sums over stretches.

    Args:
        sums: (stretches, bins), weights of each.
        whole: (bins,), their sum.
    """
    share = sums / np.where(whole > 0.0, whole, 1.0)
    return share - share.mean(axis=0)


def checked_species(species: Any) -> tuple[str, str]:
    """Names of two species.

    Raises:
        InputError: anything else.
    """
    given = species.split("-") if isinstance(species, str) else species
    names = given if isinstance(given, tuple | list) else ()
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
