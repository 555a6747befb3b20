"""Models that a user names by a path or by the name of a potential that comes with the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxelyte import checks
from jaxelyte.interop.published import source_of
from jaxelyte.interop.shipped import is_member, is_shipped, located, no_model
from jaxelyte.potentials.base import Potential, as_potential

if TYPE_CHECKING:
    from jaxelyte.cli.sections import Term
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


def network(path: Path, torchscript: bool = False) -> Potential:
    """A potential that comes with jaxelyte, by name; a training folder or NequIP model, by path.

    Args:
        path: see `open_model`.
        torchscript: allow a deployed file, which torch reads.

    Raises:
        InputError: see `open_model`.
    """
    return as_potential(open_model(path, torchscript=checks.flag("torchscript", torchscript)))


def check_permittivity(terms: Sequence[Term]) -> None:
    """Warn where a published network stands beside a Coulomb term of another permittivity than that of its training.

    Args:
        terms: of a run file.

    Warns:
        UserWarning: with both permittivities.
    """
    stated = (term.settings.get("permittivity") for term in terms if term.type == "coulomb")
    given = [value for value in stated if value is not None]
    for term in terms:
        source = source_of(located(term.settings["path"])) if term.type == "nequip" else None
        known = None if source is None else source.permittivity
        if source is None or known is None or not given or known in given:
            continue
        listed = ", ".join(f"{value:g}" for value in given)
        checks.caution(
            f"the network of {source.name} was trained relative to a Coulomb term of permittivity {known:g}, and the "
            f"file gives {listed}; forces between ions will be wrong"
        )
