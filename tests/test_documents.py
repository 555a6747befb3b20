"""Every code block of the documents: names and options exist, and the examples run (`make test-slow`)."""

from __future__ import annotations

import ast
import builtins
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import documents
import jaxelyte as jxl
from conftest import ROOT
from documents import DOCUMENTS, Block, blocks
from jaxelyte.interop.published import find_published

NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
EXTRAS = re.compile(r"\[([\w,]+)\]")
DOTTED = re.compile(r"jxl(\.\w+)+")
LIMIT = 900
"""Seconds for the examples of one document, on a busy machine."""


def python_blocks(document: Path) -> list[Block]:
    return [block for block in blocks(document) if block.language == "python"]


def loaded(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def bound(tree: ast.AST) -> set[str]:
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
    return names


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_names_in_examples_are_defined_before(document: Path) -> None:
    known = set(dir(builtins))
    for block in python_blocks(document):
        tree = ast.parse(block.code)
        known |= bound(tree)
        assert not loaded(tree) - known, f"{block.name} uses {loaded(tree) - known}, which no block before it defines"


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_functions_in_examples_have_these_arguments(document: Path) -> None:
    for block in python_blocks(document):
        for node in ast.walk(ast.parse(block.code)):
            if not isinstance(node, ast.Call) or not DOTTED.fullmatch(ast.unparse(node.func)):
                continue
            found: object = jxl
            for part in ast.unparse(node.func).split(".")[1:]:
                found = getattr(found, part)
            parameters = inspect.signature(found).parameters  # pyright: ignore[reportArgumentType]
            if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
                continue
            wrong = {keyword.arg for keyword in node.keywords if keyword.arg} - set(parameters)
            assert not wrong, f"{block.name}: {ast.unparse(node.func)} has no {wrong}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_commands_exist(document: Path) -> None:
    """Targets of make, extras of pip, options of jaxelyte, and files that are run."""
    from typer.main import get_command

    from jaxelyte.cli import app

    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    for block in blocks(document):
        assert block.language in {"python", "bash", ""}, f"{block.name}: {block.language}"
        for command in block.commands if block.language == "bash" else []:
            words = shlex.split(command)
            if words[0] == "make":
                assert words[1] in targets, block.name
            elif words[0] == "pip":
                assert set(",".join(EXTRAS.findall(command)).split(",")) <= {*extras, ""}, block.name
            elif words[0] == documents.EXECUTED:
                options = [one for one in get_command(app).commands[words[1]].params if one.opts]
                known = {name for one in options for name in one.opts}
                assert {word for word in words if word.startswith("--")} <= known, f"{block.name}: {command}"
            else:
                assert words[0] in {"python", "pytest", "git", "cd"}, f"{block.name}: {command}"
                for word in words[1:]:
                    if word.endswith(".py"):
                        assert (ROOT / word).is_file(), f"{block.name}: {word}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_files_that_are_named_exist(document: Path) -> None:
    text = document.read_text("utf-8")
    linked = re.findall(r"\]\(([^)#:\s]+)\)", text)
    assert all((document.parent / name).exists() for name in linked), [
        name for name in linked if not (document.parent / name).exists()
    ]
    named = re.findall(r"((?:benchmarks|tests|scripts|examples|notebooks)/[\w/]+\.(?:py|toml|ipynb))", text)
    assert all((ROOT / name).exists() for name in named), [name for name in named if not (ROOT / name).exists()]


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_examples_run(document: Path, tmp_path: Path) -> None:
    """The blocks of a document one after the other, as a reader would try them, in an empty folder with examples/."""
    chosen = [block for block in blocks(document) if block.language and not block.left_out]
    run = [block for block in chosen if all(find_published(*need.split("/")) for need in block.needs)]
    absent = [block.name for block in chosen if block not in run]
    script = [f"print({block.name!r}, flush=True)\n{block.reduced}" for block in run if block.language == "python"]
    commands = [c for block in run if block.language == "bash" for c in block.commands if c.split()[0] == "jaxelyte"]
    if not (script or commands):
        pytest.skip(f"nothing to run; data are absent for {absent}" if absent else "nothing to run")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("runs"))
    call = "from jaxelyte.cli import app; app()"
    calls = [[sys.executable, "-c", call, *shlex.split(command)[1:]] for command in commands]
    if script:
        (tmp_path / "blocks.py").write_text("\n".join(script))
        calls.insert(0, [sys.executable, "blocks.py"])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    for one in calls:
        done = subprocess.run(
            one, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
        )
        assert done.returncode == 0, f"{one[1:]}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    if absent:
        pytest.skip(f"all but {absent} run; these need published data (`jaxelyte fetch`)")
