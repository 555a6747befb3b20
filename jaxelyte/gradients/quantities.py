"""Quantities of one frame, for `Reweighting` and `fit_observables`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxelyte import checks
from jaxelyte.arrays import HashableArray
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.free_energy.insertion import checked_temperature, particle, with_one_more
from jaxelyte.lattice import combine
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.neighbors.loop import ListPlan, build_lists, current_lists, overflowed, plan_lists
from jaxelyte.observables import RDF
from jaxelyte.observables.sampling import analysed, first_systems
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.potentials.derivatives import energy_forces_stress
from jaxelyte.potentials.preparation import prepare_potential
from jaxelyte.potentials.topology import idle_terms_allowed
from jaxelyte.system import System, batch_of
from jaxelyte.units import BOLTZMANN, EV_PER_A3_IN_GPA


@dataclass(frozen=True)
class FrameRDF:
    """g(r) of one frame, (pairs, bins); hashable, so that it is static under jit.

    Args:
        observable: prepared for the frames.
    """

    observable: RDF

    @property
    def r(self) -> np.ndarray:
        """(bins,), Å, centres."""
        assert self.observable.r_max is not None
        assert self.observable.bins is not None
        return (np.arange(self.observable.bins) + 0.5) * self.observable.r_max / self.observable.bins

    def __call__(self, potential: Potential, system: System, neighbors: Neighbors) -> Array:
        found = self.observable.update(self.observable.init(system), system)
        dtype = system.positions.dtype
        bins = len(self.r)
        edges = np.linspace(0.0, float(self.observable.r_max or 0.0), bins + 1)
        shell = jnp.asarray(4.0 * np.pi / 3.0 * np.diff(edges**3), dtype)
        density = found.density.high + found.density.low
        return found.counts.astype(dtype) / (density[:, None] * shell)


def frame_rdf(source: Any, pairs: Any, *, r_max: float | None = None, bins: int | None = None) -> FrameRDF:
    """`FrameRDF` for the frames of a run; see `rdf` for the arguments."""
    trajectory = analysed(source)
    return FrameRDF(RDF(pairs, r_max=r_max, bins=bins).prepare(first_systems(trajectory), trajectory.cells))


def pressure_virial(potential: Potential, system: System, neighbors: Neighbors) -> Array:
    """Pressure of the interactions in GPa, -tr(σ)/3; that of the ideal gas, N k_B T/V, does not depend on θ."""
    stress = energy_forces_stress(potential, system, neighbors).stress
    return -jnp.trace(stress) / 3.0 * EV_PER_A3_IN_GPA


@dataclass(frozen=True)
class InsertionFactor:
    """Mean Boltzmann factor of one more particle at fixed places of the cell; hashable; see `insertion_factor`.

    Attributes:
        number: atomic number of the particle.
        mass: g/mol.
        temperature: K.
        places: (places, 3), fractional coordinates.
        plan: lists of the system with the particle.
        structure: of the potential, prepared for one more atom.
    """

    number: int
    mass: float
    temperature: float
    places: HashableArray
    plan: ListPlan
    structure: Any

    def __call__(self, potential: Potential, system: System, neighbors: Neighbors) -> Array:
        places = jnp.asarray(self.places.array, system.positions.dtype)
        many = _inserted(system, places, self.number, self.mass)
        lists, state = current_lists(self.plan, build_lists(self.plan, many), many)
        ready = jax.tree.unflatten(self.structure, jax.tree.leaves(potential))
        energies = ready.energies(many, lists) - potential.energy(system, neighbors)
        factor = jnp.exp(-energies / (BOLTZMANN * self.temperature))
        # An overlap whose energy is not finite has no weight; a list without room makes all of it worthless.
        factor = jnp.where(jnp.isfinite(energies), factor, 0.0)
        return jnp.where(overflowed(self.plan, state), jnp.nan, jnp.mean(factor))

    def chemical_potential(self, mean: Array) -> Array:
        """μ_ex = -k_B T ln <factor> in eV: the ``function`` of a `Target` or of a gradient. Constant volume.

        Without the reference energy of the particle (`Potential.reference`), which `widom` adds to its value.
        """
        return -BOLTZMANN * self.temperature * jnp.log(mean)


def insertion_factor(
    source: Any, potential: Potential, symbol: str, *, places: int = 64, temperature: float | None = None
) -> InsertionFactor:
    """Widom's Boltzmann factor <exp(-ΔU/k_B T)> of a particle, as a quantity with derivatives by all parameters.

    With `InsertionFactor.chemical_potential` as the function of a `Target` a parameter is tuned to an excess chemical
    potential. Where insertion fails (see `widom`) take `free_energy_gradient` instead.

    Args:
        source: a run, or anything else with frames, at constant volume.
        potential: of the system with one more particle.
        symbol: its chemical symbol.
        places: fixed points of a grid without regular rows (Sobol) in each frame; the liquid moves past them.
        temperature: K; that of the run by default.

    Raises:
        InputError: no such symbol, temperature, cell or frame.
        UnsupportedError: a potential with parameters for each atom.
    """
    from scipy.stats import qmc

    potential = as_potential(potential)
    number, mass = particle(symbol)
    trajectory = analysed(source)
    found = checked_temperature(source, temperature, "insertion")
    places = checks.count("places", places, most=1_000_000)
    if not all(trajectory.pbc) or len(trajectory) == 0:
        raise InputError("insertion needs frames in a cell that is periodic in all directions")
    points = qmc.Sobol(3, rng=0).random(places)
    system = System.from_atoms(trajectory.frame(len(trajectory) - 1))
    many = _inserted(system, jnp.asarray(points, system.positions.dtype), number, mass)
    ready = prepare_potential(potential, jax.tree.map(lambda x: x[:1], many))
    with idle_terms_allowed():  # a term may act on the particle alone
        before = prepare_potential(potential, batch_of(system, 1))
    if [np.shape(leaf) for leaf in jax.tree.leaves(ready)] != [np.shape(leaf) for leaf in jax.tree.leaves(before)]:
        raise UnsupportedError(
            "this potential has other parameters for one more atom, so that the insertion has no derivatives by them; "
            "take free_energy_gradient"
        )
    # Liquids fluctuate: twice the room of this frame.
    plan = plan_lists(many, ready.requirements(), 1e-3, 2.0)
    return InsertionFactor(number, mass, float(found), HashableArray(points), plan, jax.tree.structure(ready))


def _inserted(system: System, places: Array, number: int, mass: float) -> System:
    """A batch of the system with one more particle, at each of the places."""
    many = batch_of(with_one_more(system, number, mass), len(places))
    return many.replace(positions=many.positions.at[:, -1].set(combine(places, system.cell)))
