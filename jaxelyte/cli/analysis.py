"""What a run says about an electrolyte, in one page: structure, forces between ions, dynamics; beside experiment."""

from __future__ import annotations

import base64
import html
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxelyte.arrays import finite
from jaxelyte.cli.spelling import spelled
from jaxelyte.errors import InputError
from jaxelyte.plots.style import png

if TYPE_CHECKING:
    from jaxelyte.observables import RDFResult
    from jaxelyte.trajectory import Trajectory

PEAKS = {
    "Na-O": (2.384, "X-ray diffraction and EXAFS, Galib et al. 2017"),
    "Cl-O": (3.16, "diffraction, 3.14 to 3.2 Å"),
    "Li-O": (1.955, "neutron diffraction, 1.95 to 1.96 Å"),
    "K-O": (2.79, "X-ray diffraction"),
    "O-O": (2.80, "X-ray diffraction of water"),
}
"""First peaks in Å at 25 °C."""

DIFFUSION = {"Na": 1.334, "Cl": 2.032, "Li": 1.029, "K": 1.957, "O": 2.299}
"""Self-diffusion at infinite dilution, 25 °C, 1e-9 m²/s (O: that of water); lower in solutions."""

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:left}
img{max-width:100%}h2{margin-top:2em}.note{color:#a33}"""


@dataclass
class Section:
    """One part of the report."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: list[tuple[str, bytes]] = field(default_factory=list)


def analyse_trajectory(
    trajectory: Trajectory,
    result: RDFResult,
    folder: Path,
    *,
    title: str,
    temperature: float | None,
    charges: Mapping[str, float] | None,
    permittivity: float,
    viscosity: float | None,
    discard: int,
) -> list[Section]:
    """Write ``report.html`` and ``report.json`` into a folder; returns the parts of the report, structure first.

    What cannot be computed (frames without times, a run too short) is said in its place with the reason.

    Args:
        trajectory: all frames.
        result: radial distribution functions of the pairs asked for.
        folder: where to write.
        title: headline.
        temperature: K; None where it is not known.
        charges: of the ions in e; adds potentials of mean force and the conductivity.
        permittivity: relative, of the solvent, for the short-range part of the potentials of mean force.
        viscosity: Pa s, for the finite-size correction of diffusion; None for none.
        discard: frames left out at the start.
    """
    content: dict[str, Any] = {"title": title, "frames": len(trajectory), "discarded": discard}
    sections = [_structure(result, content)]
    if charges:
        sections.append(_forces(result, charges, permittivity, temperature, content))
    sections.append(_diffusion(trajectory, temperature, viscosity, discard, content))
    if charges:
        sections.append(_conductivity(trajectory, charges, temperature, discard, content))
    (folder / "report.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(_page(title, sections), encoding="utf-8")
    return sections


def _structure(result: RDFResult, content: dict[str, Any]) -> Section:
    from jaxelyte.cli.report import rdf_rows

    section = Section("Structure", ("pair", "first peak / Å", "coordination number", "experiment / Å"))
    rows = rdf_rows(result)
    for row in rows:
        peak, shell, known = row["peak_position_A"], row["coordination"], PEAKS.get(row["pair"])
        section.rows.append(
            (
                row["pair"],
                "none" if peak is None else f"{peak[0]:.3f} ± {peak[1]:.3f}",
                "none" if shell is None else f"{shell[0]:.2f} ± {shell[1]:.2f} (to {shell[2]:.2f} Å)",
                "" if known is None else f"{known[0]} ({known[1]})",
            )
        )
    content["structure"] = [
        {k: [finite(x) for x in v] if isinstance(v, list) else v for k, v in row.items()} for row in rows
    ]
    section.pictures.append(("radial distribution functions", png(result.plot())))
    return section


def _forces(
    result: RDFResult,
    charges: Mapping[str, float],
    permittivity: float,
    temperature: float | None,
    content: dict[str, Any],
) -> Section:
    from jaxelyte.observables import pmf

    section = Section("Potentials of mean force between ions", ("pair", "contact", "barrier", "solvent-separated"))
    content["pmf"] = {}
    for number, pair in enumerate(result.pairs):
        if not all(s in charges for s in pair):
            continue
        name = "-".join(pair)

        def one(number: int = number) -> Any:
            if temperature is None:
                raise InputError("the temperature is not known; pass temperature= in K")
            return pmf(result[number], temperature, charges=charges, permittivity=permittivity)

        found = _attempt(one, name, section)
        if found is None:
            continue
        wells = [_attempt(lambda which=which, found=found: getattr(found, which), None, section) for which in WELLS]
        section.rows.append((name, *("none" if well is None else str(well) for well in wells)))
        content["pmf"][name] = {
            which: None if well is None else dict(zip(WELL, map(finite, well), strict=True))
            for which, well in zip(WELLS, wells, strict=True)
        }
        section.pictures.append((name, png(found.plot())))
    return section


WELLS = ("contact", "barrier", "separated")
WELL = ("position_A", "position_error_A", "energy_eV", "energy_error_eV")


def _diffusion(
    trajectory: Trajectory, temperature: float | None, viscosity: float | None, discard: int, content: dict[str, Any]
) -> Section:
    from ase.data import chemical_symbols

    from jaxelyte.observables import diffusivity

    section = Section(
        "Self-diffusion", ("species", "D / 1e-9 m²/s", "of it for the finite cell", "MSD ~ t^", "at infinite dilution")
    )
    content["diffusion"] = {}
    species = [chemical_symbols[z] for z in sorted(set(trajectory.numbers[0].tolist())) if z != 1]
    for name in species:

        def one(name: str = name) -> Any:
            return diffusivity(trajectory, name, viscosity=viscosity, temperature=temperature, discard=discard)

        found = _attempt(one, name, section)
        if found is None:
            continue
        known = DIFFUSION.get(name)
        section.rows.append(
            (
                name,
                f"{found.value * 1e9:.3f} ± {found.error * 1e9:.3f}",
                f"{found.correction * 1e9:.3f}" if viscosity is not None else "not corrected (no viscosity given)",
                f"{found.exponent:.2f}",
                "" if known is None else f"{known}",
            )
        )
        content["diffusion"][name] = {
            "value_m2_s": found.value,
            "error_m2_s": finite(found.error),
            "correction_m2_s": found.correction,
            "exponent": found.exponent,
        }
        section.pictures.append((name, png(found.plot())))
    return section


def _conductivity(
    trajectory: Trajectory,
    charges: Mapping[str, float],
    temperature: float | None,
    discard: int,
    content: dict[str, Any],
) -> Section:
    from jaxelyte.observables import conductivity

    section = Section("Ionic conductivity", ("quantity", "value"))
    found = _attempt(
        lambda: conductivity(trajectory, charges, temperature=temperature, discard=discard), "conductivity", section
    )
    content["conductivity"] = None
    if found is None:
        return section
    section.rows.append(("σ, correlations included", f"{found.value:.2f} ± {found.error:.2f} S/m"))
    section.rows.append(("σ, independent ions", f"{found.nernst_einstein:.2f} ± {found.nernst_einstein_error:.2f} S/m"))
    for name, share, error in zip(found.species, found.transport, found.transport_error, strict=True):
        section.rows.append((f"transport number of {name}", f"{share:.2f} ± {error:.2f}"))
    content["conductivity"] = {
        "value_S_m": found.value,
        "error_S_m": finite(found.error),
        "nernst_einstein_S_m": found.nernst_einstein,
        "transport_numbers": dict(zip(found.species, found.transport.tolist(), strict=True)),
    }
    section.pictures.append(("displacement of the charge", png(found.plot())))
    return section


def _attempt(function: Callable[[], Any], name: str | None, section: Section) -> Any:
    """The result, with its warnings among the notes; or None, and the reason there (if it has a name)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = function()
        except InputError as error:
            if name is not None:
                section.notes.append(spelled(f"{name}: {error}"))
            return None
    section.notes += sorted({spelled(str(w.message)) for w in caught if issubclass(w.category, UserWarning)})
    return found


def _page(title: str, sections: Sequence[Section]) -> str:
    parts = [f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"]
    parts.append(f"<h1>{html.escape(title)}</h1><p>Values with one standard error.</p>")
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        if section.rows:
            head = "".join(f"<th>{html.escape(c)}</th>" for c in section.columns)
            body = "".join(
                "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in section.rows
            )
            parts.append(f"<table><tr>{head}</tr>{body}</table>")
        parts += [f"<p class=note>{html.escape(note)}</p>" for note in section.notes]
        for name, picture in section.pictures:
            data = base64.b64encode(picture).decode()
            parts.append(f'<img alt="{html.escape(name)}" src="data:image/png;base64,{data}">')
    return "\n".join(parts) + "\n"
