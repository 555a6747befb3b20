"""One colour for each element and pair in all pictures, and pairs of one picture that can be told apart."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from jaxelyte.plots.palette import element_color, oklab, pair_color

APART = 0.06
"""In OKLab; a just noticeable difference is 0.02."""


@pytest.mark.parametrize(
    ("cation", "anion"),
    [("Li", "Cl"), ("Na", "Cl"), ("K", "Cl"), ("Na", "F"), ("Na", "Br"), ("K", "Br"), ("Cs", "Cl"), ("Mg", "Cl")],
)
def test_pairs_of_a_salt_in_water_can_be_told_apart(cation: str, anion: str) -> None:
    pairs = [(a, b) for n, a in enumerate((cation, anion, "O", "H")) for b in (cation, anion, "O", "H")[n:]]
    colors = {pair: oklab(pair_color(*pair)) for pair in pairs}
    assert len(colors) == 10
    closest = min(combinations(colors, 2), key=lambda two: np.linalg.norm(colors[two[0]] - colors[two[1]]))
    assert np.linalg.norm(colors[closest[0]] - colors[closest[1]]) > APART, closest


def test_colours_do_not_depend_on_order_or_company() -> None:
    assert pair_color("Na", "O") == pair_color("O", "Na")
    assert pair_color("Na", "Na") == element_color("Na")
    assert element_color("charge") == "#444444"
    # All elements have one, which is dark enough on white.
    from ase.data import chemical_symbols

    for symbol in chemical_symbols[1:]:
        assert 0.25 < oklab(element_color(symbol))[0] < 0.75
    assert oklab("#ffffff") == pytest.approx([1.0, 0.0, 0.0], abs=1e-3)
