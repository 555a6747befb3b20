"""Derivatives by reweighting against differences of long runs: rows of `benchmarks/gradients.py` (`make validate`)."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.validation


@pytest.fixture(scope="module")
def benchmark(root: Path) -> Any:
    """The module that makes the table."""
    sys.path.insert(0, str(root / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("gradients_benchmark", root / "benchmarks" / "gradients.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(root / "benchmarks"))
    return module


@pytest.mark.parametrize(
    ("number", "scale", "power"),
    [(0, 1.0, 0.06), (1, 1.0, 0.06), (2, 1.0, 0.12), (3, 5.0, 0.25)],
    ids=["wells", "energy", "pressure", "ions"],
)
def test_reweighting_gives_what_differences_give(
    benchmark: Any, number: int, scale: float, power: float, request: Any
) -> None:
    """Within three standard errors of both, which are small enough to tell a wrong factor of two; ions take an hour."""
    if number == 3:
        request.getfixturevalue("reference")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reweighted, differences, path = benchmark.rows_of(benchmark.cases(scale)[number])
    error = np.hypot(reweighted.error, differences.error)
    assert error < power * abs(differences.value)
    assert abs(reweighted.value - differences.value) < 3.0 * error
    exact = benchmark.cases(scale)[number].exact
    if exact is not None:
        for row in (reweighted, differences, path):
            assert abs(row.value - exact) < 3.0 * row.error
