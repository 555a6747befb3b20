"""Potentials that come with the package: what they are made of, by which names they are found, what their cards say."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.interop.shipped import HOME
from jaxelyte.potentials.base import Sum, as_potential
from jaxelyte.potentials.codec import identity
from jaxelyte.potentials.preparation import prepare_potential

R2SCAN = HOME / "nacl_r2scan"


@pytest.fixture(scope="module")
def found() -> jxl.datasets.ShippedPotential:
    return jxl.load_potential("nacl_r2scan")


@pytest.fixture(scope="module")
def recipe(root: Path) -> Any:
    """The script that made the committee."""
    spec = importlib.util.spec_from_file_location("recipe", root / "scripts" / "train_nacl_r2scan.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_table_lists_every_potential_with_licence_and_citation() -> None:
    table = jxl.datasets.potentials()
    assert set(table) == {"nacl_r2scan", "nacl_water"}
    assert table["nacl_r2scan"]["licence"] == "CC-BY-SA-4.0"
    assert any("arXiv:2311.01527" in line for line in table["nacl_r2scan"]["citation"])
    assert "semi-empirical" in table["nacl_water"]["level_of_theory"]
    text = repr(table)
    for word in ("nacl_r2scan", "r2SCAN", "CC-BY-SA-4.0", "2311.01527", "nacl_water", "GFN1-xTB", "CC0-1.0", "meV/Å"):
        assert word in text, word


def test_a_name_that_is_not_there_lists_those_that_are() -> None:
    for call in (jxl.load_potential, jxl.load_nequip, lambda name: jxl.datasets.potentials()[name]):
        with pytest.raises(jxl.InputError, match=r"nacl_r2scna.*did you mean 'nacl_r2scan'.*nacl_water"):
            call("nacl_r2scna")
    with pytest.raises(jxl.InputError, match=r"there is no potential kbr; potentials that come with jaxelyte: nacl"):
        jxl.load_potential("kbr")


def test_members_are_network_baseline_and_barrier_as_the_card_says(found: jxl.datasets.ShippedPotential) -> None:
    card = found.card
    assert len(found.members) == len(card["members"])
    for potential, network in zip(found.members, found.networks, strict=True):
        assert isinstance(potential, Sum)
        assert [type(term).__name__ for term in potential.terms] == [
            "NequIPPotential",
            "ScreenedCoulomb",
            "GaussianBarrier",
        ]
        assert network.requires == (identity(found.baseline),)
    assert isinstance(found.baseline, jxl.ScreenedCoulomb)
    assert found.baseline.numbers == (11, 17)
    np.testing.assert_array_equal(found.baseline.charges, [1.0, -1.0])
    assert card["baseline"]["permittivity"] == pytest.approx(float(found.baseline.permittivity), rel=1e-6)
    barrier = found.barrier
    assert isinstance(barrier, jxl.GaussianBarrier)
    given = card["barrier"]["parameters"]
    made = [float(barrier.height), float(barrier.center), float(barrier.width)]
    np.testing.assert_allclose(made, [given["height"], given["center"], given["width"]], rtol=1e-6)
    # What a user makes by hand is the baseline that the networks ask for.
    assert identity(jxl.ScreenedCoulomb({"Na": 1, "Cl": -1}, permittivity=78.3)) == found.networks[0].requires[0]
    assert as_potential(found) is found.potential
    assert identity(found.committee.baseline.terms[0]) == identity(found.fit.baseline) == identity(found.baseline)


def test_barrier_leaves_bonds_of_water_alone_and_stops_protons(found: jxl.datasets.ShippedPotential) -> None:
    """In the frames O-H is 0.90 to 1.08 Å in a molecule, 98 % of them below 1.052 Å; 1.43 Å or more outside."""
    given = found.card["barrier"]["parameters"]

    def energy(r: float) -> float:
        return given["height"] * np.exp(-0.5 * ((r - given["center"]) / given["width"]) ** 2)

    assert energy(1.052) < 2e-4
    assert energy(1.43) < 0.2 * 0.0259  # k_B T at 300 K
    assert energy(1.26) > 30 * 0.0259


def test_weights_are_those_of_the_card_and_small(found: jxl.datasets.ShippedPotential) -> None:
    for row in found.card["members"]:
        home = R2SCAN / row["folder"]
        data = (home / "state_dict.npz").read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert sum(file.stat().st_size for file in home.iterdir()) < 300_000
        with np.load(home / "state_dict.npz", allow_pickle=False) as arrays:
            assert {arrays[name].dtype for name in arrays.files if arrays[name].dtype.kind == "f"} == {
                np.dtype("float32")
            }
    assert (R2SCAN / "LICENSE").read_text().startswith("Attribution-ShareAlike 4.0 International")
    text = (R2SCAN / "README.md").read_text()
    assert "CC-BY-SA-4.0" in text
    assert "arXiv:2311.01527" in text


def test_model_card_is_what_the_script_writes(recipe: Any, found: jxl.datasets.ShippedPotential) -> None:
    assert recipe.readme(found.card) == (R2SCAN / "README.md").read_text()
    assert found.card["barrier"]["parameters"] == recipe.BARRIER
    config = found.networks[0].config
    assert {name: getattr(config, name) for name in recipe.NETWORK} == recipe.NETWORK
    # None in 2 ns: fewer than 1.5 per ns at 95 %.
    assert recipe.per_ns(0, 2000.0) == pytest.approx(1.5, abs=0.01)
    row = {"temperature_K": 300.0, "simulated_ps": 500.0, "events": 0, "contacts": 1}
    assert recipe.spelt([{"stability": [row]}, {"stability": []}]) == (
        "1 of 2 networks tested; 300 K, 500 ps in 1 runs: 0 unphysical events, below 6 per ns; 1 contacts with the "
        "barrier, below 9.5 per ns at 95 %"
    )


def test_contacts_with_the_barrier_are_counted_once_each(recipe: Any) -> None:
    """A stretched O-H bond across the periodic boundary, in two spells of two and one frames."""
    lengths = np.full(40, 1.1)
    lengths[[3, 4, 30]] = 1.2
    frames = [Atoms("OH", [[9.9, 0, 0], [9.9 + r - 10.0, 0, 0]], cell=[10.0] * 3, pbc=True) for r in lengths]
    trajectory = jxl.Trajectory.from_atoms(frames, interval=10.0)
    assert recipe.contacts(trajectory, [(0, 1)]) == 2


def test_networks_are_found_by_name(found: jxl.datasets.ShippedPotential) -> None:
    for name in ("nacl_r2scan", "nacl_r2scan/member0", str(R2SCAN)):
        network = jxl.load_nequip(name)
        assert network.config == found.networks[0].config
        assert network.requires == found.networks[0].requires
        np.testing.assert_array_equal(network.params["scales"], found.networks[0].params["scales"])
    box = jxl.build.electrolyte({"Na": 1, "Cl": 1}, waters=20)
    with pytest.raises(jxl.InputError, match="trained on labels less a baseline"):
        jxl.Calculator(jxl.load_nequip("nacl_r2scan")).get_potential_energy(box)


def test_training_goes_on_from_a_potential_of_the_package(found: jxl.datasets.ShippedPotential) -> None:
    """Its networks and their baseline are taken: the next argument is looked at, and there are no frames."""
    with pytest.raises(jxl.InputError, match="epochs must be"):
        jxl.train([], found, epochs=0)
    with pytest.raises(jxl.InputError, match=r"model must be a jaxelyte\.NequIP"):
        jxl.train([], found.potential, epochs=0)


def test_one_network_is_a_potential_of_its_own(found: jxl.datasets.ShippedPotential) -> None:
    for number, row in enumerate(found.card["members"]):
        one = jxl.load_potential(f"nacl_r2scan/{row['folder']}")
        assert one.name == f"nacl_r2scan/{row['folder']}"
        assert [identity(member) for member in one.members] == [identity(found.members[number])]
        assert one.fit.config["seed"] == row["seed"]
    with pytest.raises(jxl.InputError, match="there is no potential nacl_r2scan/member9"):
        jxl.load_potential("nacl_r2scan/member9")


def test_a_folder_of_that_name_wins_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(HOME / "nacl_water" / "fit" / "model", tmp_path / "nacl_r2scan")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="nacl_r2scan is read, not the potential of this name that comes with"):
        network = jxl.load_nequip("nacl_r2scan")
    assert network.config.r_max == 4.5
    with (
        pytest.warns(UserWarning, match="nacl_r2scan is read"),
        pytest.raises(jxl.InputError, match=r"holds no card\.json"),
    ):
        jxl.load_potential("nacl_r2scan")


def test_what_is_no_potential_with_a_card_is_described(tmp_path: Path) -> None:
    with pytest.raises(jxl.InputError, match="the folder of a training run; load_fit reads it"):
        jxl.load_potential(HOME / "nacl_water" / "fit")
    for folder in (R2SCAN, "nacl_r2scan"):
        with pytest.raises(jxl.InputError, match="load_potential reads it"):
            jxl.load_fit(folder)
    (tmp_path / "card.json").write_text('{"name": "mine"}')
    with pytest.raises(jxl.InputError, match="must list the networks under 'members'"):
        jxl.load_potential(tmp_path)


def test_training_example_is_listed_as_such() -> None:
    example = jxl.load_potential("nacl_water")
    assert example.barrier is None
    assert example.networks[0].config == jxl.datasets.nacl_water_fit().potential.config
    assert example.fit.config["split"] == jxl.datasets.nacl_water_fit().config["split"]


@pytest.mark.more
def test_errors_are_those_of_the_card(found: jxl.datasets.ShippedPotential, dft_data: Path) -> None:
    frames = jxl.read(dft_data / "nacl_r2SCAN.xyz.gz")
    untouched = [frames[n] for n in found.fit.config["split"]["test"]]
    errors = jxl.evaluate(found.committee, untouched[::6]).summary()["forces_meV_per_A"]
    # Of five frames, each with an error of its own: the spread between frames is about a tenth.
    assert errors["rmse"] == pytest.approx(found.card["errors"]["test"]["forces_meV_per_A"][0], rel=0.2)
    with pytest.warns(UserWarning, match="the fit was trained on 1 of these 1 frame"):
        jxl.evaluate(found.committee, [frames[found.fit.config["split"]["train"][0]]])


def test_run_files_take_names(tmp_path: Path, found: jxl.datasets.ShippedPotential) -> None:
    from jaxelyte.cli.config import load_config, load_training
    from jaxelyte.cli.objects import _network, build_potential, build_system
    from jaxelyte.cli.short_range import _short_range

    text = (
        '[system]\nbuild = { ions = { Na = 1, Cl = 1 }, waters = 20 }\n[[potential]]\ntype = "nequip"\n'
        'path = "nacl_r2scan"\n[ensemble]\ntype = "NVE"\n[run]\nsteps = 10\n'
    )
    (tmp_path / "run.toml").write_text(text)
    config = load_config(tmp_path / "run.toml")
    built = build_potential(config, build_system(config))
    assert identity(built) == identity(found.potential)
    # What two ions feel besides the Coulomb term: that of the baseline is left out as well.
    short = _short_range(config)
    assert isinstance(short, Sum)
    assert [identity(term) for term in short.terms] == [identity(found.networks[0]), identity(found.barrier)]
    prepare_potential(short.terms[0], jxl.System.from_atoms(Atoms("NaCl", [[0, 0, 0], [0, 0, 3]])))
    (tmp_path / "run.toml").write_text(text.replace("nacl_r2scan", "nacl_r2scn"))
    config = load_config(tmp_path / "run.toml")
    with pytest.raises(jxl.InputError, match="did you mean 'nacl_r2scan'"):
        build_potential(config, build_system(config))
    (tmp_path / "train.toml").write_text('[data]\nfiles = ["a.xyz"]\n[model]\nstart = "nacl_r2scan"\n')
    start = _network(load_training(tmp_path / "train.toml"))
    assert isinstance(start, jxl.Fit)
    # Training goes on without the barrier, which it would learn away.
    assert identity(start.baseline) == identity(found.baseline)


def test_a_coulomb_term_beside_a_bare_network_needs_its_permittivity(tmp_path: Path) -> None:
    from jaxelyte.cli.config import load_config
    from jaxelyte.cli.objects import build_potential, build_system

    box = jxl.build.electrolyte({"Na": 1, "Cl": 1}, waters=20)
    jxl.save_nequip(jxl.load_nequip("nacl_r2scan").without_baseline(), tmp_path / "bare")
    bare = jxl.load_nequip(tmp_path / "bare")
    system = jxl.System.from_atoms(box)
    charges = {"Na": 1, "Cl": -1}
    for factor in (1.0, 0.5):
        with pytest.raises(jxl.InputError, match=r"no permittivity: pass permittivity=.* 50, 72 or 78\.3"):
            prepare_potential(bare + factor * jxl.ScreenedCoulomb(charges), system)
    for permittivity in (1.0, 50.0, 78.3):
        prepare_potential(bare + jxl.ScreenedCoulomb(charges, permittivity=permittivity), system)
    prepare_potential(jxl.ScreenedCoulomb(charges) + jxl.GaussianBarrier(1.0, 1.26, 0.05, species=("O", "H")), system)
    text = (
        '[system]\nbuild = { ions = { Na = 1, Cl = 1 }, waters = 20 }\n[[potential]]\ntype = "nequip"\n'
        'path = "bare"\n[[potential]]\ntype = "coulomb"\ncharges = { Na = 1, Cl = -1 }\n'
        '[ensemble]\ntype = "NVE"\n[run]\nsteps = 10\n'
    )
    (tmp_path / "run.toml").write_text(text)
    config = load_config(tmp_path / "run.toml")
    with pytest.raises(jxl.InputError, match="in a run file: permittivity = "):
        prepare_potential(build_potential(config, build_system(config)), system)


def test_a_permittivity_that_is_not_given_is_that_of_the_vacuum() -> None:
    from dataclasses import replace

    assumed = jxl.ScreenedCoulomb({"Na": 1, "Cl": -1})
    given = jxl.ScreenedCoulomb({"Na": 1, "Cl": -1}, permittivity=1.0)
    assert float(assumed.permittivity) == 1.0
    assert identity(assumed) == identity(given)
    assert assumed.unstated()
    assert not given.unstated()
    assert not replace(assumed, permittivity=72.0).unstated()
    assert repr(assumed) == repr(given)
