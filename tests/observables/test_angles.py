"""Angles: tetrahedra, random directions, crystals, brute force in any cell, loop against file, bad input."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from jaxelyte.dynamics import NVT, simulate
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.observables import load_result, sampling, triplets
from jaxelyte.observables.angles import Angles, angles
from jaxelyte.observables.sampling import accumulate, first_systems
from jaxelyte.system import System
from jaxelyte.trajectory import Trajectory
from toys import Argon, gas

pytestmark = pytest.mark.filterwarnings("ignore:angles .* standard error")

CUBE = np.eye(3) * 12.0
SLANTED = np.array([[11.0, 0.0, 0.0], [4.0, 10.0, 0.0], [-3.0, 5.0, 12.0]])


def counted_by_hand(
    trajectory: Trajectory, triplet: tuple[str, str, str], r_max: tuple[float, float], bins: int
) -> np.ndarray:
    """Triplets by angle: every image up to four cells away, one triplet at a time, in plain numpy."""
    symbols = list(trajectory.frame(0).symbols)
    steps = np.array(list(np.ndindex(9, 9, 9))) - 4
    found = []
    for i, r in np.ndindex(len(trajectory), trajectory.replicas):
        cell = trajectory.cells_of(slice(i, i + 1))[0, r]
        periodic = np.asarray(trajectory.pbc)
        positions = np.asarray(trajectory.positions[i, r])
        if np.all(periodic):
            positions = (positions @ np.linalg.inv(cell)) % 1.0 @ cell
        images = steps[np.all((steps == 0) | periodic, axis=1)]
        for center in (k for k, s in enumerate(symbols) if s == triplet[1]):
            sides = []
            for species, limit in ((triplet[0], r_max[0]), (triplet[2], r_max[1])):
                near = {}
                for atom in (k for k, s in enumerate(symbols) if s == species):
                    for image in images:
                        vector = positions[atom] + image @ cell - positions[center]
                        if 0 < np.linalg.norm(vector) < limit:
                            near[atom, *image] = vector
                sides.append(near)
            for (one, u), (other, v) in itertools.product(sides[0].items(), sides[1].items()):
                twice = triplet[0] == triplet[2] and r_max[0] == r_max[1]
                if one == other or (twice and one > other):
                    continue
                cosine = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
                found.append(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
    return np.histogram(found, bins=bins, range=(0.0, 180.0))[0]


TRIPLETS = [
    (("O", "Na", "O"), (6.8, 6.8)),
    (("O", "Na", "Cl"), (5.0, 6.0)),
    (("Cl", "Na", "O"), (4.0, 7.0)),
    (("O", "Na", "O"), (5.0, 8.0)),
    (("Na", "Na", "Na"), (9.0, 9.0)),
    (("Na", "Na", "O"), (13.0, 4.0)),
]


@pytest.mark.parametrize("cell", [CUBE, SLANTED], ids=["cubic", "triclinic"])
@pytest.mark.parametrize(("triplet", "r_max"), TRIPLETS, ids=["-".join(t) + f"-{r[1]}" for t, r in TRIPLETS])
def test_counts_are_those_of_brute_force(cell: np.ndarray, triplet: Any, r_max: Any) -> None:
    """Cut-offs beyond half the cell, and beyond the cell itself, included."""
    trajectory = gas(["Na"] * 3 + ["Cl"] * 2 + ["O"] * 5, cell, 2, replicas=2)
    expected = counted_by_hand(trajectory, triplet, r_max, 30)
    found = angles(trajectory, triplet, r_max=r_max, bins=30)
    assert expected.sum() > 10
    assert found.triplets == pytest.approx(expected.sum() / (4 * 3))
    np.testing.assert_allclose(found.value * expected.sum() * 6.0, expected, atol=1e-9)


@pytest.mark.parametrize(
    "tile", [pytest.param(1, marks=pytest.mark.more), pytest.param(600, marks=pytest.mark.more), 1 << 20]
)
def test_tiles_make_no_difference(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    """One centre at a time, tiles that are not filled, all at once; the padding stands for the last atom, an O."""
    trajectory = gas(["Na"] * 5 + ["O"] * 8, SLANTED, 2)
    monkeypatch.setattr(triplets, "CPU_TILE", tile)
    monkeypatch.setattr(triplets, "DEVICE_TILE", tile)
    jax.clear_caches()
    found = angles(trajectory, ("O", "Na", "O"), r_max=7.0, bins=15)
    jax.clear_caches()
    expected = counted_by_hand(trajectory, ("O", "Na", "O"), (7.0, 7.0), 15)
    assert expected.sum() > 20
    np.testing.assert_allclose(found.value * expected.sum() * 12.0, expected, atol=1e-9)


def test_without_a_cell_and_in_slabs() -> None:
    trajectory = gas(["Na"] * 3 + ["O"] * 6, CUBE, 3)
    trajectory = replace(trajectory, positions=0.25 * np.asarray(trajectory.positions))
    for pbc in ((False, False, False), (True, True, False)):
        open_one = replace(trajectory, pbc=pbc, cells=CUBE * np.array(pbc)[:, None])
        expected = counted_by_hand(open_one, ("O", "Na", "O"), (9.0, 9.0), 20)
        found = angles(open_one, ("O", "Na", "O"), r_max=9.0, bins=20)
        assert expected.sum() > 5
        np.testing.assert_allclose(found.value * expected.sum() * 9.0, expected, atol=1e-9)


def test_molecules_have_the_angles_that_ase_measures() -> None:
    for name, triplet, r_max in (("CH4", ("H", "C", "H"), 1.3), ("H2O", ("H", "O", "H"), 1.2)):
        atoms = molecule(name)
        center = [k for k, s in enumerate(atoms.symbols) if s == triplet[1]][0]  # noqa: RUF015
        ends = [k for k, s in enumerate(atoms.symbols) if s == "H"]
        found = angles([atoms] * 8, triplet, r_max=r_max, bins=1800)
        (at,) = np.flatnonzero(found.value)
        exact = atoms.get_angle(ends[0], center, ends[1])
        assert found.theta[at] == pytest.approx(exact, abs=0.05)
        assert found.mean == pytest.approx(exact, abs=0.05)
        assert found.error[at] == 0.0
        assert found.triplets == len(ends) * (len(ends) - 1) / 2
        assert np.sum(found.value * np.diff(found.edges)) == pytest.approx(1.0)
    assert angles([molecule("CH4")] * 4, ("H", "C", "H"), r_max=1.3, bins=180).theta[109] == pytest.approx(109.5)


def test_water_across_the_edges_of_a_triclinic_cell() -> None:
    """The distribution of single angles that ASE measures with nearest images."""
    rng = np.random.default_rng(2)
    frames, exact = [], []
    for _ in range(60):
        at = rng.uniform(0, 1, (3, 3)) @ SLANTED
        atoms = Atoms("NaOCl", at, cell=SLANTED, pbc=True)
        if max(atoms.get_distance(0, k, mic=True) for k in (1, 2)) < 4.5:
            exact.append(atoms.get_angle(1, 0, 2, mic=True))
            atoms.wrap()
            frames.append(atoms)
    found = angles(frames, ("O", "Na", "Cl"), r_max=4.5, bins=36)
    assert len(frames) > 3
    counts, _ = np.histogram(exact, bins=36, range=(0, 180))
    np.testing.assert_allclose(found.value * 5.0 * len(exact), counts, atol=1e-12)


def test_angles_of_fcc_from_one_atom() -> None:
    """Twelve images of the atom itself: 24 angles of 60°, 12 of 90°, 24 of 120°, 6 of 180°."""
    found = angles([bulk("Ar", "fcc", a=5.26)] * 4, ("Ar", "Ar", "Ar"), r_max=4.0, bins=90)
    # Angles on the edge of a bin may fall on either side of it.
    counts = found.value * 2.0 * found.triplets
    for angle, number in ((60, 24), (90, 12), (120, 24), (180, 6)):
        assert counts[np.abs(found.theta - angle) < 2.5].sum() == pytest.approx(number)
    assert found.triplets == pytest.approx(66)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cell", [CUBE, SLANTED], ids=["cubic", "triclinic"])
def test_random_directions_are_a_sine_within_their_errors(cell: np.ndarray, dtype: Any) -> None:
    trajectory = gas(["Na"] * 4 + ["O"] * 12, cell, 1000, replicas=2, dtype=dtype)
    found = angles(trajectory, ("O", "Na", "O"), r_max=5.5, bins=30)
    sine = 0.5 * np.sin(np.radians(found.theta)) * np.pi / 180.0
    np.testing.assert_allclose(found.value / found.relative, sine, rtol=0.002)
    assert 0.4 < np.mean(((found.relative - 1.0) / found.relative_error) ** 2) < 2.0
    assert np.mean(found.relative_error) < 0.05
    assert np.sum(found.value * np.diff(found.edges)) == pytest.approx(1.0, abs=1e-12)
    assert abs(found.mean - 90.0) < 4.0 * found.mean_error < 2.0


def test_repeated_frames_have_the_errors_of_single_ones() -> None:
    few = gas(["Na"] * 3 + ["O"] * 8, CUBE, 256)
    positions = np.repeat(np.asarray(few.positions), 10, axis=0)
    many = replace(few, positions=positions, steps=np.arange(2560), times=np.arange(2560.0))
    short, long = (angles(t, ("O", "Na", "O"), r_max=5.0, bins=12) for t in (few, many))
    np.testing.assert_allclose(short.value, long.value, rtol=1e-12)
    assert np.mean(long.error / short.error) == pytest.approx(1.0, abs=0.2)
    assert long.mean_error / short.mean_error == pytest.approx(1.0, abs=0.3)


def crowd() -> Trajectory:
    """One Na among 22 O within 3 Å, and a second with none."""
    rng = np.random.default_rng(1)
    ring = rng.normal(size=(3, 22, 3))
    ring *= 2.5 / np.linalg.norm(ring, axis=-1, keepdims=True)
    frames = [Atoms("Na2O22", np.concatenate([[[0, 0, 0], [15, 15, 15]], one])) for one in ring]
    for atoms in frames:
        atoms.set_cell(np.eye(3) * 30.0)
        atoms.pbc = True
    return Trajectory.from_atoms(frames)


@pytest.mark.more
def test_room_that_is_too_small_is_never_silent() -> None:
    trajectory = crowd()
    tight = Angles(("O", "Na", "O"), 3.0, room=16).prepare(first_systems(trajectory))
    with pytest.warns(UserWarning, match="3 of 6 centres had more neighbours than room for 16 and 16"):
        lost = tight.result(*accumulate(tight, trajectory))
    assert lost.overflow == 3
    assert lost.triplets == pytest.approx(16 * 15 / 2 / 2)
    # One too few, and just enough; also where one end alone is crowded.
    for room, limits, overflow in ((21, 3.0, 3), (22, 3.0, 0), (21, (2.4, 3.0), 3), (21, (3.0, 2.4), 3)):
        edge = Angles(("O", "Na", "O"), limits, room=room).prepare(first_systems(trajectory))
        assert np.sum(accumulate(edge, trajectory)[0].overflow) == overflow
    # A trajectory is read again with more room; the ends may differ.
    for triplet, r_max in ((("O", "Na", "O"), 3.0), (("O", "Na", "O"), (3.0, 2.9))):
        found = angles(trajectory, triplet, r_max=r_max, bins=18)
        limits = (3.0, 3.0) if r_max == 3.0 else (3.0, 2.9)
        expected = counted_by_hand(trajectory, triplet, limits, 18)  # pyright: ignore[reportArgumentType]
        assert found.overflow == 0
        np.testing.assert_allclose(found.value * expected.sum() * 10.0, expected, atol=1e-9)


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.more), "float64"])
def test_the_loop_counts_what_the_file_gives(tmp_path: Path, dtype: str) -> None:
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(2)
    with jax.enable_x64(dtype == "float64"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = simulate(
            Argon(cutoff_distance=5.5),
            atoms,
            NVT(90.0),
            steps=120,
            timestep=4.0,
            every=4,
            replicas=2,
            observables={"a": Angles(("Ar", "Ar", "Ar"), 5.0)},
            output=tmp_path / "run",
            progress=False,
            chunk=50,
        )
        afterwards = angles(run.trajectory[7:], ("Ar", "Ar", "Ar"), r_max=5.0)
    counted = run.observables["a"]
    assert counted.samples == afterwards.samples == 48
    assert counted.triplets > 50
    np.testing.assert_array_equal(counted.value, afterwards.value)
    np.testing.assert_array_equal(counted.error, afterwards.error)
    np.testing.assert_array_equal(load_result(tmp_path / "run" / "observables" / "a.json").value, counted.value)


def test_one_compilation_for_all_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = []
    original = Angles.update

    def counting(self: Angles, acc: Any, system: System) -> Any:
        traces.append(1)
        return original(self, acc, system)

    monkeypatch.setattr(Angles, "update", counting)
    monkeypatch.setattr(sampling, "BYTES_AT_ONCE", 3000)
    angles(gas(["Na"] * 10, CUBE, 300), ("Na", "Na", "Na"), r_max=4.21)
    assert len(traces) == 1


def test_a_changing_cell() -> None:
    rng = np.random.default_rng(4)
    cells = [CUBE, 0.5 * SLANTED, 0.7 * CUBE]
    frames = [Atoms("Na2O4", rng.uniform(0, 1, (6, 3)) @ cell, cell=cell, pbc=True) for cell in cells]
    trajectory = Trajectory.from_atoms(frames)
    expected = counted_by_hand(trajectory, ("O", "Na", "O"), (5.0, 5.0), 10)
    found = angles(trajectory, ("O", "Na", "O"), r_max=5.0, bins=10)
    np.testing.assert_allclose(found.value * expected.sum() * 18.0, expected, atol=1e-9)


def test_no_triplet_at_all(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"no triplet within \(0.1, 0.1\) Å in 6 samples"):
        found = angles(gas(["Na"] * 2 + ["O"], CUBE, 6), ("Na", "O", "Na"), r_max=0.1)
    assert np.all(np.isnan(found.value))
    assert np.all(np.isnan(found.error))
    assert np.isnan(found.mean_error)
    found.to_json(tmp_path / "none.json")
    assert np.isnan(load_result(tmp_path / "none.json").mean)


def test_files_and_pictures(tmp_path: Path) -> None:
    found = angles(gas(["Na"] * 4 + ["O"] * 6, CUBE, 20), ("O", "Na", "O"), r_max=(5.0, 4.0), bins=20)
    found.to_json(tmp_path / "a.json")
    back = load_result(tmp_path / "a.json")
    assert back.triplet == found.triplet
    assert back.r_max == (5.0, 4.0)
    assert (back.mean, back.mean_error, back.samples, back.overflow) == (found.mean, found.mean_error, 20, 0)
    for name in ("edges", "value", "error", "relative"):
        np.testing.assert_array_equal(getattr(back, name), getattr(found, name), err_msg=name)
    found.to_csv(tmp_path / "a.csv")
    table = np.genfromtxt(tmp_path / "a.csv", delimiter=",", names=True)
    np.testing.assert_allclose(table["p_1_deg"], found.value)
    assert found.plot().get_xlabel() == "θ / °"
    assert "random" in found.plot(relative=True).get_ylabel()
    assert "triplets around one Na" in repr(found)
    fixed = angles(gas(["Na"] * 4 + ["O"] * 6, CUBE, 20), ("O", "Na", "O"), r_max=(5.0, 4.0), bins=20, blocks=5)
    assert np.all(np.isfinite(fixed.error))


BAD = [
    (dict(triplet=("O", "Na")), "three chemical symbols"),
    (dict(triplet="ONaO"), "three chemical symbols|not a chemical symbol"),
    (dict(triplet=("O", "Xx", "O")), "'Xx' is not a chemical symbol"),
    (dict(triplet=("O", "K", "O")), "there is no K in the system, which holds Cl, Na, O"),
    (dict(r_max=0.0), "r_max must be a finite number in Å, above 0"),
    (dict(r_max=(3.0, float("inf"))), "r_max must be a finite number in Å, above 0"),
    (dict(r_max=(3.0, 3.0, 3.0)), "or one for each end"),
    (dict(bins=0), "bins must be a positive integer"),
    (dict(bins=2.5), "bins must be a positive integer"),
    (dict(blocks=1), "blocks must be an integer of at least 2"),
    (dict(discard=4), "cannot discard 4 of 4 frames"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[m for _, m in BAD])
def test_bad_arguments_are_refused(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str) -> None:
    monkeypatch.setattr(sampling, "_sample", None)  # nothing may be compiled
    complete = {"triplet": ("O", "Na", "O"), "r_max": 3.0} | arguments
    with pytest.raises(InputError, match=message):
        angles(gas(["Na", "Na", "Cl", "O"], CUBE, 4), **complete)


def test_bad_systems_are_refused() -> None:
    mixed = gas(["Na", "Cl"], CUBE, 2, replicas=2)
    mixed = Trajectory(**{**vars(mixed), "numbers": np.array([[11, 17], [17, 11]])})
    with pytest.raises(UnsupportedError, match="another order"):
        angles(mixed, ("Na", "Cl", "Na"), r_max=3.0)
    with pytest.raises(InputError, match="prepare"):
        Angles(("Na", "Cl", "Na"), 3.0).init(System.from_atoms(Atoms("NaCl", cell=CUBE, pbc=True)))
    with pytest.raises(InputError, match="room must be a positive integer"):
        Angles(("Na", "Cl", "Na"), 3.0, room=0)
