"""Download published data from their public repositories, at fixed commits; see `fetch`."""

from __future__ import annotations

import contextlib
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxelyte.checks import caution
from jaxelyte.datasets.convert import convert, digest
from jaxelyte.errors import DownloadError, InputError
from jaxelyte.interop.published import MANIFEST, Source, data_folder, sources
from jaxelyte.storage import claimed, output_folder, read_json, write_bytes, write_json

BASE = "https://raw.githubusercontent.com"
RAW = ".downloads"
"""Folder of downloads that are not yet converted; empty ones are removed."""
RECORD = "fetched.json"
"""What was fetched, with digests, licences and citations."""
ATTEMPTS, PAUSE, TIMEOUT, PIECE = 3, 2.0, 60.0, 1 << 16
Progress = Callable[[str, int, int | None], None]
"""Called with the name of a file, the bytes so far, and all of them where the server says."""


@dataclass(frozen=True)
class Fetched:
    """One file or model folder.

    Attributes:
        path: where it lies.
        source: the set that it belongs to.
        checked: compared with a digest that is known beforehand; else only the digest of the download is recorded.
        new: False where it was there already.
    """

    path: Path
    source: Source
    checked: bool
    new: bool


def fetch(
    names: Sequence[str] = (),
    *,
    to: str | Path | None = None,
    url: str = BASE,
    progress: Progress | None = None,
    manifest: Path = MANIFEST,
) -> list[Fetched]:
    """Download sets of published data and convert them to the layout that tests, notebooks and examples use.

    Files are written completely or not at all, and existing ones are not downloaded again: repeat an interrupted call.
    Contents are compared with digests where these are known. `RECORD` lists licences and citations. Deployed models
    are read with PyTorch (``pip install "jaxelyte[torch]"``).

    Args:
        names: data sets; all by default. `jaxelyte.interop.published.sources` lists them.
        to: target folder; by default `data_folder`.
        url: base URL of a mirror: ``URL/OWNER/NAME/COMMIT/PATH``.
        progress: called during each download.
        manifest: the table of sets.

    Returns:
        All files and model folders of the sets.

    Raises:
        InputError: an unknown set, an invalid URL, or a file in the folder that was changed.
        DownloadError: a file that cannot be downloaded, or differs from the published one.
        StorageError: the folder cannot be written.
    """
    known = sources(manifest)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"there is no published set {unknown[0]!r}; there are {', '.join(known)}")
    if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
        raise InputError(f"url = {url!r} must begin with https:// or http://")
    folder = output_folder(data_folder() if to is None else to, argument="to")
    done: list[Fetched] = []
    with claimed(folder):
        record = read_json(folder / RECORD) if (folder / RECORD).exists() else {}
        for stale in (folder / RAW).glob(".tmp-*"):
            stale.unlink()
        wanted = [(known[name], entry) for name in dict.fromkeys(names) or known for entry in known[name].files]
        for source, entry in _readable(wanted, named=bool(names)):
            done.append(_one(source, entry, folder, url, record, progress))
        with contextlib.suppress(OSError):
            (folder / RAW).rmdir()
    return done


def _readable(wanted: list[tuple[Source, dict[str, Any]]], *, named: bool) -> list[tuple[Source, dict[str, Any]]]:
    """Without PyTorch: all but the models, with a warning, where nobody asked for them by name."""
    from importlib.util import find_spec

    models = [source.name for source, entry in wanted if entry["kind"] == "model"]
    if not models or all(find_spec(package) for package in ("torch", "yaml")):
        return wanted
    message = f"the models of {', '.join(models)} are deployed ones, which PyTorch reads: pip install 'jaxelyte[torch]'"
    if named:
        raise InputError(message)
    caution(f"{message}; they are left out")
    return [(source, entry) for source, entry in wanted if entry["kind"] != "model"]


def _one(
    source: Source, entry: dict[str, Any], folder: Path, url: str, record: dict[str, Any], progress: Progress | None
) -> Fetched:
    """One entry of the manifest: downloaded and converted, or found as it was left."""
    target, key = folder / entry["target"], entry["target"]
    content = _content(target)
    last = record.get(key)
    if content is not None:
        if last is None:
            raise InputError(f"{target} is there and was not fetched; move it away, or choose another folder with --to")
        if last["content"] not in (None, content):
            raise InputError(f"{target} was changed since it was fetched; move it away to fetch it again")
        if last["content"] == content:
            return Fetched(target, source, last["checked"], new=False)
    parts = entry["sources"] if entry["kind"] == "frames" else [entry]
    addresses = [f"{source.repository}/{source.commit}/{one['source']}" for one in parts]
    kept = [folder / RAW / digest(address.encode()) for address in addresses]
    for address, path in zip(addresses, kept, strict=True):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, download(f"{url.rstrip('/')}/{urllib.parse.quote(address)}", progress))
    raw = [path.read_bytes() for path in kept]
    about = {name: getattr(source, name) for name in ("repository", "commit", "licence", "citation", "what", "note")}
    extra = {**about, "charges": source.charges, "permittivity": source.permittivity, "barrier": source.barrier}
    digests = {one["source"]: digest(data) for one, data in zip(parts, raw, strict=True)}
    # Recorded before it is written: what an interrupted call leaves is known to be ours.
    record[key] = {"set": source.name, **about, "sha256": digests, "checked": False, "content": None}
    write_json(folder / RECORD, record)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        checked = convert(entry, raw, target, extra=extra)
    finally:
        for path in kept:  # what does not pass is not kept either
            path.unlink(missing_ok=True)
    record[key] |= {"checked": checked, "content": _content(target)}
    write_json(folder / RECORD, record)
    return Fetched(target, source, checked, new=True)


def _content(target: Path) -> str | None:
    """The digest of a file, or of the files of a model's folder; None where there is none."""
    if target.is_file():
        return digest(target.read_bytes())
    files = [target / name for name in ("config.json", "state_dict.npz")]
    if not all(file.is_file() for file in files):
        return None
    return digest(b"".join(file.read_bytes() for file in files))


def download(address: str, progress: Progress | None = None) -> bytes:
    """The content of an address, complete; some attempts where the server or the line fails.

    Raises:
        DownloadError: it cannot be had.
    """
    for attempt in range(ATTEMPTS):
        try:
            return _read(address, progress)
        except (OSError, http.client.HTTPException, EOFError) as error:
            code = getattr(error, "code", None)
            final = isinstance(code, int) and 400 <= code < 500 and code not in {408, 429}
            if final or attempt == ATTEMPTS - 1:
                reason = getattr(error, "reason", None) or error
                raise DownloadError(
                    f"{address} cannot be downloaded: {f'{code} ' if code else ''}{reason}; check the connection and "
                    "the address, and repeat the command: what is there already stays"
                ) from error
            time.sleep(PAUSE * 2**attempt)
    raise AssertionError


def _read(address: str, progress: Progress | None) -> bytes:
    request = urllib.request.Request(address, headers={"User-Agent": "jaxelyte"})  # noqa: S310 - http(s), see `fetch`
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
        length = answer.headers.get("Content-Length")
        total = int(length) if length else None
        pieces: list[bytes] = []
        got = 0
        while piece := answer.read(PIECE):
            pieces.append(piece)
            got += len(piece)
            if progress is not None:
                progress(urllib.parse.unquote(address.rsplit("/", 1)[1]), got, total)
    if total is not None and got != total:
        raise EOFError(f"{got} of {total} bytes came")
    return b"".join(pieces)
