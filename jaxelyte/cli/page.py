"""The page of a report: sections of tables, notes and pictures, and what became of those without numbers."""

from __future__ import annotations

import base64
import html
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jaxelyte.cli.spelling import spelled
from jaxelyte.errors import InputError, JaxelyteError

STYLE = """*{box-sizing:border-box}
body{font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;max-width:68em;margin:0 auto;padding:1.5em 1em 4em;
color:#1c1c1c;background:#fff}
h1{font-size:1.6em;line-height:1.25;margin:.3em 0}h2{font-size:1.2em;margin:2.2em 0 .6em}
p{margin:.5em 0}.about{color:#444}
.wide{overflow-x:auto;margin:.8em 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.3em 1em .3em 0;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
th{font-weight:600;border-bottom:2px solid #999}
.pictures{display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start}
figure{margin:0;flex:1 1 24em;max-width:33em}figure img{width:100%;height:auto;display:block}
figure.broad{flex-basis:100%;max-width:60em;overflow-x:auto}figure.broad img{min-width:38em}
td:first-child{min-width:4.5em}
figcaption{font-size:.85em;color:#444}
.note{border-left:3px solid #c8553d;padding-left:.7em;color:#333;font-size:.95em}
nav{font-size:.95em}nav a{margin-right:1em;white-space:nowrap}a{color:#1f5a94}
@media(max-width:40em){body{font-size:15px;padding:1em .8em 3em}th,td{padding-right:.7em}}
@media print{body{max-width:none;padding:0;font-size:10pt}nav{display:none}
figure,table,.note{break-inside:avoid}h2{break-after:avoid}.wide{overflow:visible}
.pictures{display:block}figure{display:inline-block;width:48%}figure.broad{width:100%;overflow:visible}
figure.broad img{min-width:0}}"""

UNITS = "Å|ps|fs|S/m|m²|mPa|meV|eV|K(?!\\w)"
"""Of which the number before it is not parted at the end of a line."""

BROAD = 700
"""Pixels from which a picture has a line of its own in print."""


class Answer(NamedTuple):
    """One line at the top of the report.

    Attributes:
        quantity: what it is, in words.
        value: with its error and unit.
        experiment: what was measured, with conditions; empty where nothing is known.
    """

    quantity: str
    value: str
    experiment: str = ""


@dataclass
class Section:
    """One part of the report.

    Attributes:
        title: its headline.
        columns: headers of the table.
        rows: of the table.
        notes: what the numbers are worth, or why there are none.
        pictures: captions and contents of PNG files.
        answers: what stands at the top of the report.
        content: the numbers, for the JSON file.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: list[tuple[str, bytes]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    content: Any = None


def attempt(function: Callable[[], Any], section: Section, name: str | None = None) -> Any:
    """The result, with its warnings among the notes; or None, and the reason there (if it has a name)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = function()
        except JaxelyteError as error:
            if name is not None:
                add_note(section, f"{name}: {error}")
            return None
    for note in sorted({str(w.message) for w in caught if issubclass(w.category, UserWarning)}):
        add_note(section, note)
    return found


def needs(section: Section, reason: str) -> Section:
    """The section with the reason why there are no numbers."""
    add_note(section, reason)
    return section


def add_note(section: Section, text: str) -> None:
    """Append a message, once; without names at its start that the title of the section contains."""
    note = spelled(text)
    while ": " in note:
        name, rest = note.split(": ", 1)
        if len(name) < 3 or not re.search(rf"\b{re.escape(name)}\b", section.title, re.IGNORECASE):
            break
        note = rest
    if note not in section.notes:
        section.notes.append(note)


def chosen(names: Mapping[str, Any], only: str, skip: str) -> list[str]:
    """Names of the sections that are wanted, in the order of the report.

    Args:
        names: of all sections.
        only: those wanted, separated by commas; all if empty.
        skip: those not wanted.

    Raises:
        InputError: an unknown name.
    """
    wanted, unwanted = ([part.strip() for part in text.split(",") if part.strip()] for text in (only, skip))
    unknown = [name for name in wanted + unwanted if name not in names]
    if unknown:
        raise InputError(f"there is no section {unknown[0]!r}; --only and --skip take {', '.join(names)}")
    return [name for name in names if (not wanted or name in wanted) and name not in unwanted]


def page(title: str, about: str, sections: list[Section], provenance: Mapping[str, str]) -> str:
    """The report as HTML: answers, sections, what has no numbers and why, and where all of it comes from.

    One file without scripts or links to others, to be sent to people.
    """
    shown = [section for section in sections if section.rows or section.pictures]
    missing = [section for section in sections if not section.rows and not section.pictures]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>",
        f'<h1>{html.escape(title)}</h1><p class="about">{html.escape(about)}</p>',
        '<p class="about">Values with one standard error; where it is unknown, the run is too short for one.</p>',
    ]
    answers = [answer for section in shown for answer in section.answers]
    if answers:
        parts += ["<h2>Results</h2>", _table(("quantity", "value", "experiment"), answers)]
    links = [f'<a href="#s{n}">{html.escape(section.title)}</a>' for n, section in enumerate(shown)]
    parts += [f"<nav>{' '.join(links)}</nav>"] if len(links) > 1 else []
    for number, section in enumerate(shown):
        parts += _section(section, f"s{number}")
    if missing:
        rows = [f"<li><b>{html.escape(s.title)}</b>: {html.escape('; '.join(s.notes))}</li>" for s in missing]
        parts.append(f"<h2>Not computed</h2><ul>{''.join(rows)}</ul>")
    if provenance:
        parts += ["<h2>Provenance</h2>", _table(("", ""), list(provenance.items()))]
    parts.append("</body></html>")
    return "\n".join(parts) + "\n"


def _section(section: Section, anchor: str) -> list[str]:
    parts = [f'<h2 id="{anchor}">{html.escape(section.title)}</h2>']
    if section.rows:
        parts.append(_table(section.columns, section.rows))
    parts += [f'<p class="note">{html.escape(note)}</p>' for note in section.notes]
    figures = []
    for name, picture in section.pictures:
        data, kind = base64.b64encode(picture).decode(), ' class="broad"' if _width(picture) >= BROAD else ""
        image = f'<img alt="{html.escape(name)}" src="data:image/png;base64,{data}">'
        figures.append(f"<figure{kind}>{image}<figcaption>{html.escape(name)}</figcaption></figure>")
    return [*parts, f'<div class="pictures">{"".join(figures)}</div>'] if figures else parts


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls by itself on narrow screens; without a head where no column has a name."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns) if any(columns) else ""
    body = "".join("<tr>" + "".join(f"<td>{_unbroken(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table>{f"<tr>{head}</tr>" if head else ""}{body}</table></div>'


def _unbroken(cell: str) -> str:
    """The text of a cell; values stay together with their errors and units."""
    return re.sub(rf"(?<=\d) (?={UNITS})", "&nbsp;", html.escape(cell)).replace(" ± ", "&nbsp;±&nbsp;")


def _width(picture: bytes) -> int:
    """Pixels across of a PNG file, from its header."""
    return int.from_bytes(picture[16:20], "big")
