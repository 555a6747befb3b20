"""Random splits into frames to train on, to validate with, and to leave untouched."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxelyte import checks
from jaxelyte.arrays import brief_repr
from jaxelyte.errors import InputError


class Split(NamedTuple):
    """Frame numbers, each sorted."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    __repr__ = brief_repr


def split_frames(frames: int, *, validation: float = 0.1, test: float = 0.0, seed: int = 0) -> Split:
    """Split frames at random; the same seed gives the same split.

    Args:
        frames: how many there are.
        validation: share below 1, or number of frames.
        test: share below 1, or number of frames.
        seed: of the permutation.

    Raises:
        InputError: nothing would be left to train on, or to validate with.
    """
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
            f"{frames} frames less {sizes[0]} for validation and {sizes[1]} for the test leave none to train on"
        )
    order = np.random.default_rng(seed).permutation(frames)
    first, second = sizes[1], sizes[0] + sizes[1]
    return Split(np.sort(order[second:]), np.sort(order[first:second]), np.sort(order[:first]))
