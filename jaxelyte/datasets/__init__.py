"""Labelled frames, and a potential trained on them, that come with the package: to try things out and to start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

    from jaxelyte.training import Fit

NACL_WATER = Path(__file__).parent / "nacl_water"
"""The folder of `nacl_water` and `nacl_water_fit`; its README says how they were made."""


def nacl_water() -> list[Atoms]:
    """Two NaCl in 32 H2O, periodic: energies in eV and forces in eV/Å at the level of GFN1-xTB.

    GFN1-xTB (Grimme, Bannwarth and Shushkov, J. Chem. Theory Comput. 13, 1989 (2017)) is a semi-empirical method: the
    frames show how training works, and what comes out is not better than the method. Licence: CC0.
    """
    from jaxelyte.interop.frames import read

    return read(NACL_WATER / "frames.extxyz.gz")


def nacl_water_fit() -> Fit:
    """A small NequIP model of `nacl_water` relative to a screened Coulomb term; its split is in ``config["split"]``."""
    from jaxelyte.training import load_fit

    return load_fit(NACL_WATER / "fit")
