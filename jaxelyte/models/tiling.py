"""Where and how the GPU kernel of the convolution is used; apart from it, so that nobody else imports Pallas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax


@dataclass(frozen=True)
class Tiling:
    """How the work is cut; the defaults are what measured fastest on an H100, see docs/performance.md.

    Attributes:
        edges: neighbours of an atom at a time, a power of two.
        warps: of 32 threads, for one program.
        by_source: for the gradient of edges one program for all paths of an input block; if False one for each path.
        interpret: run the kernel in Python instead of compiling it, for tests without a GPU.
    """

    edges: int = 16
    warps: int = 1
    by_source: bool = True
    interpret: bool = False


def default_tiling() -> Tiling | None:
    """The kernel's settings where computations go to an NVIDIA GPU by default, None elsewhere."""
    config: Any = jax.config
    device = config.jax_default_device
    platform = getattr(device, "platform", device) or jax.default_backend()
    return Tiling() if platform in ("gpu", "cuda") else None
