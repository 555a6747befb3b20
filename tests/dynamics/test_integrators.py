"""Integrators: order, conservation, exact distributions."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import fs

from jaxelyte.dynamics import NVE, NVT, simulate
from jaxelyte.dynamics.integrators import make_integrator
from jaxelyte.dynamics.start import maxwell_velocities
from jaxelyte.errors import InputError
from jaxelyte.units import ACCELERATION, BOLTZMANN
from toys import Argon, Well

ALL = [
    NVE(),
    NVT(300.0),
    NVT(300.0, "nose-hoover-massive"),
    NVT(300.0, "langevin"),
    NVT(300.0, "svr"),
]
# Slow thermostats, so that the time steps of the test are in the asymptotic regime.
ASYMPTOTIC = [NVE(), NVT(300.0, tau=400.0), NVT(300.0, "nose-hoover-massive", tau=400.0), *ALL[3:]]


def oscillators(count: int = 5) -> Atoms:
    rng = np.random.default_rng(2)
    atoms = Atoms(f"Ar{count}", rng.uniform(-2.0, 2.0, (count, 3)))
    atoms.set_velocities(rng.normal(0, 0.003, (count, 3)) / fs)
    return atoms


@pytest.mark.parametrize("ensemble", ASYMPTOTIC, ids=str)
def test_conserved_quantity_converges_with_the_square_of_the_step(ensemble: NVE | NVT) -> None:
    """Regression of log(error) on log(dt): a symmetric splitting of second order has slope 2.

    That of the stochastic thermostats is the energy less the heat they gave, which itself fluctuates by 4 eV.
    """
    steps = np.array([2.0, 4.0, 8.0])
    errors = []
    for dt in steps:
        run = simulate(Well(0.5), oscillators(), ensemble, steps=int(3200 / dt), timestep=dt, every=1, progress=False)
        conserved = run.log["conserved"][:, 0]
        errors.append(np.abs(conserved - conserved[0]).max())
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert 1.8 < slope < 2.2


def test_harmonic_oscillator_follows_the_closed_form() -> None:
    """x(t) = x0 cos ωt + v0/ω sin ωt; velocity Verlet shifts ω by (ω dt)²/24."""
    k, dt = 0.5, 2.0
    atoms = oscillators(1)
    mass = atoms.get_masses()[0]
    omega = np.sqrt(k * ACCELERATION / mass)
    run = simulate(Well(k), atoms, NVE(), steps=1000, timestep=dt, every=10, progress=False)
    t = run.log["time"][:, None]
    expected = atoms.positions * np.cos(omega * t) + atoms.get_velocities() * fs / omega * np.sin(omega * t)
    amplitude = np.abs(expected).max()
    tolerance = 3.0 * amplitude * omega * t[-1, 0] * (omega * dt) ** 2 / 24
    assert tolerance < 0.05 * amplitude
    np.testing.assert_allclose(np.asarray(run.trajectory.positions)[:, 0, 0], expected, atol=tolerance)


@pytest.mark.parametrize("ensemble", ALL[1:], ids=lambda e: e.thermostat)
def test_canonical_widths_of_a_harmonic_well(ensemble: NVT) -> None:
    """⟨½ k x²⟩ = ⟨½ m v²⟩ = k_B T/2 for each degree of freedom, in standard errors over independent replicas.

    One global chain on identical oscillators is not ergodic, so only its kinetic energy is asked for.
    """
    corners = np.stack(np.meshgrid(*[[-0.2, 0.2]] * 3), -1).reshape(-1, 3)
    atoms = Atoms("Ar8", corners)
    run = simulate(
        Well(0.5),
        atoms,
        ensemble,
        steps=4000,
        timestep=10.0,
        every=20,
        replicas=12,
        save_velocities=True,
        seed=3,
        progress=False,
    )
    half_kt = 0.5 * BOLTZMANN * 300.0
    half = len(run.trajectory) // 4
    kinetic = run.log["kinetic"][half:].mean(axis=0) / 24 / half_kt
    assert abs(kinetic.mean() - 1.0) < 4 * max(kinetic.std() / np.sqrt(11), 2e-4)
    if ensemble.thermostat != "nose-hoover":
        square = np.mean(np.asarray(run.trajectory.positions)[half:] ** 2, axis=(0, 2, 3)) * 0.25 / half_kt
        # Second-order splitting: the relative error of ⟨x²⟩ is at most (ω dt)²/4 = 0.3 %.
        assert abs(square.mean() - 1.0) < 4 * square.std() / np.sqrt(11) + 0.003


@pytest.mark.parametrize(
    "ensemble",
    [pytest.param(e, id=e.thermostat, marks=[pytest.mark.slow] if e.thermostat != "langevin" else []) for e in ALL[1:]],
)
@pytest.mark.more
def test_kinetic_energy_distribution_passes_physical_validation(ensemble: NVT) -> None:
    """Kolmogorov-Smirnov test of the whole distribution against the gamma distribution of N_f degrees of freedom.

    The package itself decorrelates the samples; p is uniform for a correct thermostat, so 0.01 with a fixed seed.
    """
    validation = pytest.importorskip("physical_validation", reason="needs physical-validation (extra 'test')")
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True).repeat(3)
    run = simulate(
        Argon(), atoms, ensemble, steps=8000, timestep=5.0, every=10, seed=7, velocities=300.0, progress=False
    )
    free = 0 if ensemble.thermostat in ("langevin", "nose-hoover-massive") else 3
    p_value = {
        temperature: validation.util.kinetic_energy.check_distribution(
            kin=run.log["kinetic"][200:, 0],
            temp=temperature,
            ndof=3 * len(atoms) - free,
            kb=BOLTZMANN,
            verbosity=0,
            screen=False,
            filename=None,
            ene_unit="eV",
            temp_unit="K",
            data_is_uncorrelated=False,
        )
        for temperature in (300.0, 315.0)
    }
    assert p_value[300.0] > 0.01
    # The test has power: it would notice a temperature that is 5 % off.
    assert p_value[315.0] < 0.01


def test_maxwell_velocities() -> None:
    masses = jax.numpy.asarray(np.repeat([1.0, 16.0], 4000))
    velocities = np.asarray(maxwell_velocities(jax.random.key(1), masses, 300.0, zero_momentum=True))
    np.testing.assert_allclose(np.asarray(masses) @ velocities, 0.0, atol=1e-9)
    for chosen in (slice(0, 4000), slice(4000, 8000)):
        kinetic = 0.5 / ACCELERATION * np.asarray(masses)[chosen, None] * velocities[chosen] ** 2
        temperature = 2 * kinetic.mean() / BOLTZMANN
        # Relative standard error of a variance from n normals: sqrt(2 / n), n = 12,000.
        assert abs(temperature / 300.0 - 1.0) < 4 * np.sqrt(2 / 12_000)


@pytest.mark.more
def test_total_momentum_is_conserved_where_it_should_be() -> None:
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True).repeat(2)
    for ensemble in (NVE(), NVT(100.0), NVT(100.0, "svr")):
        run = simulate(
            Argon(cutoff_distance=5.0), atoms, ensemble, steps=200, timestep=4.0, velocities=100.0, progress=False
        )
        momentum = run.atoms.get_momenta()
        assert np.abs(momentum.sum(axis=0)).max() < 1e-9 * np.abs(momentum).sum()


def test_degrees_of_freedom() -> None:
    assert make_integrator(NVT(300.0), 10, momentum_conserved=True).degrees == 27
    assert make_integrator(NVT(300.0), 10, momentum_conserved=False).degrees == 30
    assert make_integrator(NVT(300.0, "langevin"), 10, momentum_conserved=True).degrees == 30
    # One free atom whose momentum is removed: at constant energy as little is left as with a thermostat.
    for ensemble in (NVE(), NVT(300.0), NVT(300.0, "svr")):
        with pytest.raises(InputError, match="no motion left"):
            make_integrator(ensemble, 1, momentum_conserved=True)
        assert make_integrator(ensemble, 1, momentum_conserved=False).degrees == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": 300.0, "tau": 0.0}, "tau"),
        ({"temperature": 300.0, "chain": 0}, "chain"),
        ({"temperature": 300.0, "thermostat": "berendsen"}, "thermostat must be one of .*, not 'berendsen'"),
    ],
)
def test_bad_ensembles_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NVT(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("thermostat", "setting"),
    [("nose-hoover", "friction"), ("langevin", "tau"), ("langevin", "chain"), ("svr", "substeps"), ("svr", "friction")],
)
def test_settings_of_other_thermostats_are_refused(thermostat, setting):
    with pytest.raises(InputError, match=f"{setting} = 3 is a setting of"):
        NVT(300.0, thermostat, **{setting: 3})
    assert getattr(NVT(300.0, thermostat), setting) is None
