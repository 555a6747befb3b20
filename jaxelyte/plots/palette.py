"""Colours: one for each element and one for each pair of elements, the same in every picture.

The colour of a pair is halfway between those of its elements in OKLab (Ottosson 2020), a space in which distances are
differences as people see them; like pairs have the colour of their element. The elements of common electrolytes are
chosen so that the pairs of a salt in water can be told apart, also by colour-blind eyes.
"""

from __future__ import annotations

import numpy as np

ELEMENTS = {
    "H": "#999ea3",
    "Li": "#a05a00",
    "C": "#3f3f3f",
    "O": "#8c0a1c",
    "F": "#008483",
    "Na": "#1641cf",
    "Mg": "#c7890a",
    "Cl": "#00673a",
    "K": "#7c25d0",
    "Ca": "#a39a1d",
    "Br": "#df844b",
    "I": "#d45be2",
    "Cs": "#95609b",
}

GOLDEN = 137.508
"""Degrees between the hues of elements that have no colour of their own, by atomic number."""

LIGHTNESS, CHROMA = 0.55, 0.13
"""Of those elements, in OKLab."""

TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def element_color(symbol: str) -> str:
    """The colour of an element in every picture, as #rrggbb; grey for names that are no elements."""
    if symbol in ELEMENTS:
        return ELEMENTS[symbol]
    from ase.data import atomic_numbers

    if symbol not in atomic_numbers:
        return "#444444"
    hue = np.radians(GOLDEN * atomic_numbers[symbol])
    return _hexadecimal(np.array([LIGHTNESS, CHROMA * np.cos(hue), CHROMA * np.sin(hue)]))


def pair_color(first: str, second: str) -> str:
    """The colour of a pair of elements in every picture, as #rrggbb; the order does not matter."""
    if first == second:
        return element_color(first)
    return _hexadecimal(0.5 * (oklab(element_color(first)) + oklab(element_color(second))))


def oklab(color: str) -> np.ndarray:
    """Lightness and two hues of #rrggbb."""
    values = np.array([int(color[n : n + 2], 16) for n in (1, 3, 5)]) / 255.0
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return TO_LAB @ np.cbrt(TO_CONES @ linear)


def _hexadecimal(lab: np.ndarray) -> str:
    linear = np.clip(np.linalg.solve(TO_CONES, np.linalg.solve(TO_LAB, lab) ** 3), 0.0, 1.0)
    values = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * x):02x}" for x in values)
