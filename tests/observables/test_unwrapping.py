"""Positions wrapped in every way that programs wrap them give the displacements of the free walk, or are refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.dynamics.run import Run
from jaxelyte.errors import InputError
from jaxelyte.observables.sampling import analysed, equilibration_of
from jaxelyte.observables.unwrapping import check_continuous, unwrapped
from jaxelyte.trajectory import Trajectory

EDGE, FRAMES = 20.0, 401
CUBE = np.eye(3) * EDGE
SLANTED = np.array([[18.0, 0.0, 0.0], [8.0, 17.0, 0.0], [-6.0, 5.0, 19.0]])
PERIODIC, FREE = (True, True, True), (False, False, False)


def trajectory(
    positions: np.ndarray, cells: np.ndarray = CUBE, pbc: tuple[bool, bool, bool] = PERIODIC, **more: Any
) -> Trajectory:
    """Equal numbers of Na and Cl in one replica, a frame each 50 fs."""
    frames, atoms = len(positions), positions.shape[1]
    numbers = np.repeat([11, 17], [(atoms + 1) // 2, atoms // 2])
    steps = np.arange(frames)
    return Trajectory(positions[:, None], numbers, np.full(atoms, 30.0), cells, pbc, steps, 50.0 * steps, **more)


def walk(size: float = 0.03, atoms: int = 20, frames: int = FRAMES, seed: int = 0) -> np.ndarray:
    """A walk of Gaussian steps of ``size`` cells along each lattice vector; fractional coordinates."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0.0, size, (frames - 1, atoms, 3))
    return rng.random((1, atoms, 3)) + np.concatenate([np.zeros((1, atoms, 3)), np.cumsum(steps, axis=0)])


def wrapped(s: np.ndarray) -> np.ndarray:
    return s % 1.0


def centred(s: np.ndarray) -> np.ndarray:
    return (s + 0.5) % 1.0 - 0.5


def from_a_restart_on(s: np.ndarray) -> np.ndarray:
    """Free throughout, but one frame of the file starts in the cell again: by more than one lattice vector."""
    s = 3.0 * s[:1] - 2.0 * s[:1] + (s - s[:1])
    s[200:] -= np.floor(s[200]) + 2.0 * (np.arange(s.shape[1]) % 3 == 0)[:, None]
    return s


def wrapped_since_a_restart(s: np.ndarray) -> np.ndarray:
    s = s.copy()
    s[200:] %= 1.0
    return s


def one_atom(s: np.ndarray) -> np.ndarray:
    s = s.copy()
    s[:, 3] %= 1.0
    return s


