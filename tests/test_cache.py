"""Programs are kept by default, the user's own settings win, and what is broken is removed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

import jax
import pytest

from jaxelyte import cache

PROGRAM = """
import jax
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event) if event.endswith("cache_hits") else None)
jax.jit(lambda x: x + 1)(1.0)  # before the library is used
import jaxelyte
assert jax.config.jax_compilation_cache_dir is None  # nor does importing it change anything
jaxelyte.System
for _ in range(2):
    jax.clear_caches()
    jax.jit(lambda x: x * 2)(1.0)
print(jax.config.jax_compilation_cache_dir, len(hits))
"""


def ran(folder: str) -> list[str]:
    environment = os.environ | {"JAXELYTE_CACHE": folder, "PYTHONPATH": str(Path(cache.__file__).parents[1])}
    environment = {name: value for name, value in environment.items() if name not in (cache.FOLDER, cache.SHORTEST)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_programs_are_kept_by_default(tmp_path: Path) -> None:
    folder, hits = ran(str(tmp_path))
    assert Path(folder).parent == tmp_path
    assert int(hits) >= 1
    assert list(Path(folder).glob("*-cache"))


@pytest.mark.more
def test_nothing_is_kept_on_request() -> None:
    assert ran("0") == ["None", "0"]


def test_settings_of_the_user_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAXELYTE_CACHE", str(tmp_path / "cache"))
    before = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    assert before is not None
    monkeypatch.delenv(cache.FOLDER, raising=False)
    assert cache.keep_programs.__wrapped__() is None  # set in jax.config
    monkeypatch.setenv(cache.FOLDER, "")
    assert cache.keep_programs.__wrapped__() is None  # set, to nothing, in the environment
    assert jax.config.jax_compilation_cache_dir == before  # pyright: ignore[reportAttributeAccessIssue]
    cache.keep_programs_of_command()
    assert os.environ[cache.FOLDER] == ""
    assert not (tmp_path / "cache").exists()


def test_places_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAXELYTE_CACHE", str(tmp_path))
    assert cache.usable_folder() == cache.programs_folder()
    monkeypatch.setattr(cache, "ROOM", 2**80)
    assert cache.usable_folder() is None
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JAXELYTE_CACHE", str(tmp_path / "file"))
    assert cache.usable_folder() is None
    monkeypatch.setenv("JAXELYTE_CACHE", "0")
    assert cache.usable_folder() is None


def test_broken_entries_and_old_ones_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = zlib.compress(os.urandom(1000))
    now = time.time()

    def entry(name: str, content: bytes, age: float) -> Path:
        path = tmp_path / f"{name}-cache"
        path.write_bytes(content)
        os.utime(path, (now - age, now - age))
        return path

    old, good = entry("old", whole, 9e4), entry("good", whole, 5e4)
    broken, empty = entry("broken", whole[:500], 5e4), entry("empty", b"", 5e4)
    unfinished = entry("unfinished", whole[:500], 10.0)
    cache.tidy(tmp_path)
    assert not broken.exists()
    assert not empty.exists()
    assert all(path.exists() for path in (old, good, unfinished))
    monkeypatch.setattr(cache, "UNFINISHED", 5.0)  # its process is gone
    cache.tidy(tmp_path)
    assert not unfinished.exists()
    monkeypatch.setattr(cache, "LARGEST", 1500)
    cache.tidy(tmp_path)
    assert not any(path.exists() for path in (old, good))  # down to half of 1,500 bytes
    newest = entry("newest", whole[:700], 1.0)
    cache.tidy(tmp_path)
    assert newest.exists()
