"""Radial distribution functions: ideal gas, crystal, other codes, loop against file, bad input."""

from __future__ import annotations

import math
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

from jaxelyte.dynamics import NVT, load_run, simulate
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.interop.h5md import H5MDWriter
from jaxelyte.observables import RDF, RDFResult, load_result, rdf, sampling
from jaxelyte.observables.sampling import accumulate, first_systems
from jaxelyte.system import System
from jaxelyte.trajectory import Trajectory, open_trajectory
from toys import Argon, gas

CUBE = np.eye(3) * 12.0
SLANTED = np.array([[11.0, 0.0, 0.0], [4.0, 10.0, 0.0], [-3.0, 5.0, 12.0]])


def counted_by_hand(trajectory: Trajectory, pair: tuple[str, str], r_max: float, bins: int) -> np.ndarray:
    """Ordered pairs of distinct atoms, every image up to four cells away, in plain numpy."""
    steps = np.array(list(np.ndindex(9, 9, 9))) - 4
    first = trajectory.frame(0)
    a, b = ([i for i, s in enumerate(first.symbols) if s == species] for species in pair)
    counts = np.zeros(bins, np.int64)
    for i in range(len(trajectory)):
        for r in range(trajectory.replicas):
            cell = trajectory.cells[r]
            inside = (np.asarray(trajectory.positions[i, r]) @ np.linalg.inv(cell)) % 1.0 @ cell
            for j in a:
                others = [k for k in b if k != j]
                vectors = inside[others][:, None] - inside[j] + steps @ cell
                distances = np.linalg.norm(vectors, axis=-1)
                counts += np.histogram(distances, bins=bins, range=(0.0, r_max))[0]
    return counts


