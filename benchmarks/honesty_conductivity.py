"""Cases of ionic conductivity: ions that move freely, in pairs, in cages, relative to their centre; see honesty.py.

Where ions are alone, their transport numbers relative to the centre of mass are fixed by their masses; these have a
solvent that is too heavy to move.
"""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
from honesty import Case, Entry
from honesty_diffusion import trajectory
from honesty_series import decaying

import jaxelyte as jxl

CHARGES = {"Na": 1.0, "Cl": -1.0}
DIFFUSIVITIES = (2e-4, 4e-4)
"""Å²/fs."""

MASSES = (22.99, 35.45)
"""g/mol."""

EDGE, TEMPERATURE = 30.0, 300.0


@lru_cache(maxsize=1)
def estimates(
    seed: int,
    pairs: int,
    length: float,
    replicas: int = 1,
    fixed: bool = False,
    solvent: bool = False,
    bound: tuple[float, float] | None = None,
    cage: tuple[float, float] | None = None,
) -> jxl.ConductivityResult:
    """All numbers from one run.

    Args:
        seed: of the noise.
        pairs: ions of each kind.
        length: ps.
        replicas: number.
        fixed: take the centre of mass out.
        solvent: add an atom that stays and is far heavier than all ions.
        bound: width in Å and relaxation time in fs of the distance in pairs that never break.
        cage: the same of a motion of each ion that stays in its place.
    """
    frames, rng = 1000, np.random.default_rng(seed)
    interval = 1e3 * length / frames
    width = np.sqrt(2.0 * interval * np.repeat(DIFFUSIVITIES, pairs))[:, None]
    walk = np.cumsum(width * rng.normal(size=(frames, replicas, 2 * pairs, 3)), axis=0)
    if bound is not None:
        apart = bound[0] * decaying(rng, frames, bound[1] / interval, replicas * pairs * 3)
        apart = 0.5 * apart.reshape(frames, replicas, pairs, 3)
        walk = np.concatenate([walk[:, :, :pairs] + apart, walk[:, :, :pairs] - apart], axis=2)
    if cage is not None:
        walk += cage[0] * decaying(rng, frames, cage[1] / interval, walk[0].size).reshape(walk.shape)
    masses = np.repeat(MASSES, pairs)
    if fixed:
        walk -= np.average(walk, axis=2, weights=masses)[:, :, None]
    numbers = np.repeat([11, 17], pairs)
    if solvent:
        walk = np.concatenate([walk, np.zeros((frames, replicas, 1, 3))], axis=2)
        masses, numbers = np.append(masses, 1e7), np.append(numbers, 82)
    run = trajectory(walk, numbers, interval, masses=masses, cells=np.eye(3) * EDGE)
    return jxl.conductivity(run, CHARGES, temperature=TEMPERATURE)


def siemens(pairs: int, diffusivity: float) -> float:
    """N e² D / (V k_B T) in S/m, D in Å²/fs."""
    return pairs * 1.602176634e-19**2 * diffusivity * 1e-5 / (EDGE**3 * 1e-30 * 1.380649e-23 * TEMPERATURE)


def total(seed: int, *, pairs: int, **options: object) -> Case:
    """The conductivity; 0 of pairs that never break."""
    found = estimates(seed, pairs, **options)  # pyright: ignore[reportArgumentType]
    exact = 0.0 if options.get("bound") else siemens(pairs, sum(DIFFUSIVITIES))
    return Case(found.value, found.error, found.freedom, exact)


def free(seed: int, *, pairs: int, **options: object) -> Case:
    """Nernst-Einstein; pairs that never break diffuse as their cations do."""
    found = estimates(seed, pairs, **options)  # pyright: ignore[reportArgumentType]
    diffusivity = 2.0 * DIFFUSIVITIES[0] if options.get("bound") else sum(DIFFUSIVITIES)
    return Case(found.nernst_einstein, found.nernst_einstein_error, found.freedom, siemens(pairs, diffusivity))


def transport(seed: int, *, pairs: int, **options: object) -> Case:
    """t(Na) of ions that move independently in a frame at rest."""
    found = estimates(seed, pairs, **options)  # pyright: ignore[reportArgumentType]
    return Case(found.transport[0], found.transport_error[0], found.freedom, DIFFUSIVITIES[0] / sum(DIFFUSIVITIES))


def _entries() -> dict[str, Entry]:
    found = {}
    for title, options, hard in (
        ("1 + 1 ions, 400 ps", {"pairs": 1, "length": 400.0}, False),
        ("4 + 4 ions, 400 ps", {"pairs": 4, "length": 400.0}, False),
        ("4 + 4 ions in a solvent, 400 ps", {"pairs": 4, "length": 400.0, "solvent": True}, False),
        ("4 + 4 ions, centre fixed", {"pairs": 4, "length": 400.0, "fixed": True}, False),
        ("2 + 2 ions in 8 replicas", {"pairs": 2, "length": 100.0, "replicas": 8, "solvent": True}, False),
        ("8 + 8 ions, 40 ps", {"pairs": 8, "length": 40.0, "solvent": True}, True),
        ("8 + 8 ions in cages, 40 ps", {"pairs": 8, "length": 40.0, "cage": (0.4, 2000.0), "solvent": True}, True),
        ("8 + 8 ions in cages, 400 ps", {"pairs": 8, "length": 400.0, "cage": (0.4, 2000.0), "solvent": True}, True),
        ("4 bound pairs, 1 ns", {"pairs": 4, "length": 1000.0, "bound": (0.5, 1000.0)}, False),
    ):
        functions = {"conductivity": total, "Nernst-Einstein": free}
        if "solvent" in options:
            functions["transport number"] = transport
        for name, function in functions.items():
            found[f"{name}, {title}"] = Entry(partial(function, **options), hard=hard)
    return found


CASES: dict[str, Entry] = _entries()
