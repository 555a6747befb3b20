"""Cases of Kirkwood-Buff integrals: ideal dimers and gases, and mixtures of alike atoms that interact; see honesty.py.

Of N ideal A-B dimers in a volume V, G_AA = G_BB = 0, G_AB = V/N, and 1 + d ln γ/d ln c = 1/2. Where A and B are alike,
all integrals are G = (1/(d βP/dρ) - 1)/ρ of the pure fluid: by Carnahan and Starling (J. Chem. Phys. 51, 635 (1969))
for hard spheres, and by the virial series for dilute Lennard-Jones atoms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from honesty import Case, Entry

import jaxelyte as jxl
from jaxelyte import units
from jaxelyte.observables.integrals import TAIL, Correction
from jaxelyte.observables.kirkwood_buff import ActivityDerivative
from jaxelyte.observables.partial_volumes import PartialVolumes

WIDTH, BEYOND = 0.25, TAIL + 0.25
"""Å, of the bins, and how far g goes beyond half the box."""

FRAMES, STRETCHES, SEEDS = 320, 16, 200

SIGMA = 3.4
"""Å, diameter of the spheres and of the Lennard-Jones atoms."""

REDUCED = 2.0
"""Temperature of the Lennard-Jones atoms in units of ε/k_B."""

CUT = 2.5 * SIGMA
TEMPERATURE = 300.0

Frames = tuple[np.ndarray, ...]
"""(frames, atoms, 3) of each species, Å."""


def histogram(first: np.ndarray, second: np.ndarray, edge: float, edges: np.ndarray, *, alike: bool) -> np.ndarray:
    """Numbers of pairs of each stretch in bins of the distance to all images, (stretches, bins)."""
    apart = np.abs(first[:, :, None] - second[:, None])
    if alike:
        rows, columns = np.triu_indices(first.shape[1], 1)
        apart = apart[:, rows, columns]
    apart = apart.reshape(STRETCHES, -1, 3) % edge
    apart = np.minimum(apart, edge - apart) ** 2
    other = (edge - np.sqrt(apart)) ** 2
    counts = np.zeros((STRETCHES, len(edges) - 1))
    stretch = np.broadcast_to(np.arange(STRETCHES)[:, None], apart.shape[:2])
    for x, y, z in np.ndindex(2, 2, 2):
        square = (apart, other)[x][..., 0] + (apart, other)[y][..., 1] + (apart, other)[z][..., 2]
        near = square < edges[-1] ** 2
        bins = (np.sqrt(square[near]) / WIDTH).astype(int)
        counts += np.bincount(stretch[near] * counts.shape[1] + bins, minlength=counts.size)[: counts.size].reshape(
            counts.shape
        )
    return counts * (2.0 if alike else 1.0)


def curves(frames: Frames, edge: float) -> jxl.RDFResult:
    """Distribution functions of all pairs of species, as `rdf` has them."""
    bins = int((0.5 * edge + BEYOND) / WIDTH)
    edges = WIDTH * np.arange(bins + 1)
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    symbols = ("Na", "Cl", "O")[: len(frames)]
    pairs, stretches, density = [], [], []
    for i, a in enumerate(frames):
        for j, b in enumerate(frames[: i + 1]):
            found = histogram(b, a, edge, edges, alike=i == j)
            number = b.shape[1] * (a.shape[1] - (i == j))
            pairs.append((symbols[j], symbols[i]))
            stretches.append(found / (len(a) / STRETCHES * number * shells / edge**3))
            density.append((a.shape[1] - (i == j)) / edge**3)
    g = np.stack(stretches, axis=1)
    nothing = np.full(g.shape[1:], np.nan)
    return jxl.RDFResult(
        pairs=tuple(pairs),
        edges=edges,
        g=g.mean(axis=0),
        error=nothing,
        coordination=nothing,
        coordination_error=nothing,
        samples=len(frames[0]),
        replicas=1,
        density=np.array(density),
        stretches=g,
        volume=edge**3,
    )


@lru_cache(maxsize=SEEDS)
def ideal(seed: int, count: int, edge: float, bound: bool, solvent: int = 0) -> jxl.RDFResult:
    """Independent frames of pairs a Å apart along each axis, or free, among free particles of a solvent."""
    rng = np.random.default_rng(seed)
    first, second, third = (rng.random((FRAMES, n, 3)) * edge for n in (count, count, solvent))
    if bound:
        second = first + rng.normal(size=first.shape)
    return curves((first, second, third) if solvent else (first, second), edge)


def hard(square: np.ndarray) -> np.ndarray:
    """Energy of hard spheres in k_B T by squared distance."""
    return np.where(square < SIGMA**2, 1e9, 0.0)


def lennard_jones(square: np.ndarray) -> np.ndarray:
    """Energy of Lennard-Jones atoms in k_B T by squared distance, cut at `CUT`."""
    sixth = (SIGMA**2 / np.maximum(square, 1e-3)) ** 3
    return np.where(square < CUT**2, 4.0 / REDUCED * (sixth**2 - sixth), 0.0)


@lru_cache(maxsize=4)
def fluid(name: str, atoms: int, edge: float) -> np.ndarray:
    """Monte Carlo of a fluid, as many chains as seeds at once: (chains, frames, atoms, 3), Å.

    Atoms are put to random places in turn; a frame is taken when each has been tried.
    """
    energy = {"hard spheres": hard, "Lennard-Jones atoms": lennard_jones}[name]
    rng = np.random.default_rng(atoms)
    places = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:atoms] * edge / 3.0
    now = np.tile(places, (SEEDS, 1, 1)).astype(np.float32)
    found = np.empty((SEEDS, FRAMES, atoms, 3), np.float32)
    for frame in range(-20, FRAMES):
        for atom in range(atoms):
            new = (rng.random((SEEDS, 3)) * edge).astype(np.float32)
            others = np.delete(now, atom, axis=1)
            both = np.stack([now[:, atom], new])[:, :, None] - others
            both -= edge * np.rint(both / edge)
            old, tried = energy(np.sum(both**2, axis=-1)).sum(axis=-1)
            taken = np.log(rng.random(SEEDS)) < old - tried
            now[taken, atom] = new[taken]
        if frame >= 0:
            found[:, frame] = now
    return found


@lru_cache(maxsize=SEEDS)
def mixture(seed: int, name: str, count: int, edge: float) -> jxl.RDFResult:
    """Frames of a fluid half of whose atoms are called A, the others B."""
    frames = fluid(name, 2 * count, edge)[seed % SEEDS].astype(float)
    return curves((frames[:, :count], frames[:, count:]), edge)


@lru_cache(maxsize=8)
def slope(name: str, density: float) -> float:
    """D βP/dρ of the pure fluid."""
    if name == "hard spheres":
        y = math.pi / 6.0 * density * SIGMA**3
        return ((1.0 + 2.0 * y) ** 2 + y**3 * (y - 4.0)) / (1.0 - y) ** 4
    # B2 = -2π ∫ f r² dr; B3 by the transform of f, -1/3 ∫ f(r) (f*f)(r) 4π r² dr; B4 is below 0.01 of the sum.
    r = (np.arange(4096) + 0.5) * 0.02
    f = np.expm1(-lennard_jones(r**2))
    k = (np.arange(4096) + 0.5) * math.pi / (4096 * 0.02)
    kernel = np.sin(np.outer(k, r))
    transform = 4.0 * math.pi / k * (kernel @ (r * f)) * 0.02
    twice = (kernel.T @ (k * transform**2)) * (k[1] - k[0]) / (2.0 * math.pi**2 * r)
    second = -2.0 * math.pi * float(np.sum(f * r**2)) * 0.02
    third = -4.0 * math.pi / 3.0 * float(np.sum(f * twice * r**2)) * 0.02
    return 1.0 + 2.0 * second * density + 3.0 * third * density**2


def integral_of(name: str, count: int, edge: float) -> float:
    """G of unlike atoms in Å³."""
    if name in ("ideal dimers", "free pairs"):
        return edge**3 / count if name == "ideal dimers" else 0.0
    density = 2 * count / edge**3
    return (1.0 / slope(name, density) - 1.0) / density


def data(seed: int, name: str, count: int, edge: float) -> jxl.RDFResult:
    """Curves of a case."""
    if name in ("ideal dimers", "free pairs"):
        return ideal(seed, count, edge, name == "ideal dimers")
    return mixture(seed, name, count, edge)


def integral(seed: int, *, name: str, count: int, edge: float, correction: Correction) -> Case:
    """G of unlike atoms."""
    found = jxl.kirkwood_buff(data(seed, name, count, edge), correction=correction)
    return Case(*found["Na", "Cl"], found.freedom, integral_of(name, count, edge))


def derivative(seed: int, *, name: str, count: int, edge: float, correction: Correction) -> Case:
    """1 + d ln γ/d ln c, as of a salt without solvent: 1/(1 + ρ_A (G_AA + G_BB + 2 G_AB)/2)."""
    found = activity(data(seed, name, count, edge), count / edge**3, edge, correction)
    unlike = integral_of(name, count, edge)
    alike = unlike if "ideal" not in name else 0.0
    exact = 1.0 / (1.0 + count / edge**3 * (alike + unlike))
    return Case(found.value, found.error, found.freedom, exact)


def activity(g: jxl.RDFResult, density: float, edge: float, correction: Correction) -> ActivityDerivative:
    """Of the curves of a salt without solvent."""
    names = ("cation_cation", "cation_anion", "anion_anion")
    stretches = {name: g.stretches[:, n] for n, name in enumerate(names)}
    return jxl.activity_derivative(r=g.r, **stretches, density=density, box_length=edge, correction=correction)


@lru_cache(maxsize=SEEDS)
def volumes(seed: int, count: int, solvent: int, edge: float, correction: Correction) -> PartialVolumes:
    """Of ideal dimers in an ideal solvent, all of whose molecules have the volume V/N."""
    g = ideal(seed, count, edge, True, solvent)
    names = ("cation_cation", "cation_anion", "anion_anion", "cation_solvent", "anion_solvent", "solvent_solvent")
    return jxl.partial_molar_volumes(
        r=g.r,
        **{name: g.stretches[:, n] for n, name in enumerate(names)},
        density=count / edge**3,
        solvent_density=solvent / edge**3,
        box_length=edge,
        temperature=TEMPERATURE,
        correction=correction,
    )


def volume(seed: int, *, what: str, count: int, solvent: int, edge: float, correction: Correction) -> Case:
    """A partial volume in Å³, or the compressibility in 1/GPa."""
    found = getattr(volumes(seed, count, solvent, edge, correction), what)
    exact = edge**3 / (count + solvent)
    if what == "compressibility":
        exact /= units.BOLTZMANN * TEMPERATURE * units.EV_PER_A3_IN_GPA
    return Case(found.value, found.error, found.freedom, exact)


def solvated(seed: int, *, count: int, solvent: int, edge: float, correction: Correction) -> Case:
    """1 + d ln γ/d ln c of ideal dimers in an ideal solvent at constant pressure: 1/(1 + 2 ρ G_ss) = 1/2."""
    g = ideal(seed, count, edge, True, solvent)
    names = ("cation_cation", "cation_anion", "anion_anion", "cation_solvent", "anion_solvent")
    stretches = {name: g.stretches[:, n] for n, name in enumerate(names)}
    found = jxl.activity_derivative(r=g.r, **stretches, density=count / edge**3, box_length=edge, correction=correction)
    return Case(found.value, found.error, found.freedom, 0.5)


DATA = (
    ("ideal dimers", 8, 20.0),
    ("ideal dimers", 24, 27.0),
    ("free pairs", 8, 20.0),
    ("free pairs", 24, 27.0),
    ("hard spheres", 12, 18.0),
    ("Lennard-Jones atoms", 12, 26.0),
)
QUANTITIES: dict[str, Callable[..., Case]] = {"Kirkwood-Buff integral": integral, "activity derivative": derivative}


def cases() -> dict[str, Entry]:
    """All of them; corrections but the default on ideal dimers and on atoms that attract each other."""
    found: dict[str, Entry] = {}
    for name, count, edge in DATA:
        others = (name, count) in (("ideal dimers", 24), ("Lennard-Jones atoms", 12))
        for correction in ("background", *(("closed", "tail", "none") if others else ())):
            for what, case in QUANTITIES.items():
                number = f"{count} {name}" if name in ("ideal dimers", "free pairs") else f"{count} + {count} {name}"
                found[f"{what}, {number}, correction {correction}"] = Entry(
                    partial(case, name=name, count=count, edge=edge, correction=correction),
                    hard=correction != "background",
                )
    solution = {"count": 8, "solvent": 24, "edge": 20.0, "correction": "background"}
    text = "8 ideal dimers in 24 of a solvent, correction background"
    found[f"activity derivative, {text}"] = Entry(partial(solvated, **solution))
    for what, title in (
        ("salt", "partial volume of the salt"),
        ("solvent", "partial volume of the solvent"),
        ("compressibility", "compressibility by Kirkwood-Buff integrals"),
    ):
        found[f"{title}, {text}"] = Entry(partial(volume, what=what, **solution))
    return found


CASES = cases()
