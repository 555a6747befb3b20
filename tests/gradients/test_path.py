"""Derivatives through the trajectory: closed forms, finite differences, both modes, memory, chaos."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from jaxelyte.dynamics import NVE, NVT, simulate
from jaxelyte.errors import InputError
from jaxelyte.gradients import energy, path_gradient
from jaxelyte.gradients.path import Shape, _backward, _divisor
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.units import ACCELERATION
from toys import Well


def square(potential: object, system: object, neighbors: object) -> jax.Array:
    return jnp.sum(system.positions**2)  # type: ignore[attr-defined]


def one_atom() -> Atoms:
    atoms = Atoms("Ar", [[0.3, 0.0, 0.0]], cell=[10.0] * 3, pbc=True)
    atoms.set_velocities([[0.0, 0.0, 0.0]])
    return atoms


def test_an_oscillator_is_differentiated_exactly() -> None:
    """x = x0 cos(ωt): average of x² and its derivative by k in closed form; the error of velocity Verlet is O(dt²)."""
    k, mass, timestep, steps, every = 1.7, 39.948, 0.5, 2000, 10
    found = path_gradient(
        square,
        HarmonicRestraint(np.zeros((1, 3)), k),
        one_atom(),
        NVE(),
        steps=steps,
        timestep=timestep,
        every=every,
        replicas=1,
        velocities="atoms",
    )
    times = timestep * every * np.arange(1, steps // every + 1)
    omega = math.sqrt(k * ACCELERATION / mass)
    value = 0.09 * np.mean(np.cos(omega * times) ** 2)
    slope = 0.09 * np.mean(-np.sin(2.0 * omega * times) * times * omega / (2.0 * k))
    # (ω dt)²/24 of the frequency, times the phase ω t that has been gone through.
    tolerance = (omega * timestep) ** 2 / 24.0 * omega * times[-1]
    assert found.value == pytest.approx(value, abs=0.09 * tolerance)
    assert float(found.gradient.k) == pytest.approx(slope, abs=0.09 * tolerance * omega * times[-1] / k)
    np.testing.assert_allclose(found.times, times)


def liquid() -> Atoms:
    lattice = np.mgrid[0:3, 0:3, 0:3].reshape(3, -1).T * 4.0
    atoms = Atoms("Ar27", lattice, cell=[12.0] * 3, pbc=True)
    atoms.rattle(0.1, seed=3)
    return atoms


LJ = LennardJones({"Ar": 3.4}, {"Ar": 0.0104}, cutoff=5.9, switch=5.0, tail_correction=False)


@pytest.mark.parametrize(
    "ensemble",
    [
        pytest.param(NVE(), marks=pytest.mark.slow),
        pytest.param(NVT(120.0, "langevin"), marks=pytest.mark.slow),
        pytest.param(NVT(120.0, "nose-hoover"), marks=pytest.mark.more),
        pytest.param(NVT(120.0, "svr"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_both_modes_and_finite_differences_agree(ensemble: NVE | NVT) -> None:
    """For 0.2 ps, with neighbour lists and every integrator, to the digits of a difference quotient."""
    settings = dict(steps=40, timestep=5.0, every=4, replicas=2, seed=7, velocities=120.0)
    found = path_gradient(energy, LJ, liquid(), ensemble, **settings)
    forward = path_gradient(energy, LJ, liquid(), ensemble, mode="forward", **settings)
    for name, step in (("sigma", 1e-5), ("epsilon", 1e-8)):
        value = getattr(LJ, name)
        ends = [
            path_gradient(energy, LJ.replace(**{name: value + sign * step}), liquid(), ensemble, **settings).value
            for sign in (1.0, -1.0)
        ]
        slope = (ends[0] - ends[1]) / (2.0 * step)
        assert float(getattr(found.gradient, name)[0]) == pytest.approx(slope, rel=1e-5)
        assert float(getattr(forward.gradient, name)[0]) == pytest.approx(
            float(getattr(found.gradient, name)[0]), rel=1e-9
        )
    # The slopes along the unit vector add up to the length of the gradient.
    length = math.sqrt(sum(float(np.sum(np.asarray(g) ** 2)) for g in jax.tree.leaves(found.gradient)))
    assert np.mean(found.slope[-1]) == pytest.approx(length, rel=1e-9)


@pytest.mark.more
def test_the_path_is_that_of_simulate() -> None:
    ensemble = NVT(120.0, "langevin")
    found = path_gradient(
        energy, LJ, liquid(), ensemble, steps=40, timestep=5.0, every=4, replicas=2, seed=7, velocities=120.0
    )
    run = simulate(
        LJ, liquid(), ensemble, steps=40, timestep=5.0, every=4, replicas=2, seed=7, velocities=120.0, progress=False
    )
    expected = np.cumsum(run.log["potential"][1:], axis=0) / np.arange(1, 11)[:, None]
    np.testing.assert_allclose(found.running, expected, rtol=1e-12)


@pytest.mark.parametrize("thermostat", ["nose-hoover", "nose-hoover-massive", "langevin", "svr"])
def test_the_centre_of_mass_moves_as_in_simulate(thermostat: str) -> None:
    """Momenta of the atoms lose their mean where the thermostat would count it as heat, and only there."""
    from jaxelyte.dynamics.integrators import make_integrator
    from jaxelyte.dynamics.start import batch_systems
    from jaxelyte.gradients.path import _start

    atoms, ensemble = liquid(), NVT(120.0, thermostat)  # type: ignore[arg-type]
    atoms.set_velocities(np.tile([0.01, 0.0, 0.0], (len(atoms), 1)))
    integrator = make_integrator(ensemble, len(atoms), momentum_conserved=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the motion is removed
        start = _start(atoms, batch_systems(atoms, 1), ensemble, 0, "atoms", True, integrator)
    moves = float(jnp.max(jnp.abs(start.velocities))) > 1e-6
    assert moves == (thermostat in ("nose-hoover-massive", "langevin"))


@pytest.mark.slow
def test_memory_grows_as_the_square_root_of_the_steps() -> None:
    """Bytes that the compiled backward pass needs: 16 times the steps take less than 6 times the room."""
    from jaxelyte.dynamics.integrators import make_integrator
    from jaxelyte.dynamics.start import batch_systems
    from jaxelyte.gradients.path import SKIN, _start
    from jaxelyte.neighbors.loop import plan_lists
    from jaxelyte.potentials.preparation import prepare_potential

    systems = batch_systems(liquid(), 4)
    ready = prepare_potential(LJ, systems)
    integrator = make_integrator(NVE(), 27, momentum_conserved=True)
    start = _start(liquid(), systems, NVE(), 0, 100.0, True, integrator)
    plan = plan_lists(systems, ready.requirements(), SKIN)
    sizes = []
    for side in (8, 32):
        shape = Shape(integrator, side, side, energy)
        compiled = _backward.lower(shape, plan, ready, systems, start, jnp.asarray(2.0)).compile()
        sizes.append(compiled.memory_analysis().temp_size_in_bytes)
    assert sizes[1] < 6.0 * sizes[0]
    assert [_divisor(n) for n in (1, 12, 16, 17)] == [1, 3, 4, 1]


@pytest.mark.slow
def test_chaos_is_measured() -> None:
    """A hot liquid: slopes grow exponentially, and the horizon ends before the path does."""
    found = path_gradient(
        square, LJ, liquid(), NVE(), steps=1600, timestep=5.0, every=40, replicas=8, seed=1, velocities=300.0
    )
    assert found.growth > 0.0
    # Lyapunov times of simple liquids: some tenths of a ps to a ps.
    assert 100.0 < 1.0 / found.growth < 3000.0
    assert found.horizon < found.times[-1]
    assert "grow as exp(t/" in repr(found)
    for growth in (-1e-4, 0.0, math.nan):  # of paths that are not chaotic
        assert "grow" not in repr(replace(found, growth=growth))
    assert np.mean(np.abs(found.slope[-1])) > 20.0 * np.mean(np.abs(found.slope[5]))


def test_bad_input_is_named() -> None:
    for arguments, message in (
        (dict(steps=10, every=3), "must divide"),
        (dict(steps=0), "positive integer"),
        (dict(steps=10, mode="both"), "mode must be one of 'reverse', 'forward'"),
        (dict(steps=10, trainable=lambda _: False), r"such as \.k"),
    ):
        with pytest.raises(InputError, match=message):
            path_gradient(square, Well(jnp.asarray(1.0)), one_atom(), NVE(), velocities="atoms", **arguments)
