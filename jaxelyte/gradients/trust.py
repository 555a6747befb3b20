"""Whether reweighted frames can give an average and its error bar: tails, deciding frames, correlation, halves."""

from __future__ import annotations

import math
import warnings

import numpy as np

from jaxelyte.errors import JaxelyteError
from jaxelyte.observables.blocks import block_error
from jaxelyte.observables.tails import deciding, largest_k, pareto_k

EVEN = 0.95
"""Share of effective samples above which weights are too even to have a tail."""

DECIDING = {"average": 25.0, "derivative": 40.0}
"""Independent frames that have to decide a reweighted average, or a derivative; see `tails.deciding`."""

UNWEIGHTED = 10.0
"""Independent frames that have to decide an average without weights."""

BLOCKS = 10
"""Stretches of the frames whose spread gives the standard errors, at most."""

LONG = 5.0
"""Length of a stretch in units of the inefficiency less one."""

INDEPENDENT = 20.0
"""Independent frames of a correlated run below which there is no error bar: correlation is underestimated there."""

FEWEST = 4
"""Stretches below which there is no standard error."""

HALVES = 4.5
"""Standard errors that two halves of the frames may differ by."""


def inefficiency(series: np.ndarray, replicas: int) -> float:
    """Correlated frames that are worth one independent, of (frames of all replicas,) one replica after the other."""
    if len(series) < 2 * replicas or np.ptp(series) == 0.0:
        return 1.0
    found = block_error(series.reshape(replicas, -1).T).inefficiency
    return max(1.0, float(found)) if np.isfinite(found) else 1.0


def check_tail(values: np.ndarray, what: str, independent: float) -> None:
    """Refuse values whose largest decide their average.

    Args:
        values: (frames,), not negative.
        what: their name.
        independent: number of independent frames.

    Raises:
        JaxelyteError: the tail is too heavy.
    """
    shape, limit = pareto_k(values), largest_k(independent)
    if shape > limit:
        raise JaxelyteError(
            f"the largest of the {what} decide: their tail has the Pareto shape k = {shape:.2f}, and averages over "
            f"{independent:.0f} independent frames need k below {limit:.2f} (above 0.5 the variance is infinite). "
            "These parameters are too far from those of the run, or the frames too few; simulate again with the new "
            "ones"
        )


def stretches_of(count: int, correlated: float) -> list[np.ndarray]:
    """Rows of each stretch: ten, or as few as are long against the correlation of the frames, but four."""
    number = int(np.clip(count / (1.0 + LONG * (correlated - 1.0)), FEWEST, BLOCKS))
    return np.array_split(np.arange(count), min(number, count))


def warn_if_doubtful(
    influence: np.ndarray, weight: np.ndarray, correlated: float, kind: str, halves: float = 0.0
) -> bool:
    """Warn where few independent frames decide; returns whether they are too few for any error bar.

    Args:
        influence: (frames,), what each adds to the deviation of the result.
        weight: (frames,), of the frames.
        correlated: frames that are worth one independent.
        kind: "average" or "derivative".
        halves: difference of the two halves of the frames in standard errors.
    """
    independent = len(weight) / correlated
    if independent < INDEPENDENT and correlated > 2.0:
        warnings.warn(
            f"{kind} over {len(weight)} frames: {correlated:.0f} of them are worth one independent, so that "
            f"{independent:.0f} are left; there is no error bar. Run longer",
            stacklevel=4,
        )
        return True
    even = 1.0 / float(np.sum(weight**2)) > EVEN * len(weight)
    needed = UNWEIGHTED if even and kind == "average" else DECIDING[kind]
    found = deciding(influence, None if even else weight) / correlated
    if found < needed:
        warnings.warn(
            f"{kind} over {len(weight)} frames: {found:.0f} independent frames decide it ({needed:.0f} are needed), so "
            "that value and error bar may both be off. Run longer, or simulate nearer to these parameters",
            stacklevel=4,
        )
    elif halves > HALVES:
        warnings.warn(
            f"{kind} over {len(weight)} frames: their two halves differ by {halves:.1f} standard errors: the run was "
            "not in equilibrium, or something slow changes in it; leave out its beginning, or run longer",
            stacklevel=4,
        )
    return False


def halves_apart(parts: np.ndarray) -> float:
    """Difference of the halves of the stretches in standard errors, of (stretches,)."""
    half = len(parts) // 2
    first, last = parts[:half], parts[len(parts) - half :]
    if half < 2:
        return 0.0
    error = math.sqrt(half * (float(np.var(first, ddof=1)) + float(np.var(last, ddof=1))))
    return abs(float(first.sum() - last.sum())) / error if error > 0.0 else 0.0
