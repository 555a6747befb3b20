"""The convolution on CPUs as compiled C (`native.c`), called by XLA: how it is built, and its derivatives.

XLA makes of a convolution many small loops and products with few rows, on one core; here an atom's neighbours stay in
the cache, and atoms are divided among XLA's threads. The code is written for the paths of a layer, compiled by the
system's C compiler (``CC``, else ``cc``) at the first use, a second or two, and kept in ``JAXELYTE_CACHE`` (by default
``~/.cache/jaxelyte``). Without a compiler the convolution is that of `jaxelyte.models.convolution`, with a warning.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import itertools
import math
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxelyte.models.activations import ACTIVATIONS, RADIAL_ACTIVATIONS, Activation
from jaxelyte.models.convolution import convolve, path_table
from jaxelyte.models.derivatives import with_second_derivatives
from jaxelyte.models.structure import Layer

SOURCE = Path(__file__).with_name("native.c")
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fPIC", "-shared", "-fno-math-errno")

PRIVATE_BYTES = 2**30
"""Memory for gradients of the features, which every thread but one has of its own; beyond it fewer threads run."""

VECTOR = 16
"""Numbers of the widest vector, in float32."""


def _compiler() -> list[str]:
    """The command, which may have options."""
    return os.environ.get("CC", "cc").split() or ["cc"]


class _Static(NamedTuple):
    """What is fixed for a convolution; hashable."""

    layer: Layer
    act: Activation
    avg_num_neighbors: float
    name: str

    @property
    def sources(self) -> list[int]:
        return sorted({path.source for path in self.layer.active_paths})

    @property
    def degrees(self) -> list[int]:
        return sorted({path.l2 for path in self.layer.active_paths})

    @property
    def mids(self) -> list[int]:
        return sorted({path.mid for path in self.layer.active_paths})


def convolve_native(
    layer: Layer,
    act: Activation,
    radial: dict[str, Any],
    embedded: Float[Array, "atoms neighbors basis"],
    harmonics: dict[int, Float[Array, "atoms m neighbors"]],
    features: list[Any],
    index: Int[Array, "atoms neighbors"],
    avg_num_neighbors: float,
) -> list[Any]:
    """`jaxelyte.models.convolution.convolve` in C; arguments and result as there.

    An entry is no pair where its index is no row of the features.
    """
    sizes = tuple(radial[f"layer{n}"].shape[0] for n in range(len(radial)))
    name = _library(layer, act, sizes, str(embedded.dtype))
    if name is None:
        return convolve(layer, act, radial, embedded, harmonics, features, index, avg_num_neighbors)
    static = _Static(layer, act, avg_num_neighbors, name)
    args = {
        "radial": radial,
        "embedded": embedded,
        "harmonics": {degree: harmonics[degree] for degree in static.degrees},
        "features": {source: features[source] for source in static.sources},
    }
    found = _convolution(static, args, index.astype(jnp.int32))
    return [found.get(mid) for mid in range(len(layer.irreps_mid))]


def _matrices(static: _Static, radial: dict[str, Array]) -> Array:
    """All matrices of the radial network and their transposed ones, scaled and filled up as the code reads them."""
    layers = [radial[f"layer{n}"] for n in range(len(radial))]
    layers[-1] = jnp.concatenate([layers[-1][:, p.start : p.start + p.mul] for p in static.layer.active_paths], axis=1)
    scales = [matrix.shape[0] ** -0.5 for matrix in layers]
    scales[-1] *= static.avg_num_neighbors**-0.5
    step = _room_step([matrix.shape[0] for matrix in layers])
    pairs = [(matrix * scale, matrix.T * scale) for matrix, scale in zip(layers, scales, strict=True)]
    filled = [jnp.pad(one, ((0, 0), (0, -one.shape[1] % step))) for pair in pairs for one in pair]
    return jnp.concatenate([one.ravel() for one in filled])


def _room_step(sizes: Sequence[int]) -> int:
    """Rows of the matrices are filled up with zeros to its multiples: the power of two that the least layer needs."""
    return min(VECTOR, 1 << (min(sizes) - 1).bit_length())


def _forward(static: _Static, args: dict[str, Any], index: Array) -> dict[int, Array]:
    embedded, irreps = args["embedded"], static.layer.irreps_mid
    shapes = [
        jax.ShapeDtypeStruct((len(embedded), irreps[mid].dim, width), embedded.dtype)
        for mid, width in _mid_channels(static.layer).items()
    ]
    call = jax.ffi.ffi_call(f"{static.name}_forward", shapes, vmap_method="sequential")
    found = call(embedded, _matrices(static, args["radial"]), index, *_arrays(static, args))
    return dict(zip(static.mids, found, strict=True))


def _backward(static: _Static, args: dict[str, Any], index: Array, gradient: dict[int, Array]) -> dict[str, Any]:
    embedded, arrays = args["embedded"], _arrays(static, args)
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (embedded, *arrays)]
    call = jax.ffi.ffi_call(f"{static.name}_backward", shapes, vmap_method="sequential")
    messages = [gradient[mid] for mid in static.mids]
    of_embedded, *more = call(embedded, _matrices(static, args["radial"]), index, *arrays, *messages)
    # By the parameters it is that of the reference, which XLA drops where nobody asks for it.
    _, pull = jax.vjp(lambda radial: _reference(static, args | {"radial": radial}, index), args["radial"])
    split = len(static.degrees)
    return {
        "radial": pull(gradient)[0],
        "embedded": of_embedded,
        "harmonics": dict(zip(static.degrees, more[:split], strict=True)),
        "features": dict(zip(static.sources, more[split:], strict=True)),
    }


def _arrays(static: _Static, args: dict[str, Any]) -> list[Array]:
    """Harmonics and features in order."""
    return [args["harmonics"][degree] for degree in static.degrees] + [args["features"][n] for n in static.sources]


@jax.default_matmul_precision("highest")
def _reference(static: _Static, args: dict[str, Any], index: Array) -> dict[int, Array]:
    features = [args["features"].get(n) for n in range(len(static.layer.linear_1.irreps_out))]
    edges = (args["radial"], args["embedded"], args["harmonics"], features, index)
    found = convolve(static.layer, static.act, *edges, static.avg_num_neighbors)
    return {mid: x for mid, x in enumerate(found) if x is not None}


_convolution = with_second_derivatives(_forward, _backward, _reference)


def _mid_channels(layer: Layer) -> dict[int, int]:
    """Channels in use of each block of the intermediate irreps."""
    mids = sorted({path.mid for path in layer.active_paths})
    return {mid: sum(path.mul for path in layer.active_paths if path.mid == mid) for mid in mids}


def source_code(layer: Layer, act: Activation, sizes: tuple[int, ...], dtype: str) -> str:
    """The C code of a layer: its numbers, then `native.c`.

    Args:
        layer: whose active paths count.
        act: function of the radial network.
        sizes: inputs of each of its matrices.
        dtype: float32 or float64.
    """
    step = _room_step(sizes)

    def room(count: int) -> int:
        return count + -count % step

    real, size = {"float32": ("float", 4), "float64": ("double", 8)}[dtype]
    paths, mids = layer.active_paths, _mid_channels(layer)
    widths = {path.source: (2 * path.l1 + 1) * path.mul for path in paths}
    sources, degrees = sorted(widths), sorted({path.l2 for path in paths})
    tables, rows, column, moment = [], [], 0, 0
    # Messages of a block of irreps lie one after the other, as `by_irrep` puts them.
    first, next_of = {}, dict.fromkeys(mids, 0)
    for path in sorted(paths, key=lambda path: path.offset):
        first[path] = next_of[path.mid]
        next_of[path.mid] += path.mul
    for n, path in enumerate(paths):
        table = path_table(path)
        terms = [(a, b, c, repr(float(table[a, b, c]))) for a, b, c in np.argwhere(np.abs(table) > 1e-12).tolist()]
        body = ", ".join(f"{{{a}, {b}, {c}, {value}}}" for a, b, c, value in terms)
        tables.append(f"static const term terms_{n}[] = {{{body}}};")
        d1, d2, d3 = 2 * path.l1 + 1, 2 * path.l2 + 1, 2 * path.l3 + 1
        given = [sources.index(path.source), d1, degrees.index(path.l2), d2, d3, path.mul, column, moment]
        given += [list(mids).index(path.mid), mids[path.mid], first[path], f"terms_{n}", len(terms)]
        rows.append((degrees.index(path.l2), _entry(given)))
        column += path.mul
        moment += d1 * d2 * path.mul
    hidden, at = [], 0
    for n, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        transposed = at + inputs * room(outputs)
        hidden.append(_entry([n, inputs, room(inputs), outputs, room(outputs), at, transposed]))
        at = transposed + outputs * room(inputs)
    harmonics = [2 * degree + 1 for degree in degrees]
    operations = sum(map(math.prod, itertools.pairwise((*sizes, column))))
    operations += sum((2 * path.l1 + 1) * (2 * path.l2 + 2) * path.mul for path in paths)
    numbers = {
        "REAL": real,
        "REAL_BYTES": size,
        "BASIS": sizes[0],
        "HIDDEN": len(hidden),
        "SHIFTED_SOFTPLUS": int(act == ACTIVATIONS["ssp"]),
        "ACT_SCALE": f"(({real}){act.constant!r})",
        "ROOM_STEP": step,
        "WIDEST_LAYER": max(map(room, sizes)),
        "TOP": room(sizes[-1]),
        "EACH_HIDDEN(X)": " ".join(hidden),
        "EACH_HIDDEN_BACKWARDS(X)": " ".join(reversed(hidden)),
        "LAST": at,
        "LAST_TRANSPOSED": at + sizes[-1] * room(column),
        "LAST_INPUTS": sizes[-1],
        "COLUMNS": column,
        "COLUMNS_ROOM": room(column),
        "OPERATIONS": operations,
        "CHANNELS_STEP": _power_of_two([path.mul for path in paths]),
        "SOURCES": len(sources),
        "SOURCE_MAX": max(widths.values()),
        "MIDS": len(mids),
        "DEGREES": len(degrees),
        "DEGREE_MAX": max(harmonics),
        "MOMENTS": moment,
        "PRIVATE_BYTES": PRIVATE_BYTES,
        "PATHS(X)": " ".join(row for _, row in rows),
        "EACH_DEGREE(X)": " ".join(f"X({n}, {d2})" for n, d2 in enumerate(harmonics)),
    }
    numbers |= {
        f"PATHS_OF_DEGREE_{n}(X)": " ".join(row for degree, row in rows if degree == n) for n in range(len(degrees))
    }
    head = [f"#define {name} {value}" for name, value in numbers.items()]
    lists = {
        "SOURCE_WIDTH": [widths[source] for source in sources],
        "MID_WIDTH": [layer.irreps_mid[mid].dim * mids[mid] for mid in mids],
        "DEGREE_SIZE": harmonics,
    }
    head += [f"static const int {name}[] = {{{', '.join(map(str, row))}}};" for name, row in lists.items()]
    before, mark, after = SOURCE.read_text().partition("/* out[e] = in[e]")
    return "\n".join(head) + "\n" + before + "\n".join(tables) + "\n" + mark + after


def _entry(numbers: list[Any]) -> str:
    return f"X({', '.join(map(str, numbers))})"


def _power_of_two(numbers: list[int]) -> int:
    """The largest that divides all of them."""
    common = math.gcd(*numbers)
    return common & -common


@cache
def _library(layer: Layer, act: Activation, sizes: tuple[int, ...], dtype: str) -> str | None:
    """The name under which XLA knows the layer's code, built if it has to be; None where that fails."""
    if (
        dtype not in ("float32", "float64")
        or not layer.active_paths
        or act not in map(ACTIVATIONS.get, RADIAL_ACTIVATIONS)
    ):
        return None
    code = source_code(layer, act, sizes, dtype)
    given = [code, *FLAGS, *_compiler(), jax.__version__, _processor()]
    key = hashlib.sha256("\n".join(given).encode()).hexdigest()[:24]
    try:
        library = ctypes.CDLL(str(_built(code, key)))
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:  # RuntimeError: no home directory
        detail = getattr(error, "stderr", None) or str(error)
        warnings.warn(
            f"the C code of a convolution could not be built ({detail.strip()[:300]}); networks run without it, slower",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    for part in ("forward", "backward"):
        target = jax.ffi.pycapsule(getattr(library, f"convolution_{part}"))
        jax.ffi.register_ffi_target(f"jaxelyte_{key}_{part}", target, platform="cpu")
    return f"jaxelyte_{key}"


def _built(code: str, key: str) -> Path:
    """The library of the code, from the cache or compiled; complete or not there at all."""
    folder = Path(os.environ.get("JAXELYTE_CACHE") or Path.home() / ".cache" / "jaxelyte")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    path = folder / f"convolution-{key}.so"
    if path.exists():
        return path
    with tempfile.TemporaryDirectory(dir=folder if writable else None) as scratch:
        source, made = Path(scratch) / "convolution.c", Path(scratch) / "convolution.so"
        source.write_text(code)
        command = [*_compiler(), *FLAGS, "-I", jax.ffi.include_dir(), "-o", made, source]
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - the user's own compiler
        if not writable:
            path = Path(tempfile.mkdtemp()) / path.name
            atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
        made.replace(path)
    return path


@cache
def _processor() -> str:
    """What the code is compiled for: a folder may be shared by machines."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    told = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return f"{platform.machine()} {platform.system()} {told}"
