"""Series recorded in the loop: values against ASE on stored frames, chunks, resume, files; viscosity."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from scipy.signal import lfilter

from jaxelyte.dynamics import NVE, NVT, load_run, simulate
from jaxelyte.errors import InputError
from jaxelyte.interop.ase_calculator import Calculator
from jaxelyte.observables import RDF, Distance, PressureTensor, SeriesResult, viscosity
from jaxelyte.units import BOLTZMANN
from toys import Argon


def argon() -> Atoms:
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(3)
    atoms.rattle(0.05, seed=1)
    return atoms


SERIES = {"pressure": PressureTensor(), "distance": Distance(((0, 1), (0, 60))), "rdf": RDF(("Ar", "Ar"), bins=20)}


def test_pressure_and_distance_are_those_of_ase_on_the_frames(tmp_path: Path) -> None:
    """Both replicas, with velocities: P = -(stress + kinetic part), by an independent code path."""
    run = simulate(
        Argon(),
        argon(),
        NVT(120.0, "langevin"),
        steps=203,
        timestep=4.0,
        every=50,
        sample_every=5,
        observables=SERIES,
        chunk=37,
        replicas=2,
        save_velocities=True,
        output=tmp_path,
        equilibration=50,
        progress=False,
    )
    pressure, distance = run.observables["pressure"], run.observables["distance"]
    # 200 steps have 40 samples (the frame of the last 3 steps is never complete), the first 10 are equilibration.
    assert pressure.values.shape == (30, 2, 6)
    assert pressure.start == 220.0
    for frame, replica in ((2, 1), (4, 0)):
        atoms = run.trajectory.frame(frame, replica=replica)
        atoms.calc = Calculator(Argon())
        at = int(np.flatnonzero(pressure.times == atoms.info["time"])[0])
        expected = -atoms.get_stress(include_ideal_gas=True) / units.GPa
        np.testing.assert_allclose(pressure.values[at, replica], expected, rtol=1e-7, atol=1e-12)  # constants of 2014 in ASE
        assert distance.values[at, replica, 1] == pytest.approx(atoms.get_distance(0, 60, mic=True), abs=1e-12)
    loaded = load_run(tmp_path).observables
    np.testing.assert_array_equal(loaded["pressure"].values, pressure.values)
    assert loaded["rdf"].samples == run.observables["rdf"].samples == 60
    pressure.to_json(tmp_path / "p.json")
    assert json.loads((tmp_path / "p.json").read_text())["xx"]["mean"] == pytest.approx(pressure.mean[0])
    pressure.to_csv(tmp_path / "p.csv")
    assert np.loadtxt(tmp_path / "p.csv", delimiter=",", skiprows=1).shape == (30, 13)


@pytest.mark.parametrize("chunk", [None, 7])
def test_a_series_does_not_depend_on_chunks_or_interruptions(tmp_path: Path, chunk: int | None) -> None:
    arguments = dict(timestep=4.0, every=20, sample_every=5, observables=SERIES, progress=False, seed=2)
    whole = simulate(Argon(), argon(), NVT(120.0, "langevin"), steps=120, **arguments)
    folder = tmp_path / "parts"
    for steps in (33, 120):
        parts = simulate(
            Argon(), argon(), NVT(120.0, "langevin"), steps=steps, chunk=chunk, output=folder, resume=True, **arguments
        )
    for name in ("pressure", "distance"):
        np.testing.assert_array_equal(parts.observables[name].values, whole.observables[name].values)


def test_what_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(InputError, match="beyond the 108"):
        simulate(Argon(), argon(), NVE(), steps=10, velocities=10.0, observables={"d": Distance((0, 108))})
    isolated = argon()
    isolated.pbc = False
    with pytest.raises(InputError, match="periodic in all directions"):
        simulate(Argon(), isolated, NVE(), steps=10, velocities=10.0, observables={"p": PressureTensor()})
    with pytest.raises(InputError, match="plain file name"):
        simulate(Argon(), argon(), NVE(), steps=10, velocities=10.0, observables={"a/b": PressureTensor()})
    with pytest.raises(InputError, match="not an Observable"):
        simulate(Argon(), argon(), NVE(), steps=10, velocities=10.0, observables={"a": "rdf"})  # type: ignore[dict-item]
    for pair in ((0, 0), (0, -1), (0.5, 1), (0, 1, 2)):
        with pytest.raises(InputError, match="two different atoms"):
            Distance(pair)  # type: ignore[arg-type]


def noise(rng: np.random.Generator, samples: int, tau: float, step: float, width: float) -> SeriesResult:
    """A traceless tensor whose five components are Ornstein-Uhlenbeck processes of one width, plus a mean pressure."""
    decay = math.exp(-step / tau)
    kicks = rng.normal(size=(samples, 6)) * width * math.sqrt(1.0 - decay**2)
    values = lfilter([1.0], [1.0, -decay], kicks, axis=0)
    # The traceless part of three independent numbers of width √2 w has (xx - yy)/2 of width w.
    values[:, :3] *= math.sqrt(2.0)
    values[:, :3] += 0.3 + values[:, :1] * 0.0
    return SeriesResult(PressureTensor().columns, "GPa", step, step, values[:, None])


def test_viscosity_of_a_process_with_a_known_integral() -> None:
    """η = V w² τ / k_B T exactly; 20 repeats also show that the error bars are of the right size."""
    rng = np.random.default_rng(3)
    volume, temperature, tau, width = 2000.0, 300.0, 200.0, 0.05
    joule = BOLTZMANN * 1.602176634e-19
    exact = volume * 1e-30 * (width * 1e9) ** 2 * tau * 1e-15 / (joule * temperature)
    found = [
        viscosity(noise(rng, 60_000, tau, 5.0, width), temperature=temperature, volume=volume, longest=8000.0)
        for _ in range(20)
    ]
    off = np.array([(one.value - exact) / one.error for one in found])
    # 20 values: between 9 and 18 within one sigma in 98 % of cases, if errors are honest; jackknife errors of eight
    # stretches are themselves good to 25 %.
    assert 9 <= np.sum(np.abs(off) < 1.0) <= 19
    mean, spread = np.mean([one.value for one in found]), np.std([one.value for one in found])
    # The cut-off favours upward fluctuations by some percent.
    assert abs(mean - exact) < 3.0 * spread / math.sqrt(20) + 0.04 * exact
    assert spread < 0.15 * exact


def test_viscosity_says_when_it_cannot_be_right(rng: np.random.Generator) -> None:
    with pytest.warns(UserWarning, match="too short for it|run longer"):
        viscosity(noise(rng, 400, 200.0, 5.0, 0.05), temperature=300.0, volume=2000.0)
    with pytest.raises(InputError, match="too few"):
        viscosity(noise(rng, 100, 200.0, 5.0, 0.05), temperature=300.0, volume=2000.0)
    with pytest.raises(InputError, match="needs a volume"):
        viscosity(noise(rng, 1000, 200.0, 5.0, 0.05), temperature=300.0)
    run = simulate(Argon(), argon(), NVE(), steps=20, velocities=10.0, every=5, progress=False)
    with pytest.raises(InputError, match="no pressure tensor"):
        viscosity(run)


@pytest.mark.validation
def test_viscosity_of_the_lennard_jones_liquid_near_its_triple_point() -> None:
    """T* = 0.722, ρ* = 0.8442: η* = 3.2 to 3.3 of many authors (3.24 ± 0.04 Meier et al., J. Chem. Phys. 121, 3671)."""
    import jaxelyte as jxl

    epsilon, sigma = 0.0103207, 3.405  # argon
    potential = jxl.LennardJones({"Ar": (epsilon, sigma)}, cutoff=2.5 * sigma)
    density, temperature = 0.8442 / sigma**3, 0.722 * epsilon / BOLTZMANN
    atoms = bulk("Ar", "fcc", a=(4.0 / density) ** (1.0 / 3.0), cubic=True).repeat(4)
    run = simulate(
        potential,
        atoms,
        NVT(temperature, thermostat="svr", tau=1000.0),
        steps=220_000,
        timestep=5.0,
        every=1000,
        sample_every=4,
        equilibration=20_000,
        replicas=2,
        observables={"pressure": PressureTensor()},
        seed=1,
    )
    result = viscosity(run, longest=15_000.0)
    unit = math.sqrt(39.948 * 1.66053906660e-27 * epsilon * 1.602176634e-19) / (sigma * 1e-10) ** 2
    # The truncation at 2.5 σ changes η by less than two percent.
    assert abs(result.value / unit - 3.24) < 3.0 * result.error / unit + 0.07, result
