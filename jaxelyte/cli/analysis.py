"""What a run says about an electrolyte, in one page: structure, forces, dynamics, activity; beside experiment."""

from __future__ import annotations

import json
import math
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxelyte import checks
from jaxelyte.cli.analysis_dynamics import conduction, diffusion, flow, residence, vibrations
from jaxelyte.cli.analysis_structure import forces, scattering, shell_angles, structure
from jaxelyte.cli.analysis_thermodynamics import activity, osmotic
from jaxelyte.cli.known import WATER_PERMITTIVITY, Known, known_of, provenance_of, stored_settings
from jaxelyte.cli.page import Section, chosen, needs, page
from jaxelyte.cli.sample import Sample
from jaxelyte.errors import InputError, JaxelyteError
from jaxelyte.observables.series import temperature_of
from jaxelyte.storage import write_text, writing

PARTS: dict[str, Callable[[Sample], Section]] = {
    "structure": structure,
    "pmf": forces,
    "scattering": scattering,
    "angles": shell_angles,
    "residence": residence,
    "diffusion": diffusion,
    "conductivity": conduction,
    "viscosity": flow,
    "vibrations": vibrations,
    "activity": activity,
    "osmotic": osmotic,
}
"""Sections of the report by the names that ``--only`` and ``--skip`` take, and the JSON file has."""


def analyse_source(
    source: Path,
    folder: Path | None = None,
    *,
    pairs: str = "",
    r_max: float | None = None,
    width: float | None = None,
    discard: int | None = None,
    charges: str = "",
    permittivity: float | None = None,
    viscosity: float | None = None,
    temperature: float | None = None,
    fit: str = "",
    stretches: int | None = None,
    only: str = "",
    skip: str = "",
    reading: Mapping[str, Any] | None = None,
    show: Callable[[Any], None],
    say: Callable[[str], None],
) -> None:
    """Analyse a run folder or a trajectory file, print tables and write all files; see `jaxelyte analyse --help`.

    Args:
        source: run folder or trajectory file.
        folder: for the results; ``analysis/`` beside the source by default.
        pairs: such as Li-Cl,Li-O; all by default.
        r_max: Å.
        width: of the bins, Å.
        discard: frames left out at the start; by default what a run counts as its equilibration, and none of a
            trajectory file.
        charges: such as Na=1,Cl=-1; those of the run's potential by default.
        permittivity: relative; that of the run's potential, or of water, by default.
        viscosity: Pa s; that of the run by default, if it recorded its pressure for long enough.
        temperature: K; that of the run by default.
        fit: such as 1000,5000: window in fs of diffusion and conductivity.
        stretches: parts of each replica whose spread gives the errors of what moves.
        only: sections wanted, separated by commas; all by default.
        skip: sections not wanted.
        reading: options of `jaxelyte.open_trajectory` for a trajectory file.
        show: prints a table.
        say: prints a line.

    Raises:
        InputError: a source or an option that cannot be used.
    """
    given = {"temperature": temperature, "permittivity": permittivity, "viscosity": viscosity}
    said = _doubtful({name: value for name, value in given.items() if value is not None})
    from jaxelyte.cli.config import run_file_of
    from jaxelyte.cli.objects import all_pairs, parse_charges
    from jaxelyte.cli.report import rdf_rows, rdf_table, run_table, save_log, save_rdf, section_table
    from jaxelyte.dynamics import load_run
    from jaxelyte.names import pairs as pairs_named
    from jaxelyte.observables import rdf
    from jaxelyte.observables.provenance import ensemble_of
    from jaxelyte.observables.sampling import equilibration_of
    from jaxelyte.trajectory import open_trajectory

    names = chosen(PARTS, only, skip)
    if not source.exists():
        raise InputError(f"there is no run folder or trajectory {source}")
    run = load_run(source) if source.is_dir() else None
    config = run_file_of(source) if run is not None else None
    if run is not None and reading:
        raise InputError(
            f"--{', --'.join(reading)}: for trajectory files only; the run folder {source} contains this information"
        )
    trajectory = open_trajectory(source, **(reading or {})) if run is None else run.trajectory
    left_out = equilibration_of(run, len(trajectory)) if discard is None else discard
    symbols = _symbols(trajectory)
    wanted = pairs_named("--pairs", pairs) if pairs else all_pairs(symbols)
    stored = {} if run is None else stored_settings(source)
    known = Known(None, None) if run is None else known_of(stored.get("potential", {}), symbols)
    ions = parse_charges(charges, symbols, periodic=all(trajectory.pbc)) if charges else known.charges
    # Clusters and slabs have no density, and still move; who asks for distribution functions gets the reason.
    distributed = all(trajectory.pbc) or pairs or r_max is not None or width is not None
    sample = Sample(
        trajectory=trajectory,
        result=rdf(trajectory, pairs=wanted, r_max=r_max, width=width, discard=left_out) if distributed else None,
        discard=left_out,
        temperature=temperature if temperature is not None else temperature_of(run),
        charges=ions,
        permittivity=permittivity or known.permittivity or WATER_PERMITTIVITY,
        viscosity=viscosity,
        fit=_window(fit),
        stretches=stretches,
        observables={} if run is None else run.observables,
        config=config,
        unknown=known.reason,
        ensemble=ensemble_of(run),
    )
    options = {"charges": charges, "permittivity": permittivity, "temperature": temperature, "viscosity": viscosity}
    sample = replace(sample, provenance=provenance_of(source, run, stored, sample, known, options))
    folder = folder if folder is not None else (source if run else source.parent) / "analysis"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if run is not None and run.summary:
        show(run_table(run))
        save_log(run, folder)
    files: list[Path] = []
    if sample.result is not None:
        show(rdf_table(rdf_rows(sample.result)))
        files = save_rdf(sample.result, folder)
    sections = analyse_sample(
        sample, folder, title=f"Analysis of {source.resolve().name}", names=names, say=say, said=said
    )
    for name, section in sections.items():
        if name != "structure" or sample.result is None:  # that stands in the first table
            show(section_table(section))
    for path in (*files, folder / "report.json"):
        show(str(path))
    show(_farewell(folder / "report.html"))


