"""Steps between frames that neither motion nor lattice vectors explain: hidden cells, wrong ones, joined runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jaxelyte.checks import caution
from jaxelyte.errors import InputError
from jaxelyte.trajectory import Trajectory

NORMAL = 0.6744897501960817
"""Median of the size of a normal deviate."""

MISMATCH = 3.0
"""Standard deviations of an ordinary step by which jumps may differ from lattice vectors on average."""

GAP = 3.0
"""Ratio of the shortest jump to the longest ordinary step from which on they are two kinds of motion."""

JUMP = (0.25, 5.0)
"""Of a cell, and in Å where nothing repeats: shorter steps are no jumps."""


@dataclass(frozen=True)
class Steps:
    """Steps of all atoms between frames, in units of the lattice vectors, or in Å where nothing repeats.

    Attributes:
        values: (steps, atoms, 3).
        span: (atoms, 3), difference of the largest and the smallest coordinate of each atom.
        extent: (3,), the same of all atoms.
        pbc: periodic directions.
        numbers: (atoms,), atomic numbers.
        widths: (3,), Å, one unit along each direction.
        trajectory: what they come from, for messages.
        replica: likewise.
    """

    values: np.ndarray
    span: np.ndarray
    extent: np.ndarray
    pbc: np.ndarray
    numbers: np.ndarray
    widths: np.ndarray
    trajectory: Trajectory
    replica: int

    def between(self, step: int) -> str:
        """The two frames of a step, and whose they are."""
        first, second = self.trajectory.steps[step], self.trajectory.steps[step + 1]
        counted = "" if first == step else f" (MD steps {first} and {second})"
        several = f" of replica {self.replica}" if self.trajectory.replicas > 1 else ""
        return f"frames {step} and {step + 1}{counted}{several}"

    def atom(self, number: int) -> str:
        """An atom by its number and symbol."""
        from ase.data import chemical_symbols

        return f"atom {number} ({chemical_symbols[self.numbers[number]]})"


def check_jumps(steps: Steps, laps: np.ndarray | None) -> None:
    """Judge steps that are far longer than all others though lattice vectors are taken back.

    Args:
        steps: as they are in the file.
        laps: (steps, atoms, 3), lattice vectors to be taken back; None for none.

    Raises:
        InputError: atoms that jump where nothing repeats, or by vectors that are not those of the cell; a step in which
            all move as in no other.

    Warns:
        UserWarning: atoms that jump by no lattice vector of a periodic cell.
    """
    for direction in range(3):
        periodic, width = bool(steps.pbc[direction]), float(steps.widths[direction])
        least = min(JUMP[0], JUMP[1] / width) if periodic else JUMP[1]
        rest = steps.values[:, :, direction] - (0.0 if laps is None else laps[:, :, direction])
        if rest.shape[1] > 2:  # all atoms may be moved together
            rest = rest - np.median(rest, axis=1, keepdims=True)
        size = np.abs(rest)
        if size.size < 20:
            continue
        if np.any(size > (0.6 * least if periodic else least)):
            _refuse_break(steps, size, direction)
        if laps is not None:
            _check_cell(steps, laps[:, :, direction], rest, direction)
        if not np.any(size > least):
            continue
        found = _isolated(size, least)
        if found is None:
            continue
        jumps, others = found
        step, atom = (int(i) for i in np.argwhere(jumps)[0])
        where = f"lattice vector {'abc'[direction]}" if np.any(steps.pbc) else "xyz"[direction]
        text = (
            f"{steps.atom(atom)} jumps by {abs(steps.values[step, atom, direction]) * width:.3g} Å along {where} "
            f"between {steps.between(step)} ({int(jumps.sum()):,} such steps), while other steps are at most "
            f"{others * width:.2g} Å"
        )
        if not periodic or steps.extent[direction] <= size[jumps].max() + others:
            raise InputError(
                f"{text}: the positions seem to be wrapped into a periodic box that is not the cell of the "
                "trajectory; give it, open_trajectory(path, cell=…), or set cell and pbc of the frames"
            )
        caution(f"{text}: that is no lattice vector, so that the cell may be wrong, unless atoms hop so far")
        return


def _check_cell(steps: Steps, laps: np.ndarray, rest: np.ndarray, direction: int) -> None:
    """Raise `InputError` where jumps are longer or shorter than lattice vectors by more than what atoms move."""
    jumped, usual = laps != 0.0, np.median(np.abs(rest), axis=0) / NORMAL
    if np.sum(jumped) < 3 or not np.all(usual[jumped.any(axis=0)] > 0.0):
        return
    # An atom that leaves through a face moves towards it, by 1.25 standard deviations on average.
    outwards = -np.sign(laps) * rest / np.where(usual > 0.0, usual, 1.0)
    if abs(np.mean(outwards[jumped])) <= MISMATCH:
        return
    width = float(steps.widths[direction])
    length = width * float(np.mean(np.abs(steps.values[:, :, direction][jumped])))
    raise InputError(
        f"atoms jump by {length:.4g} Å on average along lattice vector {'abc'[direction]} as if they crossed a cell of "
        f"that width, but the cell is {width:.4g} Å wide there: give the cell that the positions were wrapped into"
    )


def _isolated(size: np.ndarray, least: float) -> tuple[np.ndarray, float] | None:
    """Steps (steps, atoms) of another kind than all others, and the longest other one; None where there are none.

    They are apart from the others by `GAP`, or more in number than those of intermediate length: the lengths of free
    steps become rarer the longer they are.
    """
    long = np.sort(size[size > least / GAP])
    core = float(np.max(size, where=size <= least / GAP, initial=0.0))
    edges = np.concatenate([[core], long])
    gaps = np.flatnonzero((edges[1:] > GAP * edges[:-1]) & (edges[1:] > least))
    if len(gaps):
        others, jumps = float(edges[gaps[-1]]), size >= edges[gaps[-1] + 1]
    else:
        jumps = _crowded(size, np.full(size.shape[1], size.max()), least, together=True)
        if not np.any(jumps):
            jumps = _crowded(size, size.max(axis=0), least, together=False)
        if not np.any(jumps):
            return None
        others = float(np.max(size[~jumps]))
    # An atom that does so in many steps simply is fast.
    often = np.all(jumps[:, jumps.any(axis=0)].mean(axis=0) > 0.3)
    return None if often or jumps.mean() > 0.3 else (jumps, others)


def _crowded(size: np.ndarray, top: np.ndarray, least: float, *, together: bool) -> np.ndarray:
    """Steps of the upper third of lengths, of all atoms together or of each, where they outnumber the middle third."""
    jumps, between = size > top * 2.0 / 3.0, (size > top / 3.0) & (size <= top * 2.0 / 3.0)
    axis = None if together else 0
    many, few = np.sum(jumps, axis=axis), np.sum(between, axis=axis)
    return jumps & (top > least) & (many > few + 5.0 * np.sqrt(few + 1.0))


def _refuse_break(steps: Steps, size: np.ndarray, direction: int) -> None:
    """Raise `InputError` where all atoms move in one step as in no other: frames are missing, or of another run."""
    square = np.sqrt(np.mean(size**2, axis=1))
    usual, worst = float(np.median(square)), int(np.argmax(square))
    least = 0.6 * JUMP[0] if steps.pbc[direction] else JUMP[1]
    moved = float(np.mean(size[worst] > 3.0 * usual))  # not a single atom that was wrapped
    if len(square) < 8 or size.shape[1] < 4 or moved < 0.5 or square[worst] <= max(5.0 * usual, least):
        return
    width = float(steps.widths[direction])
    raise InputError(
        f"the atoms move by {square[worst] * width:.3g} Å (root mean square) between {steps.between(worst)}, and by "
        f"{usual * width:.2g} Å between most others: frames are missing there, or are of another run, or of one that "
        "was wrapped into a box that is not the cell; analyse the parts one by one"
    )
