"""Displacements, diffusion coefficients and g(r) of one trajectory by other programs: kinisi and MDAnalysis."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.trajectory import Trajectory
from toys import gas

FIXTURE = Path(__file__).resolve().parent.parent / "fixtures" / "kinisi"

CUBE = np.eye(3) * 12.0
SLANTED = np.array([[11.0, 0.0, 0.0], [4.0, 10.0, 0.0], [-3.0, 5.0, 12.0]])


@pytest.fixture(scope="module")
def kinisi() -> dict[str, Any]:
    """What kinisi made of the walk; see ``tests/oracles/make_kinisi_oracle.py``."""
    return json.loads((FIXTURE / "kinisi.json").read_text(encoding="utf-8"))


def walk(*, wrapped: bool) -> Trajectory:
    """The walk that kinisi had, eight Na and eight Cl in a triclinic cell."""
    with np.load(FIXTURE / "walk.npz") as stored:
        positions = float(stored["step"]) * np.cumsum(stored["steps"], axis=0, dtype=np.int64)
        cell, interval = stored["cell"], float(stored["interval"])
    if wrapped:
        positions = (positions @ np.linalg.inv(cell)) % 1.0 @ cell
    atoms = Atoms("Na8Cl8")
    return Trajectory(
        positions=positions[:, None],
        numbers=atoms.numbers,
        masses=atoms.get_masses(),
        cells=cell,
        pbc=(True, True, True),
        steps=np.arange(len(positions)),
        times=interval * np.arange(len(positions)),
    )


@pytest.mark.parametrize("species", ["Na", "Cl"])
def test_displacements_are_those_of_kinisi(kinisi: dict[str, Any], species: str) -> None:
    """Both from wrapped positions. At each lag of n frames kinisi 2.1 counts one origin more: n - 1 frames after 0."""
    ours = jxl.msd(walk(wrapped=True), species, drift=False, stretches=1)
    theirs = np.array(kinisi[species]["msd_A2"])
    lags = np.arange(1, len(theirs) + 1)
    free = np.asarray(walk(wrapped=False).positions)[:, 0, slice(0, 8) if species == "Na" else slice(8, 16)]
    extra = np.mean(np.sum((free - free[0]) ** 2, axis=-1), axis=1)[lags - 1]
    origins = len(free) - lags
    np.testing.assert_allclose(ours.lags[lags], kinisi[species]["lags_fs"])
    np.testing.assert_allclose(ours.value[lags] * origins + extra, theirs * (origins + 1), rtol=1e-11)


@pytest.mark.parametrize("species", ["Na", "Cl"])
def test_diffusion_coefficients_are_those_of_kinisi(kinisi: dict[str, Any], species: str) -> None:
    """A straight line over stretches against Bayesian regression with a covariance: other weights, same data."""
    start, end = kinisi["start_fs"], kinisi[species]["lags_fs"][-1]
    found = jxl.msd(walk(wrapped=True), species, drift=False).diffusivity(fit=(start, end))
    theirs, error = kinisi[species]["diffusivity_m2_s"], kinisi[species]["error_m2_s"]
    assert abs(found.value - theirs) < 2.0 * np.hypot(found.error, error)
    # With a free intercept its posterior is wide, 17 %; ours are honest over 60 walks (`test_diffusion`).
    assert 0.1 < found.error / error < 1.2
    # Both know the truth within their errors: half the mean square of a step along an axis, over its time.
    with np.load(FIXTURE / "walk.npz") as stored:
        steps = float(stored["step"]) * stored["steps"][:, slice(0, 8) if species == "Na" else slice(8, 16)]
        exact = 0.5 * np.mean(steps**2) / float(stored["interval"]) * 1e-5
    assert abs(found.value - exact) < 2.5 * found.error
    assert abs(theirs - exact) < 2.5 * error


@pytest.mark.parametrize("cell", [CUBE, SLANTED], ids=["cubic", "triclinic"])
def test_counts_are_those_of_mdanalysis(cell: np.ndarray) -> None:
    """Each pair in the same bin, and the same g to the accuracy of MDAnalysis' box, which is single."""
    mda = pytest.importorskip("MDAnalysis", reason="needs MDAnalysis: pip install jaxelyte[analysis]")
    from MDAnalysis.analysis.rdf import InterRDF
    from MDAnalysis.lib.mdamath import triclinic_box

    drawn = gas(["Na"] * 20 + ["Cl"] * 30, cell, 25)
    positions = np.asarray(drawn.positions, np.float32)
    universe = mda.Universe.empty(50, trajectory=True)
    universe.add_TopologyAttr("name", ["Na"] * 20 + ["Cl"] * 30)
    universe.load_new(positions[:, 0], dimensions=triclinic_box(*cell))
    single = Trajectory(**{**vars(drawn), "positions": positions.astype(np.float64)})
    r_max, bins = 4.1, 41
    ours = jxl.rdf(single, pairs=[("Na", "Cl"), ("Cl", "Cl")], r_max=r_max, bins=bins)
    sodium, chlorine = universe.select_atoms("name Na"), universe.select_atoms("name Cl")
    for pair, groups, exclude in (
        (("Na", "Cl"), (sodium, chlorine), None),
        (("Cl", "Cl"), (chlorine, chlorine), (1, 1)),
    ):
        theirs = InterRDF(*groups, nbins=bins, range=(0.0, r_max), exclusion_block=exclude).run().results
        one = ours[pair]
        expected = one.density[0] * 4.0 * np.pi / 3.0 * np.diff(one.edges**3) * len(groups[0]) * 25
        np.testing.assert_allclose(one.g * expected, theirs.count, atol=1e-6)
        assert theirs.count.sum() > 1000
        np.testing.assert_allclose(one.g, theirs.rdf, rtol=1e-6)


def test_displacements_are_those_of_mdanalysis() -> None:
    """By their Fourier transform, over all origins; steps of 1/16 Å, which single precision holds exactly."""
    mda = pytest.importorskip("MDAnalysis", reason="needs MDAnalysis: pip install jaxelyte[analysis]")
    pytest.importorskip("tidynamics", reason="needs tidynamics: pip install jaxelyte[test]")
    from MDAnalysis.analysis.msd import EinsteinMSD

    with np.load(FIXTURE / "walk.npz") as stored:
        positions = np.cumsum(stored["steps"], axis=0, dtype=np.int64) / 16.0
    universe = mda.Universe.empty(16, trajectory=True)
    universe.add_TopologyAttr("name", ["Na"] * 8 + ["Cl"] * 8)
    universe.load_new(positions.astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = EinsteinMSD(universe, select="name Na", msd_type="xyz", fft=True).run().results.timeseries
    free = walk(wrapped=False)
    ours = jxl.msd(Trajectory(**{**vars(free), "positions": positions[:, None]}), "Na", drift=False, stretches=1)
    np.testing.assert_allclose(ours.value, theirs[: len(ours.value)], rtol=1e-11, atol=1e-9)
