"""Clebsch-Gordan tables and spherical harmonics, from e3nn-jax, made once on the host.

Tables up to degree `STORED` come with the package (`scripts/couplings.py`), because importing e3nn-jax takes a second.

Conventions (e3nn's): real spherical harmonics of unit vectors with the y axis as the polar axis, so that degree 1 is
√3 (x, y, z); "component" normalisation, |Y_l|² = 2l + 1; Wigner 3j tables of unit Frobenius norm.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

STORED = 3
"""Degrees up to which tables are kept in `couplings.npz`."""


@lru_cache(maxsize=256)
def wigner_3j(l1: int, l2: int, l3: int) -> np.ndarray:
    """Real Wigner 3j table, shape (2 l1 + 1, 2 l2 + 1, 2 l3 + 1), float64, unit Frobenius norm, read-only."""
    known = max(l1, l2, l3) <= STORED
    table = _stored()[f"{l1}{l2}{l3}"] if known else computed_wigner_3j(l1, l2, l3)
    table.setflags(write=False)
    return table


@cache
def _stored() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parent / "couplings.npz") as arrays:
        return dict(arrays)


def computed_wigner_3j(l1: int, l2: int, l3: int) -> np.ndarray:
    """`wigner_3j` by e3nn-jax."""
    import e3nn_jax

    table = np.array(e3nn_jax.clebsch_gordan(l1, l2, l3), np.float64)
    return table / np.linalg.norm(table)


@lru_cache(maxsize=32)
def _raising(degree: int) -> tuple[tuple[tuple[int, int, float], ...], ...]:
    """Terms (i, j, c) of Y_degree[k] = Σ c Y_1[i] Y_(degree-1)[j], one tuple for each k.

    The top of a tensor product of harmonics of the same direction is the next harmonic; its scale follows from the
    pole, where only the middle component is not zero and equals √(2 degree + 1).
    """
    table = wigner_3j(1, degree - 1, degree)
    pole = table[1, degree - 1, degree] * math.sqrt(3.0 * (2 * degree - 1))
    table = table * (math.sqrt(2 * degree + 1) / pole)
    return tuple(
        tuple((int(i), int(j), float(table[i, j, k])) for i, j in np.argwhere(np.abs(table[:, :, k]) > 1e-12))
        for k in range(2 * degree + 1)
    )


def spherical_harmonics(
    l_max: int, directions: tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]
) -> list[list[Float[Array, "..."]]]:
    """Components of the harmonics of degrees 0 to ``l_max``, by recursion over the degree.

    Args:
        l_max: highest degree.
        directions: the x, y and z components of unit vectors, arrays of one shape.

    Returns:
        For each degree the 2 degree + 1 components, arrays of the shape of the input.
    """
    harmonics = [[jnp.ones_like(directions[0])]]
    if l_max >= 1:
        harmonics.append([math.sqrt(3.0) * component for component in directions])
    for degree in range(2, l_max + 1):
        one, lower = harmonics[1], harmonics[-1]
        harmonics.append([sum_terms([c * (one[i] * lower[j]) for i, j, c in terms]) for terms in _raising(degree)])
    return harmonics


@lru_cache(maxsize=32)
def harmonic_polynomials(l_max: int) -> list[list[dict[tuple[int, ...], float]]]:
    """The components of `spherical_harmonics` as polynomials: coefficients by the powers of x, y and z."""
    one = (0, 0, 0)
    axes = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    found: list[list[dict[tuple[int, ...], float]]] = [[{one: 1.0}], [{axis: math.sqrt(3.0)} for axis in axes]]
    for degree in range(2, l_max + 1):
        components = []
        for terms in _raising(degree):
            total: dict[tuple[int, ...], float] = {}
            for i, j, c in terms:
                for powers, value in found[-1][j].items():
                    key = tuple(a + b for a, b in zip(powers, axes[i], strict=True))
                    total[key] = total.get(key, 0.0) + c * math.sqrt(3.0) * value
            components.append({key: value for key, value in total.items() if abs(value) > 1e-12})
        found.append(components)
    return found[: l_max + 1]


def sum_terms(terms: list[Array]) -> Array:
    """Sum of a list that is not empty."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
