"""Which of the frames given are trained on: isolated atoms become references, broken frames are left out or refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxelyte import checks
from jaxelyte.data.labels import Labels, frames_named
from jaxelyte.data.outliers import Check, find_outliers, outlier_message, refuse_or_drop
from jaxelyte.errors import Findings, InputError
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

ALONE = 6.0
"""Å; a single atom whose images are at least that far away is isolated."""


class Selection(NamedTuple):
    """Frames to train on, and what became of the others.

    Attributes:
        kept: numbers of the frames to train on, validate and test with.
        excluded: numbers that the caller excluded.
        dropped: frames that were left out as outliers, with the reasons.
        isolated: frames of isolated atoms, by atomic number.
        check: of the frames kept.
    """

    kept: np.ndarray
    excluded: list[int]
    dropped: dict[int, list[str]]
    isolated: dict[int, list[int]]
    check: Check

    def summary(self) -> dict[str, Any]:
        """JSON: what was left out of the frames given."""
        from ase.data import chemical_symbols

        return {
            "excluded": self.excluded,
            "outliers_dropped": {str(n): reasons for n, reasons in sorted(self.dropped.items())},
            "isolated_atoms": {chemical_symbols[z]: numbers for z, numbers in self.isolated.items()},
        }


def select_frames(
    frames: Sequence[Atoms],
    labels: Sequence[Labels],
    *,
    exclude: Sequence[int],
    drop_outliers: bool | None,
    findings: Findings | None = None,
) -> Selection:
    """Leave out what is not to be trained on.

    Args:
        frames: all of them.
        labels: theirs.
        exclude: numbers of frames to leave out.
        drop_outliers: whether to leave out frames whose labels do not go with the others; None to refuse them.
        findings: takes the refusal; the selection is then made without the outliers.

    Raises:
        InputError: numbers of no frame, outliers without a decision, or nothing left.

    Warns:
        UserWarning: the frames that were left out as outliers, and frames in doubt, which stay.
    """
    excluded = _checked_numbers(exclude, len(frames))
    isolated = _isolated(frames, set(excluded))
    alone = {n for numbers in isolated.values() for n in numbers}
    kept = [n for n in range(len(frames)) if n not in alone and n not in set(excluded)]
    if not kept:
        raise InputError(f"exclude leaves none of the {counted(len(frames), 'frame')} to train on")
    check = find_outliers([frames[n] for n in kept], [labels[n] for n in kept])
    reasons = {kept[n]: why for n, why in check.reasons.items()}
    doubts = {kept[n]: why for n, why in check.doubts.items()}
    count = len(kept)
    if findings is not None and drop_outliers is None:
        with findings.part():
            refuse_or_drop(reasons, count, drop_outliers)
        dropped = sorted(reasons)
    else:
        dropped = refuse_or_drop(reasons, count, drop_outliers)
    if dropped and drop_outliers:
        checks.caution(f"left out: {outlier_message(reasons, count)}")
    if 0 < len(dropped) < count:
        left = set(dropped)
        places = [place for place, n in enumerate(kept) if n not in left]
        predictions = None if check.predictions is None else [check.predictions[p] for p in places]
        kept = [kept[p] for p in places]
        check = check._replace(reasons={}, doubts={}, predictions=predictions)
    if doubts and drop_outliers is not False:
        checks.caution(
            f"in doubt, but trained on: {outlier_message(doubts, count)} Look at them; exclude=[…] leaves frames out, "
            "drop_outliers=False silences this warning"
        )
    return Selection(np.array(kept), excluded, {n: reasons[n] for n in dropped}, isolated, check)


def isolated_energies(selection: Selection, labels: Sequence[Labels]) -> dict[int, float]:
    """Energy in eV of the isolated atom of each element that has one.

    Raises:
        InputError: several energies of one element.
    """
    from ase.data import chemical_symbols

    found = {}
    for number, members in selection.isolated.items():
        energies = {n: labels[n].energy for n in members if labels[n].has("energy")}
        if not energies:
            continue
        if max(energies.values()) - min(energies.values()) > 1e-3:
            listed = ", ".join(f"{energy:.6g} eV in frame {n}" for n, energy in energies.items())
            raise InputError(
                f"isolated atoms of {chemical_symbols[number]} have several energies ({listed}), perhaps of several "
                "charges or spins; exclude=[…] all but one"
            )
        found[number] = next(iter(energies.values()))
    return found


def _checked_numbers(exclude: Sequence[int], frames: int) -> list[int]:
    exclude = checks.sequence("exclude", exclude, "frame numbers")
    try:
        numbers = [int(n) for n in exclude]
        whole = all(not isinstance(n, bool) and int(n) == n for n in exclude)
    except (TypeError, ValueError) as error:
        raise InputError(f"exclude = {exclude!r} must be a list of frame numbers") from error
    wrong = [n for n in numbers if not -frames <= n < frames]
    if wrong or not whole:
        raise InputError(f"exclude = {list(exclude)!r} must be numbers of frames, from 0 to {frames - 1}")
    return sorted({n % frames for n in numbers})


def _isolated(frames: Sequence[Atoms], excluded: set[int]) -> dict[int, list[int]]:
    """Frames of one isolated atom among frames of several atoms, by atomic number."""
    single = [n for n, frame in enumerate(frames) if len(frame) == 1 and n not in excluded and _far_apart(frame)]
    if len(single) + len(excluded) == len(frames):
        return {}
    found: dict[int, list[int]] = {}
    for n in single:
        found.setdefault(int(frames[n].numbers[0]), []).append(n)
    return found


def _far_apart(frame: Atoms) -> bool:
    from vesin import NeighborList

    if not any(frame.pbc):
        return True
    (first,) = NeighborList(cutoff=ALONE, full_list=False).compute(
        points=frame.positions, box=frame.cell.complete().array, periodic=frame.pbc, quantities="i"
    )
    return len(first) == 0


def described_selection(summary: dict[str, Any]) -> str:
    """What was left out, in a line; empty if nothing was."""
    parts = []
    if summary["isolated_atoms"]:
        listed = ", ".join(f"{symbol} ({frames_named(n)})" for symbol, n in summary["isolated_atoms"].items())
        parts.append(f"isolated atoms give reference energies: {listed}")
    if summary["excluded"]:
        parts.append(f"excluded: {frames_named(summary['excluded'])}")
    if summary["outliers_dropped"]:
        parts.append(f"outliers left out: {frames_named([int(n) for n in summary['outliers_dropped']])}")
    return "; ".join(parts)
