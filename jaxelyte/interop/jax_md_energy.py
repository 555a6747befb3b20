"""Our potentials as jax-md energy functions, for users of its integrators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte import checks
from jaxelyte.errors import UnsupportedError
from jaxelyte.lattice import combine
from jaxelyte.neighbors.cells import import_jax_md
from jaxelyte.neighbors.lists import NeighborList, Neighbors, NeighborSpec
from jaxelyte.neighbors.search import member_mask, nearest_shift
from jaxelyte.potentials.base import Potential, as_potential, longest_cutoff
from jaxelyte.potentials.preparation import prepare_potential
from jaxelyte.system import System, as_system, perpendicular_widths

if TYPE_CHECKING:
    from ase import Atoms


def to_jax_md(
    potential: Potential, atoms: Atoms | System, *, skin: float = 1.0, capacity_multiplier: float = 1.25
) -> tuple[Any, Any]:
    """Neighbour and energy functions in jax-md's convention, for real (not fractional) coordinates in Å.

    ``neighbors = neighbor_fn.allocate(R); energy_fn(R, neighbor=neighbors)`` in eV, without the constant reference
    energies. Units of jax-md's integrators are jax-md's: with masses in g/mol, the unit of time is 10.18 fs, as in ASE.

    Args:
        potential: any `Potential`.
        atoms: species, masses and cell; the cell is fixed.
        skin: Å, jax-md's ``dr_threshold``.
        capacity_multiplier: see jax-md.

    Raises:
        InputError: atoms that the potential cannot describe.
        UnsupportedError: a cell narrower than twice the cut-off, or partly periodic: jax-md's lists contain one image
            only. `simulate` and `Calculator` support both.
    """
    potential = as_potential(potential)
    skin = checks.quantity("skin", skin, "skin")
    capacity_multiplier = checks.number("capacity_multiplier", capacity_multiplier, least=1.0, most=1000.0)
    system = as_system(atoms)
    prepared = prepare_potential(potential, system)
    cell, cutoff = np.asarray(system.cell, np.float64), max(longest_cutoff(prepared), 1e-3)
    if any(system.pbc) and not all(system.pbc):
        raise UnsupportedError(
            f"jax-md does not support cells that are periodic along some directions only: pbc {system.pbc}"
        )
    if all(system.pbc) and np.min(perpendicular_widths(cell)) < 2 * cutoff:
        raise UnsupportedError(
            f"the cell is {np.min(perpendicular_widths(cell)):.2f} Å wide, less than twice the cut-off {cutoff} Å: "
            "jax-md's lists contain one image of each neighbour; use simulate or Calculator"
        )
    partition, space = import_jax_md()
    with jax.numpy_dtype_promotion("standard"):
        if all(system.pbc):
            displacement, _ = space.periodic_general(cell.T, fractional_coordinates=False)
        else:
            displacement, _ = space.free()
        neighbor_fn = partition.neighbor_list(
            displacement,
            1.0,
            cutoff,
            dr_threshold=skin,
            capacity_multiplier=capacity_multiplier,
            disable_cell_list=True,
            format=partition.Dense,
        )

    def energy_fn(R: jax.Array, neighbor: Any, **_: Any) -> jax.Array:
        now = system.replace(positions=R)
        specs = prepared.requirements()
        lists = tuple(_from_jax_md(now, neighbor.idx, spec) for spec in specs)
        return prepared.energy(now, Neighbors(lists, specs))

    return neighbor_fn, energy_fn


def _from_jax_md(system: System, index: jax.Array, spec: NeighborSpec) -> NeighborList:
    """A dense jax-md list as ours: nearest images, only members of the list within its cut-off."""
    atoms = system.num_atoms
    frozen = jax.lax.stop_gradient(system.positions)
    vectors = jnp.take(frozen, index, axis=0, mode="clip") - frozen[:, None, :]
    shift = nearest_shift(system, vectors)
    vectors = vectors + combine(shift.astype(vectors.dtype), system.cell)
    member = member_mask(system, spec)
    keep = (index < atoms) & member[:, None] & jnp.take(member, index, mode="clip")
    keep = keep & (jnp.sum(vectors**2, axis=-1) < spec.cutoff**2)
    return NeighborList(jnp.where(keep, index, atoms).astype(jnp.int32), shift, spec.cutoff)
