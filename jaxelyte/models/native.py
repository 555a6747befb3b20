"""The convolution on CPUs as compiled C (`native.c`), called by XLA: how it is built, and its derivatives.

XLA makes of a convolution many small loops and products with few rows, on one core; here an atom's neighbours stay in
the cache, from their vectors to the message, and atoms are divided among XLA's threads. The code is written for the
paths of a layer, compiled by the system's C compiler (``CC``, else ``cc``) at the first use, a second or two, and kept
in ``JAXELYTE_CACHE`` (by default ``~/.cache/jaxelyte``). Without a compiler the convolution is that of
`jaxelyte.models.convolution`, with a warning.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import itertools
import math
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxelyte.cache import cache_folder, processor
from jaxelyte.models.activations import ACTIVATIONS
from jaxelyte.models.constants import harmonic_polynomials
from jaxelyte.models.convolution import active_columns, convolve, path_table
from jaxelyte.models.derivatives import with_second_derivatives
from jaxelyte.models.radial import edge_geometry, radial_embedding
from jaxelyte.models.structure import Layer

if TYPE_CHECKING:
    from jaxelyte.models.config import NequIP

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

    config: NequIP
    layer: Layer
    name: str

    @property
    def sources(self) -> list[int]:
        return sorted({path.source for path in self.layer.active_paths})

    @property
    def mids(self) -> list[int]:
        return sorted({path.mid for path in self.layer.active_paths})


def convolve_native(
    config: NequIP,
    layer: Layer,
    radial: dict[str, Any],
    frequencies: Float[Array, " basis"],
    vectors: Float[Array, "atoms neighbors 3"],
    features: list[Any],
    index: Int[Array, "atoms neighbors"],
    table: Float[Array, "knots 3 columns"] | None = None,
) -> list[Any]:
    """The convolution of a layer from vectors to neighbours, its radial basis and harmonics included, in C.

    An entry is no pair where its index is no row of the features.

    Args:
        config: the network.
        layer: of it.
        radial: matrices of the layer's radial network.
        frequencies: of the radial basis.
        vectors: r_ij in Å.
        features: by block, after the first linear map.
        index: neighbours.
        table: radial weights in place of the network's (`jaxelyte.models.table`). Derivatives by parameters, and second
            derivatives, are those of the network.

    Returns:
        What `jaxelyte.models.convolution.convolve` does.
    """
    sizes = tuple(radial[f"layer{n}"].shape[0] for n in range(len(radial)))
    name = _library(config, layer, sizes, str(vectors.dtype), table is not None)
    static = _Static(config, layer, name or "")
    args = {
        "radial": radial,
        "frequencies": frequencies,
        "vectors": vectors,
        "features": {source: features[source] for source in static.sources},
    }
    if table is not None:
        args["table"] = table
    found = (_reference if name is None else _convolution)(static, args, index.astype(jnp.int32))
    return [found.get(mid) for mid in range(len(layer.irreps_mid))]


def _radial(static: _Static, args: dict[str, Any]) -> Array:
    """What the code makes radial weights of: a table, or frequencies and matrices.

    All matrices of the radial network and their transposed ones are scaled and filled up as the code reads them.
    """
    if "table" in args:
        return args["table"]
    radial, config = args["radial"], static.config
    layers = [radial[f"layer{n}"] for n in range(len(radial))]
    layers[-1] = active_columns(static.layer, layers[-1])
    scales = [matrix.shape[0] ** -0.5 for matrix in layers]
    scales[-1] *= (config.avg_num_neighbors or 1.0) ** -0.5
    step = _room_step([matrix.shape[0] for matrix in layers])
    pairs = [(matrix * scale, matrix.T * scale) for matrix, scale in zip(layers, scales, strict=True)]
    rows = [args["frequencies"][None], *(one for pair in pairs for one in pair)]
    return jnp.concatenate([jnp.pad(one, ((0, 0), (0, -one.shape[1] % step))).ravel() for one in rows])


def _room_step(sizes: Sequence[int]) -> int:
    """Rows of the matrices are filled up with zeros to its multiples: the power of two that the least layer needs."""
    return min(VECTOR, 1 << (min(sizes) - 1).bit_length())


def _forward(static: _Static, args: dict[str, Any], index: Array) -> dict[int, Array]:
    vectors, irreps = args["vectors"], static.layer.irreps_mid
    shapes = [
        jax.ShapeDtypeStruct((len(vectors), irreps[mid].dim, width), vectors.dtype)
        for mid, width in _mid_channels(static.layer).items()
    ]
    call = jax.ffi.ffi_call(f"{static.name}_forward", shapes, vmap_method="sequential")
    found = call(vectors, index, _radial(static, args), *(args["features"][n] for n in static.sources))
    return dict(zip(static.mids, found, strict=True))


def _backward(static: _Static, args: dict[str, Any], index: Array, gradient: dict[int, Array]) -> dict[str, Any]:
    features = [args["features"][n] for n in static.sources]
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (args["vectors"], *features)]
    call = jax.ffi.ffi_call(f"{static.name}_backward", shapes, vmap_method="sequential")
    messages = [gradient[mid] for mid in static.mids]
    of_vectors, *of_features = call(args["vectors"], index, _radial(static, args), *features, *messages)
    # By the parameters it is that of the reference, which XLA drops where nobody asks for it.
    given = {name: args[name] for name in ("radial", "frequencies")}
    _, pull = jax.vjp(lambda given: _reference(static, args | given, index), given)
    of_args = pull(gradient)[0] | {"vectors": of_vectors}
    of_args["features"] = dict(zip(static.sources, of_features, strict=True))
    return of_args | ({"table": jnp.zeros_like(args["table"])} if "table" in args else {})


@jax.default_matmul_precision("highest")
def _reference(static: _Static, args: dict[str, Any], index: Array) -> dict[int, Array]:
    """The same in plain JAX."""
    config, layer = static.config, static.layer
    rows = next(iter(args["features"].values())).shape[0]
    degree = max(path.l2 for path in layer.active_paths)
    geometry = edge_geometry(args["vectors"], (index >= 0) & (index < rows), config.r_max, degree)
    embedded = radial_embedding(config, args["frequencies"], geometry)
    features = [args["features"].get(n) for n in range(len(layer.linear_1.irreps_out))]
    edges = (args["radial"], embedded, geometry.harmonics, features, index)
    found = convolve(layer, config.plan.radial, *edges, config.avg_num_neighbors or 1.0)
    return {mid: x for mid, x in enumerate(found) if x is not None}


_convolution = with_second_derivatives(_forward, _backward, _reference)


def _mid_channels(layer: Layer) -> dict[int, int]:
    """Channels in use of each block of the intermediate irreps."""
    mids = sorted({path.mid for path in layer.active_paths})
    return {mid: sum(path.mul for path in layer.active_paths if path.mid == mid) for mid in mids}


def source_code(config: NequIP, layer: Layer, sizes: tuple[int, ...], dtype: str, table: bool) -> str:
    """The C code of a layer: its numbers, then `native.c`.

    Args:
        config: the network.
        layer: whose active paths count.
        sizes: inputs of each matrix of its radial network.
        dtype: float32 or float64.
        table: whether radial weights are interpolated.
    """
    step, act = VECTOR if table else _room_step(sizes), config.plan.radial

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
        couplings = path_table(path)
        terms = [
            (a, b, c, repr(float(couplings[a, b, c]))) for a, b, c in np.argwhere(np.abs(couplings) > 1e-12).tolist()
        ]
        body = ", ".join(f"{{{a}, {b}, {c}, {value}}}" for a, b, c, value in terms)
        tables.append(f"static const term terms_{n}[] = {{{body}}};")
        d1, d2, d3 = 2 * path.l1 + 1, 2 * path.l2 + 1, 2 * path.l3 + 1
        given = [sources.index(path.source), d1, degrees.index(path.l2), d2, d3, path.mul, column, moment]
        given += [list(mids).index(path.mid), mids[path.mid], first[path], f"terms_{n}", len(terms)]
        rows.append((degrees.index(path.l2), _entry(given)))
        column += path.mul
        moment += d1 * d2 * path.mul
    hidden, at = [], room(sizes[0])
    for n, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        transposed = at + inputs * room(outputs)
        hidden.append(_entry([n, inputs, room(inputs), outputs, room(outputs), at, transposed]))
        at = transposed + outputs * room(inputs)
    harmonics = [2 * degree + 1 for degree in degrees]
    operations = 12 * column if table else sum(map(math.prod, itertools.pairwise((*sizes, column))))
    operations += sum((2 * path.l1 + 1) * (2 * path.l2 + 2) * path.mul for path in paths)
    numbers = {
        "REAL": real,
        "REAL_BYTES": size,
        "R_MAX": f"(({real}){config.r_max!r})",
        "POWER": f"(({real}){config.polynomial_cutoff_p!r})",
        "WHOLE_POWER": int(config.polynomial_cutoff_p) if config.polynomial_cutoff_p.is_integer() else 0,
        "TABLE": int(table),
        "BASIS": sizes[0],
        "BASIS_ROOM": room(sizes[0]),
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
        "POWERS": _powers(max(path.l2 for path in paths), real),
        "HARMONICS(X)": _harmonics([path.l2 for path in paths], real),
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
    }
    head += [f"static const int {name}[] = {{{', '.join(map(str, row))}}};" for name, row in lists.items()]
    before, mark, after = SOURCE.read_text().partition("/* out[e] = in[e]")
    return "\n".join(head) + "\n" + before + "\n".join(tables) + "\n" + mark + after


def _entry(numbers: list[Any]) -> str:
    return f"X({', '.join(map(str, numbers))})"


def _powers(l_max: int, real: str) -> str:
    """Definitions of the powers of the components of a direction."""
    first = [f"const {real} {x}1 = r->unit[{n}][e];" for n, x in enumerate("xyz")]
    more = [f"const {real} {x}{n} = {x}{n - 1} * {x}1;" for n in range(2, l_max + 1) for x in "xyz"]
    return " ".join(first + more)


def _harmonics(degrees: list[int], real: str) -> str:
    """Harmonics of some degrees and their derivatives as sums of products of those powers."""

    def written(terms: dict[tuple[int, ...], float]) -> str:
        factors = [
            " * ".join([f"({real}){c!r}", *(f"{x}{n}" for x, n in zip("xyz", powers, strict=True) if n)])
            for powers, c in terms.items()
        ]
        return " + ".join(factors) or "0"

    def derivative(terms: dict[tuple[int, ...], float], axis: int) -> dict[tuple[int, ...], float]:
        step = np.eye(3, dtype=int)[axis]
        return {
            tuple((np.array(powers) - step).tolist()): c * powers[axis] for powers, c in terms.items() if powers[axis]
        }

    polynomials = harmonic_polynomials(max(degrees))
    return " ".join(
        _entry([n, b, written(terms), *(written(derivative(terms, axis)) for axis in range(3))])
        for n, degree in enumerate(sorted(set(degrees)))
        for b, terms in enumerate(polynomials[degree])
    )


def _power_of_two(numbers: list[int]) -> int:
    """The largest that divides all of them."""
    common = math.gcd(*numbers)
    return common & -common


@cache
def _library(config: NequIP, layer: Layer, sizes: tuple[int, ...], dtype: str, table: bool) -> str | None:
    """The name under which XLA knows the layer's code, built if it has to be; None where that fails."""
    if dtype not in ("float32", "float64") or not layer.active_paths:
        return None
    code = source_code(config, layer, sizes, dtype, table)
    given = [code, *FLAGS, *_compiler(), jax.__version__, processor()]
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
    folder = cache_folder()
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
        command = [*_compiler(), *FLAGS, "-I", jax.ffi.include_dir(), "-o", made, source, "-lm"]
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - the user's own compiler
        if not writable:
            path = Path(tempfile.mkdtemp()) / path.name
            atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
        made.replace(path)
    return path