@pytest.mark.parametrize("cell", [CUBE, SLANTED], ids=["cubic", "triclinic"])
@pytest.mark.parametrize("r_max", [None, 4.0, 11.0], ids=["half", "short", "beyond"])
def test_counts_are_those_of_brute_force(cell: np.ndarray, r_max: float | None) -> None:
    trajectory = gas(["Na"] * 5 + ["Cl"] * 7 + ["O"], cell, 2, replicas=2)
    pairs = [("Na", "Cl"), ("Cl", "Na"), ("Cl", "Cl"), ("Na", "O")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        observable = RDF(pairs, r_max=r_max).prepare(first_systems(trajectory))
    acc, _ = accumulate(observable, trajectory)
    for k, pair in enumerate(pairs):
        expected = counted_by_hand(trajectory, pair, observable.r_max, observable.bins)
        np.testing.assert_array_equal(acc.counts.sum(axis=(0, 1))[k], expected)
    assert acc.counts.sum() > 0
    np.testing.assert_array_equal(acc.samples, 1)


@pytest.mark.parametrize("tile", [pytest.param(1, marks=pytest.mark.more), 40, 1 << 20])
def test_counts_do_not_depend_on_tiles(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    from jaxelyte.observables import histogram

    trajectory = gas(["Na"] * 9, SLANTED, 3)
    observable = RDF([("Na", "Na")], r_max=7.0, bins=31).prepare(first_systems(trajectory))
    monkeypatch.setattr(histogram, "CPU_TILE", tile)
    monkeypatch.setattr(histogram, "DEVICE_TILE", tile)
    jax.clear_caches()
    acc, _ = accumulate(observable, trajectory)
    jax.clear_caches()
    expected = counted_by_hand(trajectory, ("Na", "Na"), 7.0, 31)
    np.testing.assert_array_equal(acc.counts.sum(axis=(0, 1))[0], expected)


GASES = {
    "many": (["Na"] * 12 + ["Cl"] * 12, CUBE, None),
    "beyond half the box": (["Na"] * 12 + ["Cl"] * 12, CUBE, 10.0),
    "triclinic": (["Na"] * 12 + ["Cl"] * 12, SLANTED, 9.0),
    "four atoms": (["Na"] * 2 + ["Cl"] * 2, CUBE, None),
}


@pytest.mark.parametrize("name", GASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ideal_gas_is_one_within_its_errors(name: str, dtype: Any) -> None:
    """χ² per bin of (g - 1)/error. Two atoms of a kind: normalised by N² g would be ½."""
    symbols, cell, r_max = GASES[name]
    frames = 6400 if len(symbols) == 4 else 1600
    trajectory = gas(symbols, cell, frames, replicas=2, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = rdf(trajectory, pairs=[("Na", "Cl"), ("Na", "Na")], r_max=r_max, bins=24)
    for k in range(2):
        one = found[k]
        usable = one.r > 2.0
        z = (one.g - 1.0)[usable] / one.error[usable]
        assert np.all(one.error[usable] < 0.25)
        # Expected 1 with spread sqrt(2/20), and a little more as the errors are estimates themselves.
        assert 0.4 < np.mean(z**2) < 2.0
        # The mean over all bins is far more accurate than one bin; it sees an error of the normalisation of 2 %.
        volume = np.diff(one.edges**3)
        assert np.sum(one.g * volume) / np.sum(volume) == pytest.approx(1.0, abs=0.02)


def test_error_bars_shrink_with_the_root_of_the_samples_and_replicas_count() -> None:
    short, long = (rdf(gas(["Na"] * 16, CUBE, n), "Na", "Na", bins=12) for n in (512, 8192))
    assert np.mean(short.error[4:]) / np.mean(long.error[4:]) == pytest.approx(4.0, rel=0.3)
    many = rdf(gas(["Na"] * 16, CUBE, 512, replicas=16), "Na", "Na", bins=12)
    assert many.samples == 8192
    assert np.mean(short.error[4:]) / np.mean(many.error[4:]) == pytest.approx(4.0, rel=0.3)


def test_shells_of_fcc() -> None:
    atoms = bulk("Ar", "fcc", a=5.26, cubic=True).repeat(4)
    found = rdf([atoms] * 4, "Ar", "Ar", r_max=10.5, width=0.05)
    for radius, number in ((4.4, 12), (5.9, 18), (7.0, 42), (8.0, 54), (8.7, 78), (9.5, 86)):
        value, error = found.coordination_at(radius)
        assert value == pytest.approx(number, abs=1e-12)
        assert error == 0.0
    shells = found.r[found.g > 0]
    np.testing.assert_allclose(shells, 5.26 * np.sqrt(np.arange(1, 8) / 2.0), atol=0.026)


def test_agrees_with_mdanalysis(tmp_path: Path) -> None:
    """InterRDF normalises by N_a N_b, and for one species too unless pairs of an atom with itself are excluded."""
    pytest.importorskip("MDAnalysis", reason="MDAnalysis is not installed")
    import MDAnalysis
    from MDAnalysis.analysis.rdf import InterRDF

    drawn = gas(["Na"] * 20 + ["Cl"] * 30, CUBE, 20, dtype=np.float32)
    path = tmp_path / "a.h5"
    with H5MDWriter.create(
        path,
        numbers=drawn.numbers,
        masses=drawn.masses,
        cells=drawn.cells,
        pbc=drawn.pbc,
        frames=20,
        every=1,
        timestep=1.0,
        replicas=1,
    ) as writer:
        writer.write(0, drawn.positions)
    universe = MDAnalysis.Universe.empty(50)
    universe.add_TopologyAttr("elements", list(drawn.frame(0).symbols))
    universe.load_new(str(path), format="H5MD")
    ours = rdf(open_trajectory(path), pairs=[("Na", "Cl"), ("Cl", "Cl")], r_max=6.0, bins=60)
    sodium, chlorine = universe.select_atoms("element Na"), universe.select_atoms("element Cl")
    mixed = InterRDF(sodium, chlorine, nbins=60, range=(0.0, 6.0)).run()
    np.testing.assert_allclose(ours["Na", "Cl"].g, mixed.results.rdf, atol=0.01)
    like = InterRDF(chlorine, chlorine, nbins=60, range=(0.0, 6.0), exclusion_block=(1, 1)).run()
    # A distance on the edge of a bin may fall on either side in float32: at most one count in a bin.
    counts = np.abs(like.results.count - ours["Cl", "Cl"].g * expected_counts(ours["Cl", "Cl"], 30, 20))
    assert counts.max() < 2.01
    assert counts.sum() < 8


def expected_counts(result: RDFResult, centers: int, samples: int) -> np.ndarray:
    """Ordered pairs of an ideal gas in each bin."""
    return result.density[0] * 4.0 * np.pi / 3.0 * np.diff(result.edges**3) * centers * samples


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.more), "float64"])
def test_the_loop_counts_what_the_file_gives(tmp_path: Path, dtype: str) -> None:
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(2)
    with jax.enable_x64(dtype == "float64"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        observable = RDF([("Ar", "Ar")], width=0.1)
        run = simulate(
            Argon(cutoff_distance=5.5),
            atoms,
            NVT(90.0),
            steps=120,
            timestep=4.0,
            every=4,
            replicas=2,
            observables={"g": observable},
            output=tmp_path / "run",
            progress=False,
            chunk=50,
        )
        # A fifth of the 30 intervals is equilibration; the first frame lies before all of them.
        afterwards = rdf(run.trajectory[7:], "Ar", "Ar", width=0.1)
    counted = run.observables["g"]
    assert run.trajectory.dtype == np.dtype(dtype)
    assert counted.samples == afterwards.samples == 48
    np.testing.assert_array_equal(counted.g, afterwards.g)
    np.testing.assert_array_equal(counted.coordination, afterwards.coordination)
    np.testing.assert_array_equal(counted.error, afterwards.error)
    np.testing.assert_array_equal(run.observables["g"].g, load_run(tmp_path / "run").observables["g"].g)
    np.testing.assert_array_equal(rdf(tmp_path / "run", "Ar", "Ar", width=0.1).g, counted.g)


def test_one_compilation_for_all_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = []
    original = RDF.update

    def counting(self: RDF, acc: Any, system: System) -> Any:
        traces.append(1)
        return original(self, acc, system)

    monkeypatch.setattr(RDF, "update", counting)
    monkeypatch.setattr(sampling, "BYTES_AT_ONCE", 3000)
    rdf(gas(["Na"] * 10, CUBE, 600), "Na", "Na", bins=17)
    assert len(traces) == 1


def test_density_sum_keeps_float32_from_drifting() -> None:
    trajectory = gas(["Na"] * 3, CUBE * 1.0123, 3000, dtype=np.float32)
    observable = RDF([("Na", "Na")], bins=5).prepare(first_systems(trajectory))
    acc, _ = accumulate(observable, trajectory, blocks=1)
    volume = float(np.linalg.det(CUBE * 1.0123))
    total = float(acc.density.high[0, 0, 0] + acc.density.low[0, 0, 0])
    # The volume itself is a float32; summed naively the relative error would be about 1e-5.
    assert total == pytest.approx(3000 * 6 / volume, rel=5e-7)


def test_a_changing_cell_enters_the_normalisation() -> None:
    rng = np.random.default_rng(4)
    frames = []
    for _ in range(800):
        edge = rng.choice([10.0, 20.0])
        frames.append(Atoms("Na8", rng.uniform(0, edge, (8, 3)), cell=[edge] * 3, pbc=True))
    found = rdf(frames, "Na", "Na", r_max=4.9, bins=7)
    assert np.mean(((found.g - 1) / found.error)[2:] ** 2) < 4.0
    assert found.g[-1] == pytest.approx(1.0, abs=0.05)


def test_a_shrinking_cell_gets_the_images_it_needs() -> None:
    """r_max is below half of the first cell, and beyond half of those that follow."""
    rng = np.random.default_rng(5)
    edges = [12.0] + [9.0] * 400
    frames = [Atoms("Na12", rng.uniform(0, edge, (12, 3)), cell=[edge] * 3, pbc=True) for edge in edges]
    found = rdf(frames, "Na", "Na", r_max=6.0, bins=6)
    assert np.abs((found.g - 1) / found.error)[2:].max() < 4.0
    assert rdf(frames, "Na", "Na").edges[-1] == pytest.approx(4.5)


def bumpy(noise: float = 0.01, groups: int = 16) -> RDFResult:
    """A curve with a known first peak (3.0 at 3.2 Å) and minimum (0.6 at 4.4 Å)."""
    edges = np.linspace(0, 10, 201)
    r = 0.5 * (edges[1:] + edges[:-1])
    curve = 2.0 * np.exp(-0.5 * ((r - 3.2) / 0.25) ** 2) - 0.4 * np.exp(-0.5 * ((r - 4.4) / 0.35) ** 2)
    curve = np.where(r < 2.4, 0.0, 1.0 + curve)
    stretches = curve + np.random.default_rng(0).normal(0, noise * np.sqrt(groups), (groups, 1, len(r)))
    g = stretches.mean(axis=0)[0]
    shells = 4 * np.pi / 3 * np.diff(edges**3) * 0.01
    return RDFResult(
        pairs=(("Na", "O"),),
        edges=edges,
        g=g,
        error=np.full(len(r), noise),
        coordination=np.cumsum(g * shells),
        coordination_error=np.full(len(r), noise),
        samples=100,
        replicas=1,
        density=np.array([0.01]),
        stretches=stretches,
    )


def test_an_extremum_at_an_edge_is_known_to_a_bin() -> None:
    """A curve that rises to its end: the end is the same in all stretches, which is no knowledge of a peak."""
    found = bumpy()
    rising = np.where(found.r < 2.0, 0.0, 1.0 + 0.05 * found.r**2)
    stretches = np.stack([rising * (1.0 + 0.001 * k) for k in range(8)])[:, None]
    peak = replace(found, g=rising, error=np.full(len(rising), 1e-4), stretches=stretches).first_peak(beyond=5.0)
    assert peak.position == pytest.approx(found.r[-1])
    assert peak.position_error >= 0.99 * (found.edges[1] - found.edges[0])


def test_a_flat_peak_has_no_error_of_its_position() -> None:
    """Stretches that have their maximum at 6.4 or 7.6 Å; the jackknife of a maximum that jumps says 2 Å."""
    found = bumpy()
    sides = [np.exp(-0.5 * ((found.r - at) / 0.45) ** 2) for at in (6.4, 7.6)]
    stretches = np.stack([1.0 + 0.4 * sides[k % 2] for k in range(16)])[:, None]
    flat = replace(found, g=stretches.mean(axis=(0, 1)), error=np.full(len(found.r), 1e-3), stretches=stretches)
    peak = flat.first_peak()
    assert 6.0 < peak.position < 8.0
    assert math.isnan(peak.position_error)
    assert peak.height_error < 0.05
    sharp = replace(flat, g=stretches[0, 0], stretches=stretches[[0] * 16] + 1e-4 * found.stretches).first_peak()
    assert sharp.position_error < 0.01


def test_first_peak_and_minimum() -> None:
    found = bumpy()
    peak, edge = found.first_peak(), found.first_minimum()
    assert found.first_peak(beyond=3.0) == peak
    with pytest.raises(InputError, match=r"no peak above 1 from 4\.4 to 10\.00 Å"):
        found.first_peak(beyond=4.4)
    assert abs(peak.position - 3.2) < 0.01 + 3 * peak.position_error
    assert abs(peak.height - 3.0) < 0.015
    # A minimum may lie above 1: the same curve, lifted.
    lifted = replace(found, g=found.g + 1.0, stretches=found.stretches + 1.0)
    assert abs(lifted.first_minimum().position - edge.position) < 0.05
    assert abs(lifted.first_minimum().height - edge.height - 1.0) < 0.01
    assert 0.001 < peak.position_error < 0.01
    assert 0.002 < peak.height_error < 0.02
    assert abs(edge.position - 4.4) < 0.05 + 3 * edge.position_error
    assert abs(edge.height - 0.6) < 0.02
    assert "first peak 2.98" in repr(found)
    assert "neighbours up to 4." in repr(found)
    flat = bumpy()
    with pytest.raises(InputError, match="no peak above 1"):
        type(flat)(**{**vars(flat), "g": np.ones(200)}).first_peak()
    with pytest.raises(InputError, match="outside of the curve"):
        found.coordination_at(11.0)


def test_published_curve_gives_the_published_peak(reference: Path) -> None:
    table = np.loadtxt(reference / "licl_ions" / "rdf_2.4M.dat")
    r, width = table[:, 0], table[1, 0] - table[0, 0]
    edges = np.append(r - 0.5 * width, r[-1] + 0.5 * width)
    g = table[:, 2]
    one = RDFResult(
        pairs=(("Li", "Cl"),),
        edges=edges,
        g=g,
        error=np.full(len(r), 0.01),
        coordination=np.cumsum(g),
        coordination_error=np.zeros(len(r)),
        samples=1,
        replicas=1,
        density=np.array([1.0]),
        stretches=np.repeat(g[None, None], 4, axis=0),
    )
    peak = one.first_peak()
    assert peak.position == pytest.approx(4.53, abs=0.03)
    assert peak.height == pytest.approx(3.02, rel=0.01)


def test_files(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="no standard error"):
        found = rdf(gas(["Na"] * 6 + ["Cl"] * 6, CUBE, 2), pairs=[("Na", "Cl"), ("Cl", "Cl")], bins=20)
    found.to_json(tmp_path / "g.json")
    back = load_result(tmp_path / "g.json")
    assert back.pairs == found.pairs
    assert back.samples == 2
    for name in ("edges", "g", "error", "coordination", "coordination_error", "density", "stretches"):
        np.testing.assert_array_equal(getattr(back, name), getattr(found, name), err_msg=name)
    assert np.isnan(back.error).all()
    found.to_csv(tmp_path / "g.csv")
    table = np.genfromtxt(tmp_path / "g.csv", delimiter=",", names=True)
    np.testing.assert_array_equal(table["g_ClCl"], found["Cl", "Cl"].g)
    np.testing.assert_array_equal(table["r_A"], found.r)
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(InputError, match="holds no result"):
        load_result(tmp_path / "bad.json")


def test_picking_pairs() -> None:
    found = rdf(gas(["Na"] * 6 + ["Cl"] * 6, CUBE, 8), pairs=[("Na", "Cl"), ("Cl", "Cl")], bins=20)
    assert found.g.shape == (2, 20)
    np.testing.assert_array_equal(found["Cl-Cl"].g, found.g[1])
    assert found["Na", "Cl"].value.shape == (20,)
    with pytest.raises(KeyError, match="stored as Na-Cl"):
        found["Cl", "Na"]
    with pytest.raises(KeyError, match="it holds Na-Cl, Cl-Cl"):
        found["Na", "Na"]
    with pytest.raises(InputError, match="several pairs"):
        found.first_peak()


def test_fixed_blocks() -> None:
    trajectory = gas(["Na"] * 8, CUBE, 100)
    found = rdf(trajectory, "Na", "Na", bins=6, blocks=5)
    series = [rdf(trajectory[20 * k : 20 * (k + 1)], "Na", "Na", bins=6).g for k in range(5)]
    np.testing.assert_allclose(found.error, np.std(series, axis=0, ddof=1) / np.sqrt(5), rtol=1e-12)
    with pytest.raises(InputError, match="blocks=5, but there are only 3"):
        rdf(trajectory[:3], "Na", "Na", blocks=5)


BAD = [
    (dict(center="Na"), "name the species"),
    (dict(center="Na", neighbor="Cl", pairs=[("Na", "Cl")]), "one of the two"),
    (dict(center="Na", neighbor="Xx"), "must be a chemical symbol such as 'Na', not 'Xx'"),
    (dict(center="Na", neighbor="K"), "there is no K in the system, which holds Cl, Na, O"),
    (dict(center="O", neighbor="O"), "holds one O only"),
    (dict(pairs=[]), "no pair of species"),
    (dict(pairs=["NaCl", "NaO"]), "must be two chemical symbols"),
    (dict(center="Na", neighbor="Cl", r_max=0.0), "r_max must be a finite number in Å, above 0"),
    (dict(center="Na", neighbor="Cl", r_max=float("inf")), "r_max must be a finite number in Å, above 0"),
    (dict(center="Na", neighbor="Cl", bins=0), "bins must be a positive integer"),
    (dict(center="Na", neighbor="Cl", width=-1.0), "width must be a finite number in Å, above 0"),
    (dict(center="Na", neighbor="Cl", width=0.1, bins=10), "not both"),
    (dict(center="Na", neighbor="Cl", width=8.0), "below the width of one bin"),
    (dict(center="Na", neighbor="Cl", blocks=1), "blocks must be an integer of at least 2"),
    (dict(center="Na", neighbor="Cl", discard=5), "cannot discard 5 of 4 frames"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[m for _, m in BAD])
def test_bad_arguments_are_refused(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str) -> None:
    monkeypatch.setattr(sampling, "_sample", None)  # nothing may be compiled
    with pytest.raises(InputError, match=message):
        rdf(gas(["Na", "Na", "Cl", "O"], CUBE, 4), **arguments)


def test_bad_systems_are_refused() -> None:
    molecule = Atoms("H2O", [[0, 0, 0], [0, 0, 1], [0, 1, 0]])
    with pytest.raises(InputError, match="needs a density"):
        rdf(molecule, "O", "H", r_max=3.0)
    with pytest.raises(InputError, match="not from int"):
        rdf(3, "O", "H")
    with pytest.raises(InputError, match="no trajectory file"):
        rdf("absent.h5", "O", "H")
    mixed = gas(["Na", "Cl"], CUBE, 2, replicas=2)
    mixed = Trajectory(**{**vars(mixed), "numbers": np.array([[11, 17], [17, 11]])})
    with pytest.raises(UnsupportedError, match="another order"):
        rdf(mixed, "Na", "Cl")
    with pytest.raises(InputError, match="prepare"):
        RDF(("Na", "Cl")).init(System.from_atoms(Atoms("NaCl", cell=CUBE, pbc=True, positions=jnp.eye(2, 3))))
    with pytest.warns(UserWarning, match="no neighbours of itself"):
        RDF(("Na", "Na"), r_max=13.0).prepare(first_systems(gas(["Na"] * 2, CUBE, 1)))
