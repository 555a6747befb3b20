"""Standard errors of sums over windows, from one series over all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxelyte.observables.blocks import BlockError, block_error

ALIKE = 0.5
"""Length of a series, relative to the longest one, from which on both are taken together."""


class JointError(NamedTuple):
    """A standard error, NaN where it cannot be given, and its degrees of freedom as `BlockError` has them."""

    error: float
    freedom: float


def joint_error(rows: Sequence[np.ndarray], walkers: np.ndarray | None = None) -> JointError:
    """Standard error of a sum of means, one of each window; NaN where the samples are too few against their memory.

    The sum is the mean of one series, Σ_k row_k(t) over all windows at the same times. Its error contains what windows
    share, which exchange of structures makes them do, and it is one estimate: estimates of single windows are noisy
    and more often far too large than far too small, which does not average out in a sum of their squares. Rows of
    other lengths end at the same time; those shorter than half of the longest are a series of their own.

    Single series say together with their sum how long its memory is. Where windows exchange structures these are the
    series of the walkers: each carries what it remembers from window to window, and windows forget by exchange what
    their sum does not.

    Args:
        rows: of each window, (samples,), in the order of time.
        walkers: (samples, windows), number of the walker in each window, of as many samples as the longest row; None
            where each stays in its window.
    """
    found = []
    for numbers, parts in _groups(rows):
        singles = parts if walkers is None else by_walker(parts, walkers[-len(parts) :, numbers])
        found.append(block_error(parts.sum(axis=1)[:, None], singles))
    return combined([(float(one.error), float(one.freedom)) for one in found])


def by_walker(parts: np.ndarray, walkers: np.ndarray) -> np.ndarray:
    """Series of windows as those of the walkers in them, (samples, walkers); zero where one is in none of them.

    Args:
        parts: (samples, windows).
        walkers: (samples, windows), number of the walker in each.
    """
    found = np.zeros((len(parts), int(walkers.max()) + 1))
    np.put_along_axis(found, walkers, parts, axis=1)
    return found


def combined(errors: Sequence[tuple[float, float]]) -> JointError:
    """Error of a sum of independent estimates, of (error, degrees of freedom) of each (Welch, Biometrika 34, 28)."""
    variance = sum(error**2 for error, _ in errors)
    uncertain = sum(error**4 / freedom for error, freedom in errors)
    return JointError(math.sqrt(variance), variance**2 / uncertain if uncertain > 0.0 else math.inf)


def each_error(rows: Sequence[np.ndarray]) -> list[BlockError]:
    """Standard errors of the means of series that say together how long their memory is."""
    found: dict[int, BlockError] = {}
    for numbers, parts in _groups(rows):
        several = block_error(parts[:, None], parts)
        found |= {n: BlockError(*(values[k] for values in several)) for k, n in enumerate(numbers)}
    return [found[n] for n in range(len(rows))]


def _groups(rows: Sequence[np.ndarray]) -> Iterator[tuple[list[int], np.ndarray]]:
    """Numbers and values of series that are alike in length, (samples, series), about the same mean of each."""
    left = sorted(range(len(rows)), key=lambda n: -len(rows[n]))
    while left:
        group = [n for n in left if len(rows[n]) >= ALIKE * len(rows[left[0]])]
        left = left[len(group) :]
        length = len(rows[group[-1]])
        # The mean of a longer row is that much better known than that of its end.
        scaled = [(rows[n][-length:] - rows[n].mean()) * math.sqrt(length / len(rows[n])) for n in group]
        yield group, np.stack(scaled, axis=1)
