"""The page of a report: sections of tables, notes and pictures, and what became of those without numbers."""

from __future__ import annotations

import base64
import html
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxelyte.cli.spelling import spelled
from jaxelyte.errors import InputError, JaxelyteError

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:left}
img{max-width:100%}h2{margin-top:2em}.note{color:#a33}"""


@dataclass
class Section:
    """One part of the report.

    Attributes:
        title: its headline.
        columns: headers of the table.
        rows: of the table.
        notes: what the numbers are worth, or why there are none.
        pictures: names and contents of PNG files.
        content: the numbers, for the JSON file.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: list[tuple[str, bytes]] = field(default_factory=list)
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
        InputError: a name that there is not.
    """
    wanted, unwanted = ([part.strip() for part in text.split(",") if part.strip()] for text in (only, skip))
    unknown = [name for name in wanted + unwanted if name not in names]
    if unknown:
        raise InputError(f"there is no section {unknown[0]!r}; --only and --skip take {', '.join(names)}")
    return [name for name in names if (not wanted or name in wanted) and name not in unwanted]


def page(title: str, about: str, sections: list[Section]) -> str:
    """The report as HTML; sections without numbers come last, as a list of reasons."""
    parts = [f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"]
    parts.append(f"<h1>{html.escape(title)}</h1><p>{html.escape(about)}</p><p>Values with one standard error.</p>")
    for section in sections:
        if section.rows or section.pictures:
            parts += _section(section)
    missing = [section for section in sections if not section.rows and not section.pictures]
    if missing:
        rows = [f"<li><b>{html.escape(s.title)}</b>: {html.escape('; '.join(s.notes))}</li>" for s in missing]
        parts.append(f"<h2>Not computed</h2><ul>{''.join(rows)}</ul>")
    return "\n".join(parts) + "\n"


def _section(section: Section) -> list[str]:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
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
    return parts
