"""Insertion as a quantity with derivatives: Widom's code, finite differences, a target that is met, refusals."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import optax
import pytest
from ase import Atoms

from jaxelyte.dynamics import NVT, simulate
from jaxelyte.errors import InputError
from jaxelyte.free_energy import widom
from jaxelyte.gradients import Reweighting, Target, fit_observables, insertion_factor
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.potentials.restraints import HarmonicRestraint

TEMPERATURE = 180.0
LANGEVIN = NVT(TEMPERATURE, "langevin")


def fluid(epsilon: float = 0.0104, solute: float = 0.006) -> LennardJones:
    """Argon and one more kind of particle."""
    return LennardJones({"Ar": 3.4, "Ne": 2.8}, {"Ar": epsilon, "Ne": solute}, cutoff=7.0, switch=6.0)


def gas() -> Atoms:
    """64 atoms at ρ σ³ = 0.3."""
    grid = np.mgrid[0:4, 0:4, 0:4].reshape(3, -1).T
    edge = 3.4 * (64 / 0.3) ** (1 / 3)
    return Atoms("Ar64", grid * edge / 4.0, cell=[edge] * 3, pbc=True)


@pytest.fixture(scope="module")
def run() -> Any:
    return simulate(fluid(), gas(), LANGEVIN, steps=6000, timestep=5.0, every=100, seed=1, replicas=2, progress=False)


@pytest.mark.slow
def test_it_is_what_widom_finds(run: Any) -> None:
    """Other places in the same frames."""
    factor = insertion_factor(run, fluid(), "Ne", places=64)
    samples = Reweighting(run, fluid(), discard=30)
    found = samples.gradient(factor, function=factor.chemical_potential, errors=False)
    expected = widom(run, fluid(), "Ne", discard=30, per_frame=100)
    assert found.error < 0.001
    assert abs(found.value - expected.value) < 3.0 * np.hypot(expected.error, found.error)
    assert abs(expected.value) > 0.005


@pytest.mark.more
def test_derivatives_are_finite_differences_on_the_same_frames(run: Any) -> None:
    """By the solvent's parameter, which moves the ensemble too, and the solute's, which does not."""
    factor = insertion_factor(run, fluid(), "Ne", places=16)
    samples = Reweighting(run, fluid(), discard=30)
    found = samples.gradient(factor, function=factor.chemical_potential, errors=False).gradient

    def value(**changes: float) -> float:
        mean = samples.average(factor, fluid(**changes)).value
        return float(factor.chemical_potential(mean))

    step = 1e-6
    slopes = []
    for name, at in (("epsilon", 0.0104), ("solute", 0.006)):
        slopes.append((value(**{name: at + step}) - value(**{name: at - step})) / (2.0 * step))
    assert min(np.abs(slopes)) > 0.5
    # In the order of atomic numbers: neon first.
    np.testing.assert_allclose(np.asarray(found.epsilon), slopes[::-1], rtol=1e-5)


@pytest.mark.slow
def test_a_pair_parameter_is_tuned_to_a_chemical_potential(run: Any) -> None:
    """ε of argon itself, from a quarter too small, to the μ_ex of the right one."""
    factor = insertion_factor(run, fluid(), "Ar", places=32)
    wanted = float(factor.chemical_potential(Reweighting(run, fluid(), discard=10).average(factor).value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = fit_observables(
            fluid(0.0078),
            [Target(factor, wanted, scale=0.001, function=factor.chemical_potential, name="mu")],
            gas(),
            LANGEVIN,
            iterations=15,
            steps=4000,
            optimizer=optax.adam(optax.cosine_decay_schedule(6e-4, 15), b1=0.5),
            trainable=lambda path: path == ".epsilon",
            timestep=5.0,
            every=100,
            replicas=2,
            seed=7,
            progress=False,
        )
    tuned = simulate(
        fit.potential, gas(), LANGEVIN, steps=8000, timestep=5.0, every=100, seed=11, replicas=2, progress=False
    )
    found = widom(tuned, fit.potential, "Ar", discard=10)
    # The target is an average of 50 frames of two replicas.
    assert abs(found.value - wanted) < 3.0 * np.hypot(found.error, 0.001)
    assert np.asarray(fit.potential.epsilon)[1] == pytest.approx(0.0104, rel=0.06)


def test_what_cannot_be_inserted_is_refused(run: Any) -> None:
    with pytest.raises(InputError, match="must be a chemical symbol"):
        insertion_factor(run, fluid(), "Xx")
    with pytest.raises(InputError, match="places must be a positive integer"):
        insertion_factor(run, fluid(), "Ne", places=0)
    with pytest.raises(InputError, match="temperature"):
        insertion_factor(run.trajectory, fluid(), "Ne")
    held = HarmonicRestraint(gas().positions, 0.1)
    with pytest.raises(InputError, match="64 anchors for 65 atoms"):
        insertion_factor(run, fluid() + held, "Ne")
