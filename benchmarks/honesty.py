"""Error bars against known answers: every estimator fed with synthetic data, many times over.

    python -m benchmarks.honesty [--seeds 200] [--only WORD]

A case is a function of a seed that returns a `Case`: value, standard error, degrees of freedom of the error (None where
it is known well) and the exact answer. Each `honesty_*.py` beside this file registers its cases in a dictionary
``CASES``. The table gives the root mean square of z = (value - exact) / error and the share within one standard error;
with few degrees of freedom z is mapped through Student's t to a normal variable first. Errors of the right size give 1
and 0.68; with 200 seeds the root mean square scatters by 0.05.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

HERE = Path(__file__).resolve().parent


class Case(NamedTuple):
    """One estimate of a quantity whose exact value is known."""

    value: float
    error: float
    freedom: float | None
    exact: float


class Row(NamedTuple):
    """How the estimates of a case scatter about the exact value.

    Attributes:
        name: of the case, "estimator, data".
        seeds: estimates asked for.
        rms: root mean square of z, NaN where all were refused.
        share: of |z| below 1.
        refused: share of estimates without an error bar, or refused by an exception of the package.
        warned: share of estimates with a warning.
    """

    name: str
    seeds: int
    rms: float
    share: float
    refused: float
    warned: float


def deviation(case: Case) -> float:
    """z, mapped through Student's t to a normal variable where the error has few degrees of freedom."""
    z = (case.value - case.exact) / case.error
    if case.freedom is None:
        return z
    # By the survival function of |z|, which keeps its digits far out.
    return math.copysign(float(stats.norm.isf(max(stats.t.sf(abs(z), case.freedom), 1e-300))), z)


def assess(name: str, case: Callable[[int], Case], seeds: int) -> Row:
    """Run a case with the seeds from 0 on."""
    from jaxelyte.errors import JaxelyteError

    found, refused, warned = [], 0, 0
    for seed in range(seeds):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                one = case(seed)
            except JaxelyteError:
                refused += 1
                continue
        warned += any(issubclass(w.category, UserWarning) for w in caught)
        if math.isfinite(one.error) and one.error > 0:
            found.append(deviation(one))
        else:
            refused += 1
    z = np.array(found)
    rms, share = (float(np.sqrt(np.mean(z**2))), float(np.mean(np.abs(z) < 1.0))) if found else (math.nan, math.nan)
    return Row(name, seeds, rms, share, refused / seeds, warned / seeds)


def all_cases() -> dict[str, Callable[[int], Case]]:
    """The cases of all ``honesty_*.py``."""
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    found: dict[str, Callable[[int], Case]] = {}
    for path in sorted(HERE.glob("honesty_*.py")):
        found |= importlib.import_module(path.stem).CASES
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    options = parser.parse_args()
    chosen = {name: case for name, case in all_cases().items() if options.only in name}
    width = max(map(len, chosen), default=4)
    print(f"{'case':{width}s}  seeds  rms z  within 1  refused  warned")
    for name, case in chosen.items():
        row = assess(name, case, options.seeds)
        print(
            f"{name:{width}s}  {row.seeds:5d}  {row.rms:5.2f}  {row.share:8.2f}  {row.refused:7.2f}  {row.warned:6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
