"""Labelled frames of a water model with exact energies, forces and stresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms

from jaxelyte.data import Labels

EDGE = 9.0


def drop(seed: int) -> tuple[Atoms, Labels]:
    """Three harmonic water molecules with a soft repulsion, in a periodic cell; the stress is the exact virial."""
    rng = np.random.default_rng(seed)
    molecule = np.array([[0, 0, 0], [0.76, 0.58, 0], [-0.76, 0.58, 0]])
    origins = np.array([[2.0, 2.0, 2.0], [6.5, 2.0, 2.2], [2.0, 6.5, 6.0]])
    x = np.concatenate([o + molecule for o in origins]) + rng.normal(0, 0.06, (9, 3))
    energy, forces, virial = -470.0 * 3, np.zeros((9, 3)), np.zeros((3, 3))
    for i in range(9):
        for j in range(i + 1, 9):
            d = x[j] - x[i]
            d -= EDGE * np.round(d / EDGE)
            r = float(np.linalg.norm(d))
            if i // 3 == j // 3:
                k, r0 = (45.0, 0.96) if i % 3 == 0 else (8.0, 1.52)
                energy, slope = energy + 0.5 * k * (r - r0) ** 2, k * (r - r0)
            else:
                energy, slope = energy + 0.3 * np.exp(-2.0 * (r - 2.5)), -0.6 * np.exp(-2.0 * (r - 2.5))
            forces[i] += slope * d / r
            forces[j] -= slope * d / r
            virial += slope * np.outer(d, d) / r
    return Atoms("OH2" * 3, x, cell=[EDGE] * 3, pbc=True), Labels(energy, forces, virial / EDGE**3)


def changed(labels: list[Labels], change: Callable[[Labels], Labels], which: Any = (5,)) -> list[Labels]:
    return [change(label) if n in which else label for n, label in enumerate(labels)]
