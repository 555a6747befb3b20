"""Files are written whole or not at all, and a folder has one writer."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from full_disk import full_disk
from jaxelyte.errors import InputError, JaxelyteError, StorageError
from jaxelyte.storage import AppendFile, claimed, output_folder, read_json, saving, write_json, write_text


def test_a_file_that_cannot_be_written_keeps_its_content(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "before")

    def fail() -> None:
        with saving(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(
        StorageError, match=r"cannot write .*a\.txt: No space left .* free there\); free space"
    ) as found:
        fail()
    assert found.value.errno == errno.ENOSPC
    assert isinstance(found.value, JaxelyteError)
    assert (tmp_path / "a.txt").read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    write_json(tmp_path / "a.txt", {"after": 1})
    assert read_json(tmp_path / "a.txt") == {"after": 1}
    with pytest.raises(StorageError, match="folder is missing"):
        write_text(tmp_path / "no" / "a.txt", "x")


def test_a_piece_that_does_not_fit_is_not_appended(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "log")
    file.write(b"one\n")
    with full_disk(2), pytest.raises(StorageError, match="No space left"):
        file.write(b"two\n")
    assert (tmp_path / "log").read_bytes() == b"one\n"
    file.write(b"three\n")
    file.close()
    file.close()
    again = AppendFile(tmp_path / "log", offset=4)
    again.write(b"2\n")
    again.close()
    assert (tmp_path / "log").read_bytes() == b"one\n2\n"
    with pytest.raises(InputError, match="shorter than the 100 bytes"):
        AppendFile(tmp_path / "log", offset=100)


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for bad, message in (
        ("", "is empty"),
        ("  ", "is empty"),
        ("a\0b", "NUL"),
        (tmp_path / "file", "is a file; give a folder"),
        (tmp_path / "file" / "run", "is below .*file, which is a file"),
        (tmp_path / "link", "does not exist"),
        (tmp_path / "link" / "run", "does not exist"),
        (tmp_path / ("x" * 300), "File name too long"),
        (3, "path of a folder"),
        (b"run", "path of a folder"),
    ):
        with pytest.raises(InputError, match=message):
            output_folder(bad)  # type: ignore[arg-type]
    assert output_folder(tmp_path / "new" / "run") == tmp_path / "new" / "run"
    assert output_folder("~/run") == Path.home() / "run"
    with pytest.raises(InputError, match=r"cannot write /proc/run: .*"), claimed(output_folder("/proc/run")):
        pass


HOLDER = """
import sys
from pathlib import Path
from jaxelyte.storage import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_has_one_writer_and_a_killed_one_lets_go(tmp_path: Path, root: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"in use: process {process.pid} on"), claimed(folder):
            pass
        process.kill()
        process.wait()
    with claimed(folder):
        (folder / "kept").write_text("")
    assert [p.name for p in folder.iterdir()] == ["kept"]


def test_folders_made_for_nothing_are_removed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claimed(tmp_path / "a" / "b"):
        np.array(1 // 0)
    assert list(tmp_path.iterdir()) == []
