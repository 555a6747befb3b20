"""Frames of many sizes and cells as arrays of a few shapes, and what a baseline takes from them."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.data.baseline import evaluate_frames
from jaxelyte.data.dataset import Residuals, make_dataset, share_out
from jaxelyte.potentials.derivatives import batch_energy_forces_stress


def ionic_frames(rng: np.random.Generator, sizes: list[int]) -> list[Atoms]:
    """Neutral boxes of Na and Cl, triclinic, smaller than twice a cut-off of 4 Å, atoms in any order."""
    frames = []
    for size in sizes:
        cell = np.eye(3) * 6.0 + rng.normal(0, 0.4, (3, 3))
        symbols = rng.permutation(["Na", "Cl"] * (size // 2))
        grid = np.array(list(np.ndindex(3, 3, 3)))[rng.permutation(27)[:size]] / 3.0
        frames.append(Atoms(symbols, scaled_positions=grid + rng.normal(0, 0.02, (size, 3)), cell=cell, pbc=True))
    return frames


def test_sizes_are_shared_out_at_the_least_cost() -> None:
    sizes = np.array([10, 11, 50, 52, 52, 100])
    groups = share_out(sizes, 3)
    assert [g.tolist() for g in groups] == [[0, 1], [2, 3, 4], [5]]
    assert [g.tolist() for g in share_out(sizes, 1)] == [[0, 1, 2, 3, 4, 5]]
    assert len(share_out(np.full(7, 3), 3)) == 1

    def cost(parts: list[np.ndarray]) -> int:
        return sum(len(p) * int(sizes[p].max()) for p in parts)

    # By hand: two buckets cost least as (10, 11, 50, 52, 52) + (100) or (10, 11) + rest.
    assert cost(share_out(sizes, 2)) == min(5 * 52 + 100, 2 * 11 + 4 * 100, 3 * 50 + 3 * 100, 10 + 5 * 100)


@pytest.mark.more
def test_buckets_give_the_energies_of_single_frames(rng: np.random.Generator) -> None:
    """Padding atoms, padding neighbours and mixed sizes change nothing: energy, forces and stress to rounding."""
    frames = ionic_frames(rng, [4, 6, 12])
    config, params = jxl.NequIP(
        r_max=4.0, num_layers=1, l_max=1, num_features=3, invariant_neurons=8, type_names=("Na", "Cl"), zbl=True
    ).init(jax.random.key(0))
    potential = jxl.NequIPPotential(params, config)
    empty = Residuals(np.full(3, np.nan), [np.full((len(f), 3), np.nan) for f in frames], np.full((3, 3, 3), np.nan))
    dataset = make_dataset(frames, empty, potential.requirements(), most_shapes=2)
    assert len(dataset.buckets) == 2
    assert sorted(np.concatenate(dataset.frames)) == [0, 1, 2]
    assert any(not np.all(bucket.systems.mask) for bucket in dataset.buckets)
    seen = []
    for bucket, numbers in zip(dataset.buckets, dataset.frames, strict=True):
        found = jax.jit(batch_energy_forces_stress)(potential, bucket.systems, bucket.neighbors)
        assert not np.any(bucket.targets.has_energy)
        assert not np.any(bucket.targets.has_forces)
        for row, number in enumerate(numbers):
            atoms = frames[number].copy()
            atoms.calc = jxl.Calculator(potential)
            size = len(atoms)
            # Sums of some hundred terms of order one in another order.
            assert abs(float(found.energy[row]) - atoms.get_potential_energy()) < 1e-11 * size
            assert np.allclose(found.forces[row, :size], atoms.get_forces(), atol=1e-11)
            assert np.all(np.asarray(found.forces[row, size:]) == 0)
            assert np.allclose(found.stress[row], atoms.get_stress(voigt=False), atol=1e-12)
            seen.append(number)
    assert sorted(seen) == [0, 1, 2]


def test_targets_keep_their_frames_and_masks(rng: np.random.Generator) -> None:
    frames = ionic_frames(rng, [6, 4, 6])
    forces = [rng.normal(size=(len(f), 3)) for f in frames]
    forces[2][1] = np.nan
    stresses = np.full((3, 3, 3), np.nan)
    stresses[1] = np.eye(3)
    given = Residuals(np.array([1.0, np.nan, 3.0]), forces, stresses)
    dataset = make_dataset(frames, given, (), most_shapes=1)
    (bucket,), (numbers,) = dataset.buckets, dataset.frames
    for row, number in enumerate(numbers):
        size = len(frames[number])
        known = np.isfinite(forces[number]).all(axis=1)
        assert bool(bucket.targets.has_energy[row]) == np.isfinite(given.energies[number])
        assert np.array_equal(bucket.targets.has_forces[row, :size], known)
        assert not np.any(bucket.targets.has_forces[row, size:])
        assert np.array_equal(np.asarray(bucket.targets.forces)[row, :size][known], forces[number][known])
        assert bool(bucket.targets.has_stress[row]) == (number == 1)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(bucket.targets))


@pytest.mark.slow
@pytest.mark.parametrize("x64", [True, False])
def test_baselines_of_many_frames_are_those_of_each(rng: np.random.Generator, x64: bool) -> None:
    """Float64 in both settings; frames of several cells share one plan of the Ewald sum, within its tolerance."""
    frames = ionic_frames(rng, [4, 6, 6])
    with jax.enable_x64(x64):
        baseline = jxl.ScreenedCoulomb({"Na": 1.0, "Cl": -1.0}, permittivity=5.0, tolerance=1e-7)
        found = evaluate_frames(baseline, frames, batch=2)
    exact = jxl.ScreenedCoulomb({"Na": 1.0, "Cl": -1.0}, permittivity=5.0, tolerance=1e-9)
    for number, frame in enumerate(frames):
        atoms = frame.copy()
        atoms.calc = jxl.Calculator(exact)
        assert abs(found.energies[number] - atoms.get_potential_energy()) < 1e-6
        assert np.allclose(found.forces[number], atoms.get_forces(), atol=1e-6)
        assert np.allclose(found.stresses[number], atoms.get_stress(voigt=False), atol=1e-7)


@pytest.mark.more
def test_gas_phase_frames_have_no_stress(rng: np.random.Generator) -> None:
    dimer = Atoms("NaCl", [[0, 0, 0], [3.0, 0.5, 0.1]])
    periodic = ionic_frames(rng, [4])[0]
    baseline = jxl.ScreenedCoulomb({"Na": 1.0, "Cl": -1.0}, permittivity=78.3)
    found = evaluate_frames(baseline, [dimer, periodic, dimer])
    distance = np.linalg.norm([3.0, 0.5, 0.1])
    assert abs(found.energies[0] + 14.399645 / 78.3 / distance) < 1e-8
    assert found.energies[0] == found.energies[2]
    assert np.isnan(found.stresses[0]).all()
    assert np.isfinite(found.stresses[1]).all()
