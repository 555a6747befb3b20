"""A pair force field fitted to the forces of labelled frames: what labels are compared with before anything is trained.

The force along the line between two atoms is a sum of smooth functions of their distance for each pair of species,

    F_i = Σ_j f_st(r_ij) (r_i - r_j) / r_ij,    f_st(r) = Σ_k c_stk g_k(r) (1 - (r / r_c)²)²,

whose coefficients are linear, so that a weighted least-squares fit takes a moment. Liquids and molecular systems are
described to 0.3 of their forces or better (0.93 of the variance for aqueous NaCl at three levels of theory), which is
enough to judge sign, units and the assignment of forces to atoms in each frame, and what energies and stresses go with
the forces: the potential is -∫ f dr and the virial Σ r f. The fit is robust: weights fall with the residual, and frames
whose forces are of another size do not enter it. It says little for metals and covalent solids, and `quality` shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxelyte.data.labels import Labels

if TYPE_CHECKING:
    from ase import Atoms

CUTOFF, SHORTEST, FUNCTIONS = 5.0, 0.6, 14
"""Å, Å, and Gaussians in ln r between them, for each pair of species."""

MOST_ENTRIES = 5e6
"""Entries of the design matrix, which bounds the fit to 40 MB and about a second; of the frames beyond the worst join a
second fit."""

ITERATIONS = 6
LEAST_ROWS = 3
"""Force components for each coefficient: with fewer the fit would follow the labels that it has to judge."""


class Prediction(NamedTuple):
    """Of one frame: energy in eV up to constants of the species, forces (atoms, 3) in eV/Å, virial (3, 3) in eV."""

    energy: float
    forces: np.ndarray
    virial: np.ndarray


class PairModel(NamedTuple):
    """Tabulated pair forces and potentials.

    Attributes:
        kinds: atomic numbers, sorted.
        grid: Å.
        forces: shape (pairs, grid), eV/Å, positive where atoms repel each other.
        potentials: shape (pairs, grid), eV.
    """

    kinds: np.ndarray
    grid: np.ndarray
    forces: np.ndarray
    potentials: np.ndarray

    def predict(self, frame: Atoms) -> Prediction:
        """Energy, forces and virial of a frame; species that the fit did not have exert no forces."""
        first, second, vectors, distances = _pairs(frame)
        known = np.isin(frame.numbers, self.kinds)
        kept = known[first] & known[second]
        first, second, vectors, distances = (x[kept] for x in (first, second, vectors, distances))
        pair = _pair_of(self.kinds, frame.numbers, first, second)
        # One table after the other in one array, so that a single interpolation serves all pairs.
        step = self.grid[1] - self.grid[0]
        place = np.clip((distances - self.grid[0]) / step, 0.0, len(self.grid) - 1.001)
        low = place.astype(int)
        share = place - low
        flat = pair * len(self.grid) + low

        def at(table: np.ndarray) -> np.ndarray:
            line = table.reshape(-1)
            return (1.0 - share) * line[flat] + share * line[flat + 1]

        pull = (at(self.forces) / distances)[:, None] * vectors  # on the second atom
        forces = np.stack([np.bincount(second, pull[:, c], len(frame)) for c in range(3)], axis=1)
        return Prediction(0.5 * float(at(self.potentials).sum()), forces, 0.5 * vectors.T @ pull)


def fit_pair_model(frames: Sequence[Atoms], labels: Sequence[Labels]) -> PairModel | None:
    """Fit to the forces of all frames, or of some; those that it describes worst then join, and it is fitted again.

    Distances that only a few frames have (close contacts in hot ones) are known in this way, while a wrong label still
    has little weight.

    Returns:
        The model, or None where there are too few forces for it.
    """
    kinds = np.unique(np.concatenate([frame.numbers for frame in frames]))
    groups = similar_frames(labels)
    similar = groups[0] if groups else []
    columns = FUNCTIONS * len(kinds) * (len(kinds) + 1) // 2
    sizes = np.cumsum([3 * len(frames[n]) for n in similar])
    room = max(MOST_ENTRIES / columns, 2 * LEAST_ROWS * columns)
    if not similar or sizes[-1] <= room:
        return _fitted(frames, labels, similar, kinds)
    fitting = max(1, int(np.searchsorted(sizes, room, "right")))
    chosen = [similar[n] for n in np.unique(np.linspace(0, len(similar) - 1, fitting).astype(int))]
    model = _fitted(frames, labels, chosen, kinds)
    if model is None:
        return None
    others = sorted(set(similar) - set(chosen))
    worst = [float(np.nanmax(np.abs(labels[n].forces - model.predict(frames[n]).forces))) for n in others]
    joined = [others[n] for n in np.argsort(worst)[::-1][: max(4, fitting // 3)]]
    return _fitted(frames, labels, sorted(chosen + joined), kinds)


def _fitted(
    frames: Sequence[Atoms], labels: Sequence[Labels], chosen: Sequence[int], kinds: np.ndarray
) -> PairModel | None:
    if not chosen:
        return None
    columns = FUNCTIONS * len(kinds) * (len(kinds) + 1) // 2
    design = np.concatenate([_design(frames[n], kinds) for n in chosen])
    target = np.concatenate([labels[n].forces for n in chosen])
    owner = np.searchsorted(kinds, np.concatenate([frames[n].numbers for n in chosen]))
    known = np.isfinite(target).all(axis=1)
    design, target, owner = design[known], target[known], owner[known]
    active = np.abs(design).max(axis=(0, 1), initial=0.0) > 1e-3
    if target.size < LEAST_ROWS * np.count_nonzero(active) or not np.any(active):
        return None
    solution = np.zeros(columns)
    solution[active] = _robust_solution(design[:, :, active], target, owner)
    grid = np.linspace(0.3, CUTOFF, 1500)
    forces = solution.reshape(-1, FUNCTIONS) @ _functions(grid).T
    step = grid[1] - grid[0]
    halves = 0.5 * step * (forces[:, 1:] + forces[:, :-1])
    potentials = np.concatenate([np.cumsum(halves[:, ::-1], axis=1)[:, ::-1], np.zeros((len(forces), 1))], axis=1)
    return PairModel(kinds, grid, forces, potentials)


def similar_frames(labels: Sequence[Labels]) -> list[list[int]]:
    """Frames by the size of their forces, divided where it jumps by a factor of four; the largest group first.

    Relaxed structures stand apart in this way, and frames in another unit.
    """
    size = np.array([np.sqrt(np.nanmean(label.forces**2)) if label.has("forces") else 0.0 for label in labels])
    there = np.flatnonzero(size > 0)
    if not len(there):
        return []
    order = there[np.argsort(size[there])]
    gaps = np.diff(np.log(size[order]))
    groups = np.split(order, np.flatnonzero(gaps > np.log(4.0)) + 1)
    groups.sort(key=lambda group: (len(group), size[group].mean()), reverse=True)
    return [sorted(group.tolist()) for group in groups]


def _robust_solution(design: np.ndarray, target: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Coefficients by iteratively reweighted least squares; each species counts relative to its own forces."""
    atoms, _, columns = design.shape
    size = np.linalg.norm(target, axis=1)
    typical = _medians(size, owner)
    floor = np.maximum(typical, 1e-3 * max(float(np.median(size)), 1e-12))
    weight = np.minimum(1.0, 3.0 * floor[owner] / np.maximum(size, 1e-300)) / floor[owner]
    solution = np.zeros(columns)
    for _ in range(ITERATIONS):
        rows = (design * weight[:, None, None]).reshape(3 * atoms, columns)
        normal = rows.T @ rows
        normal += 1e-6 * np.trace(normal) / columns * np.eye(columns)
        solution = np.linalg.solve(normal, rows.T @ (target * weight[:, None]).reshape(-1))
        residual = np.linalg.norm(target - design @ solution, axis=1)
        scale = np.maximum(_medians(residual, owner), 0.02 * floor)
        weight = 1.0 / (scale[owner] * np.sqrt(1.0 + (residual / (3.0 * scale[owner])) ** 2))
    return solution


