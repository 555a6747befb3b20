"""Pair potentials of the ions of a run, without their screened Coulomb term: what the theories need of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.observables.curve import Pair
from jaxelyte.registry import POTENTIALS, takes_atoms

if TYPE_CHECKING:
    from jaxelyte.cli.sections import RunFile
    from jaxelyte.potentials.base import Potential

APART = 1000.0
"""Å, where two ions no longer feel each other."""


def pair_tables(config: RunFile | None, pairs: Sequence[Pair], r: np.ndarray) -> dict[Pair, np.ndarray]:
    """Energies in eV of two ions alone at distances r in Å, less those of the ions apart.

    Args:
        config: the run file.
        pairs: of ions.
        r: (points,), Å.

    Raises:
        InputError: no run file, or one whose potential cannot be read again, or is not made for two ions alone.
    """
    if config is None:
        raise InputError("the potential of the run is unknown; only runs from a run file record it")
    return {pair: _table(config, pair, r) for pair in pairs}


def _table(config: RunFile, pair: Pair, r: np.ndarray) -> np.ndarray:
    import jax
    from ase import Atoms

    from jaxelyte.neighbors import neighbor_lists
    from jaxelyte.potentials.topology import idle_terms_allowed
    from jaxelyte.system import System

    potential = _short_range(config)

    def dimer(distance: float) -> System:
        return System.from_atoms(Atoms("".join(pair), [[0.0, 0.0, 0.0], [0.0, 0.0, distance]]))

    with idle_terms_allowed():  # a barrier is between other species than these
        prepared = potential.prepare(dimer(float(r[0])))
    energy = jax.jit(prepared.energy)
    capacities = (1,) * len(prepared.requirements())
    values = []
    for distance in (*r, APART):
        system = dimer(float(distance))
        values.append(float(energy(system, neighbor_lists(system, prepared, capacities=capacities))))
    return np.array(values[:-1]) - values[-1]


def _short_range(config: RunFile) -> Potential:
    """The sum of all terms that are not Coulomb terms, those that models keep as their baselines left out, too."""
    from jaxelyte.cli.objects import build_term

    terms = [term for term in config.potential if term.type != "coulomb"]
    wrong = [term.type for term in terms if takes_atoms(POTENTIALS.find(term.type))]
    if wrong or not terms:
        raise InputError(f"the potential has {wrong[0] if wrong else 'no'} terms that say what two ions alone feel")
    return reduce(add, [_without_coulomb(build_term(term, None)) for term in terms])


def _without_coulomb(potential: Potential) -> Potential:
    from jaxelyte.potentials.base import Scaled, Sum
    from jaxelyte.potentials.coulomb import ScreenedCoulomb
    from jaxelyte.potentials.nequip import NequIPPotential

    if isinstance(potential, Scaled):
        return potential.factor * _without_coulomb(potential.potential)
    if isinstance(potential, NequIPPotential):
        return potential.without_baseline()
    if not isinstance(potential, Sum):
        return potential
    return reduce(add, [_without_coulomb(one) for one in potential.terms if not isinstance(one, ScreenedCoulomb)])
