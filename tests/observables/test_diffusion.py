"""Mean squared displacements and diffusion: brute force, random walks, MDAnalysis, lattices, published curves."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte import units
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.observables.diffusion import finite_size_correction
from jaxelyte.observables.series import mean_squared_displacement
from jaxelyte.trajectory import Trajectory

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
honesty_diffusion: Any = pytest.importorskip("honesty_diffusion")
sys.path.pop(0)

CUBE = np.eye(3) * 10.0
SLANTED = np.array([[9.0, 0.0, 0.0], [3.0, 10.0, 0.0], [-2.0, 4.0, 11.0]])


def walk(
    rng: np.random.Generator, frames: int, *, diffusivity: float, symbols: str = "Na20O5", interval: float = 100.0
) -> Trajectory:
    """Independent Gaussian steps, D in Å²/fs; two replicas."""
    atoms = Atoms(symbols)
    steps = rng.normal(0.0, np.sqrt(2.0 * diffusivity * interval), (frames, 2, len(atoms), 3))
    return Trajectory(
        positions=np.cumsum(steps, axis=0),
        numbers=atoms.numbers,
        masses=atoms.get_masses(),
        cells=CUBE,
        pbc=(True, True, True),
        steps=np.arange(frames),
        times=np.arange(frames) * interval,
    )


def test_fourier_transform_is_the_double_sum(rng: np.random.Generator) -> None:
    positions = np.cumsum(rng.normal(size=(41, 7, 3)), axis=0) + 1e4  # far from the origin: no digits may be lost
    expected = [np.mean(np.sum((positions[k:] - positions[: len(positions) - k]) ** 2, axis=-1)) for k in range(41)]
    assert np.allclose(mean_squared_displacement(positions), expected, rtol=1e-10, atol=1e-8)


def test_random_walk_has_its_coefficient(rng: np.random.Generator) -> None:
    """Within three standard errors, and those are as small as they should be."""
    exact = 2e-4  # Å²/fs, 2e-9 m²/s
    found = jxl.diffusivity(walk(rng, 4000, diffusivity=exact, symbols="Na40"), "Na", fit=(200.0, 3000.0))
    assert abs(found.value - exact * 1e-5) < 3.0 * found.error
    assert found.error < 0.03 * found.value
    assert found.correction == 0.0
    assert abs(found.exponent - 1.0) < 0.03


def test_error_bars_of_random_walks_are_honest() -> None:
    """Of 60 walks about 68 % lie within one standard error; Student's t of 7 degrees of freedom says 65 %."""
    exact, inside = 1e-4, 0
    for seed in range(60):
        trajectory = walk(np.random.default_rng(seed), 800, diffusivity=exact, symbols="Na10")
        curve = jxl.msd(trajectory, "Na", drift=False)
        found = curve.diffusivity(fit=(200.0, 2000.0))
        inside += abs(found.value - exact * 1e-5) < found.error
    assert 0.65 - 3 * np.sqrt(0.65 * 0.35 / 60) < inside / 60 < 0.65 + 3 * np.sqrt(0.65 * 0.35 / 60)


