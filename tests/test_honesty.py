"""The quick part of `benchmarks/honesty.py`: error bars of estimators fed with data of known answers."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
honesty = pytest.importorskip("honesty")
CASES: dict[str, Callable[[int], Any]] = honesty.all_cases()
sys.path.remove(str(BENCHMARKS))

SEEDS = 200

QUICK = (
    "mean, 16 independent values",
    "mean, one value of 8 replicas",
    "mean, 100 values of 4 replicas, memory 5",
    "mean, 2000 values, memory 5",
    "mean, 500 values, memory 20",
    "mean, 4000 values, memories 0 and 100",
)


@pytest.fixture(scope="module")
def rows() -> dict[str, Any]:
    return {name: honesty.assess(name, CASES[name], SEEDS) for name in QUICK}


@pytest.mark.parametrize("name", QUICK)
def test_error_bars_are_of_the_right_size(rows: dict[str, Any], name: str) -> None:
    """The root mean square of z is 1; it scatters by 0.05 with 200 seeds."""
    assert 0.8 < rows[name].rms < 1.2
    assert rows[name].refused < 0.4


def test_all_error_bars_together(rows: dict[str, Any]) -> None:
    """Pooled, the scatter is 0.02: errors that are 1.3 times too small or too large are far outside."""
    assert 0.85 < math.sqrt(np.mean([row.rms**2 for row in rows.values()])) < 1.15


def test_a_series_as_long_as_its_memory_gets_no_error() -> None:
    row = honesty.assess("", CASES["mean, 1000 values, memory 1000"], 100)
    assert row.refused > 0.9


def test_what_is_refused_counts_as_refused() -> None:
    def case(seed: int) -> Any:
        return honesty.Case(0.0, float("nan") if seed % 2 else 1.0, None, 1.0)

    row = honesty.assess("", partial(case), 10)
    assert (row.rms, row.refused) == (1.0, 0.5)
    assert honesty.deviation(honesty.Case(4.30265, 1.0, 2, 0.0)) == pytest.approx(1.95996, rel=1e-4)
