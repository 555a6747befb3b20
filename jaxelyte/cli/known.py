"""What a run says of its ions and solvent, and where each number that an analysis takes comes from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxelyte.cli.objects import SOLVENT
from jaxelyte.dynamics.identity import charges_of
from jaxelyte.errors import InputError
from jaxelyte.storage import read_json
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from jaxelyte.cli.sample import Sample
    from jaxelyte.dynamics import Run

WHOLE = 1e-3
"""e, within which a charge is that of an ion; others are scaled or partial charges."""

WATER_PERMITTIVITY = 78.3
"""Relative, of water at 25 °C, measured."""


UNITS = {"temperature": " K", "tau": " fs", "friction": " 1/fs", "pressure": " bar", "tau_p": " fs"}
"""Of settings of ensembles."""


class Known(NamedTuple):
    """Charges and permittivity of a run.

    Attributes:
        charges: of the ions in e; None where they are not known.
        permittivity: relative, of a Coulomb term between ions alone; None where there is none.
        reason: why the charges are not known.
    """

    charges: dict[str, float] | None
    permittivity: float | None
    reason: str = ""


def stored_settings(folder: Path) -> dict[str, Any]:
    """Settings of a run; empty where they are not kept, or not readable."""
    try:
        return read_json(folder / "config.json")
    except InputError:
        return {}


def known_of(potential: Mapping[str, Any], symbols: list[str]) -> Known:
    """Charges of the ions and the solvent's permittivity, as far as the potential of a run says.

    The charges of a Coulomb term are those of the ions, also beside a network, and with a solvent that carries charges
    itself. Its permittivity is that of the solvent where the solvent has no charges there.

    Args:
        potential: settings by path, such as ``terms[1].charges.Na``, of `stored_settings`.
        symbols: of all atoms.
    """
    terms = charges_of(potential)
    if not terms:
        return Known(None, None, "the potential of the run has no Coulomb term" if potential else "")
    found = list(terms.values())
    if any(one != found[0] for one in found):
        return Known(None, None, "the Coulomb terms of the run have different charges")
    there = {name: q for name, q in found[0].items() if name in symbols and q != 0.0}
    ions = {name: q for name, q in there.items() if name not in SOLVENT}
    screened = potential.get(f"{next(iter(terms))}permittivity") if len(ions) == len(there) else None
    permittivity = None if not isinstance(screened, float | int) else float(f"{screened:.6g}")
    if not ions:
        return Known(None, permittivity, "the Coulomb term of the run has charges of single atoms, not of elements")
    partial = [f"{name} {q:+g} e" for name, q in ions.items() if abs(q - round(q)) > WHOLE]
    if partial:
        return Known(None, permittivity, f"the potential of the run has scaled charges ({', '.join(partial)})")
    ions = {name: float(round(q)) for name, q in ions.items()}
    net = sum(ions[name] for name in symbols if name in ions)
    if net != 0.0:
        return Known(None, permittivity, f"the charges of the run's Coulomb term add up to {net:+g} e")
    return Known(ions, permittivity)


def provenance_of(
    source: Path,
    run: Run | None,
    config: Mapping[str, Any],
    sample: Sample,
    known: Known,
    options: Mapping[str, Any],
) -> dict[str, str]:
    """How the frames were made, and where the numbers come from that an analysis takes; for the end of a report.

    Args:
        source: run folder or trajectory file.
        run: None for a file.
        config: settings of the run.
        sample: what is analysed.
        known: what the potential of the run says.
        options: of the command line, empty or None where not given.
    """
    found = {"source": str(source.resolve())}
    if run is not None:
        found |= _of_run(run, config)
    ions = ", ".join(f"{name} {q:+g} e" for name, q in (sample.charges or {}).items())
    origin = "given by --charges" if options["charges"] else "from the Coulomb term of the run's potential"
    found["charges"] = f"{ions}; {origin}" if ions else sample.no_charges
    if not sample.charges and not options["permittivity"]:
        origin = ""
    elif options["permittivity"]:
        origin = "given by --permittivity"
    elif known.permittivity:
        origin = "from the Coulomb term of the run's potential"
    else:
        origin = "measured for water at 25 °C; the run states none, and --permittivity sets another"
    if origin:
        found["relative permittivity"] = f"{sample.permittivity:g}; {origin}"
    if sample.temperature is None:
        found["temperature"] = "not known; pass --temperature"
    else:
        origin = "given by --temperature" if options["temperature"] else "of the run"
        found["temperature"] = f"{sample.temperature:.1f} K; {origin}"
    if sample.viscosity is not None:
        found["viscosity"] = f"{1e3 * sample.viscosity:g} mPa s; given by --viscosity"
    found["analysed with"] = f"jaxelyte {version('jaxelyte')} on {datetime.now().astimezone():%Y-%m-%d}"
    return found


def _of_run(run: Run, config: Mapping[str, Any]) -> dict[str, str]:
    """Potential, ensemble, length and versions of a run."""
    if not config:
        return {}
    potential, ensemble = config.get("potential", {}), config.get("ensemble", {})
    terms = [str(value) for path, value in potential.items() if re.fullmatch(r"(terms\[\d+\]\.)?type", path)]
    given = ((name, value) for name, value in ensemble.items() if value is not None)
    settings = ", ".join(
        f"{name} {value:g}{UNITS.get(name, '')}" if isinstance(value, float) else f"{name} {value}"
        for name, value in given
    )
    steps = int(run.log["step"][-1]) if len(run.log["step"]) else 0
    found = {
        "potential": " + ".join(name for name in terms if name != "Sum" or len(terms) == 1),
        "ensemble": settings,
        "run": f"{counted(steps, 'step')} of {config.get('timestep_fs', math.nan):g} fs, "
        f"{counted(config.get('replicas', 1), 'replica')}{'' if run.completed else ', interrupted'}",
    }
    versions = config.get("versions", {})
    found["simulated with"] = ", ".join(f"{name} {versions[name]}" for name in ("jaxelyte", "jax") if name in versions)
    return {name: text for name, text in found.items() if text}
