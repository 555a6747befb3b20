"""Hooks of MkDocs: pages of the site that are kept elsewhere in the repository, links between them, and formulas.

Notebooks become pages with the outputs of ``notebooks/output/`` (`make notebooks`) where these belong to the committed
cells, else without outputs: the site builds in a clone within a minute, and nothing is executed. CHANGELOG.md,
CONTRIBUTING.md and the other documents of the root become pages as they are. The page of the command line is made from
its options. Formulas become MathML, so that pages need no script from another server.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import nbformat
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/study/README.md": "study.md",
    "jaxelyte/datasets/nacl_r2scan/README.md": "cards/nacl_r2scan.md",
    "jaxelyte/datasets/nacl_water/README.md": "cards/nacl_water.md",
}
"""Pages of the site by the document of the repository that they show."""

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
FENCED = re.compile(r"^(```.*?^```)$", re.MULTILINE | re.DOTALL)
TEST_COMMENT = re.compile(r"^<!--.*?-->\n", re.MULTILINE)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COMMANDS = "<!-- commands -->"
"""Where the page of the command line shows the commands."""
PICTURES = {".png", ".svg", ".jpg"}
WITHOUT_OUTPUTS = """!!! note "Results are not shown on this page"
    It was built from the notebook alone. `make notebooks` executes the notebooks; `make docs` then shows what they
    print and draw.

"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and pictures that are not in docs/."""
    for source, place in DOCUMENTS.items():
        if (ROOT / source).exists():
            _add(files, config, place, (ROOT / source).read_text("utf-8"), source)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        body, pictures = _notebook(path)
        _add(files, config, f"tutorials/{path.stem}.md", body, f"notebooks/{path.name}")
        for name, content in pictures.items():
            files.append(File.generated(config, f"tutorials/{name}", content=content))
    for picture in _pictures_elsewhere(files):
        files.append(File.generated(config, f"pictures/{picture}", abs_src_path=str(ROOT / picture)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Without the comments for tests, and with links that hold on the site."""
    source = _source(page.file)
    markdown = markdown.replace(COMMANDS, _command_line()) if COMMANDS in markdown else markdown
    parts = FENCED.split(TEST_COMMENT.sub("", markdown))
    parts[::2] = [LINK.sub(lambda link: _relinked(link, source, page.file.src_uri), part) for part in parts[::2]]
    return "".join(parts)


def on_page_content(html: str, **_: Any) -> str:
    """Formulas as MathML."""

    def formula(found: re.Match[str]) -> str:
        return convert(_unescaped(found[3]), display="inline" if found[1] == "span" else "block")

    return FORMULA.sub(formula, html)


def _add(files: Files, config: MkDocsConfig, place: str, body: str, source: str) -> None:
    page = File.generated(config, place, content=body)
    page.edit_uri = source
    files.append(page)


def _source(page: File) -> str:
    """The path in the repository of what a page shows."""
    return page.edit_uri if page.generated_by and page.edit_uri else f"docs/{page.src_uri}"


def _relinked(link: re.Match[str], source: str, place: str) -> str:
    """A link between documents of the repository as one between pages; what has no page is named by its path."""
    target, _, anchor = link[3].partition("#")
    if not target or "://" in target or target.startswith("mailto:") or not source.endswith((".md", ".ipynb")):
        return link[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if source.startswith("notebooks/") and Path(target).parent == Path(f"{Path(source).stem}_files"):
        return link[0]
    if path.startswith("docs/"):
        to = path.removeprefix("docs/")
    elif path in DOCUMENTS:
        to = DOCUMENTS[path]
    elif path.startswith("notebooks/"):
        to = f"tutorials/{Path(path).stem}.md"
    elif Path(path).suffix in PICTURES:
        to = f"pictures/{path}"
    else:
        return link[2] if path in link[2] else f"{link[2]} (`{path}` in the repository)"
    relative = posixpath.relpath(to, posixpath.dirname(place) or ".")
    return f"{link[1]}[{link[2]}]({relative}{'#' + anchor if anchor else ''})"


def _pictures_elsewhere(files: Files) -> set[str]:
    """Pictures outside docs/ that pages show, as paths in the repository."""
    found = set()
    for page in files.documentation_pages():
        source = _source(page)
        for _, _, target in LINK.findall(page.content_string):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
            if Path(path).suffix in PICTURES and not path.startswith("docs/") and (ROOT / path).is_file():
                found.add(path)
    return found


def _notebook(path: Path) -> tuple[str, dict[str, bytes]]:
    """The page of a notebook, and its pictures by name."""
    notebook = nbformat.read(path, as_version=4)
    executed = path.parent / "output" / path.name
    shown = nbformat.read(executed, as_version=4) if executed.exists() else None
    note = ""
    if shown is None or [cell.source for cell in shown.cells] != [cell.source for cell in notebook.cells]:
        shown, note = notebook, WITHOUT_OUTPUTS
    for cell in shown.cells:
        for output in cell.get("outputs", []):
            _only_readable(output)
    body, resources = MarkdownExporter().from_notebook_node(
        shown, resources={"output_files_dir": f"{path.stem}_files", "unique_key": path.stem}
    )
    title, _, rest = body.partition("\n")
    return f"{title}\n\n{note}{rest}", dict(resources.get("outputs", {}))


def _only_readable(output: Any) -> None:
    """Drops widgets and terminal colours from an output; of several forms, a picture or the text is left."""
    if output.output_type == "stream":
        output.text = ANSI.sub("", output.text).rsplit("\r", 1)[-1]
    elif "data" in output:
        kept = [kind for kind in ("image/png", "text/html", "text/plain") if kind in output.data][:1]
        output.data = {kind: output.data[kind] for kind in kept if "widget" not in output.data[kind][:40]}


def _command_line() -> str:
    """The commands with their arguments and options, as the command line itself describes them."""
    from typer.main import get_command

    from jaxelyte.cli import app

    group: Any = get_command(app)
    lines = []
    for name, command in group.commands.items():
        arguments = " ".join(
            str(one.metavar or one.name.upper()) for one in command.params if not one.opts[0].startswith("-")
        )
        lines += [f"## jaxelyte {name}", "", f"`jaxelyte {name} [OPTIONS] {arguments}`".replace(" `", "`"), ""]
        lines += [str(command.help), ""]
        for one in command.params:
            shown = ", ".join(f"`{word}`" for word in (*one.opts, *one.secondary_opts))
            if not one.opts[0].startswith("-"):
                shown = f"`{one.metavar or one.name.upper()}`"
            default = (
                f" Default: `{one.default}`."
                if isinstance(one.default, str | int | float) and one.default not in {False, ""}
                else ""
            )
            lines.append(f"- {shown}: {getattr(one, 'help', None) or ''}{default}")
        lines.append("")
    return "\n".join(lines)


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