def _medians(values: np.ndarray, owner: np.ndarray) -> np.ndarray:
    return np.array([np.median(values[owner == k]) if np.any(owner == k) else 0.0 for k in range(owner.max() + 1)])


def _functions(r: np.ndarray) -> np.ndarray:
    """g_k(r) with the smooth end at the cut-off, shape (distances, functions)."""
    place = np.log(np.maximum(r, 0.05) / SHORTEST) / np.log(CUTOFF / SHORTEST) * (FUNCTIONS - 1)
    bumps = np.exp(-0.5 * ((place[:, None] - np.arange(FUNCTIONS)) / 0.9) ** 2)
    return bumps * np.maximum(1.0 - (r[:, None] / CUTOFF) ** 2, 0.0) ** 2


def _pairs(frame: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    from vesin import NeighborList

    first, second, vectors, distances = NeighborList(cutoff=CUTOFF, full_list=True).compute(
        points=frame.positions, box=frame.cell.complete().array, periodic=frame.pbc, quantities="ijDd"
    )
    kept = distances > 1e-6
    return first[kept].astype(np.int64), second[kept].astype(np.int64), vectors[kept], distances[kept]


def _pair_of(kinds: np.ndarray, numbers: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Number of the pair of species of each pair of atoms."""
    species = np.searchsorted(kinds, numbers)
    low = np.minimum(species[first], species[second])
    high = np.maximum(species[first], species[second])
    return low * len(kinds) - low * (low - 1) // 2 + high - low


def _design(frame: Atoms, kinds: np.ndarray) -> np.ndarray:
    """Forces of each function with coefficient one, shape (atoms, 3, pairs * functions)."""
    first, second, vectors, distances = _pairs(frame)
    pair = _pair_of(kinds, frame.numbers, first, second)
    number = len(kinds) * (len(kinds) + 1) // 2
    values = _functions(distances)
    unit = vectors / distances[:, None]
    out = np.zeros((len(frame), number, 3, FUNCTIONS))
    place = second * number + pair
    flat = len(frame) * number
    for c in range(3):
        for k in range(FUNCTIONS):
            out[:, :, c, k] = np.bincount(place, unit[:, c] * values[:, k], flat).reshape(len(frame), number)
    return out.transpose(0, 2, 1, 3).reshape(len(frame), 3, number * FUNCTIONS)
