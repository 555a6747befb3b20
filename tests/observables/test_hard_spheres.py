"""Hard spheres by Monte Carlo: contact value, compressibility and S(k) against Carnahan-Starling and Verlet-Weis."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import jaxelyte as jxl
from jaxelyte.trajectory import Trajectory

DIAMETER = 3.0
"""Å."""

COUNT, REPLICAS = 256, 64
EQUILIBRATION, SWEEPS, EVERY = 60, 120, 10
"""Moves of each sphere, and those between configurations."""


class Fluid(NamedTuple):
    """Configurations of hard spheres.

    Attributes:
        frames: decorrelated configurations.
        packing: η, volume of the spheres over that of the box.
        edge: Å.
    """

    frames: Trajectory
    packing: float
    edge: float

    @property
    def density(self) -> float:
        """1/Å³."""
        return COUNT / self.edge**3


def sweep(positions: np.ndarray, rng: np.random.Generator, contact: float, reach: int) -> None:
    """One move of each sphere on average, in all replicas at once; those that end in an overlap are rejected.

    Args:
        positions: (3, replicas, spheres), int16, whose range is the periodic edge: differences wrap by themselves.
        rng: of the moves.
        contact: diameter in these units.
        reach: largest step along each axis.
    """
    rows = np.arange(REPLICAS)
    for which in rng.integers(0, COUNT, (COUNT, REPLICAS)):
        step = rng.integers(-reach, reach + 1, (3, REPLICAS)).astype(np.int16)
        new = positions[:, rows, which] + step
        away = (positions - new[..., None]).astype(np.float32)
        away *= away
        close = away[0] + away[1] + away[2] < contact**2
        close[rows, which] = False
        free = ~close.any(axis=1)
        positions[:, rows[free], which[free]] = new[:, free]


@cache
def fluid(packing: float) -> Fluid:
    """Configurations from a face-centred cubic start, which has melted after some ten sweeps."""
    rng = np.random.default_rng(1)
    edge = (COUNT * math.pi / 6.0 / packing) ** (1.0 / 3.0)  # in diameters
    unit = 2.0**16 / edge
    lattice = bulk("Ar", "fcc", a=2.0**14, cubic=True).repeat(4).get_positions()
    positions = np.repeat((np.round(lattice.T) - 2**15).astype(np.int16)[:, None], REPLICAS, axis=1)
    reach = round((0.12 / packing - 0.2) * unit)  # about half of the moves are accepted
    rows = []
    for number in range(EQUILIBRATION + SWEEPS):
        sweep(positions, rng, unit, reach)
        if number >= EQUILIBRATION and number % EVERY == EVERY - 1:
            rows.append(DIAMETER / unit * positions.transpose(1, 2, 0).astype(np.float64))
    atoms = Atoms(f"Ar{COUNT}")
    frames = Trajectory(
        positions=np.array(rows),
        numbers=atoms.numbers,
        masses=atoms.get_masses(),
        cells=np.eye(3) * DIAMETER * edge,
        pbc=(True, True, True),
        steps=np.arange(len(rows)),
        times=np.arange(len(rows)) * 1.0,
    )
    return Fluid(frames, packing, DIAMETER * edge)


def compressibility(eta: float) -> float:
    """ρ k_B T κ = 1/(∂βP/∂ρ) of Carnahan and Starling, J. Chem. Phys. 51, 635 (1969)."""
    return (1.0 - eta) ** 4 / (1.0 + 4.0 * eta + 4.0 * eta**2 - 4.0 * eta**3 + eta**4)


def verlet_weis(k: np.ndarray, eta: float) -> np.ndarray:
    """S(k) of Percus and Yevick at the smaller packing and diameter of Verlet and Weis, Phys. Rev. A 5, 939 (1972).

    c(x) = -(a + b x + ½ η a x³) within a diameter (Wertheim, Phys. Rev. Lett. 10, 321 (1963)), transformed by
    quadrature; k in inverse diameters.
    """
    small = eta - eta**2 / 16.0
    k = k * (small / eta) ** (1.0 / 3.0)
    a = (1.0 + 2.0 * small) ** 2 / (1.0 - small) ** 4
    b = -6.0 * small * (1.0 + 0.5 * small) ** 2 / (1.0 - small) ** 4
    nodes, weights = np.polynomial.legendre.leggauss(64)
    x = 0.5 * (nodes + 1.0)
    direct = -(a + b * x + 0.5 * small * a * x**3)
    transform = 12.0 * small * np.sum(weights * direct * x**2 * np.sinc(np.outer(k, x) / np.pi), axis=1)
    return 1.0 / (1.0 - transform)


PACKINGS = pytest.mark.parametrize("packing", [0.2, 0.3])


@PACKINGS
def test_contact_value_is_that_of_carnahan_and_starling(packing: float) -> None:
    found = jxl.rdf(fluid(packing).frames, "Ar", "Ar", width=0.02 * DIAMETER, r_max=1.6 * DIAMETER)
    assert np.all(found.g[:50] == 0.0)
    near = slice(50, 70)
    x = found.r[near] / DIAMETER - 1.0
    fit, covariance = np.polyfit(x, np.log(found.g[near]), 3, w=found.g[near] / found.error[near], cov="unscaled")
    exact = (1.0 - 0.5 * packing) / (1.0 - packing) ** 3
    error = math.sqrt(covariance[-1, -1])
    # The formula itself is good to 0.2 %.
    assert abs(fit[-1] - math.log(exact)) < 3.0 * error + 0.002
    assert error < 0.01


@PACKINGS
def test_kirkwood_buff_integral_is_the_compressibility(packing: float) -> None:
    """1 + ρ G = ρ k_B T κ, from a closed box: without that correction it is 0.34 and 0.23, not 0.21 and 0.10."""
    spheres = fluid(packing)
    found = jxl.rdf(spheres.frames, "Ar", "Ar", width=0.05)

    def integral(correction: Any) -> tuple[float, float]:
        one = jxl.kirkwood_buff(found, box_length=spheres.edge, correction=correction, weight="extrapolated")
        return 1.0 + spheres.density * one.value[0], spheres.density * one.error[0]

    value, error = integral("closed")
    # The weight that extrapolates from spheres of half the box leaves an error of its own, 0.01 here.
    assert abs(value - compressibility(packing)) < 0.02
    # The error holds what the correction differs by from one for bound partners, which dense spheres resemble.
    assert error < 0.1
    assert integral("none")[0] > 1.5 * compressibility(packing)


@PACKINGS
def test_structure_factor_is_that_of_verlet_and_weis(packing: float) -> None:
    """To the first peak, where the theory is good to a percent or two."""
    found = jxl.structure_factor(fluid(packing).frames[::2], k_max=2.75, width=0.05)
    value, error = found["Ar-Ar"]
    exact = verlet_weis(found.k * DIAMETER, packing)
    assert np.all(np.abs(value - exact) < 0.02 + 4.0 * error)
    assert np.sqrt(np.mean(((value - exact) / np.hypot(error, 0.005)) ** 2)) < 1.5
    # The longest waves of this box are close to the limit.
    assert abs(value[0] - compressibility(packing)) < 3.0 * error[0] + 0.1 * compressibility(packing)
