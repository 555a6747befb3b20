"""The code keeps to docs/architecture.md: who imports whom, and what the library never does."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "jaxelyte"
DOCUMENT = ROOT / "docs" / "architecture.md"
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(PACKAGE)) for path in MODULES]


class Import(NamedTuple):
    """One imported module: its dotted name and the line."""

    module: str
    line: int


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, as cells, without its head."""
    section = DOCUMENT.read_text("utf-8").split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip().strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def layers() -> dict[str, int]:
    """Rank of each file and folder of the package; several in one row may import each other."""
    ranks = {}
    for rank, row in enumerate(table("Layers")):
        for path in re.findall(r"`([^`]+)`", row[0]):
            ranks[path] = rank
    return ranks


def layer_of(path: Path) -> str:
    """The entry of the table that a file belongs to: its folder, or itself at the top."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) == 1 else f"{parts[0]}/"


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports(node: ast.AST) -> Iterator[Import]:
    """All imports that can happen at run time, those inside functions included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"relative import in line {child.lineno}"
            if child.module == "jaxelyte":
                yield from (Import(f"jaxelyte.{alias.name}", child.lineno) for alias in child.names)
            else:
                yield Import(child.module or "", child.lineno)
        elif is_type_checking(child):
            assert isinstance(child, ast.If)
            for other in child.orelse:
                yield from imports(other)
        else:
            yield from imports(child)


def target_layer(module: str) -> str | None:
    """The entry of the table that a dotted name of ours belongs to; None for other packages."""
    parts = module.split(".")
    if parts[0] != "jaxelyte":
        return None
    if len(parts) == 1:
        return "__init__.py"
    return f"{parts[1]}/" if (PACKAGE / parts[1]).is_dir() else f"{parts[1]}.py"


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def test_the_table_lists_what_there_is():
    there = {layer_of(path) for path in MODULES}
    assert set(layers()) == there


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_imports_point_upwards_in_the_table(path):
    ranks = layers()
    own = layer_of(path)
    wrong = []
    for module, line in imports(tree_of(path)):
        target = target_layer(module)
        if target is None or target == own:
            continue
        if ranks[target] > ranks[own]:
            wrong.append(f"line {line}: {module}")
    assert not wrong, f"{own} may not import from below it in docs/architecture.md: {wrong}"


def test_other_packages_have_one_adapter():
    allowed = {re.findall(r"`([^`]+)`", row[0])[0]: re.findall(r"`([^`]+)`", row[1]) for row in table("Adapters")}
    wrong = []
    for path, name in zip(MODULES, NAMES, strict=True):
        for module, line in imports(tree_of(path)):
            package = module.split(".")[0]
            places = allowed.get(package)
            if places is not None and not any(name == place or name.startswith(place) for place in places):
                wrong.append(f"{name}:{line} imports {package}, which only {places} may")
    assert not wrong
    used = {found.module.split(".")[0] for path in MODULES for found in imports(tree_of(path))}
    assert set(allowed) <= used, f"in the table but never imported: {set(allowed) - used}"


def test_the_rule_would_notice():
    tree = ast.parse(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import jaxelyte.cli\n"
        "def f():\n    from jaxelyte import plots\n    import jaxelyte.dynamics.run\n"
    )
    assert [found.module for found in imports(tree)] == ["typing", "jaxelyte.plots", "jaxelyte.dynamics.run"]
    assert target_layer("jaxelyte.dynamics.run") == "dynamics/"
    assert target_layer("jaxelyte.system") == "system.py"
    assert target_layer("numpy.linalg") is None
    ranks = layers()
    assert ranks["system.py"] < ranks["potentials/"] < ranks["dynamics/"] < ranks["cli/"]


KEPT = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
"""The settings that `keep_programs` makes where the user has made none."""


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_the_library_leaves_jax_settings_alone_and_runs_no_code_from_files(path):
    forbidden = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    tree = tree_of(path)
    assert not forbidden & {module.split(".")[0] for module, _ in imports(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            ours = path.name == "cache.py" and bool(node.args) and ast.unparse(node.args[0]).strip("'") in KEPT
            assert ours or not called.endswith("config.update"), f"line {node.lineno}: jax settings belong to the user"
            assert called not in {"eval", "exec"}, f"line {node.lineno}: {called}"
            unsafe = [k.arg for k in node.keywords if k.arg == "allow_pickle" and ast.unparse(k.value) != "False"]
            assert not unsafe, f"line {node.lineno}: allow_pickle"


def test_importing_is_light():
    slow = ["MDAnalysis", "e3nn_jax", "jax_md", "jax_pme", "matplotlib", "openmm", "pymatgen", "torch", "typer"]
    code = f"import sys, jaxelyte; print([m for m in {slow} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]", "imported by `import jaxelyte`, but should be imported where used"


def test_warnings_point_at_the_program_that_called():
    """`checks.caution` finds its line; a depth that is written down is wrong as soon as a function is wrapped."""
    found = [path for path in MODULES if path.name != "checks.py" and "warnings.warn(" in path.read_text("utf-8")]
    assert not found, "use checks.caution"
