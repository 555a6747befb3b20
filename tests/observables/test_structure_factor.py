"""Structure factors: brute force, ideal gas, crystal, molecules, a liquid's g(r), X-rays and neutrons, loop, file."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from jaxelyte.dynamics import NVT, simulate
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.observables import load_result, rdf, reciprocal, sampling
from jaxelyte.observables.partials import StructureFactorResult
from jaxelyte.observables.sampling import accumulate, first_systems
from jaxelyte.observables.scattering import scattering_factors
from jaxelyte.observables.structure_factor import StructureFactor, structure_factor
from jaxelyte.system import System
from jaxelyte.trajectory import Trajectory
from toys import Argon, gas

CUBE = np.eye(3) * 12.0
SLANTED = np.array([[11.0, 0.0, 0.0], [4.0, 10.0, 0.0], [-3.0, 5.0, 12.0]])
pytestmark = pytest.mark.filterwarnings("ignore:structure factor of")

BORN = ["Na"] * 5 + ["Cl"] * 7 + ["O"]


def by_hand(trajectory: Trajectory, k_max: float, width: float) -> dict[tuple[str, str], np.ndarray]:
    """S of each pair in all bins, and the vectors in each: every vector of the full space, in plain numpy."""
    symbols = np.array(trajectory.frame(0).symbols)
    bins = round(k_max / width)
    sums: dict[Any, np.ndarray] = {}
    for i in range(len(trajectory)):
        for r in range(trajectory.replicas):
            cell = trajectory.cells_of(slice(i, i + 1))[0, r]
            numbers = np.array(list(np.ndindex(25, 25, 25))) - 12
            vectors = numbers @ (2.0 * np.pi * np.linalg.inv(cell).T)
            length = np.linalg.norm(vectors, axis=1)
            keep = (length > 1e-9) & (length < k_max)
            vectors, place = vectors[keep], (length[keep] / width).astype(int)
            waves = np.exp(1j * vectors @ np.asarray(trajectory.positions[i, r]).T)
            density = {s: waves[:, symbols == s].sum(axis=1) / np.sqrt(np.sum(symbols == s)) for s in set(symbols)}
            for (a, wave), (b, other) in itertools.product(density.items(), repeat=2):
                sums[a, b] = sums.get((a, b), 0.0) + np.bincount(place, np.real(wave * other.conj()), bins)
            for name, weights in (("vectors", None), ("length", length[keep])):
                sums[name] = sums.get(name, 0.0) + np.bincount(place, weights, bins)
    found = np.where(sums["vectors"] > 0, sums["vectors"], np.nan)
    averages = {key: value / found for key, value in sums.items() if key != "vectors"}
    return averages | {"vectors": sums["vectors"]}  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("cell", [CUBE, SLANTED], ids=["cubic", "triclinic"])
def test_brute_force(cell: np.ndarray) -> None:
    trajectory = gas(BORN, cell, 3, replicas=2)
    found = structure_factor(trajectory, k_max=3.0, width=0.1)
    expected = by_hand(trajectory, 3.0, 0.1)
    seen = expected["vectors"] > 0
    assert len(found.k) == np.sum(seen) > 15
    assert {frozenset(pair) for pair in found.pairs} == {frozenset((a, b)) for a in set(BORN) for b in set(BORN)}
    for number, pair in enumerate(found.pairs):
        np.testing.assert_allclose(found.value[number], expected[pair][seen], rtol=0, atol=1e-12, err_msg=str(pair))
    np.testing.assert_allclose(found.k, expected["length"][seen], rtol=1e-12)
    np.testing.assert_allclose(2 * 6 * found.vectors, expected["vectors"][seen])
    np.testing.assert_array_equal(found["Cl", "Na"][0], found["Na-Cl"][0])


def test_float32_is_as_accurate_as_it_can_be() -> None:
    trajectory = gas(BORN * 4, SLANTED, 20, dtype=np.float32)
    wide = replace(trajectory, positions=np.asarray(trajectory.positions, np.float64))
    low, high = (structure_factor(t, k_max=4.0) for t in (trajectory, wide))
    np.testing.assert_allclose(low.value, high.value, atol=5e-5)
    np.testing.assert_allclose(low.k, high.k, rtol=1e-6)


@pytest.mark.parametrize("tile", [1, 3000, 1 << 22])
def test_tiles_make_no_difference(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    trajectory = gas(BORN, SLANTED, 2)
    expected = by_hand(trajectory, 2.0, 0.1)
    monkeypatch.setattr(reciprocal, "CPU_TILE", tile)
    monkeypatch.setattr(reciprocal, "DEVICE_TILE", tile)
    jax.clear_caches()
    with pytest.warns(UserWarning, match=r"structure factor of 2 samples: no standard error from 2 block"):
        found = structure_factor(trajectory, k_max=2.0, width=0.1)
    jax.clear_caches()
    seen = expected["vectors"] > 0
    np.testing.assert_allclose(found["Na", "Cl"][0], expected["Na", "Cl"][seen], atol=1e-12)
    assert np.all(np.isnan(found.error))


@pytest.mark.parametrize("cell", [CUBE, SLANTED], ids=["cubic", "triclinic"])
def test_ideal_gas_is_one_within_its_errors(cell: np.ndarray) -> None:
    trajectory = gas(["Na"] * 8 + ["Cl"] * 12, cell, 1000, replicas=2)
    found = structure_factor(trajectory, k_max=3.0, width=0.1, weighting="neutron")
    for number in range(3):
        z = (found.value[number] - found.alike[number]) / found.error[number]
        assert 0.4 < np.mean(z**2) < 2.0
    assert np.array_equal(found.alike, [1.0, 0.0, 1.0])
    assert found.total is not None
    assert found.total_error is not None
    assert 0.4 < np.mean(((found.total - 1.0) / found.total_error) ** 2) < 2.0
    # |ρ|² of one vector of an ideal gas has the spread of its mean, less 1/N.
    one = found.error[0] * np.sqrt(found.vectors * found.samples)
    assert np.median(one) == pytest.approx(np.sqrt(1 - 1 / 8), rel=0.1)


def test_correlated_frames_have_the_errors_of_independent_ones() -> None:
    """Each frame ten times: the errors have to be those of the frames themselves."""
    few = gas(["Na"] * 10, CUBE, 256)
    frames = np.repeat(np.asarray(few.positions), 10, axis=0)
    many = replace(few, positions=frames, steps=np.arange(2560), times=np.arange(2560.0))
    short, long = (structure_factor(t, k_max=2.5, width=0.25, weighting="x-ray") for t in (few, many))
    np.testing.assert_allclose(short.value, long.value, rtol=1e-12)
    assert np.mean(long.error / short.error) == pytest.approx(1.0, abs=0.2)
    assert np.mean(long.total_error / short.total_error) == pytest.approx(1.0, abs=0.2)  # pyright: ignore[reportOptionalOperand]


def test_bragg_peaks_of_rock_salt() -> None:
    """All odd: Na and Cl against each other; all even: together; else nothing. From a cell that is no cube."""
    a = 5.64
    atoms = bulk("NaCl", "rocksalt", a=a).repeat((2, 3, 2))
    with pytest.warns(UserWarning, match="no standard error"):
        found = structure_factor(atoms, k_max=5.0, width=0.02)
    count = len(atoms) // 2
    # Squares of h² + k² + l², sign of Na against Cl, and how many vectors there are of each.
    peaks = [(3, -1, 8), (4, 1, 6), (8, 1, 12), (11, -1, 24), (12, 1, 8), (16, 1, 6), (19, -1, 24), (20, 1, 24)]
    dark = np.ones(len(found.k), bool)
    for square, sign, several in peaks:
        k = 2.0 * np.pi / a * np.sqrt(square)
        (at,) = np.flatnonzero((found.edges[:, 0] <= k) & (k < found.edges[:, 1]))
        dark[at] = False
        # Vectors of the large cell that fall into the same bin are dark: N from each Bragg vector of a half space.
        for pair, factor in ((("Na", "Na"), 1), (("Cl", "Cl"), 1), (("Na", "Cl"), sign)):
            assert found[pair][0][at] * found.vectors[at] == pytest.approx(factor * count * several / 2, abs=1e-8)
    assert np.sum(dark) > 40
    assert np.abs(found.value[:, dark]).max() < 1e-9


@pytest.mark.parametrize("cell", [CUBE, SLANTED], ids=["cubic", "triclinic"])
def test_dumbbells_have_the_form_factor_of_their_bond(cell: np.ndarray) -> None:
    """Molecules at random with a bond of length d: S_NaCl = sin(kd)/(kd), the transform of a shell; S_NaNa = 1."""
    rng, count, bond = np.random.default_rng(3), 10, 1.8
    first = rng.uniform(-1.0, 1.0, (800, 1, count, 3)) @ cell
    away = rng.normal(size=first.shape)
    second = first + bond * away / np.linalg.norm(away, axis=-1, keepdims=True)
    empty = gas(["Na"] * count + ["Cl"] * count, cell, 800)
    trajectory = replace(empty, positions=np.concatenate([first, second], axis=2))
    found = structure_factor(trajectory, k_max=5.0, width=0.2, weighting="x-ray")
    exact = np.sin(found.k * bond) / (found.k * bond)
    value, error = found["Na", "Cl"]
    assert 0.4 < np.mean(((value - exact) / error) ** 2) < 2.0
    assert np.max(error) < 0.05
    assert 0.4 < np.mean(((found["Na", "Na"][0] - 1.0) / found["Na", "Na"][1]) ** 2) < 2.0
    # Debye's formula for a diatomic molecule, from tables that stand elsewhere.
    sodium, chlorine = scattering_factors(("Na", "Cl"), found.k, "x-ray")
    total = 1.0 + sodium * chlorine * exact / (0.5 * (sodium + chlorine)) ** 2
    assert 0.4 < np.mean(((found.total - total) / found.total_error) ** 2) < 2.0  # pyright: ignore[reportOperatorIssue]


def argon(tmp_path: Path, dtype: str, **options: Any) -> tuple[Any, StructureFactorResult]:
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(2)
    with jax.enable_x64(dtype == "float64"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        observable = StructureFactor(k_max=3.0, weighting="x-ray")
        run = simulate(
            Argon(cutoff_distance=5.5),
            atoms,
            NVT(90.0),
            steps=120,
            timestep=4.0,
            every=4,
            replicas=2,
            observables={"s": observable},
            output=tmp_path / "run",
            progress=False,
            chunk=50,
        )
        return run, structure_factor(run.trajectory[7:], k_max=3.0, weighting="x-ray")


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.more), "float64"])
def test_the_loop_sums_what_the_file_gives(tmp_path: Path, dtype: str) -> None:
    run, afterwards = argon(tmp_path, dtype)
    summed = run.observables["s"]
    assert run.trajectory.dtype == np.dtype(dtype)
    assert summed.samples == afterwards.samples == 48
    np.testing.assert_array_equal(summed.value, afterwards.value)
    np.testing.assert_array_equal(summed.error, afterwards.error)
    np.testing.assert_array_equal(summed.total, afterwards.total)
    np.testing.assert_array_equal(load_result(tmp_path / "run" / "observables" / "s.json").total, summed.total)


@pytest.mark.more
def test_a_liquid_is_the_transform_of_its_radial_distribution() -> None:
    """Argon near its triple point: 1 + 4πρ ∫ (g - 1) r² sin(kr)/(kr) dr to half the box."""
    atoms = bulk("Ar", "fcc", a=5.75, cubic=True).repeat(3)
    atoms.rattle(0.3, seed=1)
    with jax.enable_x64(False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = simulate(Argon(), atoms, NVT(140.0), steps=2000, timestep=8.0, every=20, progress=False, seed=3)
        direct = structure_factor(run.trajectory[25:], k_max=5.0, width=0.1)
        g = rdf(run.trajectory[25:], "Ar", "Ar", width=0.05)
    shells = 4.0 * np.pi / 3.0 * np.diff(g.edges**3)
    x = np.outer(direct.k, g.r)
    density = len(atoms) / atoms.get_volume()
    transform = 1.0 + density * np.sum((g.g - 1.0) * shells * np.sin(x) / x, axis=1)
    # Below the first peak the transform rings, since g does not end at half the box.
    beyond = direct.k > 1.5
    value, error = direct["Ar-Ar"]
    assert value.max() > 1.6  # 1.8 in two runs
    assert 1.8 < direct.k[np.argmax(value)] < 2.2
    # Waves whose amplitude is remembered for a good part of the run have no error bar.
    known = beyond & np.isfinite(error)
    assert np.mean(known[beyond]) > 0.9
    assert np.all(np.abs(value - transform)[known] < 0.1 + 4.0 * error[known])


def test_weights_of_x_rays_and_neutrons() -> None:
    k = np.array([0.0, 2.0, 10.0])
    factors = scattering_factors(("H", "O", "Na", "Cl"), k, "x-ray")
    np.testing.assert_allclose(factors[:, 0], [1, 8, 11, 17], atol=0.01)  # f(0) = Z
    assert np.all(np.diff(factors, axis=1) < 0)
    # International Tables C, 6.1.1.1: O at sin θ / λ = 0.3 1/Å scatters as 4.089 electrons.
    assert scattering_factors(("O",), np.array([4 * np.pi * 0.3]), "x-ray")[0, 0] == pytest.approx(4.089, abs=0.01)
    ions = scattering_factors(("Na", "Cl"), k, "x-ray", scatterers={"Na": "Na+", "Cl": "Cl-"})
    np.testing.assert_allclose(ions[:, 0], [10, 18], atol=0.01)
    # Sears, Neutron News 3, 26 (1992), in fm.
    lengths = scattering_factors(("H", "O", "Na", "Cl"), k, "neutron")
    np.testing.assert_allclose(lengths[:, 1], [-3.739, 5.803, 3.63, 9.577], atol=0.005)
    heavy = scattering_factors(("H", "Li"), k, "neutron", scatterers={"H": "D", "Li": "7-Li"})
    np.testing.assert_allclose(heavy[:, 0], [6.671, -2.22], atol=0.07)


@pytest.mark.parametrize("weighting", ["x-ray", "neutron"])
def test_the_total_is_the_intensity_of_all_atoms(weighting: Any) -> None:
    """One sum over atoms with their own factors, without partials: I/N = <|Σ f_j exp(ik·r_j)|²>/N."""
    trajectory = gas(BORN, SLANTED, 4)
    scatterers = {"Na": "Na+"} if weighting == "x-ray" else {"Cl": "37-Cl"}
    found = structure_factor(trajectory, k_max=1.5, width=0.01, weighting=weighting, scatterers=scatterers)
    species = ("Na", "Cl", "O")
    counts = np.array([5, 7, 1])
    numbers = np.array(list(np.ndindex(13, 13, 13))) - 6
    vectors = numbers @ (2.0 * np.pi * np.linalg.inv(SLANTED).T)
    length = np.linalg.norm(vectors, axis=1)
    assert found.total is not None
    for at in (0, 5, -1):
        low, high = found.edges[at]
        chosen = vectors[(length > low) & (length <= high)]
        factors = scattering_factors(
            species, found.k[at : at + 1] if at >= 0 else found.k[-1:], weighting, scatterers=scatterers
        )
        each = np.repeat(factors[:, 0], counts)
        waves = np.exp(1j * np.einsum("fai,ki->fka", np.asarray(trajectory.positions[:, 0]), chosen)) @ each
        intensity = np.mean(np.abs(waves) ** 2) / 13
        mean, square = each.mean(), np.mean(each**2)
        assert found.total[at] == pytest.approx(1.0 + (intensity - square) / mean**2, rel=1e-9)
        assert found.mean_factor[at] == pytest.approx(mean)  # pyright: ignore[reportOptionalSubscript]


def test_another_total_afterwards() -> None:
    trajectory = gas(BORN, CUBE, 800)
    once = structure_factor(trajectory, k_max=2.0, weighting="neutron")
    later = structure_factor(trajectory, k_max=2.0).weighted("neutron")
    np.testing.assert_allclose(later.total, once.total, rtol=1e-12)  # pyright: ignore[reportArgumentType]
    assert np.mean(later.total_error / once.total_error) == pytest.approx(1.0, abs=0.2)  # pyright: ignore[reportOptionalOperand]
    short = structure_factor(trajectory[:5], k_max=2.0)
    assert np.all(np.isfinite(short.weighted("x-ray").total_error))  # pyright: ignore[reportArgumentType]


def test_a_changing_cell() -> None:
    rng = np.random.default_rng(4)
    cells = [CUBE, SLANTED, 0.8 * SLANTED, CUBE * 1.2]
    frames = [Atoms("Na8Cl4", rng.uniform(0, 1, (12, 3)) @ cell, cell=cell, pbc=True) for cell in cells]
    trajectory = Trajectory.from_atoms(frames, interval=1.0)
    found = structure_factor(trajectory, k_max=2.0, width=0.1)
    expected = by_hand(trajectory, 2.0, 0.1)
    seen = expected["vectors"] > 0
    np.testing.assert_allclose(found["Na", "Cl"][0], expected["Na", "Cl"][seen], atol=1e-12)
    np.testing.assert_allclose(found.k, expected["length"][seen])


def test_fixed_blocks() -> None:
    trajectory = gas(["Na"] * 8, CUBE, 100)
    found = structure_factor(trajectory, k_max=1.0, blocks=5)
    parts = [structure_factor(trajectory[20 * k : 20 * (k + 1)], k_max=1.0).value for k in range(5)]
    np.testing.assert_allclose(found.error, np.std(parts, axis=0, ddof=1) / np.sqrt(5), rtol=1e-10)
    with pytest.raises(InputError, match="blocks=5, but there are only 4"):
        structure_factor(trajectory[:4], k_max=1.0, blocks=5)


def test_one_compilation_for_all_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = []
    original = StructureFactor.update

    def counting(self: StructureFactor, acc: Any, system: System) -> Any:
        traces.append(1)
        return original(self, acc, system)

    monkeypatch.setattr(StructureFactor, "update", counting)
    monkeypatch.setattr(sampling, "BYTES_AT_ONCE", 3000)
    structure_factor(gas(["Na"] * 10, CUBE, 600), k_max=1.37)
    assert len(traces) == 1


def test_sums_do_not_drift_in_float32() -> None:
    """A crystal adds the same number 4000 times."""
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    one = Trajectory.from_atoms([atoms] * 4000)
    one = replace(one, positions=np.asarray(one.positions, np.float32))
    observable = StructureFactor(k_max=3.3).prepare(first_systems(one))
    acc, _ = accumulate(observable, one, blocks=1)
    total = (acc.waves.high + acc.waves.low)[0, 0]
    single, _ = accumulate(observable, one[:1])
    np.testing.assert_allclose(total, 4000.0 * (single.waves.high + single.waves.low)[0, 0], rtol=2e-7, atol=1e-3)


def test_files_and_pictures(tmp_path: Path) -> None:
    found = structure_factor(gas(BORN, CUBE, 40), k_max=2.0, weighting="neutron")
    found.to_json(tmp_path / "s.json")
    back = load_result(tmp_path / "s.json")
    assert (back.species, back.pairs, back.weighting, back.samples) == (
        found.species,
        found.pairs,
        "neutron",
        40,
    )
    for name in ("k", "edges", "vectors", "value", "error", "total", "total_error", "stretches", "counts"):
        np.testing.assert_array_equal(getattr(back, name), getattr(found, name), err_msg=name)
    found.to_csv(tmp_path / "s.csv")
    table = np.genfromtxt(tmp_path / "s.csv", delimiter=",", names=True)
    np.testing.assert_array_equal(table["S_NaCl"], found["Na", "Cl"][0])
    np.testing.assert_array_equal(table["error_neutron"], found.total_error)
    assert len(found.plot().get_lines()) == 2
    assert len(found.plot(partials=True).get_lines()) == 9
    assert "neutron: highest at" in repr(found)
    with pytest.raises(KeyError, match="no pair Na-K"):
        found["Na", "K"]


BAD = [
    (dict(k_max=0.0), "k_max must be a finite number in 1/Å, above 0"),
    (dict(width=float("nan")), "width must be a finite number in 1/Å, above 0"),
    (dict(k_max=0.01), "below the width of one bin"),
    (dict(k_max=0.2), "below the shortest reciprocal lattice vector of the cell, 0.5236"),
    (dict(k_max=500.0), "reciprocal lattice vectors, more than 20,000,000"),
    (dict(weighting="electron"), "weighting must be one of 'x-ray', 'neutron'"),
    (dict(weighting="x-ray", k_max=80.0), "form factors end at 75.4"),
    (dict(scatterers={"Na": "Na+"}), "need a weighting"),
    (dict(weighting="x-ray", scatterers={"Na": "Na9+"}), "no X-ray form factor of 'Na9\\+'"),
    (dict(weighting="neutron", scatterers={"Na": "Na+"}), "no nuclide 'Na\\+'"),
    (dict(weighting="neutron", scatterers={"Na": "Po"}), "no neutron scattering length of Po"),
    (dict(weighting="neutron", scatterers={"K": "K"}), "scatterers name K, which is not among"),
    (dict(blocks=1), "blocks must be an integer of at least 2"),
    (dict(discard=4), "cannot discard 4 of 4 frames"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[m for _, m in BAD])
def test_bad_arguments_are_refused(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str) -> None:
    monkeypatch.setattr(sampling, "_sample", None)  # nothing may be compiled
    with pytest.raises(InputError, match=message):
        structure_factor(gas(["Na", "Na", "Cl", "O"], CUBE, 4), **arguments)


def test_bad_systems_are_refused() -> None:
    with pytest.raises(InputError, match="lives on the reciprocal lattice"):
        structure_factor(Atoms("OH2", [[0, 0, 0], [0, 0, 1], [0, 1, 0]], cell=CUBE, pbc=[True, True, False]))
    mixed = gas(["Na", "Cl"], CUBE, 2, replicas=2)
    with pytest.raises(UnsupportedError, match="another order"):
        structure_factor(Trajectory(**{**vars(mixed), "numbers": np.array([[11, 17], [17, 11]])}))
    with pytest.raises(InputError, match="prepare"):
        StructureFactor().init(System.from_atoms(Atoms("Na", cell=CUBE, pbc=True, positions=jnp.zeros((1, 3)))))
    null = structure_factor(gas(["Ti"] * 2, CUBE, 4), k_max=1.0)
    with pytest.raises(InputError, match="the scattering lengths of the sample cancel"):
        replace(null, species=("H", "O"), counts=np.array([5.8037, 3.7409])).weighted("neutron")
