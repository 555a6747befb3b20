"""Models that a user names by a path or by the name of a potential that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jaxelyte.interop.shipped import is_member, is_shipped, located, no_model

if TYPE_CHECKING:
    from jaxelyte.datasets import ShippedPotential
    from jaxelyte.potentials.nequip import NequIPPotential
    from jaxelyte.training import Fit


def open_model(path: Path, *, torchscript: bool = False) -> Fit | NequIPPotential | ShippedPotential:
    """What a path holds: the fit of a training folder, a potential with a card, or a bare network.

    Args:
        path: a path, or the name of a potential that comes with jaxelyte.
        torchscript: see `jaxelyte.load_nequip`.

    Raises:
        InputError: nothing is there, or no model.
    """
    import jaxelyte as jxl

    home = located(path)
    if not home.exists():
        raise no_model(path)
    if is_shipped(home) or is_member(home):
        return jxl.load_potential(home)
    if (home / "model").is_dir():
        return jxl.load_fit(home)
    return jxl.load_nequip(home, torchscript=torchscript)