@pytest.mark.parametrize("cell", [CUBE, SLANTED], ids=["cubic", "triclinic"])
@pytest.mark.parametrize("origin", [0.0, 0.5], ids=["corner", "centre"])
def test_wrapped_positions_are_unwrapped(origin: float, cell: np.ndarray, rng: np.random.Generator) -> None:
    free = walk(rng, 300, diffusivity=2e-4)
    fractional = (np.asarray(free.positions) @ np.linalg.inv(cell) + origin) % 1.0 - origin
    whole = fractional[:, :, 3] < 0.1 - origin
    fractional[:, :, 3] += whole  # one atom is kept on the other side of its cell: it sticks out
    options: dict[str, Any] = {"drift": False, "stretches": 1}
    given = {name: getattr(free, name) for name in ("numbers", "masses", "steps", "times")}
    found = jxl.msd(Trajectory(positions=fractional @ cell, cells=cell, pbc=(True,) * 3, **given), "Na", **options)
    assert np.allclose(found.value, jxl.msd(free, "Na", **options).value, rtol=1e-9)
    # Wrapped along two axes only, as in a slab; the third is free.
    slab = np.asarray(free.positions) @ np.linalg.inv(cell)
    slab[..., :2] %= 1.0
    found = jxl.msd(Trajectory(positions=slab @ cell, cells=cell, pbc=(True, True, False), **given), "Na", **options)
    assert np.allclose(found.value, jxl.msd(free, "Na", **options).value, rtol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("moved", ["free", "fixed", "pushed"])
def test_few_particles_have_the_coefficient_of_many(count: int, moved: str) -> None:
    """Whether the centre of mass walks with them, is fixed, or is moved by something else; a lost 1/N shows."""
    if moved != "free" and count == 1:
        return  # all of its motion is that of the centre
    exact, values = 1e-4, []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        free = replace(walk(rng, 2000, diffusivity=exact, symbols=f"Na{count}"), unwrapped=True)
        center = np.mean(free.positions, axis=2, keepdims=True)
        shift = {"free": 0.0, "fixed": center, "pushed": 9.0 * center + 0.05 * np.arange(2000)[:, None, None, None]}
        values.append(jxl.diffusivity(replace(free, positions=free.positions - shift[moved]), "Na").value)
    # Each scatters by about a tenth for four walkers.
    assert np.mean(values) == pytest.approx(exact * 1e-5, abs=3.5 * np.std(values, ddof=1) / 8**0.5)
    assert np.std(values, ddof=1) / 8**0.5 < 0.08 * exact * 1e-5 * max(1.0, 3.0 / count)


def test_replicas_may_list_their_atoms_in_any_order(rng: np.random.Generator) -> None:
    """Diffusion, conductivity, velocities: the same as of replicas that are alike; other compositions are refused."""
    free = walk(rng, 400, diffusivity=1e-4, symbols="Na6Cl3O2")
    slow = np.where(np.asarray(Atoms("Na6Cl3O2").numbers) == 17, 0.1, 1.0)[:, None]
    alike = replace(free, positions=free.positions * slow, velocities=free.positions * slow * 1e-3)
    order = rng.permutation(11)

    def mixed(values: np.ndarray) -> np.ndarray:
        """The second replica in another order."""
        return np.stack([values[..., 0, :, :], values[..., 1, order, :]], axis=-3)

    other = replace(
        alike,
        positions=mixed(alike.positions),
        velocities=mixed(alike.velocities),
        **{name: np.stack([getattr(free, name)[0], getattr(free, name)[1, order]]) for name in ("numbers", "masses")},
    )
    for species in ("Na", "Cl"):
        np.testing.assert_allclose(jxl.msd(other, species).value, jxl.msd(alike, species).value, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(jxl.vacf(other, species).value, jxl.vacf(alike, species).value, rtol=1e-8)
    np.testing.assert_allclose(jxl.vacf(other, weighted=True).value, jxl.vacf(alike, weighted=True).value, rtol=1e-8)
    charges: dict[str, Any] = {"charges": {"Na": 1, "Cl": -2}, "temperature": 300.0, "fit": (200.0, 1000.0)}
    assert jxl.conductivity(other, **charges).value == pytest.approx(jxl.conductivity(alike, **charges).value)
    numbers = other.numbers.copy()
    numbers[1, np.argmax(numbers[1] == 11)] = 19
    with pytest.raises(UnsupportedError, match="replica 0 holds 6 Na and replica 1 holds 5"):
        jxl.msd(replace(other, numbers=numbers), "Na")


def test_drift_of_the_whole_is_no_diffusion(rng: np.random.Generator) -> None:
    free = walk(rng, 200, diffusivity=1e-5)
    shift = 0.05 * np.arange(200)[:, None, None, None]
    given = {name: getattr(free, name) for name in ("numbers", "masses", "pbc", "steps", "times", "cells")}
    moved = Trajectory(positions=np.asarray(free.positions) + shift, **given)
    center = np.einsum("frad,ra->frd", free.positions, free.masses / np.sum(free.masses[0]))
    fixed = np.asarray(free.positions) - center[:, :, None]
    expected = jxl.msd(Trajectory(positions=fixed, **given), "O").value
    assert np.allclose(jxl.msd(moved, "O").value, expected, rtol=1e-8, atol=1e-10)
    assert jxl.msd(moved, "O", drift=False).value[-1] > 2.0 * jxl.msd(free, "O", drift=False).value[-1]


def test_agrees_with_mdanalysis(rng: np.random.Generator) -> None:
    mda = pytest.importorskip("MDAnalysis", reason="needs MDAnalysis: pip install jaxelyte[analysis]")
    from MDAnalysis.analysis.msd import EinsteinMSD

    free = walk(rng, 120, diffusivity=1e-4)
    universe = mda.Universe.empty(25, trajectory=True)
    universe.add_TopologyAttr("name", ["Na"] * 20 + ["O"] * 5)
    universe.load_new(np.asarray(free.positions[:, 0], np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = EinsteinMSD(universe, select="name Na", msd_type="xyz", fft=False).run().results.timeseries
    given = {name: getattr(free, name) for name in ("pbc", "steps", "times")}
    given |= {name: getattr(free, name)[:1] for name in ("numbers", "masses")}
    one = Trajectory(positions=free.positions[:, :1], cells=CUBE, **given)
    ours = jxl.msd(one, "Na", drift=False, stretches=1)
    # Their positions are float32.
    assert np.allclose(ours.value, theirs[: len(ours.value)], rtol=1e-5, atol=1e-5)


def test_correction_of_a_cube_is_that_of_yeh_and_hummer() -> None:
    expected = 2.837297479 * units.BOLTZMANN * 1.602176634e-19 * 300.0 / (6 * np.pi * 0.89e-3 * 20e-10)
    assert finite_size_correction(np.eye(3) * 20.0, 300.0, 0.89e-3) == pytest.approx(expected, rel=1e-8)


def test_correction_of_any_cell_is_the_sum_over_its_lattice() -> None:
    """Against the energy of one charge in the same cell by the potential of this package: E = ½ φ e²/(4π ε0)."""
    atom = Atoms("Na", cell=SLANTED, pbc=True)
    atom.calc = jxl.Calculator(jxl.ScreenedCoulomb({"Na": 1.0}, permittivity=1.0, tolerance=1e-8))
    potential = 2.0 * atom.get_potential_energy() / units.COULOMB * 1e10  # 1/m
    expected = -potential * units.BOLTZMANN * 1.602176634e-19 * 300.0 / (6 * np.pi * 0.89e-3)
    assert finite_size_correction(SLANTED, 300.0, 0.89e-3) == pytest.approx(expected, rel=1e-6)
    other = np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]]) @ SLANTED  # other vectors of the same lattice
    assert finite_size_correction(other, 300.0, 0.89e-3) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "edge", "published", "bare"),
    [("O_pure_water", 21.6, 2.35, 2.02), ("Cl_2.4M_run2", 25.26, 1.27, None), ("Li_2.4M_run2", 25.26, 0.96, None)],
)
def test_published_displacements(reference: Path, name: str, edge: float, published: float, bare: float | None) -> None:
    step, root = np.loadtxt(reference / "licl" / f"rmsd_{name}.dat").T
    curve = jxl.MSDResult.from_arrays(step * 10.0, root**2, cell=edge, temperature=300.0)
    found = jxl.diffusivity(curve, viscosity=0.888e-3)
    assert found.value * 1e9 == pytest.approx(published, rel=0.03)
    if bare is not None:
        assert found.uncorrected * 1e9 == pytest.approx(bare, rel=0.03)


