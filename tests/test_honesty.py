"""The table of `benchmarks/honesty.py`: error bars of estimators fed with data of known answers."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
honesty = pytest.importorskip("honesty")
MODULES: dict[str, dict[str, Any]] = honesty.modules()
sys.path.remove(str(BENCHMARKS))

STORED: dict[str, dict[str, Any]] = {module: honesty.stored(module) for module in MODULES}
ROWS = [(module, name) for module, rows in STORED.items() for name in rows if name in MODULES[module]]

CASES: dict[str, Any] = {name: case for cases in MODULES.values() for name, case in cases.items()}

QUICK, AFFORDABLE = 0.3, 3.0
"""Seconds of processor time of a group of rows in the default tests, and in those of `make test-more`."""


def groups(least: float, most: float) -> list[tuple[str, ...]]:
    """The module and names of synthetic rows that share their data, by the seconds that all of them take."""
    found: dict[tuple[str, str], list[str]] = {}
    for module, name in ROWS:
        if not STORED[module][name].dynamics:
            found.setdefault((module, name.partition(", ")[2]), []).append(name)
    spent = {key: sum(STORED[key[0]][name].seconds for name in names) for key, names in found.items()}
    return [(key[0], *names) for key, names in found.items() if least < spent[key] <= most]


OUTSIDE = {"reweighted derivative of an average, bounded of 3 oscillators, 400 frames, k ratio 0.64"}
"""Stored rows that are known to be outside the limits; the page lists them."""


def test_every_case_has_a_stored_row_and_the_page_shows_it() -> None:
    assert {name for _, name in ROWS} == set(CASES)
    assert sum(map(len, MODULES.values())) == len(CASES), "two modules have a case of one name"
    assert honesty.PAGE.read_text() == honesty.page(), "make it anew: python -m benchmarks.honesty --page"


@pytest.mark.parametrize(("module", "name"), ROWS)
def test_stored_rows_are_within_the_limits(module: str, name: str) -> None:
    row, entry = STORED[module][name], CASES[name]
    assert (row.fault() == "") != (name in OUTSIDE)
    assert (row.hard, row.dynamics, row.seeds) == (entry.hard, entry.dynamics, entry.seeds)


def check(module: str, name: str, scale: float = 1.0) -> None:
    """Compute a row anew and compare: seeds are fixed, so that only rounding differs."""
    old = STORED[module][name]
    new = honesty.assess(name, CASES[name], old.seeds, scale=scale)
    assert new.fault() == "" or name in OUTSIDE
    assert new.refused == pytest.approx(old.refused, abs=0.03)
    if not new.is_refused:
        assert new.rms == pytest.approx(old.rms, rel=0.08)


@pytest.mark.parametrize("group", groups(-1.0, QUICK), ids="-".join)
def test_quick_rows(group: tuple[str, ...]) -> None:
    for name in group[1:]:
        check(group[0], name)


@pytest.mark.more
@pytest.mark.parametrize("group", groups(QUICK, AFFORDABLE), ids="-".join)
def test_affordable_rows(group: tuple[str, ...]) -> None:
    for name in group[1:]:
        check(group[0], name)


def test_error_bars_that_are_a_third_too_small_or_too_large_fail() -> None:
    """Of the quick rows that are not refused."""
    tried = [(group[0], name) for group in groups(-1.0, QUICK) for name in group[1:]]
    tried = [(module, name) for module, name in tried if not STORED[module][name].is_refused]
    assert len(tried) > 20
    for module, name in tried:
        for scale in (1.0 / 1.3, 1.3):
            with pytest.raises(AssertionError):
                check(module, name, scale)


def test_what_is_refused_counts_as_refused() -> None:
    def case(seed: int) -> Any:
        return honesty.Case(0.0, float("nan") if seed % 2 else 1.0, None, 1.0)

    row = honesty.assess("", case, 10)
    assert (row.rms, row.refused) == (1.0, 0.5)
    assert honesty.deviation(honesty.Case(4.30265, 1.0, 2, 0.0)) == pytest.approx(1.95996, rel=1e-4)


def test_faults_are_named() -> None:
    good = honesty.Row("a, b", 200, 1.0, 0.68, 0.0, 0.0)
    assert good.fault() == ""
    assert "199 seeds" in good._replace(seeds=199).fault()
    assert "1.20" in good._replace(rms=1.2).fault()
    assert good._replace(rms=1.2, dynamics=True).fault() == ""
    assert "easy" in good._replace(refused=0.5).fault()
    assert good._replace(share=0.8).fault() == ""
    many = good._replace(seeds=1000, share95=0.95)
    assert many.fault() == ""
    assert "share of 0.740" in many._replace(share=0.74).fault()
    assert "share of 0.890" in many._replace(share95=0.89).fault()
    assert good._replace(refused=0.5, hard=True).fault() == ""
    assert good._replace(rms=math.nan, refused=1.0, hard=True).fault() == ""
