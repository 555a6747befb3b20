"""The API reference: each public name has its place, an example that runs, and units for what has a dimension."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import re
from collections import Counter
from typing import Any

import jaxelyte as jxl
from conftest import ROOT
from documents import DOCUMENTS, blocks

PLACED = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
USED = re.compile(r"(?:\bjxl\.|from jaxelyte import )(\w+)")
ENTRY = re.compile(r"(\s*)\**(\w+)(?: \(.*?\))?:\s+(.*)")
SECTION = re.compile(r"(\w+):")
REFERRED = re.compile(r"see(?: also)? `(\w+)`")
UNITS = re.compile(
    r"Å|eV|GPa|\bbar\b|Pa s|S/m|m²|degrees|inches|MiB|mol|\b(?:fs|ps|K|e|kg|g|L|1/cm|seconds)\b"
    r"|share|relative|ratio|factor|weight|times|number|rate|%|λ|k_B ?T|standard error|of the estimate|see `"
)
WITHOUT_DIMENSION = {
    "activity", "alpha", "bias_factor", "capacity_multiplier", "charges", "clip_norm", "derivative", "derivatives",
    "errors", "exponent", "learning_rate", "mask", "min_learning_rate", "osmotic", "osmotic_compressibility",
    "penalty", "polarization", "polynomial_cutoff_p", "residual", "slope_error", "statistical", "truncation",
    "error", "intercept", "mean_error", "number", "self_interaction", "undersolvation", "value", "weight",
    "weight_decay", "window",
}  # fmt: skip
"""Pure numbers, fields of a result in the unit that the result states, and charges in e by species."""


def modules() -> list[tuple[str, Any, list[str]]]:
    """Public modules with the names that are documented in them."""
    return [
        ("jxl", jxl, jxl.__all__),
        ("plots", jxl.plots, jxl.plots.__all__),
        ("theory", jxl.theory, jxl.theory.__all__),
    ]


def reference() -> list[str]:
    """What the pages of the API reference are made from, by its dotted name."""
    return [name for page in sorted((ROOT / "docs" / "api").glob("*.md")) for name in PLACED.findall(page.read_text())]


def resolved(name: str) -> Any:
    """The object of a dotted name."""
    try:
        if importlib.util.find_spec(name) is not None:
            return importlib.import_module(name)
    except ModuleNotFoundError:
        pass
    owner, _, last = name.rpartition(".")
    return inspect.unwrap(getattr(resolved(owner), last))


def test_every_public_name_stands_once_in_the_reference() -> None:
    found = reference()
    placed = Counter(id(value) for value in map(resolved, found) if callable(value))
    for name in jxl.__all__:
        value = getattr(jxl, name)
        if not inspect.ismodule(value):
            count = placed[id(inspect.unwrap(value))]
            assert count == 1, f"{name} stands {count} times in docs/api/"
    for _, module, names in modules()[1:]:
        missing = {f"{module.__name__}.{name}" for name in names} - set(found)
        assert not missing, missing


def test_every_public_name_has_an_example_that_is_executed() -> None:
    """In a code block of a page or in a notebook, which tests execute; types of results by what returns them."""
    code = [block.code for page in DOCUMENTS for block in blocks(page) if block.language == "python"]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        code += [
            "".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"
        ]
    used = set(USED.findall("\n".join(code)))
    returned = set()
    for name in used & set(jxl.__all__):
        value = getattr(jxl, name)
        if callable(value) and not isinstance(value, type):
            returned |= set(re.findall(r"\w+", str(inspect.signature(value).return_annotation)))
    without = sorted(set(jxl.__all__) - used - returned)
    assert not without, f"{len(without)} public names without an example: {without}"


def documented(value: Any) -> dict[str, str]:
    """What a docstring says on each argument or attribute, those of bases and of names that it refers to included."""
    sources = [value]
    if isinstance(value, type):
        sources = [one for one in reversed(value.__mro__) if one.__module__.startswith("jaxelyte")]
    for name in REFERRED.findall(inspect.getdoc(value) or ""):
        if name in jxl.__all__ and name != getattr(value, "__name__", ""):
            sources.insert(0, getattr(jxl, name))
    found: dict[str, str] = {}
    for source in sources:
        found |= entries(inspect.getdoc(source) or "")
    return found


def entries(text: str) -> dict[str, str]:
    """The entries of the sections Args and Attributes of a docstring in Google's style."""
    found: dict[str, str] = {}
    inside, current = False, ""
    for line in text.splitlines():
        section = SECTION.fullmatch(line)
        if section:
            inside = section[1] in {"Args", "Attributes"}
        elif inside and (entry := ENTRY.fullmatch(line)) and len(entry[1]) == 4:
            current = entry[2]
            found[current] = entry[3]
        elif inside and current and line.strip():
            found[current] += " " + line.strip()
    return found


def test_every_dimensional_argument_has_a_unit() -> None:
    without = []
    for shown, module, names in modules():
        for name in names:
            value = getattr(module, name)
            if not callable(value) or (isinstance(value, type) and issubclass(value, Exception)):
                continue
            known = documented(value)
            for argument in inspect.signature(value).parameters.values():
                kind = str(argument.annotation)
                if argument.name in WITHOUT_DIMENSION or not ("float" in kind or "Float[" in kind):
                    continue
                if not UNITS.search(known.get(argument.name, "")):
                    without.append(f"{shown}.{name}({argument.name}): {known.get(argument.name, 'not documented')!r}")
    assert not without, "\n".join(["arguments without a unit:", *without])
