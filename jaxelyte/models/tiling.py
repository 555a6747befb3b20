"""How convolutions are computed where plain JAX is not the fastest; apart from the code, which few import."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import jax


@dataclass(frozen=True)
class Tiling:
    """By kernels on GPUs (`jaxelyte.models.fused`), and how their work is cut.

    The defaults are what measured fastest on an H100, see docs/performance.md.

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


@dataclass(frozen=True)
class Native:
    """By compiled C on CPUs: `jaxelyte.models.native`."""


Kernel = Tiling | Native


def default_kernel() -> Kernel | None:
    """What is fastest where computations go by default: kernels on an NVIDIA GPU, C on a CPU, else None, plain JAX.

    ``JAXELYTE_NATIVE=0`` in the environment leaves CPUs to plain JAX.
    """
    config: Any = jax.config
    device = config.jax_default_device
    platform = getattr(device, "platform", device) or jax.default_backend()
    if platform in ("gpu", "cuda"):
        return Tiling()
    return Native() if platform == "cpu" and os.environ.get("JAXELYTE_NATIVE", "1") != "0" else None
