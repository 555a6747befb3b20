"""Numbers for people: no digits that mean nothing, none that are missing."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from jaxelyte.wording import counted, part_of, plus_minus


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (2.38412, 0.01234, "2.384 ± 0.012"),
        (2.38412, 0.0996, "2.38 ± 0.10"),
        (2.38412, 0.00996, "2.384 ± 0.010"),
        (-231.7, 123.4, "-230 ± 120"),
        (0.4, 1234.0, "0 ± 1200"),
        (-0.001, 3.0, "0.0 ± 3.0"),
        (1.234e-5, 3.2e-6, "(1.23 ± 0.32)e-5"),
        (-5.3e-5, 9.2e-5, "(-5.3 ± 9.2)e-5"),
        (123456789.0, 4321.0, "(1.234568 ± 0.000043)e8"),
        (12.03, 3e-4, "12.03000 ± 0.00030"),
        (6.0, 0.0, "6 (no scatter)"),
        (6.0, 1e-15, "6 (no scatter)"),
        (0.0, 0.0, "0 (no scatter)"),
        (0.0, 0.25, "0.00 ± 0.25"),
        (1.23456, math.nan, "1.235 ± unknown"),
        (1.23456, None, "1.235 ± unknown"),
        (1.23456, math.inf, "1.235 ± unknown"),
        (math.nan, 1.0, "not available"),
        (np.float32(1.5), np.float32(0.25), "1.50 ± 0.25"),
    ],
)
def test_the_error_says_how_many_digits_count(value: float, error: float | None, text: str) -> None:
    assert plus_minus(value, error) == text


def test_bounds_and_units() -> None:
    assert plus_minus(1.234, None, 0.05) == "1.234 ± more than 0.050"
    assert plus_minus(1.234, math.nan, math.nan, unit="Å") == "1.234 ± unknown Å"
    assert plus_minus(1.234, 0.1, unit="Å") == "1.23 ± 0.10 Å"
    assert plus_minus(6.0, 0.0, unit="Å") == "6 Å (no scatter)"


def test_no_size_of_error_is_written_as_zero() -> None:
    rng = np.random.default_rng(0)
    for value, error in zip(rng.normal(size=500), 10.0 ** rng.uniform(-4, 7, 500), strict=True):
        text = plus_minus(value * 10.0 ** rng.integers(-3, 4), error)
        assert "nan" not in text
        assert not re.search(r"± 0(\.0*)?([^\d.]|$)", text), text
        shown = re.fullmatch(r"\(?(\S+) ± ([\d.]+)\)?(?:e(-?\d+))?", text)
        assert shown is not None
        assert float(shown[2]) * 10.0 ** int(shown[3] or 0) == pytest.approx(error, rel=0.051)


def test_one_thing_is_singular() -> None:
    assert [counted(n, "frame") for n in (0, 1, 2, 2000)] == ["0 frames", "1 frame", "2 frames", "2,000 frames"]
    assert counted(1, "series", "series") == "1 series"
    assert counted(3, "box", "boxes") == "3 boxes"
    assert [part_of(n, m, "frame") for n, m in ((1, 1), (1, 3), (2, 3))] == [
        "1 of 1 frame has",
        "1 of 3 frames has",
        "2 of 3 frames have",
    ]
    assert part_of(1, 3, "frame", "is", "are") == "1 of 3 frames is"