def one_species(s: np.ndarray) -> np.ndarray:
    s = s.copy()
    s[:, : s.shape[1] // 2] %= 1.0
    return s


def pairs_as_a_whole(s: np.ndarray) -> np.ndarray:
    """Molecules of neighbouring atoms, wrapped by the first of each."""
    first = np.repeat(s[:, ::2], 2, axis=1)
    return s - np.floor(first)


def centred_on_an_atom(s: np.ndarray) -> np.ndarray:
    return (s - s[:, :1] + 0.5) % 1.0


WAYS = [
    wrapped,
    centred,
    from_a_restart_on,
    wrapped_since_a_restart,
    one_atom,
    one_species,
    pairs_as_a_whole,
    centred_on_an_atom,
]
Way = Callable[[np.ndarray], np.ndarray]


@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
def test_displacements_are_those_of_the_free_walk(way: Way) -> None:
    """In a cube, in a slanted cell, and in one that changes from frame to frame: exactly the steps that were made."""
    free = walk()
    changing = np.random.default_rng(1).normal(1.0, 0.01, (FRAMES, 1, 1, 1)) * SLANTED
    for cells in (CUBE, SLANTED, changing):
        found = unwrapped(trajectory(np.einsum("fad,fde->fae", way(free), _each(cells)), cells), 0, drift=True)
        exact = free @ cells.reshape(-1, 3, 3).mean(axis=0)
        exact -= exact.mean(axis=1, keepdims=True)
        assert np.allclose(found - found[0], exact - exact[0], atol=1e-9)


@pytest.mark.parametrize("way", WAYS[:4], ids=[way.__name__ for way in WAYS[:4]])
def test_diffusion_is_right_within_its_error(way: Way) -> None:
    exact = (0.03 * EDGE) ** 2 / (2 * 50.0) * 1e-5 * (1 - 1 / 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = jxl.diffusivity(trajectory(way(walk(atoms=100)) @ CUBE), "Na")
    assert abs(found.value - exact) < 3.0 * found.error
    assert found.error < 0.05 * exact


def test_conductivity_is_that_of_the_free_walk() -> None:
    charges, free = {"Na": 1.0, "Cl": -1.0}, walk()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a short run
        exact, found = (
            jxl.conductivity(trajectory(way @ CUBE), charges, temperature=300.0, fit=(100.0, 400.0))
            for way in (free, from_a_restart_on(free))
        )
    assert exact.value > 0.0
    assert found.value == pytest.approx(exact.value, rel=1e-9)
    assert found.nernst_einstein == pytest.approx(exact.nernst_einstein, rel=1e-9)


@pytest.mark.parametrize("size", [0.15, 0.4, 1.0])
def test_long_steps_of_free_atoms_are_left_alone(size: float) -> None:
    """Frames so far apart that atoms cross the cell in between: the steps are real, known to be so or not."""
    free = walk(size)
    for known in (False, True):
        found = unwrapped(trajectory(free @ CUBE, unwrapped=known), 0, drift=False)
        assert np.array_equal(found, free @ CUBE)


@pytest.mark.parametrize("size", [0.25, 0.4, 1.0])
@pytest.mark.parametrize("way", [wrapped, from_a_restart_on, one_atom, one_species], ids=lambda way: way.__name__)
def test_long_steps_that_were_wrapped_are_refused(way: Way, size: float) -> None:
    with pytest.raises(InputError, match=r"too far apart, 50 fs, .* Na along lattice vector a \(20 Å\)"):
        unwrapped(trajectory(way(walk(size)) @ CUBE), 0, drift=False)


def test_steps_about_half_a_cell_are_warned_about() -> None:
    free = walk(0.17)
    with pytest.warns(UserWarning, match="longer than 0.4 of the cell"):
        found = unwrapped(trajectory(wrapped(free) @ CUBE), 0, drift=False)
    moved, exact = (np.mean(np.diff(x, axis=0) ** 2) for x in (found, free @ CUBE))
    assert 0.97 < moved / exact < 1.0
    free = walk(0.12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = unwrapped(trajectory(wrapped(free) @ CUBE), 0, drift=False)
    moved, exact = (np.mean(np.diff(x, axis=0) ** 2) for x in (found, free @ CUBE))
    assert 0.999 < moved / exact <= 1.0


@pytest.mark.parametrize("flow", [0.45, 0.5, 1.3])
def test_frames_that_are_moved_as_a_whole_are_no_long_steps(flow: float) -> None:
    """All atoms move by about half a cell between frames, as where a solute that jumps is kept in the middle."""
    free = walk()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = unwrapped(trajectory(wrapped(free + flow * np.arange(FRAMES)[:, None, None]) @ CUBE), 0, drift=True)
    exact = unwrapped(trajectory(free @ CUBE, unwrapped=True), 0, drift=True)
    assert np.allclose(found - found[0], exact - exact[0])


def test_short_sparse_trajectories_cannot_be_decided() -> None:
    with pytest.raises(InputError, match="unwrapped=True"):
        unwrapped(trajectory(walk(0.3, frames=15) @ CUBE), 0, drift=False)


def test_positions_known_to_be_unwrapped_but_wrapped_all_the_same() -> None:
    free = walk()
    found = unwrapped(replace(trajectory(wrapped(free) @ CUBE), unwrapped=True), 0, drift=False)
    assert np.allclose(found - found[0], (free - free[0]) @ CUBE)


@pytest.mark.parametrize("size", [0.05, 0.15])
@pytest.mark.parametrize("way", [wrapped, one_atom, wrapped_since_a_restart], ids=lambda way: way.__name__)
def test_a_box_that_is_not_given_is_noticed(way: Way, size: float) -> None:
    positions = way(walk(size)) @ CUBE
    with pytest.raises(InputError, match=r"cell=…|frames are missing|of another run"):
        jxl.msd(trajectory(positions, np.zeros((3, 3)), FREE), "Na")
    with pytest.raises(InputError, match=r"cell=…|frames are missing|of another run"):
        check_continuous(trajectory(positions, np.diag([EDGE, EDGE, 0.0]), (True, True, False)))
    check_continuous(trajectory(walk(size) @ CUBE, np.zeros((3, 3)), FREE))


@pytest.mark.parametrize("edge", [24.0, 50.0, 400.0])
def test_a_wrong_cell_is_noticed(edge: float) -> None:
    with pytest.raises(InputError, match="cell"):
        unwrapped(trajectory(wrapped(walk()) @ CUBE, np.eye(3) * edge), 0, drift=False)


def test_joined_runs_are_noticed() -> None:
    free = walk()
    free[200:] += np.random.default_rng(2).random((20, 3))
    with pytest.raises(InputError, match="between frames 199 and 200"):
        unwrapped(trajectory(free @ CUBE), 0, drift=False)


def test_a_hop_in_a_solid_is_no_error() -> None:
    """An ion that changes its site between two frames is warned about; all others vibrate."""
    rng = np.random.default_rng(3)
    positions = rng.random((1, 20, 3)) * EDGE + rng.normal(0.0, 0.1, (FRAMES, 20, 3))
    positions[200:, 4, 0] += 6.0
    with pytest.warns(UserWarning, match=r"atom 4 \(Na\) jumps by .* unless atoms hop"):
        found = unwrapped(trajectory(positions), 0, drift=False)
    assert np.array_equal(found, positions)
    positions[200:, 4, 0] -= 3.0  # a molecule without a cell
    check_continuous(trajectory(positions, np.zeros((3, 3)), FREE))


def test_a_fast_atom_is_no_jump() -> None:
    rng = np.random.default_rng(3)
    positions = rng.random((1, 20, 3)) * EDGE + rng.normal(0.0, 0.1, (FRAMES, 20, 3))
    positions[:, 0, 0] += 6.0 * np.arange(FRAMES)
    check_continuous(trajectory(positions, np.zeros((3, 3)), FREE))


def _each(cells: np.ndarray) -> np.ndarray:
    return np.broadcast_to(cells.reshape(-1, 3, 3), (FRAMES, 3, 3))


def test_frames_and_atoms_that_are_not_finite_are_named() -> None:
    positions = walk() @ CUBE
    positions[37, 5, 1] = np.nan
    frames = replace(trajectory(positions), steps=10 * np.arange(FRAMES))
    message = r"position of atom 5 in frame 37 \(MD step 370\) is not finite"
    with pytest.raises(InputError, match=message):
        jxl.msd(frames, "Na")
    with pytest.raises(InputError, match=r"velocity of atom 5 in frame 37"):
        jxl.vacf(replace(frames, velocities=frames.positions), "Na")
    with pytest.raises(InputError, match=message):
        jxl.residence_time(frames, "Na", "Cl", 5.0)
    with pytest.raises(InputError, match=message):
        jxl.rdf(frames, "Na", "Cl", bins=3)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (np.diag([20.0, np.nan, 20.0]), "the cell of all frames is not finite"),
        (np.diag([20.0, 20.0, 0.0]), "has no volume"),
        (np.array([[20.0, 0, 0], [0, 20.0, 0], [20.0, 20.0, 0]]), "has no volume"),
    ],
)
def test_cells_without_volume_are_refused(cell: np.ndarray, message: str) -> None:
    frames = trajectory(walk() @ CUBE, cell)
    for analysis in (jxl.msd, lambda t, s: jxl.rdf(t, s, s), lambda t, _: jxl.structure_factor(t)):
        with pytest.raises(InputError, match=message):
            analysis(frames, "Na")
    varying = np.broadcast_to(CUBE, (FRAMES, 1, 3, 3)).copy()
    varying[12, 0] = cell
    with pytest.raises(InputError, match=message.replace("all frames", "frame 12")):
        jxl.msd(trajectory(walk() @ CUBE, varying), "Na")
    flat = trajectory(walk() @ CUBE, np.diag([20.0, 20.0, 0.0]), (True, True, False))
    assert len(jxl.msd(flat, "Na").lags) > 3


@pytest.mark.parametrize(
    ("discard", "message"),
    [
        (-1, "discard must be a non-negative integer, not -1"),
        (0.2, "that share of 401 frames is discard = 80"),
        (2.5, "discard must be a non-negative integer"),
        (True, "discard must be a non-negative integer"),
        ("3", "write 3 without quotes"),
        (401, "cannot discard 401 of 401 frames"),
    ],
)
def test_discard_is_a_number_of_frames(discard: Any, message: str) -> None:
    """Everywhere alike: -1 once meant the last frame, as in a slice of Python."""
    frames = replace(trajectory(walk() @ CUBE), velocities=np.zeros((FRAMES, 1, 20, 3)))
    charges = {"Na": 1.0, "Cl": -1.0}
    for analysis in (
        lambda: jxl.msd(frames, "Na", discard=discard),
        lambda: jxl.diffusivity(frames, "Na", discard=discard),
        lambda: jxl.conductivity(frames, charges, temperature=300.0, discard=discard),
        lambda: jxl.vacf(frames, "Na", discard=discard),
        lambda: jxl.residence_time(frames, "Na", "Cl", 5.0, discard=discard),
        lambda: jxl.rdf(frames, "Na", "Cl", discard=discard),
        lambda: jxl.angles(frames, ("Na", "Cl", "Na"), r_max=5.0, discard=discard),
        lambda: jxl.structure_factor(frames, discard=discard),
        lambda: jxl.Reweighting(
            frames, jxl.LennardJones({"Na": 2.0}, {"Na": 0.01}), temperature=300.0, discard=discard
        ),
    ):
        with pytest.raises(InputError, match=message):
            analysis()
    one: Any = np.int64(1)
    whole = jxl.msd(frames, "Na", discard=one)
    assert np.array_equal(whole.value, jxl.msd(frames[1:], "Na").value)


def test_no_frame_and_one_frame() -> None:
    with pytest.raises(InputError, match="no frame"):
        jxl.msd(trajectory(walk() @ CUBE)[:0], "Na")
    with pytest.raises(InputError, match="1 frame is left"):
        jxl.msd(trajectory(walk() @ CUBE), "Na", discard=400)
    atoms = Atoms("NaCl", [[0, 0, 0], [3, 0, 0]], cell=CUBE, pbc=True)
    with pytest.raises(InputError, match="1 frame is left"):
        jxl.diffusivity(atoms, "Na")


def test_the_equilibration_of_a_run_is_left_out_by_default(tmp_path: Path) -> None:
    """One default everywhere: what a run counts as equilibration; nothing of a trajectory without such a judgement."""
    frames = trajectory(walk() @ CUBE)
    run = Run(frames, {}, frames.frame(0), summary={"discarded_frames": 31})
    np.testing.assert_array_equal(jxl.rdf(run, "Na", "Cl").g, jxl.rdf(frames[31:], "Na", "Cl").g)
    assert jxl.msd(run, "Na").value[-1] == jxl.msd(frames, "Na", discard=31).value[-1]
    assert len(analysed(run, 0)) == len(analysed(frames, None)) == 401
    assert equilibration_of(tmp_path, 401) == 0
    (tmp_path / "config.json").write_text('{"equilibration": null, "every": 5}')
    assert equilibration_of(tmp_path, 401) == 81
    (tmp_path / "summary.json").write_text('{"discarded_frames": 31}')
    assert equilibration_of(tmp_path, 401) == equilibration_of(str(tmp_path), 401) == 31
    assert equilibration_of(tmp_path / "trajectory.h5", 401) == 0
