"""How numbers are written for people: values with standard errors, and counts with their nouns."""

from __future__ import annotations

import math
from typing import Any

DIGITS = 2
"""Significant digits of a standard error; the value ends at the same decimal place."""

PLAIN = (1e-3, 1e6)
"""Sizes that are written without a power of ten."""

ROUNDING = 1e-9
"""Errors smaller than this share of the value are those of floating-point sums: nothing scattered."""


def plus_minus(value: Any, error: Any = None, bound: Any = None, *, unit: str = "") -> str:
    """A value with its standard error for a text, and what is known of the error where there is none.

    The error has two significant digits, and the value as many decimals: "2.384 ± 0.012 Å", "(1.20 ± 0.32)e-5". A mean
    of values that are all the same has no error that could be written: "6 (no scatter)".

    Args:
        value: the value; NaN is "not available".
        error: its standard error; None or NaN if unknown.
        bound: a lower bound of an unknown error.
        unit: written behind.
    """
    value, behind = float(value), f" {unit}" if unit else ""
    if not math.isfinite(value):
        return "not available"
    known, least = _finite(error), _finite(bound)
    if known is not None and known > ROUNDING * abs(value):
        return _written(value, known, "", behind)
    if known is not None:
        return f"{value:.6g}{behind} (no scatter)"
    if least is not None and least > ROUNDING * abs(value):
        return _written(value, least, "more than ", behind)
    return f"{value:.4g} ± unknown{behind}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun: "1 frame", "2,000 frames".

    Args:
        number: the count.
        noun: of one thing.
        plural: of several, where it is not the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def part_of(part: int, whole: int, noun: str, *verbs: str) -> str:
    """How many of all, with a verb in its right form: "1 of 3 frames has", "2 of 3 frames have", "1 of 1 frame has".

    Args:
        part: how many.
        whole: of how many.
        noun: of one thing.
        verbs: for one thing, and for several; "has" and "have" unless given.
    """
    one, several = verbs or ("has", "have")
    return f"{part:,} of {counted(whole, noun)} {one if part == 1 else several}"


def _finite(number: Any) -> float | None:
    return None if number is None or not math.isfinite(float(number)) else abs(float(number))


def _written(value: float, error: float, word: str, behind: str) -> str:
    """Both numbers to the last digit of the error that counts."""
    largest = max(abs(value), error)
    power = 0 if PLAIN[0] <= largest < PLAIN[1] else math.floor(math.log10(largest))
    value, error = value / 10.0**power, error / 10.0**power
    # Rounding may add a digit: 0.0996 is 0.10.
    decimals = DIGITS - 1 - math.floor(math.log10(float(f"{error:.{DIGITS - 1}e}")))
    whole = max(0, decimals)
    text = f"{round(value, decimals) + 0.0:.{whole}f} ± {word}{round(error, decimals):.{whole}f}"
    return f"({text})e{power}{behind}" if power else f"{text}{behind}"
