"""Code blocks of README.md, docs/ and the cards of shipped potentials: found, reduced, and put together to scripts.

An HTML comment in the line before a block says how tests treat it; readers of the page do not see it:

    <!-- in tests: steps=20_000 -> steps=200; epochs=100 -> epochs=1 -->   replacements, each of which has to occur
    <!-- needs: reference/licl_ions -->                                    left out where published data are absent
    <!-- not in tests: LAMMPS reads a file of the user -->                 left out, and why
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "jaxelyte/datasets/*/README.md", "examples/study/README.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENTS = re.compile(r"((?:^<!--[^\n]*-->\n)+)\Z", re.MULTILINE)
EXECUTED = "jaxelyte"
"""The program whose calls in shell blocks are executed."""


@dataclass(frozen=True)
class Block:
    """One block of code.

    Attributes:
        document: the file.
        line: of the opening fence, from 1.
        language: "python", "bash", or "" for what is no code.
        code: as readers see it.
        replacements: (text, text for tests).
        needs: published data, by path.
        left_out: why tests do not run it; empty for those that they run.
    """

    document: Path
    line: int
    language: str
    code: str
    replacements: tuple[tuple[str, str], ...] = ()
    needs: tuple[str, ...] = ()
    left_out: str = ""

    @property
    def name(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def reduced(self) -> str:
        """The code as tests run it."""
        code = self.code
        for old, new in self.replacements:
            if old not in code:
                raise ValueError(f"{self.name}: {old!r}, which tests replace, is not in the block")
            code = code.replace(old, new)
        return code

    @property
    def commands(self) -> list[str]:
        """Lines of a shell block, without comments; continued lines are joined."""
        lines = self.reduced.replace("\\\n", " ").splitlines()
        return [line.split(" #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def blocks(document: Path) -> list[Block]:
    """All blocks of a document, in order."""
    text, found = document.read_text("utf-8"), []
    for match in FENCE.finditer(text):
        before = text[: match.start()]
        comments = COMMENTS.search(before)
        notes = re.findall(r"<!--\s*(.*?)\s*-->", comments.group(1)) if comments else []
        found.append(Block(document, before.count("\n") + 1, match.group(1), match.group(2), **_read(notes)))
    return found


def _read(notes: list[str]) -> dict[str, object]:
    treatment: dict[str, object] = {}
    for note in notes:
        kind, _, rest = note.partition(":")
        if kind == "in tests":
            pairs = [one.split(" -> ") for one in rest.split(";")]
            treatment["replacements"] = tuple((old.strip(), new.strip()) for old, new in pairs)
        elif kind == "needs":
            treatment["needs"] = tuple(rest.split())
        elif kind == "not in tests" and rest.strip():
            treatment["left_out"] = rest.strip()
        else:
            raise ValueError(f"the comment {note!r} before a block is not known")
    return treatment
