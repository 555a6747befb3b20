"""Splits into frames to train on, to validate with, and to leave untouched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxelyte import checks
from jaxelyte.arrays import brief_repr
from jaxelyte.errors import InputError
from jaxelyte.wording import counted

METHODS = ("blocks", "random")

PIECES = 5
"""Blocks of consecutive frames that make up the validation frames of a group, and its test frames."""


class Split(NamedTuple):
    """Frame numbers, each sorted."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    __repr__ = brief_repr


def split_frames(
    frames: int,
    *,
    validation: float = 0.1,
    test: float = 0.0,
    seed: int = 0,
    method: str = "blocks",
    groups: Sequence[Any] | None = None,
) -> Split:
    """Split frames; the same seed gives the same split.

    "blocks" puts up to `PIECES` blocks of consecutive frames into the validation, and as many into the test, at equal
    distances from a random start. Frames of a trajectory that follow each other are nearly alike: those of a random
    split have a neighbour among the training frames, and their errors are too small. Only the ends of a block have one.
    Frames in no order are split at random either way.

    Args:
        frames: how many there are.
        validation: share below 1, or number of frames.
        test: share below 1, or number of frames.
        seed: of the random numbers.
        method: "blocks" or "random".
        groups: kind of each frame, such as its composition; with "blocks", each is in each part by its share, as far as
            it has the frames. Order matters within a group only.

    Raises:
        InputError: nothing would be left to train on, or to validate with; another method.
    """
    checks.choice("method", method, METHODS)
    sizes = []
    for name, given in (("validation", validation), ("test", test)):
        wanted = checks.not_negative(name, given)
        if wanted >= 1 and int(wanted) != wanted:
            raise InputError(f"{name} = {wanted!r} must be a share below 1, or an integer, the number of frames")
        sizes.append(int(wanted) if wanted >= 1 or wanted == 0 else max(1, round(wanted * frames)))
    if sizes[0] < 1:
        raise InputError(
            "validation = 0: the learning rate and the best model follow the validation error; keep a tenth"
        )
    if sum(sizes) >= frames:
        raise InputError(
            f"{counted(frames, 'frame')} less {sizes[0]} for validation and {sizes[1]} for the test leave none to "
            "train on"
        )
    return divide(frames, sizes[0], sizes[1], seed=seed, method=method, groups=groups)


def divide(
    frames: int, validation: int, test: int, *, seed: int, method: str, groups: Sequence[Any] | None = None
) -> Split:
    """As `split_frames`, of numbers of frames that are known to be possible."""
    rng = np.random.default_rng(seed)
    if method == "random":
        order = rng.permutation(frames)
        return Split(
            np.sort(order[test + validation :]), np.sort(order[test : test + validation]), np.sort(order[:test])
        )
    kinds: dict[Any, list[int]] = {}
    for number, kind in enumerate([None] * frames if groups is None else groups):
        kinds.setdefault(kind, []).append(number)
    members = [np.array(several) for several in kinds.values()]
    counts = np.array([len(several) for several in members])
    tested = _shares(counts, counts, test, rng)
    validated = _shares(counts, counts - tested, validation, rng)
    part = np.zeros(frames, int)
    for several, *held in zip(members, validated, tested, strict=True):
        part[several] = _blocks(len(several), held, rng)
    return Split(*(np.nonzero(part == k)[0] for k in range(3)))


def _shares(counts: np.ndarray, room: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """How many of ``wanted`` frames each group gives: by its size, and one is left of each as long as that is possible.

    Args:
        counts: frames of each group.
        room: that it has left.
        wanted: in all.
        rng: decides among groups of equal claims.
    """
    exact = wanted * counts / counts.sum() + 0.01 * rng.random(len(counts))
    given = np.minimum(np.floor(exact).astype(int), np.maximum(room - 1, 0))
    while given.sum() < wanted:
        spare = room - given
        behind = np.where(spare > 1, exact - given, np.where(spare == 1, exact - given - counts.sum(), -np.inf))
        given[int(np.argmax(behind))] += 1
    return given


def _blocks(count: int, held: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """0, 1 or 2 for each of ``count`` frames of a group, of which so many are for validation and test."""
    pieces = [np.full(len(piece), part + 1) for part, size in enumerate(held) for piece in _cut(np.arange(size))]
    if not pieces:
        return np.zeros(count, int)
    gaps = np.array_split(np.zeros(count - sum(held), int), len(pieces))
    order = rng.permutation(len(pieces))
    row = np.concatenate([part for n, gap in zip(order, gaps, strict=True) for part in (pieces[n], gap)])
    return np.roll(row, rng.integers(count))


def _cut(numbers: np.ndarray) -> list[np.ndarray]:
    return [piece for piece in np.array_split(numbers, PIECES) if len(piece)]
