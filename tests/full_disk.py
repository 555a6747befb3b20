"""A disk that fills up after some bytes, for tests: no file can be written beyond them, whoever writes."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@contextlib.contextmanager
def full_disk(room: float) -> Iterator[None]:
    """Let ``room`` more bytes be written; a write that does not fit is cut short, as systems do, and the next fails."""
    left = [room]
    pwrite, make = os.pwrite, Path.open

    def take(size: int) -> int:
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fits = int(min(size, left[0]))
        left[0] -= size
        return fits

    def short_pwrite(descriptor: int, data: Any, offset: int) -> int:
        view = memoryview(data).cast("B")
        return pwrite(descriptor, view[: take(len(view))], offset)

    class Limited(io.BufferedWriter):
        def write(self, data: Any) -> int:
            if take(len(memoryview(data).cast("B"))) < len(memoryview(data).cast("B")):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    def limited_open(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if mode == "wb":
            return Limited(io.FileIO(self, "w"))
        if mode in ("w", "a"):
            return io.TextIOWrapper(Limited(io.FileIO(self, mode)), encoding="utf-8")
        return make(self, mode, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", short_pwrite)
        patch.setattr(Path, "open", limited_open)
        yield
