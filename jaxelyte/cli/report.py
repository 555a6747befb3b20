"""What the command line prints and draws: estimates with units and standard errors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxelyte.errors import InputError
from jaxelyte.storage import saving, write_text
from jaxelyte.wording import counted, plus_minus

if TYPE_CHECKING:
    from rich.table import Table

    from jaxelyte.cli.page import Section
    from jaxelyte.datasets import ShippedPotential
    from jaxelyte.dynamics import Run
    from jaxelyte.observables import RDFResult
    from jaxelyte.potentials.base import Potential
    from jaxelyte.potentials.nequip import NequIPPotential
    from jaxelyte.training import Evaluation, Fit, Stability


def save_figure(figure: Any, path: Path) -> None:
    """Write a picture as a whole, as all files of results."""
    with saving(path) as temporary:
        figure.savefig(temporary, dpi=150, bbox_inches="tight")


def run_table(run: Run) -> Table:
    """Temperature, drift and speed of a run."""
    from rich.table import Table

    summary = run.summary
    table = Table(
        "quantity",
        "value",
        title=f"{'run' if run.completed else 'interrupted run'}: {counted(summary['steps'], 'step')}",
    )
    temperature, drift, speed = summary["temperature"], summary["drift"], summary.get("performance")
    table.add_row("simulated time", f"{summary['time_ps']:.4g} ps, {counted(run.trajectory.replicas, 'replica')}")
    table.add_row("temperature", _spelt(temperature, "K"))
    species = temperature.get("by_species", {})
    for name, entry in species.items() if len(species) > 1 else ():
        table.add_row(f"kinetic temperature of {name}", _spelt(entry, "K"))
    if temperature.get("fault"):
        table.add_row("no equipartition", temperature["fault"])
    table.add_row("drift of the conserved quantity", _spelt(drift, drift["unit"]))
    if speed is not None and math.isfinite(speed["ns_per_day"]):
        table.add_row("speed", f"{speed['ns_per_day']:.3g} ns/day, {speed['ms_per_step']:.3g} ms/step")
    return table


def _spelt(entry: dict[str, Any], unit: str) -> str:
    """Value and error of an entry of a summary."""
    value = float("nan") if entry["value"] is None else entry["value"]
    return plus_minus(value, entry["error"], entry.get("error_at_least"), unit=unit)


def rdf_rows(result: RDFResult) -> list[dict[str, Any]]:
    """First peak and coordination number of each pair, with standard errors; None where there is no peak.

    ``sampled`` is False for pairs that never came within the range.
    """
    import numpy as np

    rows = []
    for number, pair in enumerate(result.pairs):
        one = result[number]
        row: dict[str, Any] = {"pair": "-".join(pair)}
        try:
            peak = one.first_peak()
            row["peak_position_A"] = [peak.position, peak.position_error]
            row["peak_height"] = [peak.height, peak.height_error]
        except InputError:
            row["peak_position_A"] = row["peak_height"] = None
        row["coordination"] = _coordination(one)
        row["sampled"] = bool(np.any(one.g > 0))
        rows.append(row)
    return rows


def absent(row: dict[str, Any]) -> str:
    """The word for a number that a row of `rdf_rows` does not have."""
    return "none" if row["sampled"] else "not sampled"


def _coordination(one: RDFResult) -> list[float] | None:
    """Coordination number within the first minimum, its standard error, and the minimum in Å."""
    import numpy as np

    try:
        minimum = one.first_minimum()
    except InputError:
        return None
    shell = int(np.searchsorted(one.edges[1:], minimum.position))
    shell = min(shell, len(one.coordination) - 1)
    return [float(one.coordination[shell]), float(one.coordination_error[shell]), minimum.position]


def rdf_table(rows: list[dict[str, Any]]) -> Table:
    """`rdf_rows` for people."""
    from rich.table import Table

    table = Table("pair", "first peak / Å", "g there", "coordination number (first minimum)")
    for row in rows:
        position, height, shell = row["peak_position_A"], row["peak_height"], row["coordination"]
        table.add_row(
            row["pair"],
            absent(row) if position is None else plus_minus(*position),
            "" if height is None else plus_minus(*height),
            absent(row) if shell is None else f"{plus_minus(*shell[:2])} (to {shell[2]:.2f} Å)",
        )
    return table


def observable_table(name: str, result: object) -> Table | str:
    """What a run averaged or recorded in its loop, for people; as text where there is no table of its kind."""
    from rich.table import Table

    from jaxelyte.observables import RDFResult, SeriesResult

    if isinstance(result, RDFResult):
        return rdf_table(rdf_rows(result))
    if not isinstance(result, SeriesResult):
        return f"{name}: {result!r}"
    table = Table(name, f"mean / {result.unit}", title=f"{counted(len(result), 'sample')} each {result.interval:g} fs")
    for column, mean, error, bound in zip(result.columns, result.mean, result.error, result.error_bound, strict=True):
        table.add_row(column, plus_minus(mean, error, bound))
    return table


def section_table(section: Section) -> Table | str:
    """A part of the report of `jaxelyte analyse` for people; below it, what could not be computed and why."""
    from rich.markup import escape
    from rich.table import Table

    notes = escape("\n".join(section.notes))
    if not section.rows:
        return f"{escape(section.title)}: {notes}"
    table = Table(*section.columns, title=section.title, caption=notes, caption_justify="left")
    for row in section.rows:
        table.add_row(*row)
    return table


def save_rdf(result: RDFResult, folder: Path, name: str = "rdf") -> list[Path]:
    """Write a result as CSV, JSON and PNG; returns the files."""
    from jaxelyte.plots import rdf_panels

    files = [folder / f"{name}.{suffix}" for suffix in ("csv", "json", "png")]
    result.to_csv(files[0])
    result.to_json(files[1])
    save_figure(rdf_panels(result)[0, 0].figure, files[2])
    return files


def save_log(run: Run, folder: Path) -> Path:
    """Picture of temperature and energies against time."""
    import numpy as np

    axes = run.plot()
    figure = np.ravel(np.asarray(axes, dtype=object))[0].figure
    save_figure(figure, folder / "log.png")
    return folder / "log.png"


def errors_table(summary: dict[str, Any], title: str) -> Table:
    """Root mean square and mean absolute errors for people, with standard errors."""
    from rich.table import Table

    table = Table("quantity", "RMSE", "MAE", "values", title=f"{title}: {counted(summary['frames'], 'frame')}")
    rows = {"energy / meV/atom": summary["energy_meV_per_atom"], "forces / meV/Å": summary["forces_meV_per_A"]}
    rows |= {f"  {name}": row for name, row in summary["forces_by_species_meV_per_A"].items()}
    rows["stress / meV/Å³"] = summary["stress_meV_per_A3"]
    for name, row in rows.items():
        if row is None:
            continue
        rmse = plus_minus(row["rmse"], row.get("rmse_error"))
        table.add_row(name, rmse, f"{row['mae']:.4g}", f"{row['values']:,}")
    if summary["committee"] is not None:
        table.caption = _committee(summary["committee"])
    return table


def _committee(row: dict[str, Any]) -> str:
    """How wide a committee is, and whether it knows its errors, in a sentence."""
    said = {name: "unknown" if value is None else f"{value:.3g}" for name, value in row.items()}
    return (
        f"committee: spread of forces {said['forces_spread_meV_per_A']} meV/Å, of energies "
        f"{said['energy_spread_meV_per_atom']} meV/atom; force error / spread {said['error_over_spread']}, rank "
        f"correlation {said['rank_correlation']}"
    )


def model_table(potential: NequIPPotential, title: str) -> Table:
    """Species, cut-off, size and hyperparameters of a network."""
    from dataclasses import fields

    from rich.table import Table

    from jaxelyte.potentials.base import tree_size

    table = Table("NequIP", "value", title=title)
    table.add_row("species", ", ".join(potential.config.type_names))
    table.add_row("cut-off", f"{potential.config.r_max} Å")
    table.add_row("parameters", f"{tree_size(potential):,}")
    beside = (
        "less the baseline that it needs" if potential.requires else "without any Coulomb term it was trained beside"
    )
    table.add_row("energies, forces", f"eV, eV/Å; {beside}")
    for item in fields(potential.config):
        value = getattr(potential.config, item.name)
        if item.name not in ("type_names", "r_max") and value is not None:
            table.add_row(item.name, str(value))
    return table


def _baseline(potential: Potential) -> str:
    """The terms of a baseline; of Coulomb terms with charges in e."""
    from ase.data import chemical_symbols

    from jaxelyte.potentials.base import terms_of
    from jaxelyte.potentials.coulomb import ScreenedCoulomb

    said = []
    for term in terms_of(potential):
        said.append(type(term).__name__)
        if isinstance(term, ScreenedCoulomb) and term.numbers is not None:
            charges = zip(term.numbers, term.charges.tolist(), strict=True)
            listed = ", ".join(f"{chemical_symbols[z]} {q:+g} e" for z, q in charges)
            said[-1] += f" ({listed}; permittivity {float(term.permittivity):g})"
    return " + ".join(said)


def card_table(found: ShippedPotential) -> Table:
    """The card of a potential that comes with the package: what it is, where it holds, licence and citation."""
    from rich.table import Table

    card, table = found.card, Table("potential", "value", title=found.name)
    table.add_row("system", card["system"])
    table.add_row("level of theory", card["level_of_theory"])
    table.add_row("networks", f"committee of {len(found.networks)}" if len(found.networks) > 1 else "1")
    table.add_row("baseline", _baseline(found.baseline))
    if found.barrier is not None:
        settings = ", ".join(f"{key} {value}" for key, value in card["barrier"]["parameters"].items())
        table.add_row("barrier", f"{settings} (eV, Å): {card['barrier']['why']}")
    table.add_row("errors", card["summary"]["errors"])
    table.add_row("stability", card["stability"])
    for name, entries in (("limits", card["limits"]), ("cite", card["citation"])):
        for number, entry in enumerate(entries):
            table.add_row("" if number else name, entry)
    table.add_row("licence", card["licence"])
    table.add_row("folders", "\n".join(map(str, found.homes)))
    return table


def fit_table(fit: Fit, title: str) -> Table:
    """What a training left: data, baseline, epochs, errors of the best one, and the versions it was made with."""
    from rich.table import Table

    config, table = fit.config, Table("fit", "value", title=title)
    table.add_row("networks", f"committee of {len(fit.members)}" if len(fit.members) > 1 else "1")
    table.add_row("start", "given weights" if "start_sha256" in config else f"random weights, seed {config['seed']}")
    table.add_row("baseline", "none" if fit.baseline is None else _baseline(fit.baseline))
    method = {"blocks": "; blocks of consecutive frames", "random": "; at random"}.get(
        config.get("split_method", ""), ""
    )
    table.add_row("frames", ", ".join(f"{len(part)} {name}" for name, part in config["split"].items()) + method)
    table.add_row("epochs", f"{fit.epochs} of {config['epochs']}")
    known = [row for row in fit.metrics if row["best"]]
    if known:
        errors = known[-1]["validation"]
        forces = {"all": errors["forces"], **errors["forces_by_species"]}
        said = ", ".join(f"{name} {1e3 * x:.3g}" for name, x in forces.items() if x is not None)
        table.add_row("best epoch", f"{known[-1]['epoch']}{'' if known[-1]['epoch'] else ', the start'}")
        table.add_row("  RMSE of forces", f"{said or 'unknown'} meV/Å")
        energy = "unknown" if errors["energy"] is None else f"{1e3 * errors['energy']:.3g} meV/atom"
        table.add_row("  RMSE of energy", energy)
    table.add_row("versions", ", ".join(f"{name} {version}" for name, version in config["versions"].items()))
    return table


def save_evaluation(result: Evaluation, folder: Path, name: str) -> list[Path]:
    """Write errors as JSON and the parity plot; returns the files."""
    import json

    from jaxelyte.plots import parity, spread

    files = [folder / f"{name}.json", folder / f"{name}_parity.png"]
    write_text(files[0], json.dumps(result.summary(), indent=1) + "\n")
    save_figure(parity(result)[0].figure, files[1])
    if result.force_spread is not None:
        files.append(folder / f"{name}_spread.png")
        save_figure(spread(result).figure, files[-1])
    return files


def stability_table(card: Stability) -> Table:
    """The report card for people: what lasted, and how rare events are with 95 % confidence."""
    from rich.table import Table

    columns = ("temperature / K", "runs without event", "first event / ps", "events per ns", "below, 95 % / ns⁻¹")
    table = Table(*columns, title=f"report card: NVT of {card.length:g} ps")
    for row in card.summary()["temperatures"]:
        first, rate, bound = row["first_event_ps"], row["rate_per_ns"], row["rate_below_per_ns"]
        table.add_row(
            f"{row['temperature_K']:g}",
            f"{row['runs'] - row['events']} of {row['runs']}",
            "none" if first is None else f"{first:.3g}",
            "" if rate is None else f"{rate:.3g}",
            "" if bound is None else f"{bound:.3g}",
        )
    return table


def save_stability(card: Stability, folder: Path) -> list[Path]:
    """Write the report card as JSON and PNG; returns the files."""
    import json

    files = [folder / "stability.json", folder / "stability.png"]
    write_text(files[0], json.dumps(card.summary(), indent=1) + "\n")
    save_figure(card.plot().figure, files[1])
    return files


def save_learning(fit: Fit, folder: Path) -> Path:
    """Picture of the errors over the epochs."""
    from jaxelyte.plots import learning

    path = folder / "training.png"
    save_figure(learning(fit)[0].figure, path)
    return path
