"""Labels under several names, frames given as files, fits given as potentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import jaxelyte as jxl
from jaxelyte.data import LabelKeys, collect_labels
from jaxelyte.data.columns import candidates, looks_like
from jaxelyte.data.frames import as_frames
from jaxelyte.data.labels import label_counts
from jaxelyte.potentials.base import as_potential
from jaxelyte.training import Fit


def frame(number: int, *, energy: str = "energy", forces: str = "forces") -> Atoms:
    atoms = Atoms("Ar2", [[0, 0, 0], [3.0 + 0.01 * number, 0, 0]], cell=[8.0] * 3, pbc=True)
    atoms.info[energy] = -1.0 - number
    atoms.arrays[forces] = np.full((2, 3), 0.1 * number) * [[1.0], [-1.0]]
    return atoms


@pytest.mark.parametrize(
    "name",
    ["REF_energy", "dft_energy", "energy_dft", "E", "Energy", "TotEnergy", "total_energy", "free_energy", "PotEng"],
)
def test_names_of_energies(name: str) -> None:
    assert looks_like("energy", name) is (name != "free_energy")


@pytest.mark.parametrize("name", ["REF_forces", "force", "dft_forces", "F", "forcesDFT", "gradient"])
def test_names_of_forces(name: str) -> None:
    assert looks_like("forces", name)


@pytest.mark.parametrize(
    "name",
    ["kinetic_energy", "energy_per_atom", "fermi_energy", "energy_weight", "config_type", "time", "step", "charge"],
)
def test_names_of_other_numbers(name: str) -> None:
    assert not looks_like("energy", name)


def test_arrays_that_are_no_forces() -> None:
    atoms = frame(1)
    for name in ("momenta", "velocities", "vel", "velo", "magmoms", "dipole", "charges", "initial_magmoms", "tags"):
        atoms.arrays[name] = np.ones((2, 3))
    assert candidates(atoms, "forces") == ["forces"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"forces": "force"}, r"4 of 10 frames have forces under 'forces', but 6 of 10 .*first of them frame 4.*"),
        ({"energy": "dft_energy"}, r"4 of 10 frames have energy .*energy=\('energy', 'dft_energy'\)"),
    ],
)
def test_labels_under_two_names_are_refused_with_counts(other: dict[str, str], message: str) -> None:
    frames = [frame(n) if n < 4 else frame(n, **other) for n in range(10)]
    with pytest.raises(jxl.InputError, match=message):
        collect_labels(frames)
    kind, name = next(iter(other.items()))
    both = collect_labels(frames, LabelKeys(**{kind: (kind, name)}))
    assert label_counts(both) == {"frames": 10, "energy": 10, "forces": 10, "stress": 0}
    assert [label.energy for label in both] == [-1.0 - n for n in range(10)]
    assert all(abs(label.forces[0, 0] - 0.1 * n) < 1e-12 for n, label in enumerate(both))
    # A name that is given does not hide the rest either.
    with pytest.raises(jxl.InputError, match="6 of 10 frames have"):
        collect_labels(frames, LabelKeys(**{kind: name}))


def test_two_energies_in_one_frame() -> None:
    frames = [frame(n) for n in range(3)]
    for n, one in enumerate(frames):
        one.info["REF_energy"] = -1.0 - n
        one.info["kinetic_energy"] = 7.0
    collect_labels(frames)  # a copy is no question
    frames[2].info["REF_energy"] = -250.0
    with pytest.raises(jxl.InputError, match=r"1 of 3 .*'energy' and 'REF_energy'.*frame 2: -3 and -250 eV"):
        collect_labels(frames)
    assert collect_labels(frames, LabelKeys(energy="REF_energy"))[2].energy == -250.0
    assert collect_labels(frames, LabelKeys(energy="energy"))[2].energy == -3.0


def test_calculator_and_info_disagree() -> None:
    one = frame(0)
    one.calc = SinglePointCalculator(one, energy=-5.0)
    with pytest.raises(jxl.InputError, match=r"'energy' and 'energy \(in atoms.info\)'"):
        collect_labels([one])
    one.info["energy"] = -5.0 / 27.211386246  # the same, in Hartree
    assert collect_labels([one])[0].energy == -5.0


def test_names_in_the_results_of_a_calculator() -> None:
    one = frame(0)
    del one.info["energy"]
    one.calc = SinglePointCalculator(one, energy=-5.0)
    assert collect_labels([one], LabelKeys(energy="energy"))[0].energy == -5.0


def test_virials_become_stresses() -> None:
    one = frame(0)
    one.info["virial"] = np.diag([5.12, 0.0, -5.12])
    with pytest.raises(jxl.InputError, match="virial='virial'"):
        collect_labels([one], needed=("energy", "forces", "stress"))
    assert not collect_labels([one])[0].has("stress")  # not asked for
    assert np.allclose(collect_labels([one], LabelKeys(virial="virial"))[0].stress, np.diag([-0.01, 0.0, 0.01]))


def test_missing_numbers_and_moved_atoms_are_named() -> None:
    frames = [frame(n) for n in range(4)]
    frames[2].info["energy"] = np.nan
    with pytest.warns(UserWarning, match="energy of frame 2 is NaN"):
        collect_labels(frames)
    one = frame(0)
    one.calc = SinglePointCalculator(one, energy=-1.0)
    one.positions += 0.7
    one.positions[1] -= [8.0, 0, 0]
    collect_labels([one])  # a translation and a lattice vector
    one.positions[1, 0] += 0.2
    with pytest.warns(UserWarning, match="frame 0 have moved"):
        collect_labels([one])


def test_frames_as_files_single_structures_and_trajectories(tmp_path: Path) -> None:
    frames = [frame(n) for n in range(3)]
    write(tmp_path / "a.extxyz", frames)
    for given in (tmp_path / "a.extxyz", str(tmp_path / "a.extxyz"), [tmp_path / "a.extxyz"], tuple(frames)):
        assert len(as_frames(given)) == 3
    assert len(as_frames(frames[0])) == 1
    assert len(as_frames(jxl.Trajectory.from_atoms(frames))) == 3
    for given, message in (
        ([], "validation is empty"),
        ([1], r"validation\[0\] must be ase.Atoms, not int"),
        (3, "must be a list of ase.Atoms"),
        ("absent.xyz", "there is no file absent.xyz"),
    ):
        with pytest.raises(jxl.InputError, match=message):
            as_frames(given, "validation")
    for call in (lambda: jxl.train([], jxl.NequIP(r_max=3.0)), lambda: jxl.train("absent.xyz", jxl.NequIP(r_max=3.0))):
        with pytest.raises(jxl.InputError, match=r"frames is empty|no file absent.xyz"):
            call()


def test_a_fit_stands_for_its_total() -> None:
    fit: Any = jxl.datasets.nacl_water_fit()
    assert isinstance(fit, Fit)
    assert fit.baseline is not None
    fit = cast("Any", fit)
    term: Any = jxl.LennardJones({"O": 0.006}, {"O": 3.2})
    assert [type(t) for t in (fit + term).terms] == [*map(type, fit.total.terms), jxl.LennardJones]
    assert [type(t) for t in (term + fit).terms] == [jxl.LennardJones, *map(type, fit.total.terms)]
    assert len((fit - term).terms) == 3
    assert type(2.0 * fit).__name__ == "Scaled"
    whole: Any = as_potential(fit)
    assert whole.terms == fit.total.terms
    used: Any = jxl.Calculator(fit).potential
    assert used.terms == fit.total.terms
    mixed: Any = jxl.mix(fit, term, 0.5).initial
    assert mixed.terms == fit.total.terms


@pytest.mark.parametrize(
    ("value", "message"),
    [("fit", r"load_fit\('fit'\)"), (jxl.NequIP(r_max=3.0), "has no weights"), (3.0, "not float"), (None, "NoneType")],
)
def test_what_is_no_potential_is_refused(value: Any, message: str) -> None:
    atoms = frame(0)
    nvt = jxl.NVT(300.0)
    calls = [
        lambda: jxl.simulate(value, atoms, nvt, steps=1),
        lambda: jxl.minimize(value, atoms),
        lambda: jxl.Calculator(value),
        lambda: jxl.evaluate(value, [atoms]),
        lambda: jxl.stability(value, [atoms]),
        lambda: jxl.distribute(value),
        lambda: jxl.free_energy(value, value, atoms, nvt, steps=1),
        lambda: jxl.widom(atoms, value, "Ar"),
        lambda: jxl.Reweighting([atoms], value, temperature=300.0),
        lambda: jxl.to_jax_md(value, atoms),
        lambda: jxl.form_error(value, atoms),
        lambda: jxl.mix(value, value, 0.5),
        lambda: jxl.train([atoms, atoms], jxl.NequIP(r_max=3.0), baseline=cast("Any", value or 3)),
    ]
    for call in calls:
        with pytest.raises(jxl.InputError, match=f"{message}|not int"):
            call()
