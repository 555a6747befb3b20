"""Positions that follow each atom across the faces of its cell, whatever a program made of them.

Files hold positions unwrapped, wrapped into one cell, or both in turn: some programs wrap at a restart only, or whole
molecules, or what they were asked to. What counts is therefore decided for each atom, step and lattice vector: a step
that is a sum of lattice vectors and little more is taken back where all other steps are short. Steps about half a cell
long cannot be judged one by one; `_free` then asks whether the atoms leave the cell as free walkers do.

Where the cell changes (constant pressure), positions are fractional coordinates times the mean cell: displacements
leave out the dilation of the cell, which otherwise moves an atom the more, the farther it has gone (von Bülow,
Bullerjahn and Hummer, J. Chem. Phys. 153, 021101 (2020)).
"""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import numpy as np

from jaxelyte.checks import caution
from jaxelyte.errors import InputError
from jaxelyte.observables.jumps import JUMP, NORMAL, Steps, check_jumps
from jaxelyte.observables.sampling import check_finite, complete_cells
from jaxelyte.system import perpendicular_widths
from jaxelyte.trajectory import Trajectory

CLOSE = 0.4
"""Of a cell: steps longer than this, whole lattice vectors aside, are too close to half of one to be judged."""

FEW, SOME = 0.003, 0.03
"""Shares of such steps. Mistaken ones cost less than 0.2 % of the diffusion coefficient below the first (Gaussian steps
of 0.135 cells), and up to 2.5 % below the second, which is worth a warning."""

OFTEN = 0.05
"""Share of such steps from which on an atom is judged apart from slower ones of its species."""

CELL = 1.3
"""Of a cell: atoms of molecules that are wrapped as a whole stay within this much."""


def unwrapped(trajectory: Trajectory, replica: int, *, drift: bool) -> np.ndarray:
    """Unwrapped positions of one replica, (frames, atoms, 3) in float64, Å.

    Args:
        trajectory: the frames. Where they are not known to be unwrapped, jumps by lattice vectors are taken back.
        replica: which of them.
        drift: take positions relative to the centre of mass.

    Raises:
        InputError: a position that is not finite; frames so far apart that jumps cannot be told from motion; atoms that
            jump by anything else than lattice vectors, as in a box that the trajectory does not know.

    Warns:
        UserWarning: frames so far apart that a few steps may have been mistaken.
    """
    positions = np.asarray(trajectory.positions[:, replica], np.float64)
    check_finite(positions, trajectory, 0, replica, "position")
    if len(positions) > 1:
        positions = _continuous(trajectory, replica, positions)
    if drift:
        masses = trajectory.masses[replica] / trajectory.masses[replica].sum()
        positions = positions - np.einsum("fad,a->fd", positions, masses)[:, None]
    return positions


def check_continuous(trajectory: Trajectory) -> None:
    """Raise `InputError` where atoms jump along a direction in which the trajectory is not periodic.

    Such positions are wrapped into a box that is not known, so that distances across its faces are wrong.
    """
    if all(trajectory.pbc) or len(trajectory) < 2:
        return
    for replica in range(trajectory.replicas):
        positions = np.asarray(trajectory.positions[:, replica], np.float64)
        check_finite(positions, trajectory, 0, replica, "position")
        steps = _steps_of(trajectory, replica, *_fractional(trajectory, replica, positions))
        check_jumps(replace(steps, values=np.where(steps.pbc, 0.0, steps.values)), None)


def _continuous(trajectory: Trajectory, replica: int, positions: np.ndarray) -> np.ndarray:
    """Positions without jumps, times the mean cell; the same array where there is nothing to do."""
    fractional, cells = _fractional(trajectory, replica, positions)
    steps = _steps_of(trajectory, replica, fractional, cells)
    laps = _laps(steps)
    check_jumps(steps, laps)
    if laps is not None:
        fractional = fractional.copy()
        fractional[1:] -= np.cumsum(laps, axis=0)
    if laps is None and len(cells) == 1:
        return positions
    return fractional @ cells.mean(axis=0)


