"""Free energy differences along linear mixtures: harmonic closed forms, exchange, errors, refusals."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from jax import Array

from jaxelyte.dynamics import NVE, NVT, simulate
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.free_energy import FreeEnergyResult, difference, free_energy, free_energy_path
from jaxelyte.free_energy.quadrature import even_nodes, nodes_and_weights
from jaxelyte.neighbors import Neighbors
from jaxelyte.potentials.base import mix
from jaxelyte.potentials.ladder import Ladder
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.system import System
from jaxelyte.units import BOLTZMANN
from toys import Shifted

TEMPERATURE, COUNT = 300.0, 10
THERMAL = BOLTZMANN * TEMPERATURE
ANCHORS = np.random.default_rng(0).uniform(0.0, 20.0, (COUNT, 3))
SOFT, STIFF = 0.5, 2.0
EXACT = 1.5 * COUNT * THERMAL * math.log(STIFF / SOFT)
LANGEVIN = NVT(TEMPERATURE, thermostat="langevin")


def wells() -> Atoms:
    return Atoms(f"Ar{COUNT}", ANCHORS, cell=[20.0] * 3, pbc=True)


def well(k: float) -> HarmonicRestraint:
    return HarmonicRestraint(ANCHORS, k)


def closed_form(lam: np.ndarray) -> np.ndarray:
    """<dU/dλ> = n k_B T (k1 - k0) / (2 k_λ) in n dimensions."""
    return 1.5 * COUNT * THERMAL * (STIFF - SOFT) / ((1.0 - lam) * SOFT + lam * STIFF)


@pytest.mark.usefixtures("fresh_programs")
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="clenshaw-curtis"),
        pytest.param({"exchange": 100}, id="exchange", marks=pytest.mark.more),
        pytest.param({"nodes": "gauss-legendre"}, id="gauss-legendre", marks=pytest.mark.slow),
        pytest.param({"adapt": True}, id="adapt", marks=pytest.mark.slow),
    ],
)
def test_harmonic_wells(options: dict) -> None:
    """Every estimator, and every λ, within its errors of the closed form."""
    result = free_energy(
        well(SOFT),
        well(STIFF),
        wells(),
        LANGEVIN,
        windows=8,
        steps=20_000,
        timestep=2.0,
        seed=5,
        progress=False,
        **options,
    )
    for name, (value, error) in result.estimates.items():
        if name.startswith("Zwanzig") and name in result.refused:
            continue  # steps too wide for one-sided averages
        assert abs(value - EXACT) < 3.5 * error, name
        assert error < 0.025
    assert result.estimates["MBAR"] == (result.value, result.error)
    assert result.error < 0.005
    off = (result.gradient - closed_form(result.lam)) / result.gradient_error
    assert np.sqrt(np.mean(off**2)) < 1.8
    variance = 1.5 * COUNT * (THERMAL * (STIFF - SOFT) / ((1 - result.lam) * SOFT + result.lam * STIFF)) ** 2
    # Relative error of a variance of n independent Gaussians is sqrt(2/n); of the last ones, n > 150: 12 %.
    np.testing.assert_allclose(result.variance, variance, rtol=0.5)
    assert result.run is not None
    # Adapted windows are run once more, with the program of the first ones.
    assert result.run.performance["compilations"] == (0 if "adapt" in options else 1)


def gaps(rng: np.random.Generator, lam: np.ndarray, count: int) -> list[np.ndarray]:
    """Independent exact samples of U1 - U0 of harmonic wells at each λ."""
    rows = []
    for one in lam:
        k = (1.0 - one) * SOFT + one * STIFF
        squares = THERMAL / k * rng.chisquare(3 * COUNT, count)
        rows.append(0.5 * (STIFF - SOFT) * squares)
    return rows


@pytest.mark.validation
def test_error_bars_of_runs_are_honest() -> None:
    """The same with correlated samples of 320 short runs: 0.68 ± 0.026 within one sigma, and no bias.

    The shortest series of windows hold some thirty independent samples; a few runs in a hundred have no error bar.
    """
    off = []
    for seed in range(320):
        result = free_energy(
            well(SOFT),
            well(STIFF),
            wells(),
            LANGEVIN,
            windows=6,
            steps=6000,
            timestep=2.0,
            seed=seed,
            progress=False,
            check=False,
        )
        off.append([(v - EXACT) / e for v, e in (result.estimates[n] for n in ("TI", "MBAR", "BAR"))])
    refused = np.mean(np.isnan(off), axis=0)
    within = [np.mean(np.abs(column[~np.isnan(column)]) < 1.0) for column in np.transpose(off)]
    mean, size = np.nanmean(off, axis=0), np.sqrt(np.nanmean(np.square(off), axis=0))
    print(f"TI, MBAR, BAR: rms {size}, within one sigma {within}, mean {mean}, without an error bar {refused}")
    assert np.all(refused < 0.05), refused
    assert np.all(np.abs(np.subtract(within, 0.683)) < 0.08), within  # three binomial errors
    assert np.all(np.abs(size - 1.0) < 0.15), size
    # A start of the averages that follows the noise of the series shifts them by 0.2 to 0.4.
    assert np.all(np.abs(mean) < 0.17), mean  # three of 1/√320


def test_correlation_widens_the_errors(rng: np.random.Generator) -> None:
    """Each sample ten times over is worth no more than once."""
    lam, weights = nodes_and_weights(4, "gauss-legendre")
    once = gaps(rng, lam, 400)
    many = [np.repeat(one, 10) for one in once]
    few, copied = (difference(g, lam, TEMPERATURE, weights=weights) for g in (once, many))
    for name in ("TI", "MBAR", "BAR"):
        assert copied.estimates[name][1] == pytest.approx(few.estimates[name][1], rel=0.6)  # not 0.32 of it
    assert np.all(copied.inefficiency > 6.0)


def test_quadrature_is_exact_for_polynomials() -> None:
    for rule, degree in (("gauss-legendre", 9), ("clenshaw-curtis", 4), ("trapezoid", 1)):
        nodes, weights = nodes_and_weights(5, rule)
        for power in range(degree + 1):
            assert float(weights @ nodes**power) == pytest.approx(1.0 / (power + 1), rel=1e-12), (rule, power)
        wrong = float(weights @ nodes ** (degree + 2))
        assert abs(wrong - 1.0 / (degree + 3)) > 1e-9 or rule == "gauss-legendre"
    nodes, weights = nodes_and_weights(0, [0.0, 0.1, 1.0])
    assert float(weights @ (3.0 * nodes + 1.0)) == pytest.approx(2.5)
    for bad in ([0.1, 1.0], [0.0, 0.5], [0.0, 0.5, 0.5, 1.0]):
        with pytest.raises(InputError, match="rise from 0 to 1"):
            nodes_and_weights(3, bad)
    with pytest.raises(InputError, match="choose one of"):
        nodes_and_weights(3, "simpson")


def test_nodes_are_dense_where_the_variance_is() -> None:
    lam = np.linspace(0.0, 1.0, 11)
    nodes = even_nodes(lam, 1.0 / (0.1 + lam), 8)
    # ∫ dλ/(a + λ) in equal parts: a + λ_k grows geometrically.
    expected = 0.1 * (1.1 / 0.1) ** (np.arange(8) / 7.0) - 0.1
    np.testing.assert_allclose(nodes, expected, atol=0.03)


def batch(copies: int) -> System:
    one = System.from_atoms(wells())
    return jax.tree.map(lambda x: jnp.stack([x] * copies), one)


def test_a_ladder_is_a_mixture_for_each_replica(rng: np.random.Generator) -> None:
    lam = np.array([0.0, 0.3, 1.0])
    systems = batch(3)
    systems = systems.replace(positions=systems.positions + jnp.asarray(rng.normal(size=(3, COUNT, 3))))
    nothing = Neighbors((), ())
    ladder = Ladder(well(SOFT), well(STIFF), lam, temperature=TEMPERATURE)
    found = ladder.energies(systems, nothing)
    for n, one in enumerate(lam):
        single = jax.tree.map(lambda x, n=n: x[n], systems)
        expected = mix(well(SOFT), well(STIFF), one).energy(single, nothing)
        assert float(found[n]) == pytest.approx(float(expected), rel=1e-12)
    shifted = Ladder(Shifted(1.0), Shifted(3.0), lam, temperature=TEMPERATURE)
    np.testing.assert_allclose(shifted.constants(systems), COUNT * (1.0 + 2.0 * lam))
    with pytest.raises(UnsupportedError, match="use mix"):
        ladder.energy(jax.tree.map(lambda x: x[0], systems), nothing)


def test_exchange_keeps_detailed_balance() -> None:
    """Acceptance of one pair over many keys is min(1, exp(Δ)); places stay a permutation; work is the jump of U."""
    systems = batch(2)
    # Energy gaps 0.75 x² per component: put all in one coordinate.
    moved = jnp.zeros_like(systems.positions).at[0, 0, 0].set(0.2).at[1, 0, 0].set(0.4)
    systems = systems.replace(positions=systems.positions + moved)
    lam = np.array([0.2, 0.7])
    gap = 0.5 * (STIFF - SOFT) * np.array([0.2, 0.4]) ** 2
    expected = min(1.0, math.exp((lam[0] - lam[1]) * (gap[0] - gap[1]) / THERMAL))
    reverse = min(1.0, math.exp((lam[0] - lam[1]) * (gap[1] - gap[0]) / THERMAL))
    assert expected == 1.0
    assert 0.1 < reverse < 0.9
    ladder = Ladder(well(SOFT), well(STIFF), lam, temperature=TEMPERATURE, exchange=10)
    nothing = Neighbors((), ())

    @jax.jit
    def attempt(place: Array, state: Any) -> tuple[Any, Array, Array]:
        now = ladder.with_memory((place, state))
        (after, (_, count)), work = now.learn(systems, nothing)
        jump = now.with_memory((after, state)).energies(systems, nothing)
        return (after, count), work, jump - now.energies(systems, nothing)

    states = [ladder.memory(2, jax.random.key(seed))[1] for seed in range(300)]
    for place, chance in (([0, 1], expected), ([1, 0], reverse)):
        swaps = 0
        for state in states:
            (after, count), work, jump = attempt(jnp.asarray(place, jnp.int32), state)
            assert sorted(after.tolist()) == [0, 1]
            assert int(count) == 1
            np.testing.assert_allclose(work, jump, atol=1e-12)
            swaps += int(after[0]) != place[0]
        assert abs(swaps / 300 - chance) < 3.0 * math.sqrt(max(chance * (1 - chance), 1e-6) / 300) + 1e-9


@pytest.mark.more
def test_windows_start_from_a_relaxed_structure() -> None:
    """Between the wells of both ends, whose anchors are 1 Å apart; alone or beside a common term."""
    ends = [HarmonicRestraint(ANCHORS + shift, 2.0) for shift in (0.0, 1.0)]
    off = wells()
    off.positions += 3.0
    for common in (None, HarmonicRestraint(ANCHORS, 0.0)):
        result = free_energy(
            *ends, off, LANGEVIN, common=common, windows=2, steps=400, timestep=2.0, minimize=True, progress=False
        )
        assert result.run is not None
        first = np.asarray(result.run.trajectory.positions[0])
        np.testing.assert_allclose(first, np.broadcast_to(ANCHORS + 0.5, first.shape), atol=0.5)


def test_every_second_attempt_takes_the_other_pairs() -> None:
    systems = batch(4)
    # No gap at all, so every attempt is accepted.
    ladder = Ladder(well(SOFT), well(SOFT), np.linspace(0, 1, 4), temperature=TEMPERATURE, exchange=1)
    memory = ladder.memory(4)
    places = []
    for _ in range(3):
        memory, _ = ladder.with_memory(memory).learn(systems, Neighbors((), ()))
        places.append(memory[0].tolist())
    assert places == [[1, 0, 3, 2], [2, 0, 3, 1], [3, 1, 2, 0]]


def test_exchanging_runs_resume_bitwise(tmp_path: Path) -> None:
    arguments = dict(windows=3, timestep=2.0, every=50, seed=1, exchange=20, progress=False, check=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = free_energy(well(SOFT), well(STIFF), wells(), LANGEVIN, steps=600, **arguments)
        for steps in (330, 600):
            parts = free_energy(
                well(SOFT),
                well(STIFF),
                wells(),
                LANGEVIN,
                steps=steps,
                output=tmp_path,
                resume=True,
                chunk=47,
                **arguments,
            )
    assert whole.run is not None
    assert parts.run is not None
    energies = parts.run.observables["energies"].values
    np.testing.assert_array_equal(whole.run.observables["energies"].values, energies)
    assert parts.value == whole.value
    # Replicas did move between windows.
    assert len(np.unique(energies[:, 0, 2])) > 1


@pytest.mark.more
def test_a_target_is_met(tmp_path: Path) -> None:
    arguments = dict(windows=4, steps=2000, timestep=2.0, seed=2, progress=False, check=False, every=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = free_energy(well(SOFT), well(STIFF), wells(), LANGEVIN, target=0.006, output=tmp_path, **arguments)
    assert result.error <= 0.006
    assert result.run is not None
    assert result.run.log["step"][-1] > 2000
    assert abs(result.value - EXACT) < 3.0 * result.error
    with pytest.raises(InputError, match="needs a folder"):
        free_energy(well(SOFT), well(STIFF), wells(), LANGEVIN, target=0.006, **arguments)


def test_reference_energies_count() -> None:
    """They are left out of the dynamics and put back in float64: 2 eV per atom between the ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, with_reference = (
            free_energy(
                well(SOFT) + Shifted(0.0),
                well(STIFF) + Shifted(each),
                wells(),
                LANGEVIN,
                windows=3,
                steps=1000,
                timestep=2.0,
                progress=False,
                check=False,
            )
            for each in (0.0, 2.0)
        )
    assert with_reference.value - plain.value == pytest.approx(2.0 * COUNT, abs=1e-9)


