"""The C code of a convolution: written for the paths of a layer, compiled at the first use, and kept.

The compiler is the system's (``CC``, else ``cc``); a library takes a second or two and is kept in ``JAXELYTE_CACHE``
(by default ``~/.cache/jaxelyte``).
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
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxelyte.cache import cache_folder, processor
from jaxelyte.checks import caution
from jaxelyte.models.activations import ACTIVATIONS
from jaxelyte.models.constants import harmonic_polynomials
from jaxelyte.models.convolution import path_table
from jaxelyte.models.structure import Layer

if TYPE_CHECKING:
    from jaxelyte.models.config import NequIP

FOLDER = Path(__file__).parent
SHARED = "native.h"
PROGRAMS = {"native.c": ("forward", "backward"), "tangents.c": ("tangent_forward", "tangent_backward")}
"""Files and what XLA can call of them, ``convolution_`` before the name."""

FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fPIC", "-shared", "-fno-math-errno")

PRIVATE_BYTES = 2**30
"""Memory for what every thread but one adds to arrays of its own; beyond it fewer threads run."""

VECTOR = 16
"""Numbers of the widest vector, in float32."""


def _compiler() -> list[str]:
    """The command, which may have options."""
    return os.environ.get("CC", "cc").split() or ["cc"]


def room_step(sizes: Sequence[int]) -> int:
    """Rows of the matrices are filled up with zeros to its multiples: the power of two that the least layer needs."""
    return min(VECTOR, 1 << (min(sizes) - 1).bit_length())


def mid_channels(layer: Layer) -> dict[int, int]:
    """Channels in use of each block of the intermediate irreps."""
    mids = sorted({path.mid for path in layer.active_paths})
    return {mid: sum(path.mul for path in layer.active_paths if path.mid == mid) for mid in mids}


def source_code(config: NequIP, layer: Layer, sizes: tuple[int, ...], dtype: str, table: bool, program: str) -> str:
    """The C code of a layer: its numbers, what is shared, then the program.

    Args:
        config: the network.
        layer: whose active paths count.
        sizes: inputs of each matrix of its radial network.
        dtype: float32 or float64.
        table: whether radial weights are interpolated.
        program: one of `PROGRAMS`.
    """
    step, act = VECTOR if table else room_step(sizes), config.plan.radial

    def room(count: int) -> int:
        return count + -count % step

    real, size = {"float32": ("float", 4), "float64": ("double", 8)}[dtype]
    paths, mids = layer.active_paths, mid_channels(layer)
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
        "RADIAL": at + sizes[-1] * room(column) + column * room(sizes[-1]),
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
    head.append("typedef struct { signed char a, b, c; REAL value; } term;")
    return "\n".join([*head, *tables, *((FOLDER / name).read_text() for name in (SHARED, program))])


def _entry(numbers: list[Any]) -> str:
    return f"X({', '.join(map(str, numbers))})"


def _powers(l_max: int, real: str) -> str:
    """Definitions of the powers of the components of a direction."""
    first = [f"const {real} {x}1 = near->unit[{n}][e];" for n, x in enumerate("xyz")]
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
def library(
    config: NequIP, layer: Layer, sizes: tuple[int, ...], dtype: str, table: bool = False, program: str = "native.c"
) -> str | None:
    """The name under which XLA knows the layer's code, built if it has to be; None where that fails.

    Args:
        config: the network.
        layer: of it.
        sizes: inputs of each matrix of its radial network.
        dtype: of all numbers.
        table: whether radial weights are interpolated.
        program: one of `PROGRAMS`.

    Warns:
        RuntimeWarning: no compiler, or one that fails, with what it said.
    """
    if dtype not in ("float32", "float64") or not layer.active_paths:
        return None
    code = source_code(config, layer, sizes, dtype, table, program)
    given = [code, *FLAGS, *_compiler(), jax.__version__, processor()]
    key = hashlib.sha256("\n".join(given).encode()).hexdigest()[:24]
    try:
        found = ctypes.CDLL(str(_built(code, key)))
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:  # RuntimeError: no home directory
        detail = getattr(error, "stderr", None) or str(error)
        reason = detail.strip()[:300]
        caution(f"the C code of a convolution could not be built ({reason}); networks run without it", RuntimeWarning)
        return None
    for part in PROGRAMS[program]:
        target = jax.ffi.pycapsule(getattr(found, f"convolution_{part}"))
        jax.ffi.register_ffi_target(f"jaxelyte_{key}_{part}", target, platform="cpu")
    return f"jaxelyte_{key}"


def _built(code: str, key: str) -> Path:
    """The library of the code, from the cache or compiled; complete or not there at all."""
    folder = cache_folder()
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        writable = folder is not None and os.access(folder, os.W_OK)
    except OSError:
        writable = False
    path = (folder or Path()) / f"convolution-{key}.so"
    if folder is not None and path.exists():
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
