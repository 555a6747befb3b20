"""Broken labels among good ones: found by frame, none found in sound sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.data import Labels, collect_labels
from jaxelyte.data.outliers import find_outliers, outlier_message
from jaxelyte.data.pair_model import fit_pair_model
from jaxelyte.data.plausibility import check_units
from jaxelyte.data.selection import isolated_energies, select_frames
from jaxelyte.data.stresses import check_stresses
from jaxelyte.data.structures import warn_of_reach, warn_of_structures
from model_water import EDGE, changed, drop


@pytest.fixture(scope="module")
def sound() -> tuple[list[Atoms], list[Labels]]:
    frames, labels = zip(*[drop(n) for n in range(24)], strict=True)
    return list(frames), list(labels)


def one_force(label: Labels) -> Labels:
    forces = label.forces.copy()
    forces[4, 0] += 30.0
    return replace(label, forces=forces)


EVEN = range(0, 24, 2)


@pytest.mark.parametrize(
    ("change", "which", "message"),
    [
        (one_force, (5,), r"1 of 24 .*frame 5: single forces far off \(atom 4 \(H\)"),
        (lambda x: replace(x, energy=x.energy + 5.0), (5,), r"frame 5: energy does not go with the others \(\+5"),
        (lambda x: replace(x, energy=x.energy + 30.0), EVEN, r"12 of 24 .*12 frames .*30 eV off.*Two groups"),
        (lambda x: replace(x, forces=0.0 * x.forces), (5,), "frame 5: all forces are zero"),
        (lambda x: replace(x, forces=-x.forces), (5,), "frame 5: forces point the wrong way"),
        (lambda x: replace(x, forces=x.forces[[3, 4, 5, 6, 7, 8, 0, 1, 2]]), (5,), "frame 5: forces do not belong"),
        (
            lambda x: replace(x, forces=x.forces / 51.422),
            (5, 6),
            "2 frames .5, 6.: forces are in another unit, Hart",
        ),
        (lambda x: replace(x, energy=x.energy / 27.2114), (5, 6), "2 frames .5, 6.: energy .* in Hartree by its size"),
    ],
)
def test_broken_frames_are_named(
    sound: tuple[list[Atoms], list[Labels]], change: Callable[[Labels], Labels], which: Any, message: str
) -> None:
    frames, labels = sound
    found = find_outliers(frames, changed(labels, change, which)).reasons
    assert len(found) == len(which)
    with pytest.raises(jxl.InputError, match=message):
        select_frames(frames, changed(labels, change, which), exclude=(), drop_outliers=None)


def test_sound_frames_pass(sound: tuple[list[Atoms], list[Labels]]) -> None:
    frames, labels = sound
    for count in (3, 5, 8, 24):
        assert find_outliers(frames[:count], labels[:count]).reasons == {}
    # Relaxed structures have small forces, in directions of their own.
    rng = np.random.default_rng(1)
    calm = changed(labels, lambda x: Labels(-1410.0, rng.normal(0, 1e-3, (9, 3)), x.stress), (2, 3))
    frames = [minimum(frame) if n in (2, 3) else frame for n, frame in enumerate(frames)]
    assert find_outliers(frames, calm).reasons == {}


def minimum(frame: Atoms) -> Atoms:
    out = frame.copy()
    for n in range(3):
        h = out.positions[3 * n] + np.array([[0.76, 0.5865, 0], [-0.76, 0.5865, 0]])
        out.positions[3 * n + 1 : 3 * n + 3] = h
    return out


def test_frames_are_dropped_or_excluded(sound: tuple[list[Atoms], list[Labels]]) -> None:
    frames, labels = sound
    broken = changed(labels, one_force, (5, 7))
    with pytest.warns(UserWarning, match="left out: 2 of 24"):
        chosen = select_frames(frames, broken, exclude=(), drop_outliers=True)
    assert sorted(set(range(24)) - set(chosen.kept.tolist())) == [5, 7]
    assert list(chosen.summary()["outliers_dropped"]) == ["5", "7"]
    assert chosen.check.predictions is not None
    assert len(chosen.check.predictions) == 22
    assert len(select_frames(frames, broken, exclude=(), drop_outliers=False).kept) == 24
    assert select_frames(frames, broken, exclude=[5, -17], drop_outliers=None).excluded == [5, 7]
    for wrong in ([24], ["x"], [1.5]):
        with pytest.raises(jxl.InputError, match="exclude"):
            select_frames(frames, labels, exclude=wrong, drop_outliers=None)  # pyright: ignore[reportArgumentType]


def test_atoms_in_one_place(sound: tuple[list[Atoms], list[Labels]]) -> None:
    frames, labels = [frame.copy() for frame in sound[0]], sound[1]
    frames[5].positions[3] = frames[5].positions[0] + [EDGE, 0, 0]
    reasons = find_outliers(frames, labels).reasons
    assert list(reasons) == [5]
    assert reasons[5][0] == "atoms 0 and 3 are at the same position"
    assert "frame 5: atoms 0 and 3" in outlier_message(reasons, 24)


def test_isolated_atoms_become_references(sound: tuple[list[Atoms], list[Labels]]) -> None:
    none = np.full((3, 3), np.nan)
    lone = [Atoms("H", pbc=False), Atoms("O", cell=[12.0] * 3, pbc=True)]
    own = [Labels(-13.6, np.zeros((1, 3)), none), Labels(-430.0, np.zeros((1, 3)), none)]
    frames, labels = [*lone, *sound[0]], [*own, *sound[1]]
    chosen = select_frames(frames, labels, exclude=(), drop_outliers=None)
    assert chosen.kept.tolist() == list(range(2, 26))
    assert isolated_energies(chosen, labels) == {1: -13.6, 8: -430.0}
    twice = [Atoms("H"), *frames]
    again = [Labels(-13.1, np.zeros((1, 3)), none), *labels]
    with pytest.raises(jxl.InputError, match="isolated atoms of H have several energies"):
        isolated_energies(select_frames(twice, again, exclude=(), drop_outliers=None), again)
    # A crystal of one atom is none, and frames of single atoms alone are what they are.
    argon = Atoms("Ar", cell=[3.8] * 3, pbc=True)
    assert not select_frames([argon, *frames], [own[0], *labels], exclude=(), drop_outliers=None).isolated.get(18)
    assert len(select_frames(lone, own, exclude=(), drop_outliers=None).kept) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: -s, "opposite sign"),
        (lambda s: 1602.1766 * s, "they look like kbar: multiply them by 0.00062415"),
        (lambda s: -1602.1766 * s, "they look like kbar, with the opposite sign: multiply them by -0.00062415"),
        (lambda s: 160.21766 * s, "they look like GPa"),
        (lambda s: -(EDGE**3) * s, "virials"),
        (lambda s: 0.0 * s, "all components of the stress are zero"),
        (lambda s: s + np.array([[0, 1e-2, 0], [0, 0, 0], [0, 0, 0]]), "not symmetric"),
    ],
)
def test_stresses_are_judged_by_the_forces(
    sound: tuple[list[Atoms], list[Labels]], change: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    frames, labels = sound
    model = fit_pair_model(frames, labels)
    assert model is not None
    predictions = [model.predict(frame) for frame in frames]
    check_stresses(frames, labels, predictions)
    check_stresses(frames, labels, None)
    assert all(np.allclose(-p.virial / EDGE**3, x.stress, atol=5e-4) for p, x in zip(predictions, labels, strict=True))
    with pytest.raises(jxl.InputError, match=message):
        check_stresses(frames, [replace(x, stress=change(x.stress)) for x in labels], predictions)


def test_energies_are_judged_by_the_forces(sound: tuple[list[Atoms], list[Labels]]) -> None:
    frames, labels = sound
    model = fit_pair_model(frames, labels)
    assert model is not None
    predictions = [model.predict(frame) for frame in frames]
    check_units(frames, labels, predictions)
    for name, factor in (("Hartree", 27.2113862), ("kcal/mol", 0.0433641)):
        wrong = [replace(x, energy=x.energy / factor) for x in labels]
        with pytest.raises(jxl.InputError, match=f"Are the energies in {name}"):
            check_units(frames, wrong, predictions)
    with pytest.raises(jxl.InputError, match="contradict each other"):
        check_units(frames, [replace(x, energy=-x.energy) for x in labels], predictions)


def test_structures_that_are_probably_not_meant(sound: tuple[list[Atoms], list[Labels]], recwarn: Any) -> None:
    frames = [frame.copy() for frame in sound[0][:4]]
    slab = Atoms("Ar64", np.random.default_rng(0).uniform(0, 12, (64, 3)), cell=[12, 12, 30], pbc=(True, True, False))
    molecule = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [0, 0.96, 0]])
    molecule.center(vacuum=4.0)
    warn_of_structures([*frames, slab, molecule, Atoms("Ar60", 0.4 * slab.positions[:60])])
    assert not recwarn.list
    liquid = Atoms("Ar128", np.random.default_rng(0).uniform(0, 12, (128, 3)))
    with pytest.warns(UserWarning, match="frame 0: no cell"):
        warn_of_structures([liquid])
    full = Atoms("Ar128", liquid.positions, cell=[12.0] * 3, pbc=False)
    with pytest.warns(UserWarning, match="is False along a, b, c"):
        warn_of_structures([full])
    frames[1].info["charge"], frames[2].info["charge"] = 0, 1
    with pytest.warns(UserWarning, match=r"differ in info\['charge'\]"):
        warn_of_structures(frames[1:3])


@pytest.mark.more
@pytest.mark.parametrize("name", ["nacl_revPBE0-D3", "nacl_r2SCAN", "water_revPBE0-D3"])
def test_real_frames_have_no_outliers(dft_data: Path, name: str) -> None:
    frames = jxl.read(dft_data / f"{name}.xyz.gz", "::2")
    labels = collect_labels(frames)
    assert find_outliers(frames, labels).reasons == {}
    some = [replace(x, energy=x.energy + 20.0) if n == 3 else x for n, x in enumerate(labels)]
    assert list(find_outliers(frames, some).reasons) == [3]


def strained_crystals(count: int) -> tuple[list[Atoms], list[Labels]]:
    """Copper at several volumes and temperatures by the effective medium theory of ASE."""
    from ase.build import bulk
    from ase.calculators.emt import EMT

    rng, frames, labels = np.random.default_rng(0), [], []
    for scale in np.linspace(0.97, 1.05, count):
        atoms = bulk("Cu", a=3.6 * float(scale), cubic=True)
        atoms.positions += rng.normal(0, 0.03, (4, 3))
        frames.append(atoms.copy())
        atoms.calc = EMT()
        forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)
        labels.append(Labels(float(atoms.get_potential_energy()), forces, stress))
    return frames, labels


def test_stresses_of_strained_crystals_are_judged_by_their_work() -> None:
    frames, labels = strained_crystals(12)
    assert find_outliers(frames, labels).reasons == {}
    check_units(frames, labels)
    check_stresses(frames, labels, None)
    for factor, message in ((-1.0, "opposite sign"), (160.21766, "they look like GPa")):
        with pytest.raises(jxl.InputError, match=message):
            check_stresses(frames, [replace(x, stress=factor * x.stress) for x in labels], None)


def test_work_of_forces_and_stresses_is_the_change_of_energy() -> None:
    """A harmonic pair: turned, shifted and stretched, it has exactly the energy that its forces say."""
    from jaxelyte.data.work import changes, slope_of

    k, none = 10.0, np.full((3, 3), np.nan)
    frames, labels = [], []
    for n, length in enumerate(np.linspace(1.0, 1.2, 8)):
        angle = 0.9 * n
        axis = np.array([np.cos(angle), np.sin(angle), 0.0])
        pull = k * (length - 1.05) * axis
        frames.append(Atoms("N2", [[0, 0, n], length * axis + [0, 0, n]]))
        labels.append(Labels(0.5 * k * (length - 1.05) ** 2, np.array([pull, -pull]), none))
    found = changes(frames, labels)
    assert np.allclose(found.energy, found.forces, atol=1e-12)
    slope = slope_of(found.energy, found.forces)
    assert slope is not None
    assert np.allclose(slope, 1.0)
    atomic = [replace(x, energy=x.energy / 27.211386, forces=x.forces / 51.422067) for x in labels]
    with pytest.raises(jxl.InputError, match="both in atomic units, with positions in Å"):
        check_units(frames, atomic)


def test_shear_stresses_in_the_order_of_vasp(sound: tuple[list[Atoms], list[Labels]]) -> None:
    frames, labels = sound
    model = fit_pair_model(frames, labels)
    assert model is not None
    predictions = [model.predict(frame) for frame in frames]
    # Read as yz, xz, xy, but written as xy, yz, zx.
    turned = []
    for label in labels:
        yz, xz, xy = label.stress[1, 2], label.stress[0, 2], label.stress[0, 1]
        stress = label.stress.copy()
        stress[1, 2] = stress[2, 1] = xy
        stress[0, 2] = stress[2, 0] = yz
        stress[0, 1] = stress[1, 0] = xz
        turned.append(replace(label, stress=stress))
    with pytest.raises(jxl.InputError, match="they look like xy, yz, xz"):
        check_stresses(frames, turned, predictions)


def test_uneven_sets_pass() -> None:
    """Dimers from contact to far apart beside crystals; and a relaxation that began with large forces."""
    from ase.calculators.emt import EMT

    frames, labels = strained_crystals(12)
    for length in np.linspace(1.6, 5.0, 8):
        dimer = Atoms("Cu2", [[0, 0, 0], [float(length), 0, 0]])
        frames.append(dimer.copy())
        dimer.calc = EMT()
        energy = float(dimer.get_potential_energy())
        labels.append(Labels(energy, dimer.get_forces(), np.full((3, 3), np.nan)))
    found = find_outliers(frames, labels)
    assert found.reasons == found.doubts == {}
    rng, relaxed = np.random.default_rng(2), []
    for n in range(20):
        atoms, label = drop(n)
        share = 0.4**n if n < 6 else 1e-3
        start, own = minimum(atoms), label.forces
        start.positions += share * (atoms.positions - start.positions)
        relaxed.append(
            (start, Labels(-1410.0 + 0.3 * share**2, share * own + rng.normal(0, 1e-4, (9, 3)), label.stress))
        )
    assert find_outliers(*map(list, zip(*relaxed, strict=True))).reasons == {}


def test_rare_species_are_no_outliers(sound: tuple[list[Atoms], list[Labels]]) -> None:
    frames, labels = [x.copy() for x in sound[0]], list(sound[1])
    for n in (3, 9, 15):
        frames[n] += Atoms("Na", [[6.0, 6.0, 2.0]])
        forces = np.concatenate([labels[n].forces, np.zeros((1, 3))])
        labels[n] = Labels(labels[n].energy - 1290.0, forces, labels[n].stress)
    found = find_outliers(frames, labels)
    assert found.reasons == found.doubts == {}
    # One of few frames of its kind: named, not refused.
    labels[9] = replace(labels[9], energy=labels[9].energy + 400.0)
    found = find_outliers(frames, labels)
    assert list(found.reasons) in ([], [9])


def test_zero_forces_are_sound_by_symmetry_alone() -> None:
    from ase.build import bulk

    frames, labels = strained_crystals(8)
    frames.append(bulk("Cu", a=3.6, cubic=True))
    labels.append(Labels(labels[0].energy, np.zeros((4, 3)), np.full((3, 3), np.nan)))
    assert find_outliers(frames, labels).reasons == {}
    labels[3] = replace(labels[3], forces=np.zeros((4, 3)))
    assert list(find_outliers(frames, labels).reasons) == [3]


def test_cut_offs_below_a_bond(sound: tuple[list[Atoms], list[Labels]], recwarn: Any) -> None:
    salt = [Atoms("NaCl", [[0, 0, 0], [4.5, 0, 0]], cell=[9.0] * 3, pbc=True)]
    warn_of_reach(sound[0], 3.0)
    warn_of_reach([Atoms("O")], 0.5)
    warn_of_reach(salt, 6.0)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"r_max = 0.9 Å, but the shortest bonds of .* length of 0.9"):
        warn_of_reach(sound[0], 0.9)
    with pytest.warns(UserWarning, match="the nearest neighbour of most atoms is 4.5 Å away"):
        warn_of_reach(salt, 3.0)
