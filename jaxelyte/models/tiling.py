"""How convolutions are computed where plain JAX is not the fastest; apart from the code, which few import."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

import jax

from jaxelyte.errors import InputError

Precision = Literal["float32", "tf32", "bf16"]
"""Of the inputs of products of matrices in float32; sums are in float32 always."""

PRODUCTS: dict[str, str] = {"float32": "highest", "tf32": "TF32_TF32_F32", "bf16": "BF16_BF16_F32"}
"""What JAX calls them (``jax.default_matmul_precision``)."""


@dataclass(frozen=True)
class Tiling:
    """By kernels on GPUs (`jaxelyte.models.fused`), and how their work is cut.

    The defaults are what measured fastest on an H100, see docs/performance.md.

    Attributes:
        edges: neighbours of an atom at a time, a power of two.
        warps: of 32 threads, for one program.
        by_source: for the gradient of edges one program for all paths of an input block; if False one for each path.
        interpret: run the kernel in Python instead of compiling it, for tests without a GPU.
        precision: of the products of the radial networks and linear maps. Those in the kernels are float32.
    """

    edges: int = 16
    warps: int = 1
    by_source: bool = True
    interpret: bool = False
    precision: Precision = "float32"


@dataclass(frozen=True)
class Native:
    """By compiled C on CPUs: `jaxelyte.models.native`.

    Attributes:
        tangents: in forward mode, and reverse mode over it, instead of reverse mode: `jaxelyte.models.tangents`.
        knots: of tables of radial weights (`jaxelyte.models.table`) that are made of the parameters at each evaluation;
            0 for radial networks, or tables that were made before.
    """

    tangents: bool = False
    knots: int = 0


@dataclass(frozen=True)
class Rounded:
    """By plain JAX, with the inputs of those products rounded that `Tiling` makes with this precision on a GPU.

    Nothing gets faster; it shows what a GPU would make of the forces.
    """

    precision: Precision


Kernel = Tiling | Native | Rounded


def default_kernel(precision: Precision = "float32") -> Kernel | None:
    """What is fastest where computations go by default: kernels on an NVIDIA GPU, C on a CPU, else None, plain JAX.

    ``JAXELYTE_NATIVE=0`` in the environment leaves CPUs to plain JAX.

    Raises:
        InputError: a precision that is not known.
    """
    if precision not in PRODUCTS:
        raise InputError(f"precision = {precision!r} is not known; choose one of {', '.join(PRODUCTS)}")
    config: Any = jax.config
    device = config.jax_default_device
    platform = getattr(device, "platform", device) or jax.default_backend()
    if platform in ("gpu", "cuda"):
        return Tiling(precision=precision)
    if precision != "float32":
        return Rounded(precision)
    return Native() if platform == "cpu" and os.environ.get("JAXELYTE_NATIVE", "1") != "0" else None


def precision_of(kernel: Kernel | None) -> Precision:
    """Of the products of matrices of this kernel."""
    return kernel.precision if isinstance(kernel, Tiling | Rounded) else "float32"