def test_ballistic_motion_is_told(rng: np.random.Generator) -> None:
    free = walk(rng, 100, diffusivity=1e-4)
    velocities = rng.normal(size=(1, 2, 25, 3)) * 1e-3
    given = {name: getattr(free, name) for name in ("numbers", "masses", "pbc", "steps", "times", "cells")}
    flying = Trajectory(positions=velocities * free.times[:, None, None, None], **given)
    with pytest.warns(UserWarning, match="not diffusive, so that D is not given"):
        found = jxl.diffusivity(flying, "Na")
    assert abs(found.exponent - 2.0) < 0.01
    assert np.isnan(found.value)
    assert np.isnan(found.error)
    with pytest.warns(UserWarning, match="D means nothing yet"):
        assert jxl.diffusivity(flying, "Na", fit=(200.0, 1000.0)).value > 0.0


@pytest.mark.parametrize("name", ["flight of 200 fs, 8 ps", "springs of 100 fs, 8 ps"])
def test_no_coefficient_before_velocities_have_decayed(name: str) -> None:
    """Between free flight and the cage the displacement is straight for a while: no number from there."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = honesty_diffusion.CASES[f"diffusion, {name}"](0)
    assert np.isnan(found.value)
    assert "not diffusive" in str(caught[0].message)


def test_the_window_begins_behind_the_decay_of_the_velocity(rng: np.random.Generator) -> None:
    """20 D m / k_B T from the temperature, 60 D / <v²> from velocities."""
    exact = 1e-3
    free = walk(rng, 1600, diffusivity=exact)
    assert jxl.diffusivity(free, "Na").fit == (2000.0, 10000.0)
    mass = float(free.masses[0, 0])
    kelvin = 20.0 * exact * mass / (4000.0 * units.BOLTZMANN * units.ACCELERATION)
    found = jxl.diffusivity(free, "Na", temperature=kelvin)
    assert found.fit == (pytest.approx(4000.0, rel=0.2), 10000.0)
    assert found.value == pytest.approx(1e-8, rel=0.2)
    with pytest.warns(UserWarning, match="20 decay times of the velocity"):
        assert np.isnan(jxl.diffusivity(free, "Na", temperature=kelvin / 4.0).value)
    speed = 60.0 * exact / 4000.0
    fast = replace(free, velocities=np.full(free.positions.shape, (speed / 3.0) ** 0.5))
    assert jxl.diffusivity(fast, "Na").fit == pytest.approx(found.fit)


def test_the_window_begins_where_atoms_have_left_their_cage(rng: np.random.Generator) -> None:
    """6 Å² after t = 1 / D; without twice that time among the lags there is no value."""
    found = jxl.diffusivity(walk(rng, 1600, diffusivity=2e-4), "Na")
    assert found.fit == (pytest.approx(5000.0, rel=0.3), pytest.approx(10000.0, rel=0.3))
    assert found.freedom == 7
    slow = walk(rng, 1600, diffusivity=5e-5)
    with pytest.warns(UserWarning, match=r"from the time in which atoms move by 2\.4 Å, out of their cage \(after"):
        assert np.isnan(jxl.diffusivity(slow, "Na").value)
    with pytest.warns(UserWarning, match=r"\(so far, 1\.\d Å\)"):
        found = jxl.diffusivity(walk(rng, 1600, diffusivity=2e-5), "Na")
    assert found.freedom == 0
    assert jxl.diffusivity(slow, "Na", fit=(2000.0, 10000.0)).value == pytest.approx(5e-10, rel=0.2)


def test_doubtful_arguments_are_warned_about_once(rng: np.random.Generator) -> None:
    free = walk(rng, 400, diffusivity=1e-3)
    curve = jxl.msd(free, "Na")
    hot: dict[str, float] = {"temperature": 3e4, "viscosity": 0.5}
    for call in (
        lambda: jxl.diffusivity(free, "Na", **hot),
        lambda: curve.diffusivity(**hot),
        lambda: jxl.diffusivity(curve, **hot),
        lambda: finite_size_correction(CUBE, **hot),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
        names = sorted(str(w.message).split(" = ")[0] for w in caught)
        assert names == ["temperature", "viscosity"]


def test_results_are_written(tmp_path: Path, rng: np.random.Generator) -> None:
    found = jxl.diffusivity(walk(rng, 400, diffusivity=8e-4), "Na", viscosity=1e-3, temperature=300.0)
    found.to_csv(tmp_path / "msd.csv")
    found.to_json(tmp_path / "d.json")
    table = np.loadtxt(tmp_path / "msd.csv", delimiter=",", skiprows=1)
    assert np.allclose(table[:, 1], found.msd.value)
    content = json.loads((tmp_path / "d.json").read_text())
    assert content["diffusivity_m2_s"] == found.value
    assert content["diffusivity_m2_s"] > content["uncorrected_m2_s"] > 0
    assert content["degrees_of_freedom"] == 7
    assert "mean squared displacement / Å²" in found.plot().get_ylabel()
    assert "e-9 m²/s" in repr(found)


def test_a_run_brings_its_temperature(tmp_path: Path) -> None:
    from toys import Argon

    atoms = Atoms("Ar8", positions=[[4.0 * i, 4.0 * j, 4.0 * k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    atoms.set_cell([8.0] * 3)
    atoms.pbc = True
    run = jxl.simulate(
        Argon(epsilon=jnp.asarray(0.0103)), atoms, jxl.NVT(100.0), steps=200, timestep=2.0, every=4, progress=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = jxl.diffusivity(run, "Ar", viscosity=2e-4, stretches=2)
    assert run.summary["ensemble"] == {"thermostat": "nose-hoover", "friction": None}
    expected = finite_size_correction(np.eye(3) * 8.0, 100.0, 2e-4)
    assert found.correction == pytest.approx(expected)


def test_bad_input(rng: np.random.Generator) -> None:
    free = walk(rng, 60, diffusivity=1e-4)
    given = {name: getattr(free, name) for name in ("positions", "numbers", "masses", "pbc", "steps", "cells")}
    uneven = Trajectory(times=np.arange(60.0) ** 2, **given)
    for call, message in (
        (lambda: jxl.msd(free, "Li"), "no Li"),
        (lambda: jxl.msd(free, "Q"), "must be a chemical symbol"),
        (lambda: jxl.msd(free, "Na", discard=55), "too few"),
        (lambda: jxl.msd(uneven, "Na"), "equally spaced"),
        (lambda: jxl.diffusivity(free), "name the species"),
        (lambda: jxl.diffusivity(free, "Na", viscosity=1e-3), "temperature"),
        (lambda: jxl.diffusivity(free, "Na", viscosity=-1.0, temperature=300.0), "viscosity = -1 Pa s cannot be"),
        (lambda: jxl.diffusivity(free, "Na", fit=(1.0, 2.0)), "holds 0 lags"),
        (lambda: jxl.MSDResult.from_arrays(np.arange(3.0), np.ones(4)), "have to be"),
    ):
        with pytest.raises(InputError, match=message):
            call()