def _fractional(trajectory: Trajectory, replica: int, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in units of the lattice vectors, and the cells: one, or one for each frame."""
    if not any(trajectory.pbc):
        return positions, np.eye(3)[None]
    varying = trajectory.cells.ndim == 4
    cells = complete_cells(trajectory.cells[:, replica] if varying else trajectory.cells[replica][None], trajectory.pbc)
    return positions @ np.linalg.inv(cells), cells


def _steps_of(trajectory: Trajectory, replica: int, fractional: np.ndarray, cells: np.ndarray) -> Steps:
    return Steps(
        values=np.diff(fractional, axis=0),
        span=np.ptp(fractional, axis=0),
        extent=np.ptp(fractional, axis=(0, 1)),
        pbc=np.asarray(trajectory.pbc),
        numbers=np.asarray(trajectory.numbers[replica]),
        widths=perpendicular_widths(cells.mean(axis=0)),
        trajectory=trajectory,
        replica=replica,
    )


def _laps(steps: Steps) -> np.ndarray | None:
    """Whole lattice vectors to be taken back, (steps, atoms, 3); None where there is none."""
    laps = np.where(steps.pbc, np.round(steps.values), 0.0)
    if not np.any(laps):
        return None
    rest = np.where(steps.pbc, steps.values - laps, 0.0)
    _follow_translations(steps, laps, rest)
    if steps.trajectory.unwrapped:
        # Known to be unwrapped, yet steps are short or whole cells: wrapped after all, as by a restart.
        laps[:, :, np.max(np.abs(rest), axis=(0, 1)) >= JUMP[0]] = 0.0
    else:
        _judge(steps, laps, np.abs(rest) > CLOSE)
    return laps if np.any(laps) else None


def _judge(steps: Steps, laps: np.ndarray, close: np.ndarray) -> None:
    """Leave alone, in place, the steps of free walkers; refuse what cannot be decided, or would be far off."""
    doubtful = 0.0
    for number in np.unique(steps.numbers) if np.any(close) else ():
        alike = np.flatnonzero(steps.numbers == number)
        for direction in np.flatnonzero(steps.pbc):
            for group in _alike(close[:, alike, direction], alike):
                there = close[:, group, direction]
                share = float(there.mean())
                if not np.any(there) or not np.any(laps[:, group, direction]):
                    continue
                few = share <= FEW or (np.sum(there) <= 2 and share <= OFTEN)
                if _free(steps, group, int(direction)):
                    laps[:, group, direction] = 0.0
                elif few:
                    continue
                elif share > SOME:
                    _refuse_sparse(steps, group, int(direction), share)
                else:
                    doubtful = max(doubtful, share)
    if doubtful:
        caution(
            f"frames are far apart: {doubtful:.1%} of the steps between them are longer than {CLOSE:g} of the cell, so "
            "that some steps across a face were mistaken; values are low by some percent: store frames more often"
        )


def _alike(close: np.ndarray, atoms: np.ndarray) -> list[np.ndarray]:
    """Atoms of one species, those apart that take long steps more often than the others."""
    often = (close.mean(axis=0) > OFTEN) & (close.sum(axis=0) >= 5)
    return [group for group in (atoms[often], atoms[~often]) if len(group)]


def _follow_translations(steps: Steps, laps: np.ndarray, rest: np.ndarray) -> None:
    """Count lattice vectors anew, in place, where all atoms are moved together, as by centring a solute."""
    close = np.abs(rest) > CLOSE
    for step, direction in np.argwhere(np.any(close, axis=1)):
        values = steps.values[step, :, direction]
        common = np.mean(np.exp(2j * np.pi * values))
        shift = float(np.angle(common)) / (2.0 * np.pi)
        counted = np.round(values - shift)
        left = values - shift - counted
        if (
            len(values) > 2
            and abs(common) > 0.5
            and np.sum(np.abs(left) > CLOSE) < 0.5 * np.sum(close[step, :, direction])
        ):
            laps[step, :, direction], rest[step, :, direction] = counted, left


def _free(steps: Steps, group: np.ndarray, direction: int) -> bool:
    """Whether long steps of alike atoms are those of a free walk, rather than jumps across the cell.

    A walk of n steps of standard deviation s covers 1.6 s sqrt(n) on average; wrapped atoms never leave their cell, and
    atoms that are wrapped now and then move in some steps as in no other.
    """
    from scipy.stats import chi2, norm

    values, span = np.abs(steps.values[:, group, direction]), steps.span[group, direction]
    count, atoms = values.shape
    size = float(np.median(values)) / NORMAL
    reach = 1.6 * size * np.sqrt(count)
    kept = span <= CELL
    if reach <= 2.0 or (np.any(kept) and reach > 4.0) or (np.all(kept) and atoms >= 4):
        return False
    # Atoms of one species may differ in mobility, those of one molecule move together.
    own = np.median(values, axis=0) / NORMAL if count >= 20 else np.full(atoms, size)
    scaled = values / np.maximum(own, 0.2 * size)
    if np.any(scaled > 7.0) or np.sum(scaled > 4.0) >= max(5.0, 10.0 * 2.0 * norm.sf(4.0) * values.size):
        return False
    independent = max(1.0, atoms / 3.0)
    return bool(np.all(np.mean(scaled**2, axis=1) < chi2.isf(1e-4 / count, independent) / independent))


def _refuse_sparse(steps: Steps, group: np.ndarray, direction: int, share: float) -> NoReturn:
    from ase.data import chemical_symbols

    values = np.abs(steps.values[:, group, direction])
    times = np.asarray(steps.trajectory.times, np.float64)
    apart = f", {times[1] - times[0]:g} fs," if np.all(np.isfinite(times[:2])) else ""
    raise InputError(
        f"frames are too far apart{apart} to unwrap the positions: of the steps of "
        f"{chemical_symbols[steps.numbers[group[0]]]} along lattice vector {'abc'[direction]} "
        f"({steps.widths[direction]:.4g} Å), {share:.0%} are longer than {CLOSE:g} of it, whole lattice vectors aside "
        f"(the longest is {values.max() * steps.widths[direction]:.3g} Å). Store frames more often; or, if the "
        "positions are unwrapped, say so: dataclasses.replace(trajectory, unwrapped=True)"
    )
