"""Writing files: whole or not at all, with one clear error where the disk or the rights do not allow it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxelyte import checks
from jaxelyte.errors import InputError, StorageError

LOCK = ".lock"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
MISSING = frozenset({errno.ENOENT, errno.ENOTDIR})


def storage_error(path: Path, error: OSError) -> StorageError:
    """The error that names the file, what the system said, and the remedy."""
    reason = error.strerror or str(error)
    if error.errno in FULL:
        reason += f" ({free_space(path)} free there)"
        remedy = "free space or raise the quota"
    elif error.errno in FORBIDDEN:
        remedy = "get permission to write there, or choose another folder"
    elif error.errno in MISSING:
        remedy = "the folder is missing, or was moved or removed in the meantime; restore it, or choose another one"
    elif error.errno == errno.ENAMETOOLONG:
        remedy = "choose a shorter name"
    else:
        remedy = "check the folder and the disk"
    found = StorageError(f"cannot write {path}: {reason}; {remedy}")
    found.errno = error.errno
    return found


def explained(error: StorageError, more: str) -> StorageError:
    """The same error with one more sentence: what is kept, and how to go on."""
    found = StorageError(f"{error}. {more}")
    found.errno = error.errno
    return found


def free_space(path: Path) -> str:
    """What is left on the file system of a path, for people."""
    amount = free_bytes(path)
    return "an unknown amount" if amount is None else size(amount)


def free_bytes(path: Path) -> int | None:
    """Bytes left on the file system of a path that need not exist; None where the system does not say."""
    for place in (path, *path.absolute().parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(place).free
    return None


def size(amount: float) -> str:
    """A number of bytes for people, in powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` met inside into a `StorageError` about ``path``."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise storage_error(path, error) from error


@contextlib.contextmanager
def saving(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, of the same suffix, to write to; moved into place at the end.

    A reader, and a kill at any moment, see the old or the new content, never half of it. After an error the old file is
    as it was and nothing else is left.

    Raises:
        InputError: no path.
        StorageError: the file cannot be written.
    """
    path = checks.file_path("path", path)
    with writing(path):
        if path.is_symlink():
            path = path.resolve()
        if path.exists() and not path.is_file():
            yield path  # a device or a pipe has no content to keep
            return
        temporary = path.with_name(f".tmp-{path.name}")
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def write_bytes(path: str | Path, data: bytes) -> None:
    """Replace a file as a whole; see `saving`."""
    with saving(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Replace a text file (UTF-8) as a whole; see `saving`."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, content: Any, *, indent: int | None = 1) -> None:
    """Replace a JSON file as a whole; see `saving`."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: the file is missing, cut short, or something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}; it is damaged, or a file of another kind") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object, not a {type(content).__name__}")
    return content


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all bytes at an offset; the system may take them in pieces."""
    rest = memoryview(data).cast("B")
    while len(rest):
        done = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[done:], offset + done


class OpenFile:
    """A file that is written by its descriptor; `sync` and `close` say where the system refuses."""

    path: Path
    _descriptor: int

    def sync(self) -> None:
        """Wait until everything is on the disk, which is where some file systems find that it is full.

        Raises:
            StorageError: it is.
        """
        with writing(self.path):
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with writing(self.path):
                os.close(descriptor)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:  # closed files are left alone while the interpreter ends
            with contextlib.suppress(OSError):
                self.close()


class AppendFile(OpenFile):
    """Bytes appended to a file, each piece whole or not at all. There is no buffer that could fail later.

    Args:
        path: the file.
        offset: bytes that are valid, everything behind them is cut off; None starts a new file.

    Raises:
        InputError: the file is missing or shorter than the offset.
        StorageError: it cannot be written.
    """

    def __init__(self, path: Path, *, offset: int | None = None) -> None:
        self.path, self._end = path, offset or 0
        if offset is not None and (not path.is_file() or path.stat().st_size < offset):
            raise InputError(f"{path} is missing or shorter than the {offset} bytes recorded in the checkpoint")
        with writing(path):
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            self._descriptor = os.open(path, flags, 0o666)
            os.ftruncate(self._descriptor, self._end)

    def write(self, data: bytes) -> None:
        """Append.

        Raises:
            StorageError: no room, or no right; the file ends where it did.
        """
        with writing(self.path):
            try:
                write_all(self._descriptor, data, self._end)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self._end)
                raise
        self._end += len(data)

    def tell(self) -> int:
        """Bytes written so far."""
        return self._end


def output_folder(path: str | os.PathLike[str], *, argument: str = "output") -> Path:
    """The path of a folder for results, which need not exist; ``~`` is the home directory.

    Raises:
        InputError: an empty name, a name that no folder can have, a file, a path below a file, or a broken link.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise InputError(f"{argument} must be the path of a folder, not {path!r}")
    if not os.fspath(path).strip():
        raise InputError(f"{argument} is empty; give the path of a folder ('.' for the current one)")
    if "\0" in os.fspath(path):
        raise InputError(f"{argument} = {os.fspath(path)!r} holds a NUL character; choose another name")
    try:
        folder = Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{argument} = {os.fspath(path)!r}: {error}") from error
    for place in (folder, *folder.parents):
        try:
            os.lstat(place)
        except OSError as error:
            if error.errno in MISSING:
                continue
            raise InputError(
                f"{argument} = {folder} cannot be used: {error.strerror}; choose another folder"
            ) from error
        if place.is_symlink() and not place.exists():
            raise InputError(f"{argument} = {folder}: {place} is a link to {place.readlink()}, which does not exist")
        if not place.is_dir():
            below = "" if place == folder else f" is below {place}, which"
            raise InputError(f"{argument} = {folder}{below} is a file; give a folder")
        break
    return folder


@contextlib.contextmanager
def claimed(folder: Path | None) -> Iterator[None]:
    """Make a folder where it is missing, and keep other processes from writing to it until the end.

    The claim is a lock on ``.lock`` in the folder that the system releases when a process dies. Folders that were made
    here and are still empty at the end (after an error) are removed again. None claims nothing.

    Raises:
        InputError: another process writes to the folder, or nobody may.
    """
    if folder is None:
        yield
        return
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = _locked(folder / LOCK)
        except OSError as error:
            raise InputError(str(storage_error(folder, error))) from error
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                (folder / LOCK).unlink(missing_ok=True)
            os.close(descriptor)
    finally:
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()  # fails where anything is in it


def _locked(path: Path) -> int:
    """An open lock file, held by this process alone."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            _lock(descriptor, path)
            # The holder before may have removed the file between our opening and locking it.
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                os.ftruncate(descriptor, 0)
                with contextlib.suppress(OSError):  # who holds it is for people only
                    os.pwrite(descriptor, f"process {os.getpid()} on {_host()}".encode(), 0)
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has no such locks; two runs in one folder are not noticed there
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace") or "another process"
        raise InputError(
            f"{path.parent} is in use: {holder} is writing to it; wait until it ends, or choose another folder"
        ) from error
    except OSError:
        return  # a file system without locks


def _host() -> str:
    import platform

    return platform.node() or "this machine"
