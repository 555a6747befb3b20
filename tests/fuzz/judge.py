"""Whether what a reader did with a damaged file was right."""

from __future__ import annotations

import re
import traceback
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fuzz.mutations import Damaged
from fuzz.seeds import Case, Content
from jaxelyte.errors import JaxelyteError


class Outcome(NamedTuple):
    """What a reader did: content with warnings, or an error of the library or of something else."""

    content: Content | None
    warned: frozenset[str]
    error: str = ""
    foreign: str = ""


def attempt(case: Case, folder: Path) -> Outcome:
    """Read, and catch everything."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            content, error, foreign = case.read(folder), "", ""
        except JaxelyteError as caught:
            content, error, foreign = None, " ".join(str(caught).split())[:200], ""
        except BaseException as caught:  # noqa: BLE001 - whatever it is, it is a finding
            last = traceback.extract_tb(caught.__traceback__)[-3:]
            where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(last))
            content, error, foreign = None, "", f"{type(caught).__name__}: {str(caught)[:150]} at {where}"
    texts = frozenset(_plain(str(w.message)) for w in seen if issubclass(w.category, UserWarning))
    return Outcome(content, texts, error, foreign)


def _plain(text: str) -> str:
    """A warning without the paths and numbers in it."""
    return re.sub(r"\S*/\S*|\d+", "", text)


def complaint(case: Case, damaged: Damaged, sound: Outcome, found: Outcome) -> str:
    """What is wrong with an outcome; empty if nothing is."""
    if found.foreign:
        return f"error of another package: {found.foreign}"
    if found.content is None:
        return "" if found.error.strip() else "an error without a message"
    if found.warned - sound.warned or damaged.content.strip() in case.shorter:
        return ""
    assert sound.content is not None
    whole, part = sound.content, found.content
    if not whole.positions:
        return "content changed without a word" if damaged.lossless and part.other != whole.other else ""
    return _of_frames(damaged, whole, part) or _of_cells_and_times(case, damaged, whole, part)


def _of_frames(damaged: Damaged, whole: Content, part: Content) -> str:
    """Frames or atoms that are lost or invented without a warning."""
    atoms = {len(one) for one in part.positions}
    if len(part.positions) < len(whole.positions):
        return f"{len(part.positions)} of {len(whole.positions)} frames without a word"
    if atoms != {len(whole.positions[0])}:
        return f"frames of {sorted(atoms)} atoms, not {len(whole.positions[0])}, without a word"
    if damaged.cut and not all(any(_same(a, b) for b in whole.positions) for a in part.positions):
        return "positions that the sound file does not have, without a word"
    if damaged.lossless and not all(map(_same, part.positions, whole.positions)):
        return "positions changed without a word"
    return ""


def _of_cells_and_times(case: Case, damaged: Damaged, whole: Content, part: Content) -> str:
    periodic = [bool(np.linalg.det(cell)) for cell in part.cells]
    # A PDB file that states its cell once is, without that line, the sound file of a cluster.
    cluster = case.target.endswith(".pdb") and b"CRYST1" not in damaged.content and not any(periodic)
    if np.linalg.det(whole.cells[0]) and not all(periodic) and not cluster:
        return "the cell is lost without a word"
    if not np.all(np.isfinite([one for frame in part.positions for one in frame.ravel()])):
        return "positions that are not finite, without a word"
    known = np.isfinite(part.times)
    if np.all(np.isfinite(whole.times)) and (
        not np.all(known) if damaged.lossless else case.ordered and len(set(known)) > 1
    ):
        return "times are lost without a word"  # unknown times of all frames are refused where they are needed
    if case.ordered and np.all(np.diff(whole.times) > 0) and np.any(np.diff(part.times) <= 0):
        return f"times do not rise ({part.times}), without a word"
    return ""


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, atol=1e-5))
