"""Changes of energy between frames that lie close together, against the work of their forces and stresses.

For two frames of the same atoms that differ by small displacements u and a small strain ε,

    E_b - E_a = -½ Σ (F_a + F_b) u + V ½ (σ_a + σ_b) : ε,

exactly up to third order in both. Rattled crystals, displaced molecules, relaxations and scans have such neighbours,
and for them no model is needed to say whether energies, forces and stresses are in units that go together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxelyte.data.labels import Labels

if TYPE_CHECKING:
    from ase import Atoms

REACH, STRAIN = 0.3, 0.15
"""Å and pure: root mean square displacement of a frame, and largest component of a strain."""

STEPS = (1, 2, 3, 5)
"""Frames that are compared stand so far apart in the list."""

MOST_PAIRS = 400

ALIGNED, BOUNDS = 0.95, (0.5, 1.65)
"""Correlation from which on a slope is judged, and its bounds; sound sets have 0.65 to 1.2. Energies and
forces in atomic units give 1.9 where positions are in Å."""


class Changes(NamedTuple):
    """Between pairs of frames, in eV: of the energy, and the work of forces and of stresses (NaN without one)."""

    energy: np.ndarray
    forces: np.ndarray
    stresses: np.ndarray


def changes(frames: Sequence[Atoms], labels: Sequence[Labels]) -> Changes:
    """All pairs that are close enough, up to `MOST_PAIRS`."""
    known = [n for n, x in enumerate(labels) if x.has("energy") and np.all(np.isfinite(x.forces)) and len(frames[n])]
    groups: dict[bytes, list[int]] = {}
    for n in known:
        key = frames[n].numbers.tobytes() + np.asarray(frames[n].pbc).tobytes()
        groups.setdefault(key, []).append(n)
    pairs = [(g[k], g[k + step]) for g in groups.values() for step in STEPS for k in range(len(g) - step)]
    pairs = [pairs[k] for k in np.unique(np.linspace(0, len(pairs) - 1, MOST_PAIRS).astype(int))] if pairs else []
    found = [one for a, b in pairs if (one := _change(frames[a], frames[b], labels[a], labels[b])) is not None]
    return Changes(*np.array(found, np.float64).reshape(-1, 3).T)


def _change(a: Atoms, b: Atoms, one: Labels, two: Labels) -> tuple[float, float, float] | None:
    strain, volume = np.zeros((3, 3)), 1.0
    if any(a.pbc):
        cells = a.cell.complete().array, b.cell.complete().array
        middle = 0.5 * (cells[0] + cells[1])
        gradient = np.linalg.solve(middle, cells[1] - cells[0])
        strain, volume = 0.5 * (gradient + gradient.T), abs(float(np.linalg.det(middle)))
        # A rotation of the cell turns the forces as well, which this does not follow.
        if np.abs(strain).max() > STRAIN or np.abs(gradient - strain).max() > 0.01:
            return None
        step = np.linalg.solve(cells[1].T, b.positions.T).T - np.linalg.solve(cells[0].T, a.positions.T).T
        step -= np.round(step) * np.asarray(a.pbc)
        step = step @ middle
        turned = two.forces
    else:
        turn = _rotation(a.positions, b.positions)
        step = (b.positions - b.positions.mean(axis=0)) @ turn - (a.positions - a.positions.mean(axis=0))
        turned = two.forces @ turn
    if np.sqrt(np.mean(np.sum(step**2, axis=1))) > REACH:
        return None
    strained = np.abs(strain).max() > 1e-6
    stress = 0.5 * volume * float(np.sum((one.stress + two.stress) * strain)) if strained else 0.0
    return two.energy - one.energy, -0.5 * float(np.sum((one.forces + turned) * step)), stress


def _rotation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The matrix R, for rows of vectors, with which b R lies closest to a (Kabsch, Acta Cryst. A 32, 922 (1976))."""
    u, _, vt = np.linalg.svd((b - b.mean(axis=0)).T @ (a - a.mean(axis=0)))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt)) or 1.0])
    return (u * sign) @ vt


def slope_of(change: np.ndarray, work: np.ndarray, least: int = 6) -> tuple[float, float] | None:
    """Slope of one against the other through the origin, and their correlation; single wrong pairs count little.

    Returns:
        None where there are fewer than ``least`` pairs.
    """
    known = np.isfinite(change) & np.isfinite(work) & (work != 0)
    x, y = work[known], change[known]
    if len(x) < least:
        return None
    # Weighted median of the ratios: least absolute deviations.
    ratio, weight = y / x, np.abs(x)
    order = np.argsort(ratio)
    slope = float(ratio[order][np.searchsorted(np.cumsum(weight[order]), 0.5 * weight.sum())])
    kept = np.argsort(np.abs(y - slope * x))[: max(1, round(0.8 * len(x)))]
    size = float(np.sqrt(np.sum(x[kept] ** 2) * np.sum(y[kept] ** 2)))
    return slope, float(np.sum(x[kept] * y[kept])) / size if size > 0 else 0.0
