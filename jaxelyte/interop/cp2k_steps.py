"""Steps of CP2K's files: those that restarts wrote again, and the frames of several files that belong together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.interop.cp2k import Block, CellRow, read_blocks, tell, to_atoms
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

SAME_POSITIONS = 1e-3
"""Å; a restart that repeats a step within it has not left the earlier run."""


def read_positions(path: str | Path, *, kinds: Mapping[str, str] | None = None) -> list[Atoms]:
    """Frames of CP2K's file of positions alone, each step once, without a cell.

    Args:
        path: the xyz file, with positions in Å.
        kinds: elements by CP2K's names of kinds, see `jaxelyte.interop.kinds.element_of`.

    Returns:
        Frames with step and time (fs) in ``info``, and the energy in eV where the file has it.

    Raises:
        InputError: no such file, no complete frame, or a kind whose element is unknown.
    """
    path = Path(path)
    blocks, damage = read_blocks(path)
    kept, repeats = keep_last(blocks)
    tell(path, damage + repeats)
    return [to_atoms(block, kinds) for block in kept]


def keep_last(blocks: list[Block]) -> tuple[list[Block], list[str]]:
    """Each step once, as it was written last; a restart that left the earlier run replaces all that came later there.

    Args:
        blocks: frames of one file of positions (Å) in their order there; without steps they are kept as they are.

    Returns:
        Frames of rising steps, and what was left out.
    """
    if blocks[0].step is None:
        return blocks, []
    sound, notes = _without_strays(blocks)
    kept: list[Block] = []
    repeated: list[int] = []
    left: list[int] = []
    largest = 0.0
    for part in _parts(sound):
        new = {_step(block): block for block in part}
        older = [block for block in kept if _step(block) >= _step(part[0])]
        copies = [(block, new[_step(block)]) for block in older if _step(block) in new]
        apart = max((_distance(a, b) for a, b in copies), default=math.inf)
        rest = [block for block in older if _step(block) not in new]
        repeated += [_step(block) for block, _ in copies]
        largest = max(largest, apart if copies else 0.0)
        if rest and apart > SAME_POSITIONS:
            left += [_step(block) for block in rest]
            rest = []
        kept = sorted([*(block for block in kept if _step(block) < _step(part[0])), *rest, *part], key=_step)
    if repeated:
        differ = f"; the copies differ by up to {largest:.3g} Å" if largest > SAME_POSITIONS else ""
        notes.append(
            f"a restart wrote {counted(len(repeated), 'frame')} again ({_range(repeated)}); each step is kept once, "
            f"as it was written last{differ}"
        )
        if _step(blocks[0]) in repeated and largest > SAME_POSITIONS:
            notes.append("the first step is among them: two different runs in one file have to be read one by one")
    if left:
        notes.append(f"left out: {counted(len(left), 'frame')} that a restart did not come back to ({_range(left)})")
    times = [block.time for block in kept]
    wrong = [b for a, b in pairwise(kept) if b.time <= a.time]
    if wrong and np.all(np.isfinite(times)):
        notes.append(f"times do not rise with the steps, first at step {wrong[0].step} (line {wrong[0].line})")
    return kept, notes


def _step(block: Block) -> int:
    assert block.step is not None
    return block.step


def _range(steps: list[int]) -> str:
    return f"step {steps[0]}" if len(set(steps)) == 1 else f"steps {min(steps)} to {max(steps)}"


def _distance(a: Block, b: Block) -> float:
    return float(np.max(np.abs(a.values - b.values))) if a.labels == b.labels else math.inf


def _without_strays(blocks: list[Block]) -> tuple[list[Block], list[str]]:
    """Without single frames whose step does not lie between those before and after, which themselves are in order."""
    steps = [_step(block) for block in blocks]
    strays = [
        n
        for n in range(1, len(steps) - 1)
        if steps[n - 1] < steps[n + 1] and not steps[n - 1] <= steps[n] <= steps[n + 1]
    ]
    strays = [n for n in strays if n - 1 not in strays]
    notes = [
        f"the frame at line {blocks[n].line} is left out: its step is {steps[n]}, between {steps[n - 1]} and "
        f"{steps[n + 1]}"
        for n in strays
    ]
    return [block for n, block in enumerate(blocks) if n not in set(strays)], notes


def _parts(blocks: list[Block]) -> Iterator[list[Block]]:
    """Stretches of rising steps: what one run wrote between two restarts."""
    part = blocks[:1]
    for block in blocks[1:]:
        if _step(block) <= _step(part[-1]):
            yield part
            part = []
        part.append(block)
    yield part


class Match(NamedTuple):
    """What several files hold of one step."""

    positions: Block
    forces: Block | None
    cell: np.ndarray | None


def match_steps(
    kept: list[Block],
    blocks: list[Block],
    forces: list[Block] | None,
    cells: dict[int, list[CellRow]] | None,
) -> tuple[list[Match], list[str]]:
    """The steps that all files hold, each with frames that the same run wrote.

    Comments of CP2K name the energy, by which two copies of a step are told apart. Without it, files that hold a step
    equally often are matched in this order.

    Args:
        kept: frames of positions, each step once.
        blocks: all frames of positions.
        forces: all frames of forces, or None.
        cells: rows of the cell file, or None.

    Returns:
        The matches, and what was left out.

    Raises:
        InputError: no common step, or different atoms in one.
    """
    if kept[0].step is None or (forces is not None and forces[0].step is None):
        return _match_in_order(kept, forces, cells), []
    own, pulls = _by_step(blocks), _by_step(forces or [])
    matches: list[Match] = []
    earlier: list[int] = []
    foreign: list[int] = []
    for last in kept:
        step = _step(last)
        lines = [block for block in own[step] if block.line <= last.line]
        if (forces is not None and step not in pulls) or (cells is not None and step not in cells):
            continue
        found = (_match(block, own[step], pulls.get(step), cells[step] if cells else None) for block in reversed(lines))
        match = next((match for match in found if match is not None), None)
        if match is None:
            foreign.append(step)
            continue
        matches.append(match)
        if match.positions is not last:
            earlier.append(step)
    notes = _left_out(kept, pulls if forces is not None else None, cells)
    if earlier:
        notes.append(f"of {_range(earlier)} an earlier copy is read because the last one is not in all files")
    if foreign:
        text = f"{len(foreign)} common steps ({_range(foreign)}) have other times or energies in the other files"
        if not matches:
            raise InputError(f"{text}: the files are of different runs")
        notes.append(f"{text} and are left out")
    if not matches:
        raise InputError(f"the files have no common step: {'; '.join(notes)}")
    return matches, notes


def _match(block: Block, own: list[Block], pulls: list[Block] | None, rows: list[CellRow] | None) -> Match | None:
    """The frame of forces and the cell that belong to a copy of a step."""
    alike = max(_distance(block, other) for other in own) <= SAME_POSITIONS
    force = cell = None
    if pulls is not None:
        fitting = [p for p in pulls if _fits(p.time, block.time, 2e-3) and _fits(p.energy, block.energy, 1e-8)]
        decided = bool(fitting) and math.isfinite(block.energy) and math.isfinite(fitting[-1].energy)
        if len(pulls) == len(own) and not decided:
            fitting = [p for p in fitting if p is pulls[own.index(block)]]
        elif not (decided or alike):
            fitting = []
        if not fitting:
            return None
        force = fitting[-1]
        if force.labels != block.labels:
            raise InputError(
                f"at step {block.step} positions (line {block.line}) and forces (line {force.line}) are of other atoms"
            )
    if rows is not None:
        close = [row for row in rows if _fits(row.time, block.time, 2e-3)]
        if len(rows) == len(own):
            close = [row for row in close if row is rows[own.index(block)]]
        elif not alike and any(not np.allclose(row.vectors, rows[-1].vectors) for row in rows):
            close = []
        if not close:
            return None
        cell = close[-1].vectors
    return Match(block, force, cell)


def _fits(a: float, b: float, tolerance: float) -> bool:
    """Equal, or one of them unknown."""
    return math.isnan(a) or math.isnan(b) or abs(a - b) <= tolerance


def _match_in_order(
    kept: list[Block], forces: list[Block] | None, cells: dict[int, list[CellRow]] | None
) -> list[Match]:
    """Frames whose comments name no step, one after the other."""
    if cells is not None:
        raise InputError(
            "the comments of the positions name no step (i = …), so that no cell file fits; give a fixed cell"
        )
    if forces is None:
        return [Match(block, None, None) for block in kept]
    if len(forces) != len(kept) or any(f.step is not None for f in (kept[0], forces[0])):
        raise InputError(
            f"positions ({counted(len(kept), 'frame')}) and forces ({len(forces)}) do not both name their steps (i = "
            "… in the comments), and cannot be matched"
        )
    for n, (block, force) in enumerate(zip(kept, forces, strict=True)):
        if block.labels != force.labels:
            raise InputError(f"frame {n}: positions and forces are of other atoms")
    return [Match(block, force, None) for block, force in zip(kept, forces, strict=True)]


def _by_step(blocks: list[Block]) -> dict[int, list[Block]]:
    found: dict[int, list[Block]] = {}
    for block in blocks:
        found.setdefault(_step(block), []).append(block)
    return found


def _left_out(
    kept: list[Block],
    pulls: dict[int, list[Block]] | None,
    cells: dict[int, list[CellRow]] | None,
) -> list[str]:
    """How many steps each file holds that are not in all files; cells that are written more often are no loss."""
    steps = {"positions": {_step(block) for block in kept}}
    steps |= {} if pulls is None else {"forces": set(pulls)}
    steps |= {} if cells is None else {"cells": set(cells)}
    shared = set.intersection(*steps.values())
    left = {name: len(own - shared) for name, own in steps.items()}
    if not any(count for name, count in left.items() if name != "cells"):
        return []
    counts = ", ".join(f"{left[name]} of {counted(len(own), 'step')} of the {name}" for name, own in steps.items())
    return [f"the files hold other steps; {len(shared)} steps are in all of them, left out are {counts}"]
