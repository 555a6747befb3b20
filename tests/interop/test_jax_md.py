"""Our potentials inside jax-md."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import jaxelyte as jxl
from jaxelyte.errors import UnsupportedError
from toys import Argon


@pytest.fixture(autouse=True)
def standard_promotion() -> object:
    """jax-md itself mixes dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def argon(shear: float = 0.0) -> Atoms:
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(3)
    atoms.set_cell(atoms.cell.array + np.array([[0, 0, 0], [shear, 0, 0], [0, shear, 0]]), scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.mark.parametrize(
    "shear", [pytest.param(0.0, marks=pytest.mark.slow), pytest.param(3.0, marks=pytest.mark.more)]
)
def test_energy_and_forces_are_ours(shear: float) -> None:
    atoms = argon(shear)
    neighbor_fn, energy_fn = jxl.to_jax_md(Argon(exact=True), atoms, skin=0.5)
    R = jnp.asarray(atoms.positions + np.array([40.0, -30.0, 7.0]))  # not wrapped
    neighbors = neighbor_fn.allocate(R)
    atoms.calc = jxl.Calculator(Argon())
    np.testing.assert_allclose(energy_fn(R, neighbor=neighbors), atoms.get_potential_energy(), rtol=1e-12)
    forces = -jax.grad(energy_fn)(R, neighbor=neighbors)
    np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-12)


@pytest.mark.slow
def test_jax_md_integrator_conserves_energy() -> None:
    from jax_md import quantity, simulate, space

    atoms = argon()
    neighbor_fn, energy_fn = jxl.to_jax_md(Argon(), atoms)
    _, shift = space.free()
    mass = float(atoms.get_masses()[0])
    init, step = simulate.nve(energy_fn, shift, dt=4.0 * 0.0982269)
    R = jnp.asarray(atoms.positions)
    neighbors = neighbor_fn.allocate(R)
    state = init(jax.random.PRNGKey(0), R, kT=8.617e-5 * 80, mass=mass, neighbor=neighbors)

    def total(state: object, neighbors: object) -> float:
        kinetic = quantity.kinetic_energy(momentum=state.momentum, mass=state.mass)
        return float(kinetic + energy_fn(state.position, neighbor=neighbors))

    start = total(state, neighbors)
    step = jax.jit(step)
    for _ in range(50):
        neighbors = neighbors.update(state.position)
        state = step(state, neighbor=neighbors)
    assert not neighbors.did_buffer_overflow
    assert abs(total(state, neighbors) - start) < 2e-3


def test_small_and_partly_periodic_cells_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="less than twice the cut-off"):
        jxl.to_jax_md(Argon(), bulk("Ar", "fcc", a=5.6, cubic=True))
    slab = argon()
    slab.pbc = (True, True, False)
    with pytest.raises(UnsupportedError, match="some directions only"):
        jxl.to_jax_md(Argon(), slab)
