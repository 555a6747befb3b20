"""The command line: runs, analysis, and every way to get a run file wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import jaxelyte as jxl
from jaxelyte.cli import app
from jaxelyte.cli.config import load_config
from jaxelyte.cli.objects import build_ensemble, build_observables, build_potential, build_system
from jaxelyte.cli.spelling import spelled
from jaxelyte.dynamics import NPT, NVT, load_run
from jaxelyte.errors import InputError, SimulationError, StorageError
from jaxelyte.trajectory import open_trajectory

RUN = """
[system]
file = "argon.extxyz"

[[potential]]
type = "lennard-jones"
sigma = { Ar = 3.4 }
epsilon = { Ar = 0.0103 }
cutoff = 6.5
switch = 5.5

[ensemble]
type = "NVT"
temperature = 60.0
thermostat = "langevin"

[run]
steps = 40
timestep = 4.0
every = 10
output = "out"
extxyz = true

[observables.rdf]
type = "rdf"
pairs = ["Ar-Ar"]
"""


@pytest.fixture
def run_file(tmp_path: Path, root: Path) -> Path:
    (tmp_path / "argon.extxyz").write_text((root / "examples" / "argon.extxyz").read_text())
    path = tmp_path / "run.toml"
    path.write_text(RUN)
    return path


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_simulate_resume_and_analyse(run_file: Path) -> None:
    folder = run_file.parent / "out"
    code, text = invoke("simulate", run_file, "--quiet")
    assert code == 0, text
    assert "ns/day" in text
    assert "K" in text
    run = load_run(folder)
    assert run.completed
    assert len(run.trajectory) == 5
    assert json.loads((folder / "config.json").read_text())["config"]["run"]["steps"] == 40
    assert (folder / "trajectory.extxyz").exists()

    code, text = invoke("simulate", run_file, "--quiet")
    assert code == 2
    assert "--overwrite" in text
    assert "=True" not in text
    code, text = invoke("simulate", run_file, "--quiet", "--resume", "--steps", 60)
    assert code == 0, text
    assert len(load_run(folder).trajectory) == 7

    code, text = invoke("analyse", folder, "--pairs", "Ar-Ar", "--discard", 2, "--charges", "Ar=0")
    assert code == 0, text
    assert "±" in text
    for part in ("Potentials of mean force", "Self-diffusion", "Ionic conductivity", "too few"):
        assert part in text
    report = json.loads((folder / "analysis" / "report.json").read_text())
    assert report["discarded"] == 2
    assert "too few" in (folder / "analysis" / "report.html").read_text()  # five frames are no diffusion
    code, text = invoke("analyse", folder, "--charges", "Ar=1", "--output", folder / "bad")
    assert code == 2
    assert text.startswith("error: --charges adds up to +108 e")
    assert text.count("\n") == 1
    assert not (folder / "bad").exists()
    table = np.genfromtxt(folder / "analysis" / "rdf.csv", delimiter=",", names=True, comments="#")
    assert len(table) > 100
    assert (folder / "analysis" / "rdf.png").stat().st_size > 5000
    code, text = invoke("analyse", folder / "trajectory.extxyz", "--output", folder / "again")
    assert code == 0, text
    assert (folder / "again" / "rdf.json").exists()


def test_what_has_no_table_is_shown_as_text() -> None:
    """Observables of any kind may be declared, and recorded by a run file."""
    from jaxelyte.cli.report import observable_table

    assert observable_table("own", range(3)) == "own: range(0, 3)"


def test_run_file_becomes_objects(run_file: Path) -> None:
    config = load_config(run_file)
    atoms = build_system(config)
    assert len(atoms) == 108
    assert build_ensemble(config.ensemble) == NVT(60.0, "langevin")
    assert set(build_observables(config)) == {"rdf"}
    pressed = RUN.replace('type = "NVT"', 'type = "NPT"\npressure = 50.0\ntau_p = 2000.0')
    (run_file.parent / "pressed.toml").write_text(pressed)
    found = build_ensemble(load_config(run_file.parent / "pressed.toml").ensemble)
    assert found == NPT(60.0, 50.0, thermostat="langevin", tau_p=2000.0)
    potential = build_potential(config, atoms)
    assert (potential.cutoff, potential.switch) == (6.5, 5.5)
    assert config.run.output == run_file.parent / "out"


@pytest.mark.more
def test_series_are_recorded_and_analysed_at_once(run_file: Path) -> None:
    """The pressure of a solid has a table of its own; the report follows without a second command."""
    extra = '\n[observables.pressure]\ntype = "pressure"\n[observables.near]\ntype = "distance"\npairs = [[0, 1]]\n'
    run_file.write_text(RUN.replace("every = 10", "every = 10\nsample_every = 2") + extra)
    code, text = invoke("simulate", run_file, "--quiet", "--analyse")
    assert code == 0, text
    assert "mean / GPa" in text
    assert "mean / Å" in text
    run = load_run(run_file.parent / "out")
    assert run.observables["pressure"].values.shape == (20, 1, 6)  # a fifth of four frames is none to leave out
    assert run.observables["near"].columns == ("0-1",)
    assert abs(run.observables["near"].mean[0] - 3.7) < 0.5
    report = json.loads((run_file.parent / "out" / "analysis" / "report.json").read_text())
    assert report["discarded"] == run.summary["discarded_frames"]
    code, text = invoke("analyse", run_file.parent / "out", "--only", "structure,viscosity")
    assert code == 0, text
    report = json.loads((run_file.parent / "out" / "analysis" / "report.json").read_text())
    assert "diffusion" not in report
    assert "too few for a viscosity" in report["notes"]["viscosity"][0]
    code, text = invoke("analyse", run_file.parent / "out", "--skip", "structur")
    assert code == 2
    assert "--only and --skip take structure, pmf" in text


@pytest.mark.parametrize("name", ["salt_water", "licl_ions", "argon"])
def test_examples_are_valid(root: Path, name: str) -> None:
    config = load_config(root / "examples" / f"{name}.toml")
    if name == "salt_water":
        atoms = build_system(config)
        build_potential(config, atoms)
        assert (atoms.get_chemical_symbols().count("Na"), len(atoms)) == (2, 154)


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    """The whole way, cut short: the error falls, the run has pictures, numbers and what was measured."""
    code, text = invoke("demo", "--output", tmp_path / "demo", "--epochs", "2", "--steps", "3000")
    assert code == 0, text
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert summary["completed"]
    assert all(Path(name).exists() for name in summary["files"])
    assert {Path(name).name for name in summary["files"]} >= {"structure.png", "training.png", "rdf.csv", "log.png"}
    first, second = summary["training"]["validation_forces_meV_per_A"]
    assert second < 0.85 * first  # 330 and 230 meV/Å
    assert summary["performance"]["ns_per_day"] > 0
    # Of 4 to 6 ps: Na-O 2.36 to 2.37, Cl-O 3.15, O-O 2.77 Å, each with an error of some 0.01 Å.
    found = {row["pair"]: row["peak_position_A"][0] for row in summary["peaks"]}
    assert found == {
        "Na-O": pytest.approx(2.38, abs=0.06),
        "Cl-O": pytest.approx(3.16, abs=0.08),
        "O-O": pytest.approx(2.78, abs=0.05),
    }
    assert [row["experiment"]["position"] for row in summary["peaks"]] == [2.384, 3.16, 2.80]
    number, _, radius = summary["peaks"][0]["coordination"]
    assert radius == 3.2
    assert 4 < number < 7


WRONG = [
    ("steps = 40", "stepz = 40", "unknown key 'stepz' in [run]; did you mean 'steps'"),
    ("cutoff = 6.5", "cutof = 6.5", "unknown key 'cutof'"),
    ("[ensemble]", '[[potential]]\ntype = "nequip"\npath = 5\n[ensemble]', "[potential.1]: path must be a path, not 5"),
    ("[system]", "[sistem]\nx = 1\n[system]", "unknown key 'sistem' at the top; did you mean 'system'"),
    ('thermostat = "langevin"', 'thermostat = "berendsen"', "thermostat must be one of"),
    ("temperature = 60.0", "temperature = -5.0", "[ensemble] of"),
    ("temperature = 60.0", "", "[ensemble]: type 'NVT' needs temperature"),
    ("steps = 40", 'steps = "many"', "'run.steps' = 'many'"),
    ('file = "argon.extxyz"', "", "[system] needs either file"),
    ('file = "argon.extxyz"', 'file = "krypton.extxyz"', "there is no file"),
    ('pairs = ["Ar-Ar"]', 'pairs = ["ArAr"]', "not 'ArAr'"),
    ('pairs = ["Ar-Ar"]', 'pairs = ["Ar-Na"]', "there is no Na in the system"),
    ("sigma = { Ar = 3.4 }", "sigma = { Ne = 3.4 }", "Ar"),
    ("[run]", "[run", "not valid TOML"),
    ('type = "rdf"', 'type = "pressur"', "[observables.rdf]: unknown observable 'pressur'; did you mean 'pressure'"),
    (
        'pairs = ["Ar-Ar"]',
        'pairs = ["Ar-Ar"]\nwidht = 1',
        "[observables.rdf]: unknown key 'widht' of type 'rdf'; did you mean 'width'",
    ),
    ('type = "rdf"\npairs = ["Ar-Ar"]', 'type = "distance"\npairs = [[0, 0]]', "indices of two different atoms"),
    ('type = "rdf"\npairs = ["Ar-Ar"]', 'type = "distance"\npairs = [[0, 200]]', "beyond the 108 of the system"),
    (
        'type = "rdf"\npairs',
        'type = "pressure"\npairs',
        "[observables.rdf]: unknown key 'pairs' of type 'pressure'; there are no keys",
    ),
    ("extxyz = true", 'precision = "tf32"', 'precision = "tf32" is for networks, and there is none'),
    ("extxyz = true", 'precision = "fp16"', "'run.precision' = 'fp16'"),
    ("extxyz = true", 'precision = "bf16"\nfloat64 = true', "leave out float64 = true, or precision"),
    ("every = 10", "every = 10\nsample_every = 3", "sample_every=3 must divide every=10"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG, ids=[m for _, _, m in WRONG])
def test_wrong_files_get_one_clear_message(run_file: Path, old: str, new: str, message: str) -> None:
    assert old in RUN
    run_file.write_text(RUN.replace(old, new, 1))
    before = sorted(run_file.parent.rglob("*"))
    code, text = invoke("simulate", run_file, "--quiet")
    assert code == 2
    assert message in text
    assert "Traceback" not in text
    assert sorted(run_file.parent.rglob("*")) == before


@pytest.mark.parametrize("command", ["simulate", "train", "free-energy"])
@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("a is wrong"), 2, "error: a is wrong"),
        (StorageError("cannot write a; free space, then resume=True"), 1, "free space, then --resume"),
        (SimulationError("blew up"), 1, "error: blew up"),
        (FileNotFoundError(2, "No such file or directory", "a.txt"), 1, "error: a.txt: No such file or directory"),
        (KeyError("x"), 1, "unexpected error: KeyError: 'x'; please report it with the traceback that --debug prints"),
        (RuntimeError("INTERNAL: line one\nline two"), 1, "unexpected error: RuntimeError: INTERNAL: line one; "),
        (MemoryError(), 1, "error: out of memory"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"), 1, "error: out of memory"),
        (KeyboardInterrupt(), 130, "interrupted; everything written so far is kept"),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, BaseException) else None,
)
def test_errors_are_one_line(
    run_file: Path, monkeypatch: pytest.MonkeyPatch, command: str, error: BaseException, code: int, text: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    for name in ("load_config", "load_training", "load_free_energy"):
        monkeypatch.setattr(f"jaxelyte.cli.config.{name}", fail)
    done = CliRunner().invoke(app, [command, str(run_file)])
    assert done.exit_code == code
    assert text in done.output
    assert done.output.count("\n") == 1
    assert "Traceback" not in done.output
    with_debug = CliRunner().invoke(app, [command, str(run_file), "--debug"])
    assert with_debug.exit_code != 0
    assert "error:" not in with_debug.output


def test_output_that_cannot_be(run_file: Path) -> None:
    (run_file.parent / "file").write_text("")
    for bad, message in (("", "is empty"), (run_file.parent / "file" / "run", "which is a file"), ("x" * 300, "too")):
        code, text = invoke("simulate", run_file, "--output", bad)
        assert code == 2
        assert message in " ".join(text.replace("│", " ").split())
    run_file.write_text(
        RUN.replace("[run]", '[run]\noutput = ""') if "output" not in RUN else RUN.replace('"out"', '""')
    )
    code, text = invoke("simulate", run_file)
    assert code == 2
    assert "output = '' is not the name of a folder" in text


def test_missing_things_are_named(tmp_path: Path) -> None:
    for arguments in (("simulate", tmp_path / "no.toml"), ("analyse", tmp_path / "no"), ("info", tmp_path / "no")):
        code, text = invoke(*arguments)
        assert code == 2
        assert "there is no" in text
    (tmp_path / "empty").mkdir()
    code, text = invoke("analyse", tmp_path / "empty")
    assert code == 2
    assert "holds no run" in text


def test_info(root: Path, tmp_path: Path) -> None:
    code, text = invoke("info", root / "tests" / "fixtures" / "nequip" / "parity")
    assert code == 0, text
    assert "num_layers" in text
    assert "parameters" in text
    code, text = invoke("info", tmp_path)
    assert code == 2
    assert "config.json" in text


def test_info_of_a_potential_by_name() -> None:
    code, text = invoke("info", "nacl_r2scan")
    assert code == 0, text
    words = " ".join(text.replace("│", " ").split())
    card = jxl.datasets.potentials()["nacl_r2scan"]
    for part in ("r2SCAN", "permittivity 78.3", "center 1.26", "CC-BY-SA-4.0", "arXiv:2311.01527", card["stability"]):
        assert part in words, part
    code, text = invoke("info")
    assert code == 0, text
    assert "nacl_r2scan" in text
    assert "nacl_water" in text
    code, text = invoke("info", "nacl_r2")
    assert code == 2
    assert "did you mean 'nacl_r2scan'" in text


@pytest.mark.more
def test_compiled_programs_are_kept(run_file: Path, root: Path) -> None:
    """The second process reads what the first compiled, and computes the same."""
    environment = os.environ | {"JAXELYTE_CACHE": str(run_file.parent / "cache")}
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        environment.pop(name, None)
    logs, kept = [], []
    for _ in range(2):
        command = [sys.executable, "-c", "from jaxelyte.cli import app; app()", "simulate", str(run_file)]
        command += ["--quiet", "--overwrite"]
        subprocess.run(command, check=True, capture_output=True, cwd=root, env=environment)
        logs.append((run_file.parent / "out" / "log.csv").read_bytes())
        kept.append({path.name for path in (run_file.parent / "cache").glob("programs-*/*-cache")})
    assert logs[0] == logs[1]
    assert any("run_chunk" in name for name in kept[0])
    assert kept[0] == kept[1]


def test_as_a_process(root: Path) -> None:
    command = [sys.executable, "-m", "jaxelyte", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.startswith("jaxelyte ")
    for arguments in (["-h"], ["analyse", "-h"]):
        shown = CliRunner().invoke(app, arguments)
        assert shown.exit_code == 0
        assert "Usage" in shown.output


def write_dump(tmp_path: Path) -> Path:
    """Random walkers as LAMMPS would write them, without times and elements."""
    dump = tmp_path / "run.lammpstrj"
    steps = np.cumsum(np.random.default_rng(0).normal(0, 0.1, (200, 4, 3)), axis=0) + 5.0
    dump.write_text(
        "".join(
            f"ITEM: TIMESTEP\n{100 * k}\nITEM: NUMBER OF ATOMS\n4\nITEM: BOX BOUNDS pp pp pp\n0 10\n0 10\n0 10\n"
            "ITEM: ATOMS id type x y z\n"
            + "".join(f"{n + 1} {1 + n % 2} {x:.5f} {y:.5f} {z:.5f}\n" for n, (x, y, z) in enumerate(one))
            for k, one in enumerate(steps)
        )
    )
    return dump


def test_files_without_times_or_elements_name_the_options(tmp_path: Path) -> None:
    dump = write_dump(tmp_path)
    code, text = invoke("analyse", dump, "--only", "diffusion")
    assert code == 2
    assert "types of LAMMPS are no elements" in " ".join(text.split())
    assert "--elements (in a run or training file: elements = {…})" in " ".join(text.split())
    with pytest.raises(InputError, match="interval=") as failure:
        open_trajectory(dump, elements={1: "Na", 2: "Cl"}).interval()
    assert "pass the fs between frames by --interval" in spelled(str(failure.value))
    for wrong, message in (("--elements", "--elements 'x'"), ("--cell", "--cell 'x' should hold numbers")):
        code, text = invoke("analyse", dump, wrong, "x")
        assert code == 2
        assert message in text


@pytest.mark.more
def test_options_for_files_reach_the_analysis(tmp_path: Path) -> None:
    dump = write_dump(tmp_path)
    code, _ = invoke("analyse", dump, "--only", "diffusion", "--elements", "1=Na,2=Cl", "--interval", "50")
    assert code == 0
    assert set(json.loads((tmp_path / "analysis" / "report.json").read_text())["diffusion"]) == {"Na", "Cl"}


def test_run_files_say_how_their_structure_is_read(tmp_path: Path, run_file: Path) -> None:
    dump = write_dump(tmp_path)
    text = run_file.read_text().replace('"argon.extxyz"', f'"{dump.name}"\nelements = {{1 = "Ar", 2 = "Ar"}}')
    run_file.write_text(text.replace("elements", 'cell = [11.0, 11.0, 12.0]\nformat = "lammps-dump"\nelements'))
    with pytest.warns(UserWarning, match="cell= replaces"):
        atoms = build_system(load_config(run_file))
    assert atoms.get_chemical_symbols() == ["Ar"] * 4
    assert atoms.cell.lengths().tolist() == [11.0, 11.0, 12.0]