@pytest.mark.more
def test_legs_add_up() -> None:
    result = free_energy_path(
        [well(0.5), well(1.0), well(2.0)],
        wells(),
        LANGEVIN,
        windows=4,
        steps=6000,
        timestep=2.0,
        seed=3,
        progress=False,
    )
    assert len(result.legs) == 2
    assert abs(result.value - EXACT) < 3.0 * result.error
    assert result.error == pytest.approx(math.hypot(*(leg.error for leg in result.legs)))
    for leg in result.legs:
        assert abs(leg.value - EXACT / 2.0) < 3.0 * leg.error


@pytest.mark.slow
def test_a_ghost_is_refused_with_advice() -> None:
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True).repeat(2)
    atoms.symbols[0] = "Kr"
    full = LennardJones({"Ar": 3.4, "Kr": 3.4}, {"Ar": 0.01, "Kr": 0.01}, cutoff=5.0)
    ghost = LennardJones({"Ar": 3.4, "Kr": 3.4}, {"Ar": 0.01, "Kr": 0.0}, cutoff=5.0)
    for ends in ((ghost, full), (full, ghost)):
        with pytest.raises(InputError, match=r"atom 0 \(Kr\) is a ghost .* Grow a cavity first"):
            free_energy(*ends, atoms, NVT(100.0), steps=10)
    # Atoms that both see are fine, and so are restraints that leave atoms alone.
    from jaxelyte.free_energy.end_points import check_end_points

    check_end_points(full, LennardJones({"Ar": 3.4, "Kr": 3.6}, {"Ar": 0.01, "Kr": 0.02}, cutoff=5.0), atoms)
    some = HarmonicRestraint(atoms.positions[:2], 1.0, indices=[0, 1])
    check_end_points(full, full + some, atoms)
    check_end_points(HarmonicRestraint(atoms.positions[:1], 1.0, indices=[0]), some, atoms)
    check_end_points(HarmonicRestraint(atoms.positions, 1.0), full, atoms)
    # Held in its place a ghost is still one, and so are the atoms of an ideal gas.
    nobody = LennardJones({"Ar": 3.4, "Kr": 3.4}, {"Ar": 0.0, "Kr": 0.0}, cutoff=5.0)
    one = HarmonicRestraint(atoms.positions[:1], 1.0, indices=[0])
    for ends in ((ghost + one, full + one), (ghost + one, full), (nobody, full)):
        with pytest.raises(InputError, match="is a ghost in the initial potential"):
            check_end_points(*ends, atoms)


