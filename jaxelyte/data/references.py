"""Constant energies of the species, by least squares."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxelyte.errors import InputError


class References(NamedTuple):
    """Reference energies of species.

    Attributes:
        energies: shape (species,), eV.
        determined: shape (species,), False where compositions alone do not fix the number (Na and Cl that always come
            in pairs): only certain sums are then meaningful, and the shortest solution is taken.
        residual: root mean square of what is left, eV per atom; NaN without energies.
    """

    energies: np.ndarray
    determined: np.ndarray
    residual: float


def fit_references(counts: np.ndarray, energies: np.ndarray) -> References:
    """Least squares of E / N = Σ_s (n_s / N) ε_s over frames, of the smallest Σ ε_s² where it is not unique.

    Args:
        counts: shape (frames, species), atoms of each species.
        energies: shape (frames,), eV; NaN where missing.

    Raises:
        InputError: no species.
    """
    counts, energies = np.asarray(counts, np.float64), np.asarray(energies, np.float64)
    if counts.ndim != 2 or counts.shape[1] == 0:
        raise InputError(f"counts has shape {counts.shape}; give atoms by frame and species")
    species, known = counts.shape[1], np.isfinite(energies)
    if not np.any(known):
        return References(np.zeros(species), np.zeros(species, bool), float("nan"))
    atoms = counts[known].sum(axis=1)
    rows, values = counts[known] / atoms[:, None], energies[known] / atoms
    u, singular, vt = np.linalg.svd(rows, full_matrices=False)
    # Compositions are small integers: a direction is there to 1e-6 or better, or not at all.
    kept = singular > 1e-6 * singular[0]
    solution = vt[kept].T @ ((u.T @ values)[kept] / singular[kept])
    # The unit vector of a species lies in the row space only where its own energy is fixed.
    determined = np.sum(vt[kept] ** 2, axis=0) > 1.0 - 1e-6
    residual = float(np.sqrt(np.mean((values - rows @ solution) ** 2)))
    return References(solution, determined, residual)
