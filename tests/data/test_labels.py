"""Labels, units, references and splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

import jaxelyte as jxl
from jaxelyte.data import LabelKeys, Labels, collect_labels, fit_references, labels_of, split_frames
from jaxelyte.data.plausibility import KNOWN_ENERGIES, KNOWN_FORCES, check_units


def water(rng: np.random.Generator, temperature: float = 300.0, molecules: int = 8) -> tuple[Atoms, Labels]:
    """Harmonic water molecules far apart: O-H bonds of 45 eV/Å², all else left out; a thermal sample of the bonds."""
    k, kt = 45.0, 8.617e-5 * temperature
    positions, forces, energy = [], [], 0.0
    for n in range(molecules):
        origin = 8.0 * np.array([n % 2, n // 2 % 2, n // 4], float)
        f0 = np.zeros(3)
        inner_positions, inner_forces = [], []
        for u in (np.array([1.0, 0, 0]), np.array([-0.28, 0.96, 0])):
            stretch = rng.normal() * np.sqrt(kt / k)
            inner_positions.append(origin + (0.97 + stretch) * u)
            inner_forces.append(-k * stretch * u)
            f0 += k * stretch * u
            energy += 0.5 * k * stretch**2
        positions += [origin, *inner_positions]
        forces += [f0, *inner_forces]
    atoms = Atoms("OH2" * molecules, positions, cell=[16.0] * 3, pbc=True)
    return atoms, Labels(energy - 470.0 * molecules, np.array(forces), np.full((3, 3), np.nan))


def test_labels_come_from_calculator_info_or_keys() -> None:
    atoms = Atoms("Ar2", [[0, 0, 0], [3.0, 0, 0]])
    forces = np.array([[0.1, 0, 0], [-0.1, 0, 0]])
    one = atoms.copy()
    one.calc = SinglePointCalculator(one, energy=-1.5, forces=forces, stress=np.arange(6.0))
    found = labels_of(one)
    assert found.energy == -1.5
    assert np.array_equal(found.forces, forces)
    assert found.stress[1, 2] == 3.0  # Voigt: xx yy zz yz xz xy
    assert found.stress[0, 1] == found.stress[1, 0] == 5.0
    two = atoms.copy()
    two.info["energy"], two.arrays["forces"] = -2.5, forces
    assert labels_of(two).energy == -2.5
    assert not labels_of(two).has("stress")
    three = atoms.copy()
    three.info["REF_energy"] = -3.5
    assert labels_of(three, keys=LabelKeys(energy="REF_energy")).energy == -3.5
    assert np.isnan(labels_of(three).energy)
    with pytest.raises(jxl.InputError, match=r"no frame has energy .*1 under 'REF_energy'"):
        collect_labels([three])


def test_broken_labels_are_refused() -> None:
    atoms = Atoms("Ar2", [[0, 0, 0], [3.0, 0, 0]])
    for forces, what in ((np.zeros((3, 3)), "shape"), (np.array([[0, 0, np.inf]] * 2), "infinite")):
        bad = atoms.copy()
        bad.info["energy"] = 0.0
        bad.calc = SinglePointCalculator(bad, energy=0.0)
        bad.calc.results["forces"] = forces
        with pytest.raises(jxl.InputError, match=what):
            labels_of(bad, 7)
    part = atoms.copy()
    part.arrays["forces"] = np.array([[0.0, np.nan, 0.0], [0.0, 0.0, 0.0]])
    with pytest.raises(jxl.InputError, match="frame 3: the force on atom 0"):
        labels_of(part, 3)
    with pytest.raises(jxl.InputError, match="no frame has energy 'dft'"):
        collect_labels([atoms], LabelKeys(energy="dft"))


@pytest.mark.parametrize("unit", KNOWN_FORCES)
def test_forces_in_other_units_are_named(rng: np.random.Generator, unit: str) -> None:
    frames, labels = zip(*[water(rng) for _ in range(6)], strict=True)
    check_units(frames, labels)
    factor = KNOWN_FORCES[unit]
    wrong = [Labels(x.energy, x.forces / factor, x.stress) for x in labels]
    with pytest.raises(jxl.InputError, match=f"look like {unit}: multiply them by {factor:.9g}"):
        check_units(frames, wrong)


@pytest.mark.parametrize("unit", KNOWN_ENERGIES)
def test_energies_in_other_units_are_named(rng: np.random.Generator, unit: str) -> None:
    frames, labels = zip(*[water(rng) for _ in range(20)], strict=True)
    check_units(frames, labels)
    wrong = [Labels(x.energy / KNOWN_ENERGIES[unit], x.forces, x.stress) for x in labels]
    with pytest.raises(jxl.InputError, match="energies are inconsistent with the forces"):
        check_units(frames, wrong)


def test_positions_in_bohr_and_gradients_are_noticed(rng: np.random.Generator) -> None:
    frames, labels = zip(*[water(rng) for _ in range(6)], strict=True)
    bohr = [frame.copy() for frame in frames]
    for frame in bohr:
        frame.set_cell(frame.cell / 0.529177, scale_atoms=True)
    with pytest.raises(jxl.InputError, match="look like Bohr"):
        check_units(bohr, labels)
    with pytest.warns(UserWarning, match="gradients"), pytest.raises(jxl.InputError, match="contradict each other"):
        check_units(frames, [Labels(x.energy, -x.forces, x.stress) for x in labels])


@pytest.mark.parametrize("name", ["nacl_revPBE0-D3", "nacl_r2SCAN", "water_revPBE0-D3"])
def test_real_frames_pass_and_their_atomic_units_do_not(dft_data: Path, name: str) -> None:
    frames = jxl.read(dft_data / f"{name}.xyz.gz", "::3")
    labels = collect_labels(frames)
    check_units(frames, labels)
    with pytest.raises(jxl.InputError, match="Hartree/Bohr"):
        check_units(frames, [Labels(x.energy, x.forces / 51.422, x.stress) for x in labels])
    with pytest.raises(jxl.InputError, match="energies are inconsistent"):
        check_units(frames, [Labels(x.energy / 27.211, x.forces, x.stress) for x in labels])


def test_references_of_full_rank_are_found(rng: np.random.Generator) -> None:
    counts = rng.integers(1, 9, (30, 3))
    true = np.array([-13.6, -430.0, -1300.0])
    found = fit_references(counts, counts @ true)
    assert np.allclose(found.energies, true, atol=1e-9)
    assert np.all(found.determined)
    assert found.residual < 1e-10


def test_references_of_degenerate_compositions() -> None:
    """Na and Cl in pairs, H and O as water: two sums are fixed and no single energy is."""
    water_molecules, pairs = np.array([48, 56, 58, 60, 64]), np.array([8, 4, 3, 3, 1])
    counts = np.stack([2 * water_molecules, water_molecules, pairs, pairs], axis=1)
    energies = -469.373 * water_molecules - 1695.714 * pairs
    found = fit_references(counts, energies)
    assert found.residual < 1e-9
    assert not np.any(found.determined)
    assert abs(found.energies @ [2, 1, 0, 0] + 469.373) < 1e-8
    assert abs(found.energies @ [0, 0, 1, 1] + 1695.714) < 1e-8
    assert abs(found.energies[2] - found.energies[3]) < 1e-8  # the shortest solution shares alike


def test_references_skip_frames_without_energy() -> None:
    counts = np.array([[1, 2], [2, 1], [5, 5]])
    found = fit_references(counts, np.array([5.0, 4.0, np.nan]))
    assert np.allclose(found.energies, [1.0, 2.0])
    assert np.isnan(fit_references(counts, np.full(3, np.nan)).residual)


def test_real_references(dft_data: Path) -> None:
    """The published sums of the revPBE0-D3 set, and what is left: 5.1 meV/atom."""
    frames = jxl.read(dft_data / "nacl_revPBE0-D3.xyz.gz")
    counts = np.array([[np.sum(f.numbers == z) for z in (1, 8, 11, 17)] for f in frames])
    found = fit_references(counts, np.array([label.energy for label in collect_labels(frames)]))
    assert abs(found.energies @ [2, 1, 0, 0] + 469.373) < 2e-2
    assert abs(found.energies @ [0, 0, 1, 1] + 1695.714) < 0.2
    assert abs(found.residual - 5.1e-3) < 3e-4


@pytest.mark.parametrize("method", ["blocks", "random"])
def test_splits(method: str) -> None:
    split = split_frames(844, validation=0.1, test=0.1, seed=3, method=method)
    assert [len(part) for part in split] == [676, 84, 84]
    assert sorted(np.concatenate(split)) == list(range(844))
    again = split_frames(844, validation=0.1, test=0.1, seed=3, method=method)
    assert all(np.array_equal(a, b) for a, b in zip(split, again, strict=True))
    assert not np.array_equal(split.test, split_frames(844, validation=0.1, test=0.1, seed=4, method=method).test)
    assert [len(part) for part in split_frames(10, validation=2, test=3, method=method)] == [5, 2, 3]
    assert [len(part) for part in split_frames(2, validation=1, method=method)] == [1, 1, 0]
    # The random split of a seed is that of all earlier versions.
    order = np.random.default_rng(3).permutation(20)
    np.testing.assert_array_equal(
        split_frames(20, validation=2, test=3, seed=3, method="random").test, np.sort(order[:3])
    )


def test_frames_held_back_are_consecutive() -> None:
    """At most ten frames of each part have a neighbour that was trained on; at random four out of five have two."""
    for seed in range(20):
        split = split_frames(1000, validation=0.1, test=0.1, seed=seed)
        for part in (split.validation, split.test):
            assert len(part) == 100
            beside = np.isin(part - 1, split.train) | np.isin(part + 1, split.train)
            assert np.sum(beside) <= 12
            # Blocks lie all over the trajectory.
            assert np.ptp(part) > 400


def test_each_composition_is_in_each_part() -> None:
    """Two trajectories one after the other, an interleaved one, and single frames of which none is lost."""
    groups = ["A"] * 200 + ["B"] * 100 + ["C", "D"] * 20 + ["E"]
    for seed in range(20):
        split = split_frames(len(groups), validation=0.1, test=0.1, seed=seed, groups=groups)
        assert sorted(np.concatenate(split)) == list(range(len(groups)))
        held = [[groups[n] for n in part] for part in split]
        for name, count in (("A", 20), ("B", 10), ("C", 2), ("D", 2)):
            assert abs(held[1].count(name) - count) <= 1
            assert abs(held[2].count(name) - count) <= 1
        assert held[0].count("E") == 1
    # Where each frame is of its own kind, the seed decides.
    single = [split_frames(30, validation=3, seed=seed, groups=range(30)).validation.tolist() for seed in (0, 1)]
    assert single[0] != single[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 0}, "validation = 0"),
        ({"validation": -0.1}, "validation must be a finite number, 0 or more, not -0.1"),
        ({"validation": 1.5}, "must be a share below 1, or an integer"),
        ({"validation": 8, "test": 2}, "none to train on"),
    ],
)
def test_impossible_splits(options: dict[str, Any], message: str) -> None:
    with pytest.raises(jxl.InputError, match=message):
        split_frames(10, **options)
