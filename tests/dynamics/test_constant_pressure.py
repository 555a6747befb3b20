"""Constant pressure: closed forms of the barostat, lists and plans of cells that change, and what is refused."""

from __future__ import annotations

import math
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import jaxelyte as jxl
from jaxelyte.dynamics import NPT, Run, simulate
from jaxelyte.dynamics.integrators import make_barostat, make_integrator
from jaxelyte.dynamics.integrators.base import Particles
from jaxelyte.dynamics.integrators.rescaling import CellState
from jaxelyte.errors import InputError, SimulationError, UnsupportedError
from jaxelyte.system import System, batch_of
from jaxelyte.units import ACCELERATION, BAR, BOLTZMANN, EV_PER_A3_IN_GPA, GRAM_PER_CM3
from toys import Argon

ARGON = Argon(cutoff_distance=6.0)


def gas(atoms: int, replicas: int, ensemble: NPT, volume: float, seed: int) -> Particles:
    """Atoms with Maxwell's velocities at rest in sum where the thermostat keeps them so; positions do not matter."""
    cell = np.eye(3) * volume ** (1 / 3)
    one = System.from_atoms(Atoms(f"Ar{atoms}", positions=np.ones((atoms, 3)), cell=cell, pbc=True))
    width = np.sqrt(BOLTZMANN * ensemble.temperature * ACCELERATION / 39.948)
    velocities = width * jax.random.normal(jax.random.key(seed), (replicas, atoms, 3))
    if ensemble.thermostat != "langevin":
        velocities = velocities - velocities.mean(axis=1, keepdims=True)
    zero = jnp.zeros(replicas)
    keys = jax.random.split(jax.random.key(seed + 1), replicas)
    particles = Particles(batch_of(one, replicas), velocities, jnp.zeros_like(velocities), zero, keys, None, zero)
    integrator = make_integrator(ensemble, atoms, momentum_conserved=True)
    barostat = make_barostat(ensemble)
    assert barostat is not None
    return jax.vmap(lambda p: barostat.init(integrator.init(p)))(particles)


@pytest.mark.parametrize("thermostat", ["svr", "langevin"])
def test_volume_of_an_ideal_gas(thermostat: Any) -> None:
    """p(V) ∝ V^N exp(-P V / k_B T), a gamma distribution of shape N + 1, whether or not the momentum is fixed.

    The thermostat is slower than the barostat, so that velocities that are not scaled with the cell would be noticed.
    """
    from scipy import stats

    atoms, replicas, dt, pressure = 5, 512, jnp.asarray(10.0), 100.0
    ensemble = NPT(
        300.0,
        pressure,
        thermostat=thermostat,
        stride=2,
        tau_p=1000.0,
        compressibility=1.0 / pressure,
        **({"tau": 1500.0} if thermostat == "svr" else {"friction": 3e-4}),
    )
    integrator, barostat = make_integrator(ensemble, atoms, momentum_conserved=True), make_barostat(ensemble)
    unit = BOLTZMANN * 300.0 / (pressure * BAR)

    def step(particles: Particles, number: Any) -> tuple[Particles, None]:
        particles = jax.vmap(lambda p: integrator.open(p, dt))(particles)
        particles = barostat.act(integrator, particles, number, dt)
        return jax.vmap(lambda p: integrator.close(integrator.move(p, dt), dt))(particles), None

    run = jax.jit(lambda start: jax.lax.scan(step, start, jnp.arange(600))[0])
    end = run(gas(atoms, replicas, ensemble, (atoms + 1) * unit, 3))
    volumes = np.asarray(end.system.volumes) / unit
    # The mean of n draws scatters by √((N + 1) / n), the variance by √(2 + 6 / (N + 1)) (N + 1) / √n.
    assert volumes.mean() == pytest.approx(atoms + 1, abs=4.0 * math.sqrt((atoms + 1) / replicas))
    assert stats.kstest(volumes, stats.gamma(atoms + 1).cdf).pvalue > 1e-3
    assert stats.kstest(volumes, stats.gamma(atoms).cdf).pvalue < 1e-6


