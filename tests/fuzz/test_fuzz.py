"""A fixed sample of damaged files; `python tests/fuzz/run.py --inputs 3000` reads more of them.

No error of another package, no hang, no end of the interpreter, and no frame that is lost without a warning.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fuzz.judge import Outcome, complaint
from fuzz.mutations import BINARY, TEXT, damage
from fuzz.seeds import Case, Content

RUN = Path(__file__).parent / "run.py"


def fuzz(*arguments: str, locale: str | None = None) -> str:
    plain = {} if locale is None else {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    path = os.pathsep.join(map(str, (RUN.parents[2], os.environ.get("PYTHONPATH", ""))))
    result = subprocess.run(
        [sys.executable, str(RUN), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | plain | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_damaged_files_of_atoms() -> None:
    assert "152 inputs of 19 readers and 2" in fuzz("--inputs", "152", "--groups", "text")


@pytest.mark.more
@pytest.mark.parametrize("locale", [None, "C"])
def test_every_reader(locale: str | None) -> None:
    assert "0 not as they should be" in fuzz("--inputs", "800", "--seed", "1000", locale=locale)


@pytest.mark.slow
def test_thousands_of_damaged_files() -> None:
    assert "3000 inputs" in fuzz("--inputs", "3000", "--seed", "2000")


def test_damage_is_the_same_for_the_same_seed() -> None:
    content = b"2\n comment 1.5\nNa 1.0 2.0 3.0\nCl 4.0 5.0 6.0\n" * 3
    for seed in range(60):
        one, other = (damage(content, seed, text=True) for _ in range(2))
        assert one == other
    kinds = {damage(content, seed, text=True).kind for seed in range(len(BINARY + TEXT))}
    assert len(kinds) == len(set(BINARY + TEXT))
    for kind in set(BINARY + TEXT):
        assert any(kind(content, random.Random(seed)).content != content for seed in range(3)), kind


def test_the_judge_sees_what_is_wrong() -> None:
    case = Case("frames", "file", lambda _: Content())
    positions = list(np.arange(24.0).reshape(4, 2, 3))
    cells = [np.eye(3)] * 4
    numbers = [np.array([11, 17])] * 4
    whole = Content(positions, numbers, cells, [0.0, 1.0, 2.0, 3.0])
    sound = Outcome(whole, frozenset())
    cut, flipped = damage(b"some content", 0, text=False), damage(b"some content", 1, text=False)

    def said(
        content: Content | None, *warned: str, error: str = "", foreign: str = "", damaged: object = flipped
    ) -> str:
        return complaint(case, damaged, sound, Outcome(content, frozenset(warned), error, foreign))  # pyright: ignore[reportArgumentType]

    assert said(whole) == ""
    assert said(None, error="cut") == ""
    fewer = Content(positions[:3], numbers[:3], cells[:3], [0.0, 1.0, 2.0])
    assert said(fewer) == "3 of 4 frames without a word"
    assert said(fewer, "the last frame is cut") == ""
    assert said(None, foreign="ValueError: x") == "error of another package: ValueError: x"
    moved = Content([positions[0] + 0.5, *positions[1:]], numbers, cells, whole.times)
    assert said(moved) == ""
    assert said(moved, damaged=cut).startswith("positions that the sound file does not have")
    assert said(Content(positions, numbers, [np.zeros((3, 3))] * 4, whole.times)) == "the cell is lost without a word"
    assert said(Content(positions, numbers, cells, [0.0, 2.0, 1.0, 3.0])).startswith("times do not rise")
    assert said(Content([p[:1] for p in positions], numbers, cells, whole.times)).startswith("frames of [1] atoms")
