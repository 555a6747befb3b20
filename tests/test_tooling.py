"""The project itself: dependency bounds and locks, make targets, the CI script, licence and version."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCKS = sorted((ROOT / "constraints").glob("py*.txt"))
LOCKED_EXTRAS = ("test", "dev", "analysis", "docs")


def requirements(*extras: str) -> list[Requirement]:
    """What the project asks for, with some extras."""
    extra = PROJECT["optional-dependencies"]
    return [Requirement(line) for line in (*PROJECT["dependencies"], *(r for e in extras for r in extra[e]))]


def pins(lock: Path) -> dict[str, Version]:
    """Versions by canonical name; fails on any line that is not name==version."""
    found = {}
    for line in lock.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
        assert match, f"{lock.name}: {line!r} is not name==version"
        found[canonicalize_name(match[1])] = Version(match[2])
    return found


def python_of(lock: Path) -> str:
    digits = lock.stem.removeprefix("py")
    return f"{digits[0]}.{digits[1:]}"


def test_every_dependency_is_bounded_on_both_sides():
    for requirement in requirements(*PROJECT["optional-dependencies"]):
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators == {">=", "<"}, f"{requirement} needs a lower and an upper bound"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_locks_satisfy_the_bounds(lock):
    pinned = pins(lock)
    environment = {"python_version": python_of(lock), "python_full_version": f"{python_of(lock)}.0"}
    for requirement in requirements(*LOCKED_EXTRAS):
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            continue
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{lock.name} lacks {name}; run `make lock PYTHON=python{python_of(lock)}`"
        assert requirement.specifier.contains(pinned[name]), f"{lock.name}: {name} {pinned[name]} breaks {requirement}"


def test_locks_span_the_supported_jax_versions():
    jax = [pins(lock)["jax"] for lock in LOCKS]
    bound = next(r for r in requirements() if r.name == "jax").specifier
    assert (min(jax).major, min(jax).minor) == (0, 10)
    assert (max(jax).major, max(jax).minor) == (0, 12)
    assert bound.contains("0.10.0")
    assert not bound.contains("0.13.0")


def test_the_environment_of_make_setup_holds_the_locked_versions():
    lock = ROOT / "constraints" / "py{}{}.txt".format(*sys.version_info[:2])
    if not lock.exists():
        pytest.skip(f"no tested versions for Python {sys.version_info.major}.{sys.version_info.minor}")
    if not (ROOT / ".venv" / ".ready").exists() or Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        pytest.skip("these tests do not run in the .venv that `make setup` makes")
    pinned = pins(lock)
    installed = {canonicalize_name(d.name): Version(d.version) for d in metadata.distributions()}
    missing = {canonicalize_name(r.name) for r in requirements("test")} - set(installed)
    assert not missing, f"{missing} are not installed; run `make setup`"
    different = {n: (str(v), str(pinned[n])) for n, v in installed.items() if n in pinned and pinned[n] != v}
    assert not different, f"installed, locked: {different}; remove .venv and run `make setup`"


def test_version_and_changelog_agree():
    heading = "Unreleased" if ".dev" in PROJECT["version"] else PROJECT["version"]
    assert f"## [{heading}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_citation_names_this_version():
    assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_licence_is_apache_2_and_that_of_the_networks():
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert PROJECT["license"] == "Apache-2.0 AND CC-BY-SA-4.0"
    assert "ShareAlike" in (ROOT / "jaxelyte" / "datasets" / "nacl_r2scan" / "LICENSE").read_text("utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A folder with only what `make setup` reads, as after cloning."""
    for name in ("Makefile", "pyproject.toml", "scripts", "constraints", ".ci"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, tmp_path / name)
    return tmp_path


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", "utf-8")
    path.chmod(0o755)
    return path


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | environment,
        text=True,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(("target", "last"), [("test", "-m pytest"), ("demo", "jaxelyte demo")])
def test_make_sets_up_first_and_once(fresh, target, last):
    planned = run("make", "--dry-run", target, cwd=fresh).stdout
    assert planned.index("scripts/setup.sh") < planned.index(last)
    (fresh / ".venv").mkdir()
    (fresh / ".venv" / ".ready").touch()
    planned = run("make", "--dry-run", target, cwd=fresh).stdout
    assert "scripts/setup.sh" not in planned
    assert last in planned


def test_setup_needs_python(fresh):
    result = run("make", "setup", "PYTHON=no-such-python", cwd=fresh)
    assert result.returncode != 0
    assert "'no-such-python' was not found" in result.stderr


def test_setup_refuses_an_old_python(fresh):
    old = script(fresh / "old", 'case "$1" in --version) echo Python 3.9.1 ;; *) exit 1 ;; esac')
    result = run("make", "setup", f"PYTHON={old}", cwd=fresh)
    assert result.returncode != 0
    assert "Python 3.9.1; Python 3.11 or newer is needed" in result.stderr


def test_setup_says_what_to_do_without_venv(fresh):
    python = script(fresh / "bare", 'case "$1" in -m) exit 1 ;; *) exit 0 ;; esac')
    result = run("make", "setup", f"PYTHON={python}", cwd=fresh)
    assert result.returncode != 0
    assert "apt install python3-venv" in result.stderr
    assert not (fresh / ".venv").exists()


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.99"])
def test_setup_takes_the_lock_of_its_python(fresh, python):
    digits = python.replace(".", "")
    script(fresh / ".venv" / "bin" / "python", f'case "$1" in -c) echo {digits} ;; *) echo "$@" >>log ;; esac')
    result = run("sh", "scripts/setup.sh", cwd=fresh, PYTHON=sys.executable)
    assert result.returncode == 0, result.stderr
    installed = (fresh / "log").read_text("utf-8")
    assert (f"--constraint constraints/py{digits}.txt" in installed) == (python != "3.99")
    assert ".[test,dev]" in installed


@pytest.mark.parametrize("broken", [None, "setup", "check", "format", "pyright", "more", "test"])
def test_ci_reports_every_failure_and_runs_the_tests_all_the_same(fresh, broken):
    def step(name: str) -> str:
        return f"echo ran {name}; exit {int(broken == name)}"

    targets = f"setup) {step('setup')} ;; *more) {step('more')} ;; *) {step('test')} ;;"
    script(fresh / "bin" / "make", f'case "$*" in {targets} esac')
    script(fresh / ".venv" / "bin" / "ruff", f'case "$1" in check) {step("check")} ;; *) {step("format")} ;; esac')
    script(fresh / ".venv" / "bin" / "pyright", step("pyright"))
    result = run(fresh / ".ci" / "run", cwd=fresh.parent, PATH=f"{fresh / 'bin'}:{os.environ['PATH']}")
    assert (result.returncode == 0) == (broken is None)
    ran = re.findall(r"^ran (.*)$", result.stdout, re.MULTILINE)
    assert ran == (["setup"] if broken == "setup" else ["setup", "check", "format", "pyright", "more", "test"])
    if broken != "setup":
        assert result.stdout.splitlines()[-1] == "ran test"