def _farewell(page: Path) -> str:
    """Where the report lies, and how to open it on this machine."""
    command = {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")
    how = f"{command} {shlex.quote(str(page))}"
    return f"report: {page}\nopen it in a browser: {how} (it is one file, which can be sent to others)"


def _window(text: str) -> tuple[float, float] | None:
    """Two times in fs, as by ``--fit``; None for no text."""
    if not text:
        return None
    try:
        first, last = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--fit {text!r} must be two times in fs, such as 1000,5000") from None
    return first, last


def _doubtful(given: Mapping[str, float]) -> set[str]:
    """Check options of the command line; returns the warnings, as analyses that take the same values word them.

    Raises:
        InputError: a value that is not possible.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name, value in given.items():
            checks.quantity(f"--{name}", value, name)
    for one in caught:
        checks.caution(str(one.message))
    return {str(one.message).removeprefix("--") for one in caught}


def analyse_sample(
    sample: Sample,
    folder: Path,
    *,
    title: str,
    names: Sequence[str] = tuple(PARTS),
    say: Callable[[str], None] | None = None,
    said: Iterable[str] = (),
) -> dict[str, Section]:
    """Write ``report.html`` and ``report.json`` into a folder; returns the sections of the report by name.

    What cannot be computed (frames without times, a run too short) is said in its place with the reason.

    Args:
        sample: what was simulated.
        folder: where to write.
        title: headline.
        names: of the sections wanted; see `PARTS`.
        say: takes a line before each section, some of which take a minute.
        said: warnings that the user has seen; each warning stands in one section only.
    """
    sections, seen = {}, set(said)
    for name in names:
        if say is not None:
            say(f"{name} …")
        section = sections[name] = _section(name, sample)
        new = [note for note in section.notes if note not in seen]
        seen.update(new)
        section.notes = new if new or section.rows else section.notes  # a section without numbers keeps its reason
    about = sample.about()
    content: dict[str, Any] = {
        "title": title,
        "about": about,
        "frames": len(sample.trajectory),
        "discarded": sample.discard,
    }
    content |= {name: section.content for name, section in sections.items()}
    content["provenance"] = dict(sample.provenance)
    content["notes"] = {name: section.notes for name, section in sections.items() if section.notes}
    write_text(folder / "report.json", json.dumps(_finite(content), indent=1, allow_nan=False) + "\n")
    write_text(folder / "report.html", page(title, about, list(sections.values()), sample.provenance))
    return sections


def _section(name: str, sample: Sample) -> Section:
    """A section; an unforeseen failure is reported in its place, and the other sections are computed."""
    try:
        return PARTS[name](sample)
    except JaxelyteError as error:
        return needs(Section(name.capitalize(), ()), str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost the user all other sections
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = (
            f"not available: {type(error).__name__} in {Path(where.filename).name}, line {where.lineno}: {error}; this "
            "is a fault of jaxelyte, please report it"
        )
        return Section(name.capitalize(), (), notes=[text])


def _finite(content: Any) -> Any:
    """Content for a JSON file, which has no NaN: None for what is not finite."""
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, (float, np.floating)) and not math.isfinite(content) else content


def _symbols(trajectory: Any) -> list[str]:
    from ase.data import chemical_symbols

    return [chemical_symbols[z] for z in trajectory.numbers[0]]
