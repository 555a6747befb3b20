"""Labelled frames and potentials of our own that come with the package: to start from, and to simulate with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jaxelyte.datasets.download import fetch
from jaxelyte.datasets.shipped import Potentials, ShippedPotential, load, potentials
from jaxelyte.interop.published import find_published, published

if TYPE_CHECKING:
    from ase import Atoms

    from jaxelyte.training import Fit

__all__ = [
    "NACL_WATER",
    "Potentials",
    "ShippedPotential",
    "fetch",
    "find_published",
    "load",
    "nacl_water",
    "nacl_water_fit",
    "potentials",
    "published",
]

NACL_WATER = Path(__file__).parent / "nacl_water"
"""The folder of `nacl_water` and `nacl_water_fit`; its README says how they were made."""


def nacl_water() -> list[Atoms]:
    """Two NaCl in 32 H2O, periodic: energies in eV and forces in eV/Å at the level of GFN1-xTB.

    GFN1-xTB (Grimme, Bannwarth and Shushkov, J. Chem. Theory Comput. 13, 1989 (2017)) is a semi-empirical method: the
    frames show how training works, and the result is no better than the method. Licence: CC0.
    """
    from jaxelyte.interop.frames import read

    return read(NACL_WATER / "frames.extxyz.gz")


def nacl_water_fit() -> Fit:
    """A small NequIP model of `nacl_water` relative to a screened Coulomb term; its split is in ``config["split"]``.

    A training example with the errors of GFN1-xTB (Na-O at 2.2 Å); `load` has potentials to simulate with.
    """
    from jaxelyte.training import load_fit

    return load_fit(NACL_WATER / "fit")
