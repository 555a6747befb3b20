"""Steps of runs that are made for the user: in whole frames, between which samples are counted."""

from __future__ import annotations

import math
from typing import Any

from jaxelyte import checks


def whole_frames(steps: int, sample_every: int, options: dict[str, Any], samples: int) -> tuple[int, int]:
    """Steps between frames, and steps of the run.

    ``every`` is not chosen by the number of steps, so that a run can be resumed to more of them.

    Args:
        steps: asked for.
        sample_every: steps between samples.
        options: of the user; ``every`` is taken out of them.
        samples: between frames, unless the user gave ``every``.

    Returns:
        ``every``, and ``steps`` rounded up to a multiple of it; as asked for where ``every`` was given.
    """
    if "every" in options:
        return checks.count("every", options.pop("every")), steps
    every = samples * sample_every
    return every, rounded_up(steps, every)


def rounded_up(steps: float, every: int) -> int:
    """The next multiple of ``every``."""
    return every * math.ceil(steps / every)
