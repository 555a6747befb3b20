"""Make `jaxelyte/models/couplings.npz`: the Wigner 3j tables of e3nn-jax up to degree 3, whose import takes a second.

python scripts/couplings.py
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np

from jaxelyte.models.constants import STORED, computed_wigner_3j


def main() -> None:
    """Write the file."""
    degrees = [(a, b, c) for a, b, c in product(range(STORED + 1), repeat=3) if abs(a - b) <= c <= a + b]
    tables = {"".join(map(str, some)): computed_wigner_3j(*some) for some in degrees}
    np.savez_compressed(Path(__file__).parents[1] / "jaxelyte" / "models" / "couplings.npz", **tables)


if __name__ == "__main__":
    main()