def test_one_change_of_the_cell_by_hand() -> None:
    """One Euler step for √V with the same random number, in numpy; a triclinic cell with a stress of its own."""
    ensemble = NPT(250.0, 500.0, stride=3, tau_p=800.0, compressibility=2e-4)
    barostat = make_barostat(ensemble)
    integrator = make_integrator(ensemble, 4, momentum_conserved=True)
    start = gas(4, 2, ensemble, 900.0, 0)
    stress = jax.random.normal(jax.random.key(8), (2, 3, 3)) * 1e-3
    start = start.replace(barostat=CellState(stress, jnp.zeros(2)))
    end = jax.jit(lambda p: barostat.act(integrator, p, jnp.asarray(6), jnp.asarray(2.0)))(start)
    same = jax.jit(lambda p: barostat.act(integrator, p, jnp.asarray(7), jnp.asarray(2.0)))(start)
    np.testing.assert_array_equal(same.system.cell, start.system.cell)
    # The stress is that of the last evaluation before a change, and of the one after it, which completes the heat.
    wanted = [bool(barostat.needs_stress(jnp.asarray(n), jnp.asarray(2.0))) for n in range(6)]
    assert wanted == [True, False, True, True, False, True]
    assert bool(barostat.needs_stress(jnp.asarray(1), jnp.asarray(0.0)))
    kt, pressure, rate, time = BOLTZMANN * 250.0, 500.0 * BAR, 2e-4 / BAR / 800.0, 3 * 2.0
    for r in range(2):
        noise = float(jax.random.normal(jax.random.split(start.key[r])[1], ()))
        v = np.asarray(start.velocities[r])
        twice = float(np.sum(v**2)) * 39.948 / ACCELERATION
        inside = (twice / 3.0 + kt) / 900.0 - np.trace(np.asarray(stress[r])) / 3.0
        root = math.sqrt(900.0)
        root += (
            -0.5 * rate * root * (pressure - inside - kt / 1800.0) * time + math.sqrt(0.5 * kt * rate * time) * noise
        )
        scale = (root**2 / 900.0) ** (1 / 3)
        np.testing.assert_allclose(end.system.cell[r], start.system.cell[r] * scale, rtol=1e-12)
        np.testing.assert_allclose(end.system.positions[r], start.positions[r] * scale, rtol=1e-12)
        np.testing.assert_allclose(end.velocities[r], v / scale, rtol=1e-12)
        assert abs(scale - 1.0) > 1e-4


def compressed(steps: int, **options: Any) -> Run:
    """Argon that is far too thin at first: the cell leaves the range of its plan several times."""
    atoms = bulk("Ar", "fcc", a=5.75, cubic=True).repeat(2)
    ensemble = options.pop("ensemble", NPT(100.0, 3000.0, tau_p=200.0, compressibility=1e-4, stride=2, tau=100.0))
    settings: dict[str, Any] = {"timestep": 4.0, "every": 5, "replicas": 2, "velocities": 200.0, "progress": False}
    return simulate(ARGON, atoms, ensemble, steps=steps, **settings | options)


def frames(run: Run) -> tuple[np.ndarray, ...]:
    return np.asarray(run.trajectory.positions), np.asarray(run.trajectory.cells), run.log["conserved"]


