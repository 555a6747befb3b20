"""What is said about the error of a compiled form."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from small_networks import network


@pytest.fixture
def atoms(rng: np.random.Generator) -> Atoms:
    grid = np.stack(np.meshgrid(*3 * [np.arange(3)]), axis=-1).reshape(-1, 3)
    return Atoms("Na13Cl14", 2.6 * grid + 0.3 * rng.random((27, 3)), cell=3 * [7.8], pbc=True)


def test_a_known_error_is_found(atoms: Atoms) -> None:
    plain = network()
    made = plain.compiled(tables=False)
    if made.maps is None:
        pytest.skip("the compiled form is the plain one here")
    spoilt = replace(made, maps=made.maps._replace(scales=1.01 * made.maps.scales))
    found = jxl.form_error(spoilt, atoms, dtype=np.float64)
    assert found.forces_rms == pytest.approx(0.01 * found.forces_scale, rel=1e-9)
    assert found.forces_max > found.forces_rms
    lists = jxl.neighbor_lists(jxl.System.from_atoms(atoms, dtype=np.float64), plain)
    energy = float(plain.energy(jxl.System.from_atoms(atoms, dtype=np.float64), lists))
    assert found.energy == pytest.approx(0.01 * energy / 27, rel=1e-9)
    exact = jxl.form_error(made, atoms, dtype=np.float64)
    assert exact.forces_max < 1e-13 * exact.forces_scale


def test_the_reference_is_float64_whatever_jax_is_set_to(atoms: Atoms) -> None:
    plain = network()
    wide = jxl.form_error(plain.compiled(), atoms)
    with jax.enable_x64(False):
        narrow = jxl.form_error(plain.compiled(), atoms)
        exact = jxl.form_error(plain, atoms, dtype="float64")
    assert narrow.forces_scale == wide.forces_scale == exact.forces_scale
    assert exact.forces_max < 1e-13 * exact.forces_scale < 1e-2 * narrow.forces_rms


def test_what_changes_parameters_refuses_a_compiled_form(atoms: Atoms) -> None:
    """It would evaluate the parameters that it was made with."""
    made = 2.0 * network().compiled(precision="tf32")
    frames = jxl.Trajectory.from_atoms([atoms] * 3)
    with pytest.raises(jxl.InputError, match=r"potential.plain\(\)"):
        jxl.Reweighting(frames, made, temperature=300.0)
    target = jxl.Target(lambda *_: 1.0, 1.0)
    with pytest.raises(jxl.InputError, match=r"potential.plain\(\)"):
        jxl.fit_observables(made, [target], atoms, jxl.NVT(300.0), iterations=1, steps=100, every=10)
    jxl.Reweighting(frames, made.plain(), temperature=300.0)
    assert jax.tree.structure(made.plain()) == jax.tree.structure(2.0 * network())


def test_fewer_bits_are_worse_in_proportion(atoms: Atoms) -> None:
    """Each bit of the mantissa halves the error: 10 of TF32 against 7 of bfloat16, 23 of float32."""
    potential = network(num_layers=2, num_features=8)
    errors = {p: jxl.form_error(potential.compiled(precision=p), atoms) for p in ("float32", "tf32", "bf16")}
    rms = {p: error.forces_rms / error.forces_scale for p, error in errors.items()}
    assert rms["float32"] < 1e-5
    assert 1e-5 < rms["tf32"] < 3e-3
    assert 4 < rms["bf16"] / rms["tf32"] < 16
    assert "tf32 products, 27 atoms" in str(errors["tf32"])
    assert json.loads(json.dumps(errors["tf32"].to_dict()))["forces_rms_eV_A"] == errors["tf32"].forces_rms


@pytest.mark.more
def test_it_is_the_error_that_was_measured_on_a_gpu(reference: Path) -> None:
    """4.7e-4 eV/Å (largest 2.4e-3) with TF32 on an H100, 3,968 atoms made of this cell: docs/performance.md."""
    with np.load(reference / "licl" / "reference.npz") as data:
        atoms = Atoms(data["0_numbers"], data["0_positions"], cell=data["0_cell"], pbc=True)
    potential = jxl.load_nequip(reference / "licl").without_baseline()
    error = jxl.form_error(potential.compiled(precision="tf32"), atoms)
    assert 3e-4 < error.forces_rms < 7e-4
    assert 1e-3 < error.forces_max < 4e-3


@pytest.mark.more
def test_a_large_system_is_not_judged_and_that_is_said(
    atoms: Atoms, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["jaxelyte.dynamics.simulate"], "JUDGED_ATOMS", 26)  # the name is a function, too
    potential = network(num_layers=1).compiled(precision="bf16")
    given = {"steps": 2, "every": 1, "timestep": 0.1, "velocities": 100.0}
    with jax.enable_x64(False):
        jxl.simulate(potential, atoms, jxl.NVE(), output=tmp_path / "run", **given)
    assert "not judged beyond 26 atoms" in capsys.readouterr().err
    assert "not judged" in json.loads((tmp_path / "run" / "config.json").read_text())["form_error"]["form"]


@pytest.mark.more
def test_a_run_says_it(atoms: Atoms, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    potential = (100.0 * network(num_layers=1)).compiled(precision="bf16")  # forces that are worth relaxing
    given = {"steps": 2, "every": 1, "timestep": 0.1}
    with pytest.raises(jxl.InputError, match="the run is in float64"):
        jxl.simulate(potential, atoms, jxl.NVE(), velocities=100.0, **given)
    with jax.enable_x64(False):
        run = jxl.simulate(
            potential, atoms, jxl.NVE(), velocities=100.0, minimize=True, output=tmp_path / "run", **given
        )
        relaxed = jxl.form_error(potential, run.trajectory.frame(0))
    said = capsys.readouterr().err
    assert "bf16 products, 27 atoms, against float64: forces of" in said
    kept = json.loads((tmp_path / "run" / "config.json").read_text())["form_error"]
    assert f"{kept['forces_rms_eV_A']:.1e}" in said
    # What the run starts from, not what it was given; the file has it in float32, wrapped.
    assert kept["forces_rms_eV_A"] == pytest.approx(relaxed.forces_rms, rel=1e-3)
    assert kept["forces_rms_eV_A"] != pytest.approx(jxl.form_error(potential, atoms).forces_rms, rel=1e-2)
    jxl.simulate(network(num_layers=1), atoms, jxl.NVE(), velocities=100.0, output=tmp_path / "plain", **given)
    assert "form_error" not in json.loads((tmp_path / "plain" / "config.json").read_text())
