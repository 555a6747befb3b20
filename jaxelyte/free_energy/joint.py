"""Standard errors of sums over windows, from one series over all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jaxelyte.observables.blocks import block_error

ALIKE = 0.5
"""Length of a series, relative to the longest one, from which on both are taken together."""


def joint_error(rows: Sequence[np.ndarray]) -> float:
    """Standard error of a sum of means, one of each window; NaN where the samples are too few against their memory.

    The sum is the mean of one series, Σ_k row_k(t) over all windows at the same times. Its error contains what windows
    share, which exchange of structures makes them do, and it is one estimate: estimates of single windows are noisy
    and more often far too large than far too small, which does not average out in a sum of their squares. Rows of
    other lengths end at the same time; those shorter than half of the longest are a series of their own.

    Args:
        rows: of each window, (samples,), in the order of time.
    """
    left = sorted(rows, key=len, reverse=True)
    variance = 0.0
    while left:
        group = [row for row in left if len(row) >= ALIKE * len(left[0])]
        left = left[len(group) :]
        length = len(group[-1])
        # The mean of a longer row is that much better known than that of its end.
        parts = np.stack([row[-length:] * math.sqrt(length / len(row)) for row in group], axis=1)
        variance += float(block_error(parts.sum(axis=1)[:, None], parts).error) ** 2
    return math.sqrt(variance)