def test_the_trajectory_does_not_depend_on_chunks_or_interruptions(tmp_path: Path) -> None:
    """Bitwise, while the loop stops to plan anew; the files of a run that was resumed are those of one in a piece."""
    whole = compressed(40, output=tmp_path / "whole", extxyz=True)
    cells = np.asarray(whole.trajectory.cells)
    assert cells.shape == (9, 2, 3, 3)
    volumes = np.linalg.det(cells)
    assert np.all(volumes[-1] < 0.95 * volumes[0])
    for chunk in (7, 25):
        for a, b in zip(frames(compressed(40, chunk=chunk)), frames(whole), strict=True):
            np.testing.assert_array_equal(a, b)
    compressed(15, output=tmp_path / "cut", extxyz=True)
    resumed = compressed(40, output=tmp_path / "cut", extxyz=True, resume=True)
    for name in ("trajectory.h5", "log.csv", "trajectory.extxyz"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    for a, b in zip(resumed.atoms, whole.atoms, strict=True):
        np.testing.assert_array_equal(a.get_positions(), b.get_positions())
        np.testing.assert_array_equal(a.cell.array, b.cell.array)
    loaded = jxl.load_run(tmp_path / "cut")
    np.testing.assert_array_equal(loaded.log["volume"], whole.log["volume"])
    np.testing.assert_array_equal(loaded.atoms[1].cell.array, whole.atoms[1].cell.array)


def test_what_is_logged_and_conserved() -> None:
    """Energies of the frames are those of fresh lists; volume, density and edges are those of the cells."""
    run = compressed(40)
    for frame, replica in ((0, 0), (5, 1), (8, 0)):
        atoms = run.trajectory.frame(frame, replica)
        atoms.calc = jxl.Calculator(ARGON)
        assert run.log["potential"][frame, replica] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        assert run.log["volume"][frame, replica] == pytest.approx(atoms.get_volume(), rel=1e-12)
        density = atoms.get_masses().sum() / atoms.get_volume() / GRAM_PER_CM3
        assert run.log["density"][frame, replica] == pytest.approx(density, rel=1e-12)
        assert run.log["b"][frame, replica] == pytest.approx(atoms.cell.lengths()[1], rel=1e-12)
    units = {
        name: run.summary[name]["unit"] for name in ("density", "compressibility", "thermal_expansion", "enthalpy")
    }
    assert list(units.values()) == ["g/cm³", "1/GPa", "1/K", "eV"]
    mean = run.log["volume"][2:].mean()
    own = np.var(run.log["volume"][2:]) / (BOLTZMANN * 100.0 * mean) / EV_PER_A3_IN_GPA
    # About the mean of few correlated samples a variance is too small, which is corrected.
    assert own <= run.summary["compressibility"]["value"] < 10.0 * own
    # The work of the barostat is some eV here; without its heat, or with a wrong half of it, the quantity would drift.
    change = run.log["conserved"] - run.log["conserved"][0]
    work = np.ptp(run.log["potential"] + run.log["kinetic"] + 3000.0 * BAR * run.log["volume"], axis=0)
    assert np.all(work > 0.5)
    assert np.max(np.abs(change)) < 0.004 * work.min()


@pytest.mark.parametrize(
    "method", [pytest.param("ewald", marks=pytest.mark.more), pytest.param("p3m", marks=pytest.mark.slow)]
)
def test_lattice_sums_are_planned_anew(method: str) -> None:
    """A molten salt, triclinic and far too thin: energies of frames are those of sums planned for their own cell."""
    atoms = bulk("NaCl", "rocksalt", a=6.1).repeat(3)
    salt = jxl.LennardJones({"Na": 2.4, "Cl": 3.9}, {"Na": 0.02, "Cl": 0.005}, cutoff=6.0, shift=True)
    salt = salt + jxl.ScreenedCoulomb({"Na": 1, "Cl": -1}, permittivity=1.5, method=method, tolerance=1e-6)
    ensemble = NPT(1000.0, 20_000.0, tau_p=200.0, compressibility=1e-5, stride=2, tau=100.0)

    def short(chunk: int | None) -> Run:
        settings: dict[str, Any] = {"steps": 60, "timestep": 2.0, "every": 10, "progress": False}
        return simulate(salt, atoms, ensemble, velocities=1500.0, chunk=chunk, **settings)

    run = short(None)
    assert run.log["volume"][-1, 0] < 0.93 * run.log["volume"][0, 0]
    for number in (3, 6):
        frame = run.trajectory.frame(number)
        frame.calc = jxl.Calculator(salt)
        assert run.log["potential"][number, 0] == pytest.approx(frame.get_potential_energy(), abs=1e-4)
    change = run.log["conserved"] - run.log["conserved"][0]
    work = np.ptp(run.log["potential"] + run.log["kinetic"] + 20_000.0 * BAR * run.log["volume"])
    assert np.max(np.abs(change)) < 0.02 * work
    for a, b in zip(frames(short(13)), frames(run), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_cannot_run_at_constant_pressure_is_refused() -> None:
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True).repeat(2)
    ensemble = NPT(100.0, 1.0)
    for wrong, message in (
        (partial(NPT, None, 1.0), "needs a temperature"),
        (partial(NPT, 300.0, None), "needs a pressure in bar"),
        (partial(NPT, 300.0, 1.0, barostat="berendsen"), "barostat"),
        (partial(NPT, 300.0, 1.0, coupling="anisotropic"), "coupling"),
        (partial(NPT, 300.0, 1.0, friction=0.1), "friction"),
        (
            partial(simulate, ARGON, atoms, NPT(100.0, 1.0, tau_p=20.0), steps=10, every=10),
            "tau_p = 20 fs is too short",
        ),
        (partial(simulate, ARGON, atoms, NPT(100.0, 1.0, compressibility=1.0), steps=10, every=10), "take tau_p of"),
        (
            partial(simulate, ARGON + jxl.HarmonicRestraint(atoms.positions, 1.0), atoms, ensemble, steps=10, every=10),
            "ties",
        ),
    ):
        with pytest.raises(InputError, match=message):
            wrong()
    cut = jxl.LennardJones({"Ar": 3.4}, {"Ar": 0.0104}, cutoff=7.0)
    # 2π/3 ρ² r_c³ u(r_c) with four atoms in 5.4³ Å³.
    step = 4 * 0.0104 * ((3.4 / 7.0) ** 12 - (3.4 / 7.0) ** 6)
    blows = 2.0 * np.pi / 3.0 * (4 / 5.4**3) ** 2 * 7.0**3 * step / BAR
    with pytest.raises(InputError, match="ends in a step") as caught:
        simulate(cut, atoms, ensemble, steps=10, every=10)
    assert f"{blows:+.3g} bar" in str(caught.value)
    slab = atoms.copy()
    slab.pbc = (True, True, False)
    with pytest.raises(InputError, match="periodic in all directions"):
        simulate(ARGON, slab, ensemble, steps=10, every=10)
    with pytest.raises(UnsupportedError, match="rdf"):
        simulate(ARGON, atoms, ensemble, steps=10, every=10, observables={"g": jxl.RDF(("Ar", "Ar"))})
    with pytest.raises(UnsupportedError, match="devices"):
        simulate(ARGON, atoms, ensemble, steps=10, every=10, devices=1)


@pytest.mark.more
def test_a_cell_that_collapses_is_reported() -> None:
    """The frames before it are kept, and the message names the barostat."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the pressure is unusual
        ensemble = NPT(100.0, 2e6, tau_p=200.0, compressibility=1e-4, stride=2, tau=100.0)
    with pytest.raises(SimulationError, match="tau_p") as caught:
        compressed(10, ensemble=ensemble)
    assert caught.value.run is not None


@pytest.mark.slow
def test_density_of_the_lennard_jones_fluid() -> None:
    """T* = 0.85, P* = 0.55355: ρ* = 0.820 (NIST Standard Reference Simulation Website, Monte Carlo, 3 σ and tail)."""
    sigma, epsilon = 3.4, 0.0104
    potential = jxl.LennardJones({"Ar": sigma}, {"Ar": epsilon}, cutoff=3.0 * sigma, switch=2.6 * sigma)
    atoms = bulk("Ar", "fcc", a=(4 / 0.80) ** (1 / 3) * sigma, cubic=True).repeat(4)
    kelvin = 0.85 * epsilon / BOLTZMANN
    ensemble = NPT(kelvin, 0.55355 * epsilon / sigma**3 / BAR, tau_p=2000.0, compressibility=1e-4, tau=200.0)
    run = simulate(
        potential,
        atoms,
        ensemble,
        steps=8000,
        timestep=8.0,
        every=20,
        replicas=4,
        velocities=2 * kelvin,
        progress=False,
    )
    reduced = run.log["volume"][100:].mean(axis=0) ** -1 * len(atoms) * sigma**3
    error = reduced.std(ddof=1) / 2.0
    assert error < 0.003
    assert reduced.mean() == pytest.approx(0.820, abs=4.0 * error + 0.001)
