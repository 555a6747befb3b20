"""Frames of salt with labels of known physics, and short trainings on them, for the tests of training."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

import jaxelyte as jxl

MODEL = jxl.NequIP(r_max=4.0, num_layers=1, l_max=1, num_features=4, num_basis=4, invariant_neurons=8)


@cache
def _salt(size: int) -> tuple[Atoms, ...]:
    rng = np.random.default_rng(size)
    frames = []
    for _ in range(40):
        cell = np.eye(3) * 5.6 + rng.normal(0, 0.1, (3, 3))
        sites = np.array(list(np.ndindex(2, 2, 2)))
        symbols = np.where(sites.sum(axis=1) % 2 == 0, "Na", "Cl")
        atoms = Atoms(symbols, scaled_positions=sites / 2.0, cell=cell, pbc=True)[:size]
        atoms.positions += rng.normal(0, 0.15, (size, 3))
        frames.append(atoms)
    # ASE's Lennard-Jones is plain numpy: nothing to compile, and none of our code in the labels.
    calculator = LennardJones(sigma=2.3, epsilon=0.05, rc=3.9, smooth=True)
    for atoms in frames:
        calculator.calculate(atoms, ["energy", "forces", "stress"], all_changes)
        constant = sum({"Na": -10.0, "Cl": -20.0}[symbol] for symbol in atoms.get_chemical_symbols())
        known = {name: np.array(calculator.results[name]) for name in ("energy", "forces", "stress")}
        atoms.calc = SinglePointCalculator(atoms, **(known | {"energy": float(known["energy"]) + constant}))
    return tuple(frames)


def salt(count: int, *, size: int = 8) -> list[Atoms]:
    """Distorted rock salt in triclinic cells, labelled by a Lennard-Jones potential.

    The same frames in all tests, so that they share compiled programs.
    """
    frames = []
    for one in _salt(size)[:count]:
        atoms = one.copy()
        atoms.calc = SinglePointCalculator(atoms, **{k: np.array(v) for k, v in one.calc.results.items()})
        frames.append(atoms)
    return frames


def quick(frames: list[Atoms], **options: Any) -> jxl.Fit:
    # The plateau rule does not depend on the number of epochs to come: a run that goes on is that of a longer one.
    rules = jxl.Optimization(learning_rate=0.01, schedule="plateau")
    chosen = {"epochs": 3, "validation": 2, "progress": False, "batch_size": 3, "optimization": rules}
    return jxl.train(frames, MODEL, **(chosen | options))


def same(one: jxl.Fit, other: jxl.Fit) -> bool:
    pairs = zip(jax.tree.leaves(one.members), jax.tree.leaves(other.members), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "frames_per_s")} for row in rows]