def test_equal_potentials_differ_by_nothing() -> None:
    found = free_energy(
        well(1.0), well(1.0), wells(), LANGEVIN, windows=2, steps=400, timestep=2.0, exchange=20, progress=False
    )
    assert abs(found.value) < 1e-9
    assert 0.0 <= found.error < 1e-9


@pytest.mark.more
def test_a_leg_starts_in_the_last_window_of_the_leg_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows that exchange have wandered among the replicas; and atoms that do not interact may have met."""
    from jaxelyte.free_energy import path

    starts = []

    def recorded(*arguments: Any, **options: Any) -> FreeEnergyResult:
        starts.append(arguments[2])
        return free_energy(*arguments, **options)

    monkeypatch.setattr(path, "free_energy", recorded)
    atoms = Atoms("Ar64", np.mgrid[0:4, 0:4, 0:4].reshape(3, -1).T * 3.0, cell=[12.0] * 3, pbc=True)
    ends = [HarmonicRestraint(np.full((64, 3), 6.0), k) for k in (0.02, 0.03, 0.04)]
    options: dict = dict(windows=4, steps=1500, timestep=5.0, exchange=20, seed=4, progress=False)
    run = free_energy_path(ends, atoms, LANGEVIN, **options).legs[0].run
    assert run is not None
    place = run.observables["energies"].values[-1, :, 2]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(starts[1].positions, run.atoms[int(np.argmax(place))].positions)  # type: ignore[index]
    assert starts[1].get_all_distances(mic=True)[np.triu_indices(64, 1)].min() < 0.3
    assert int(np.argmax(place)) != 3


def test_refusals_and_warnings_are_those_of_a_leg(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, tmp_path: Path
) -> None:
    """The second of three legs has windows at λ = 0.02 and 0.03 only, so that λ = 1 is made up."""
    from jaxelyte.free_energy import path

    given = [(np.array([0.0, 0.5, 1.0]), 800), (np.array([0.02, 0.03]), 800), (np.array([0.0, 0.5, 1.0]), 30)]
    run: Any = SimpleNamespace(
        completed=True, atoms=wells(), observables={"energies": SimpleNamespace(values=np.zeros((1, 1, 3)))}
    )

    seeds = []

    def found(*_: Any, **options: Any) -> FreeEnergyResult:
        lam, count = given.pop(0)
        seeds.append(options.get("seed", 0))
        return difference(gaps(rng, lam, count), lam, TEMPERATURE, weights=np.full(len(lam), 1 / len(lam)), run=run)

    monkeypatch.setattr(path, "free_energy", found)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = free_energy_path([well(0.5)] * 4, wells(), LANGEVIN)
    assert seeds[0] == 0
    assert len(set(seeds)) == 3  # the same random numbers in all legs would make their errors the same
    texts = [str(one.message) for one in told]
    assert any(text.startswith("leg 2: free energy: MBAR has no error bar") for text in texts)
    assert any(text.startswith("leg 3: free energy") and "independent samples of the window" in text for text in texts)
    assert not any(text.startswith("leg 1") for text in texts)
    assert result.refused[2] == result.legs[1].refused["MBAR"]
    assert 1 not in result.refused
    assert math.isnan(result.error)
    assert f"no error bar: {result.refused[2]}" in repr(result)
    result.to_json(tmp_path / "path.json")
    stored = json.loads((tmp_path / "path.json").read_text())
    assert [leg["refused"] for leg in stored["legs"]][:2] == ["", result.refused[2]]


def test_what_is_wrong_is_said(rng: np.random.Generator) -> None:
    lam, weights = nodes_and_weights(4, "trapezoid")
    with pytest.warns(UserWarning, match="independent samples"):
        difference(gaps(rng, lam, 30), lam, TEMPERATURE, weights=weights)
    rising = [np.random.default_rng(n).normal(value, 0.001, 500) for n, value in enumerate((0.1, 0.2, 0.15, 0.1))]
    with pytest.warns(UserWarning, match=r"rises by 0\.1.* which it cannot"):
        difference(rising, lam, TEMPERATURE, weights=weights)
    far = [np.random.default_rng(n).normal(value, 0.01, 500) for n, value in enumerate((3.0, 2.0, 1.0, 0.0))]
    with pytest.warns(UserWarning, match=r"falls by (1\.0|0\.99).* account for 0\.00.* eV at most"):
        difference(far, lam, TEMPERATURE, weights=weights)
    ends = np.array([0.0, 1.0])
    with pytest.warns(UserWarning, match=r"overlap by 0\.0"):
        difference(gaps(rng, ends, 4000), ends, TEMPERATURE, weights=np.array([0.5, 0.5]))
    with pytest.raises(InputError, match="not finite"):
        difference([np.array([1.0, np.nan])] * 4, lam, TEMPERATURE, weights=weights)
    with pytest.raises(InputError, match="choose one of MBAR"):
        difference(gaps(rng, lam, 100), lam, TEMPERATURE, weights=weights, estimator="FEP")
    with pytest.raises(InputError, match="must be NVT"):
        free_energy(well(1.0), well(2.0), wells(), NVE(), steps=10)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="3 start structures for 2 windows"):
        free_energy(well(1.0), well(2.0), [wells()] * 3, LANGEVIN, windows=2, steps=10, check=False)
    with pytest.raises(InputError, match="need as many replicas"):
        simulate(Ladder(well(1.0), well(2.0), [0.0, 1.0], temperature=300.0), wells(), LANGEVIN, steps=10, every=10)


def test_results_are_kept_and_drawn(tmp_path: Path, rng: np.random.Generator) -> None:
    lam, weights = nodes_and_weights(5, "gauss-legendre")
    result: FreeEnergyResult = difference(gaps(rng, lam, 200), lam, TEMPERATURE, weights=weights, estimator="TI")
    result.to_json(tmp_path / "f.json")
    stored = json.loads((tmp_path / "f.json").read_text())
    assert stored["free_energy_eV"] == result.value == result.estimates["TI"][0]
    result.to_csv(tmp_path / "f.csv")
    assert np.loadtxt(tmp_path / "f.csv", delimiter=",", skiprows=1).shape == (5, 5)
    assert len(result.plot().lines) >= 5
    assert len(result.plot_convergence().lines) == 2
    assert "kJ/mol" in repr(result)
    # All of the run, from either side, is the same.
    assert result.forward[-1] == pytest.approx(result.backward[-1]) == pytest.approx(result.value)
