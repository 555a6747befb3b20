"""Frames as a Universe of MDAnalysis: what that program reads is what was simulated, in its units."""

from __future__ import annotations

import builtins
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.cell import Cell

import jaxelyte as jxl
from jaxelyte.errors import MissingError
from jaxelyte.trajectory import Trajectory

pytest.importorskip("MDAnalysis")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CHARGES = {"Na": 1.0, "Cl": -1.0, "O": -0.82, "H": 0.41}


@pytest.fixture
def frames() -> Trajectory:
    """Na, two waters, one of them across the faces of the cell, and Cl; a cell in no standard orientation."""
    rng = np.random.default_rng(0)
    water = molecule("H2O")
    water.positions -= water.positions[0]
    cell = Cell.fromcellpar([9.0, 10.0, 11.0, 80.0, 95.0, 70.0])
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    atoms = Atoms("Na", [[3.0, 3.0, 3.0]])
    for place in ([6.0, 5.0, 5.0], [0.05, 0.0, 0.1]):
        atoms += Atoms(water.symbols, water.positions + place)
    atoms += Atoms("Cl", [[1.0, 7.0, 7.0]])
    atoms.set_cell(cell)
    atoms.pbc = True
    start = atoms.copy()
    start.wrap()
    moves = np.cumsum(rng.normal(0.0, 0.02, (5, 2, 8, 3)), axis=0)
    moves[0] = 0.0
    return Trajectory(
        positions=(start.positions + moves) @ turn,
        numbers=atoms.numbers,
        masses=atoms.get_masses(),
        cells=np.asarray(cell) @ turn,
        pbc=(True, True, True),
        steps=np.arange(5) * 40,
        times=1000.0 + np.arange(5) * 20.0,
        velocities=rng.normal(0.0, 1e-3, (5, 2, 8, 3)),
    )


def test_molecules_charges_masses_and_times(frames: Trajectory) -> None:
    universe = frames.universe(1, charges=CHARGES)
    assert universe.residues.resnames.tolist() == ["Na", "HOH", "HOH", "Cl"]
    assert universe.select_atoms("resname HOH and element H").n_atoms == 4
    assert len(universe.bonds) == 4
    assert universe.atoms.charges.sum() == pytest.approx(0.0)
    np.testing.assert_allclose(universe.atoms.masses, frames.masses[1])
    assert universe.trajectory.dt == pytest.approx(0.02)
    assert [round(ts.time, 6) for ts in universe.trajectory] == [1.0, 1.02, 1.04, 1.06, 1.08]
    with pytest.raises(MissingError, match="replica 2 does not exist: 2 replicas of 5 frames"):
        frames.universe(2)
    with pytest.raises(jxl.InputError, match="none for H, O"):
        frames.universe(charges={"Na": 1.0, "Cl": -1.0})


def test_distances_and_speeds_are_those_of_the_frames(frames: Trajectory) -> None:
    """In any orientation of the cell: minimum images by MDAnalysis and by ASE."""
    from MDAnalysis.lib.distances import distance_array

    universe = frames.universe(1)
    for number, step in enumerate(universe.trajectory):
        own = frames.frame(number, 1)
        found = distance_array(step.positions, step.positions, box=step.dimensions)
        np.testing.assert_allclose(found, own.get_all_distances(mic=True), atol=2e-5)
        speeds = np.linalg.norm(step.velocities, axis=1)
        np.testing.assert_allclose(speeds, 1e3 * np.linalg.norm(frames.velocities[number, 1], axis=1), rtol=1e-5)
    assert universe.dimensions == pytest.approx([9.0, 10.0, 11.0, 80.0, 95.0, 70.0], rel=1e-5)


def test_clusters_have_no_cell_and_uneven_frames_no_time_step(frames: Trajectory) -> None:
    cluster = replace(frames, pbc=(False, False, False), cells=np.zeros((3, 3)), velocities=None)
    universe = cluster.universe()
    assert universe.dimensions is None
    np.testing.assert_allclose(universe.atoms.positions, frames.positions[0, 0], atol=1e-5)
    with pytest.raises(jxl.InputError, match="not evenly spaced"):
        replace(frames, times=np.array([0.0, 1.0, 2.0, 5.0, 6.0])).universe()


def test_without_mdanalysis_the_extra_is_named(frames: Trajectory, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "MDAnalysis":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"jaxelyte\[analysis\]"):
        frames.universe()


def test_a_run_brings_its_charges_and_energies(frames: Trajectory) -> None:
    rows = np.arange(10.0).reshape(5, 2)
    salt = jxl.ScreenedCoulomb(charges=CHARGES)
    run = jxl.Run(frames, {"potential": rows, "temperature": rows, "time": frames.times, "step": frames.steps}, Atoms())
    with_potential = replace(run, potential=salt)
    assert with_potential.universe().atoms.charges.tolist() == pytest.approx(
        [CHARGES[s] for s in frames.frame(0).symbols]
    )
    assert not hasattr(run.universe().atoms, "charges")
    assert not hasattr(
        replace(run, potential=jxl.ScreenedCoulomb(charges={"Na": 1.0, "Cl": -1.0})).universe().atoms, "charges"
    )
    one = run.to_ase(slice(1, None, 2), replica=1)
    assert [atoms.get_potential_energy() for atoms in one] == [3.0, 7.0]
    np.testing.assert_array_equal(one[0].positions, frames.positions[1, 1])
    with pytest.raises(jxl.InputError, match="forces are computed again from the potential"):
        run.to_ase(forces=True)
    with pytest.raises(jxl.InputError, match="frames"):
        run.to_ase(5)  # type: ignore[arg-type]


def test_forces_of_frames_are_those_of_the_potential(frames: Trajectory) -> None:
    rows = np.zeros((5, 2))
    salt = jxl.LennardJones(sigma={"Na": 2.4, "Cl": 4.4}, epsilon={"Na": 0.004, "Cl": 0.005}, cutoff=3.5)
    ions = replace(
        frames, positions=frames.positions[:, :, [0, 7]], numbers=np.array([11, 17]), masses=np.ones(2), velocities=None
    )
    run = jxl.Run(
        ions, {"potential": rows, "temperature": rows, "time": ions.times, "step": ions.steps}, Atoms(), potential=salt
    )
    (one,) = run.to_ase(slice(0, 1), forces=True)
    other = ions.frame(0)
    other.calc = jxl.Calculator(salt)
    np.testing.assert_allclose(one.get_forces(), other.get_forces())
