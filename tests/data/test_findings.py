"""All that is wrong with a set is said at once, under the numbers that its frames have for the user."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from jaxelyte.data import LabelKeys, Labels, collect_labels, labels_of
from jaxelyte.data.outliers import find_outliers
from jaxelyte.data.plausibility import check_units
from jaxelyte.data.selection import select_frames
from jaxelyte.data.stresses import check_stresses
from jaxelyte.errors import Findings, InputError, UnsupportedError
from jaxelyte.units import BOHR, HARTREE
from model_water import changed, drop

Set = tuple[list[Atoms], list[Labels]]


@pytest.fixture(scope="module")
def sound() -> Set:
    frames, labels = zip(*[drop(n) for n in range(24)], strict=True)
    return list(frames), list(labels)


def test_findings_are_raised_together_and_single_ones_as_they_are() -> None:
    findings = Findings()
    findings.refuse()
    with findings.part():
        raise UnsupportedError("first")
    with pytest.raises(UnsupportedError, match=r"^first$"):
        findings.refuse()
    findings.add("second")
    with pytest.raises(InputError, match=r"^2 findings: \(1\) first\. \(2\) second\.$"):
        findings.refuse()


def test_columns_of_all_kinds_are_named_at_once() -> None:
    frames = [Atoms("Ar2", [[0, 0, 0], [0, 0, 3.8 + 0.01 * n]]) for n in range(4)]
    for frame in frames:
        frame.info["REF_energy"], frame.arrays["dft_forces"] = -1.0, np.ones((2, 3))
    with pytest.raises(InputError, match=r"2 findings: .*energy='REF_energy'.*forces='dft_forces'"):
        collect_labels(frames)


def test_faults_of_single_frames_are_collected() -> None:
    frames = [Atoms("Ar2", [[0, 0, 0], [0, 0, 3.8 + 0.01 * n]]) for n in range(6)]
    for frame in frames:
        frame.calc = SinglePointCalculator(frame, energy=-1.0, forces=np.ones((2, 3)))
    for n in (1, 4):
        frames[n].calc.results["forces"] = np.zeros((3, 3))
    frames[2].calc.results["energy"] = np.inf
    with pytest.raises(InputError, match=r"2 frames \(1, 4\): forces has shape .*frame 2: energy holds an infinite"):
        collect_labels(frames)


def test_forces_and_energies_in_atomic_units_are_named_at_once(sound: Set) -> None:
    frames, labels = sound
    wrong = [Labels(x.energy / HARTREE, x.forces * BOHR / HARTREE, x.stress) for x in labels]
    findings = Findings()
    selection = select_frames(frames, wrong, exclude=(), drop_outliers=None, findings=findings)
    factors = check_units(frames, wrong, selection.check.predictions, findings)
    np.testing.assert_allclose(factors, HARTREE / BOHR)
    with pytest.raises(InputError, match=r"2 findings: .*look like Hartree/Bohr.*energies in Hartree"):
        findings.refuse()


def test_outliers_and_stresses_are_named_at_once_by_their_own_numbers(sound: Set) -> None:
    frames, labels = sound
    wrong = changed(labels, lambda x: replace(x, energy=x.energy + 100.0), (5,))
    wrong = changed(wrong, lambda x: replace(x, stress=0.0 * x.stress), (7,))
    wrong = changed(
        wrong, lambda x: replace(x, stress=x.stress + 0.3 * np.abs(x.stress).max() * np.triu(np.ones((3, 3)), 1)), (9,)
    )
    findings = Findings()
    selection = select_frames(frames, wrong, exclude=[2], drop_outliers=None, findings=findings)
    assert selection.kept.tolist() == [n for n in range(24) if n not in (2, 5)]
    kept = selection.kept.tolist()
    check_stresses(
        [frames[n] for n in kept], [wrong[n] for n in kept], selection.check.predictions, findings, numbers=kept
    )
    with pytest.raises(
        InputError, match=r"3 findings: .*frame 5: energy .*frame 7: all components .*frame 9: the stress is not"
    ):
        findings.refuse()


def test_two_groups_of_energies_that_no_structure_explains(sound: Set) -> None:
    frames, labels = sound
    assert find_outliers(frames, labels).doubts == {}
    shifted = changed(labels, lambda x: replace(x, energy=x.energy + 2.0), range(0, 24, 2))
    found = find_outliers(frames, shifted)
    assert len({*found.reasons, *found.doubts}) == 12
    assert any("energies fall into two groups" in why[0] for why in found.doubts.values())
    late = changed(labels, lambda x: replace(x, energy=x.energy + 3.0), range(16, 24))
    found = find_outliers(frames, late)
    assert set(found.reasons) | set(found.doubts) == set(range(16, 24))


def test_alloys_of_which_each_composition_occurs_once() -> None:
    """Energies off by more than any heat of mixing, although no frame has a twin of its composition."""
    from ase.build import bulk
    from ase.calculators.emt import EMT

    rng, frames, labels = np.random.default_rng(3), [], []
    for n in range(18):
        atoms = bulk("Cu", "fcc", 3.8, cubic=True).repeat((2, 1, 1))
        atoms.symbols = ["Au"] * (n % 8 + 1) + ["Cu"] * (7 - n % 8)
        atoms.numbers[rng.integers(8)] = 47
        atoms.rattle(0.08, seed=n)
        atoms.calc = EMT()
        labels.append(Labels(float(atoms.get_potential_energy()), atoms.get_forces(), np.full((3, 3), np.nan)))
        frames.append(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True))
    found = find_outliers(frames, labels)
    assert (found.reasons, found.doubts) == ({}, {})
    labels[7] = replace(labels[7], energy=labels[7].energy + 30.0)
    assert list(find_outliers(frames, labels).reasons) == [7]


def test_forces_that_are_all_zero_in_all_frames(sound: Set) -> None:
    frames, labels = sound
    zero = [replace(x, forces=0.0 * x.forces) for x in labels]
    assert set(find_outliers(frames, zero).reasons) == set(range(24))


@pytest.mark.parametrize("left_out", ["energy", "forces"])
def test_sets_that_lack_energies_or_forces_pass(sound: Set, left_out: str) -> None:
    frames, labels = sound
    without = [replace(label, **{left_out: np.nan * getattr(label, left_out)}) for label in labels]
    assert not any(label.has(left_out) for label in without)
    selection = select_frames(frames, without, exclude=(), drop_outliers=None)
    factors = check_units(frames, without, selection.check.predictions)
    np.testing.assert_array_equal(factors, 1.0)


def test_labels_that_belong_to_other_atoms_are_warned_about() -> None:
    def labelled() -> Atoms:
        atoms = Atoms("NaCl", [[0, 0, 0], [2.8, 0, 0]], cell=[8.0] * 3, pbc=True)
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((2, 3)))
        return atoms

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collect_labels([labelled()])
    other, strained = labelled(), labelled()
    other.numbers[1] = 35
    strained.set_cell([8.5] * 3)
    for atoms in (other, strained):
        with pytest.warns(UserWarning, match="have moved"):
            collect_labels([atoms])


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"stress": "none"}, "stress 'none' is not numbers"),
        ({"energy": "failed"}, "energy 'failed' is not numbers"),
        ({"stress": [1.0, 2.0, 3.0, np.nan, 0.0, 0.0]}, "the stress is given in part"),
        ({"stress": [1.0, 2.0]}, r"stress has shape \(2,\)"),
    ],
)
def test_labels_that_are_no_labels(info: dict[str, Any], message: str) -> None:
    atoms = Atoms("Ar2", [[0, 0, 0], [3.8, 0, 0]], cell=[9.0] * 3, pbc=True)
    atoms.info.update(info)
    with pytest.raises(InputError, match=f"frame 4: {message}"):
        labels_of(atoms, 4)


def test_virials_need_a_volume() -> None:
    atoms = Atoms("Ar2", [[0, 0, 0], [3.8, 0, 0]])
    atoms.info |= {"energy": -1.0, "w": np.eye(3)}
    with pytest.raises(InputError, match="frame 0 has a virial but is not periodic"):
        labels_of(atoms, 0, LabelKeys(virial="w"))


def test_frames_without_any_label_are_named() -> None:
    frames = [Atoms("Ar2", [[0, 0, 0], [3.8, 0, 0]]) for _ in range(3)]
    for n in (0, 2):
        frames[n].info["energy"] = -1.0
    frames[1].info["comment"] = "failed"
    with pytest.raises(InputError, match=r"1 of 3 frames has neither .* frame 1 \(it has comment\)"):
        collect_labels(frames)


@pytest.mark.parametrize("name", [3, "", (), ("a", 3), {"a": 1}])
def test_keys_that_are_no_names(name: Any) -> None:
    with pytest.raises(InputError, match="must be a name or a tuple of names"):
        LabelKeys(energy=name)


@pytest.mark.more
def test_the_pair_model_of_the_shared_frames_has_no_groups(dft_data: Path) -> None:
    from ase.io import read

    frames = read(dft_data / "nacl_r2SCAN.xyz.gz", "::16")
    labels = collect_labels(frames)  # pyright: ignore[reportArgumentType]
    found = find_outliers(frames, labels)  # pyright: ignore[reportArgumentType]
    assert (found.reasons, found.doubts) == ({}, {})
