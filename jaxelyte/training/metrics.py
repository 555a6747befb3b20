"""Errors as people read them, from sums of squares."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxelyte.training.loss import Errors


def add(one: Errors | None, other: Errors) -> Errors:
    """Sum in float64 on the host."""
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), other)
    return wide if one is None else jax.tree.map(np.add, one, wide)


def summarize(errors: Errors, names: tuple[str, ...]) -> dict[str, Any]:
    """Root mean square errors: energy in eV/atom, forces in eV/Å (all components, and by species), stress in eV/Å³.

    None where there are no labels. With a committee, the mean square over its members.
    """
    atoms = np.atleast_2d(errors.atoms)
    forces = np.atleast_2d(errors.forces)

    def root(total: Any, count: Any) -> float | None:
        number = float(np.sum(count))
        return None if number == 0 else float(np.sqrt(np.sum(total) / number))

    return {
        "energy": root(errors.energy, errors.energies),
        "forces": root(forces, atoms),
        "forces_by_species": {name: root(forces[:, k], atoms[:, k]) for k, name in enumerate(names)},
        "stress": root(errors.stress, errors.stresses),
    }


def criterion(summary: dict[str, Any]) -> float:
    """What the learning rate and the best model follow: the force error, or that of the energy without forces."""
    value = summary["forces"] if summary["forces"] is not None else summary["energy"]
    return float("nan") if value is None else float(value)
