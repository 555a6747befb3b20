"""Bytes and lines of files that may be packed, and errors of other packages as our own."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

from jaxelyte.errors import InputError, JaxelyteError

PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
"""Openers by the first bytes of a file, whatever its name is."""

PACKED_SUFFIXES = (".gz", ".bz2", ".xz")

DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)
"""What unpacking raises for files that were cut off or damaged."""


def open_bytes(path: Path) -> IO[bytes]:
    """The content of a file, unpacked where it was packed by gzip, bzip2 or xz."""
    with path.open("rb") as file:
        start = file.read(6)
    for magic, opener in PACKED.items():
        if start.startswith(magic):
            return opener(path, "rb")  # pyright: ignore[reportReturnType]
    return path.open("rb")


def read_head(path: Path, size: int = 1 << 16) -> bytes:
    """The first bytes of the content; fewer where the file is short, or damaged behind them.

    Raises:
        InputError: the file cannot be opened.
    """
    with errors_of(path), open_bytes(path) as file:
        parts: list[bytes] = []
        with contextlib.suppress(*DAMAGED):
            while size > 0 and (part := file.read(min(size, 4096))):
                parts.append(part)
                size -= len(part)
        return b"".join(parts)


def stem_of(path: Path) -> Path:
    """The path without a suffix for packing: ``a.xyz.gz`` becomes ``a.xyz``."""
    return path.with_suffix("") if path.suffix.lower() in PACKED_SUFFIXES else path


def unpacked(path: Path, folder: Path) -> Path:
    """The file itself; where it is packed, a copy of its content in a folder, for readers of plain files."""
    if path.is_dir():
        return path
    with path.open("rb") as file:
        start = file.read(6)
    if not any(start.startswith(magic) for magic in PACKED):
        return path
    target = folder / stem_of(path).name
    with open_bytes(path) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)
    return target


class Lines:
    """Lines of a text file one by one, with their number; bytes that are no UTF-8 become replacement characters.

    Attributes:
        number: of the line returned last, from 1.
        cut: why the text ends before its end, where a packed file was cut off or damaged; empty otherwise.
    """

    def __init__(self, path: Path) -> None:
        self.number, self.cut = 0, ""
        self._text = io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", errors="replace")  # pyright: ignore[reportArgumentType]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()

    def next(self) -> str:
        """The next line with its end; empty behind the last."""
        if self.cut:
            return ""
        try:
            line = self._text.readline()
        except DAMAGED as error:
            self.cut = f"unpacking stops behind line {self.number}: {error}"
            return ""
        self.number += bool(line)
        return line

    def next_filled(self) -> str:
        """The next line that is not blank; empty behind the last."""
        line = self.next()
        while line and not line.strip():
            line = self.next()
        return line

    def take(self, count: int) -> list[str]:
        """The next lines, fewer at the end."""
        found = []
        for _ in range(count):
            line = self.next()
            if not line:
                break
            found.append(line)
        return found


def cut_number(rows: list[str]) -> bool | None:
    """Whether the last number of a file was cut: it has fewer decimals than all others, which have as many each.

    Args:
        rows: lines of a table, up to the last of the file.

    Returns:
        None where that cannot be said, since the others differ in their decimals.
    """
    if rows[-1].endswith("\n") or not rows[-1].split():
        return False
    decimals = {len(word.partition(".")[2]) for row in rows[:-1] for word in row.split() if "." in word}
    if len(decimals) != 1:
        return None
    return len(rows[-1].split()[-1].partition(".")[2]) < min(decimals)


@contextlib.contextmanager
def errors_of(path: Path, program: str = "", *, place: str = "") -> Iterator[None]:
    """Any error while a file is read becomes an `InputError` that names it; ours keep their class and text.

    Args:
        path: the file.
        program: that reads it, such as ASE.
        place: in the file.

    Raises:
        InputError: for any exception.
    """
    try:
        yield
    except JaxelyteError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}{', ' if place else ''}{place}: {error}") from error
    except Exception as error:
        by = f" by {program}" if program else ""
        by += f", {place}" if place else ""
        text = " ".join(str(error).split())
        text = text if len(text) <= 300 else f"{text[:300]} …"
        raise InputError(f"{path} cannot be read{by}: {type(error).__name__}: {text}") from error


def warn_of_part(path: Path, read: int, what: str, *, more: Any = "") -> None:
    """One warning about a file of which only a part can be read."""
    from jaxelyte.checks import caution

    caution(f"{path}: {what}; {read} complete frame{'s were' if read != 1 else ' was'} read{more}")
