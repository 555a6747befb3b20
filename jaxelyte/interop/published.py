"""Data of others: which there are, and where they lie on this machine. `jaxelyte.datasets.fetch` downloads them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxelyte.errors import InputError
from jaxelyte.storage import read_json

MANIFEST = Path(__file__).parent.parent / "datasets" / "published.json"
SOURCE = "source.json"
"""In the folder of a fetched model: where it came from, and the Coulomb term that it was trained relative to."""
CLONE = Path(__file__).resolve().parents[2]
"""The root of the repository, where the package runs from a clone."""


@dataclass(frozen=True)
class Source:
    """One set of published data.

    Attributes:
        name: what `jaxelyte fetch` calls it.
        what: in one line.
        repository: on GitHub, ``owner/name``.
        commit: the version that is downloaded, 40 hexadecimal digits.
        licence: SPDX identifier.
        citation: the publication.
        files: what is downloaded, and what each file becomes; see `jaxelyte.datasets.convert`.
        charges: e, of the Coulomb term that the network was trained relative to.
        permittivity: relative, of that term.
        barrier: parameters of the `GaussianBarrier` that the published runs added, if they did.
        note: what else the published runs used.
    """

    name: str
    what: str
    repository: str
    commit: str
    licence: str
    citation: str
    files: tuple[dict[str, Any], ...]
    charges: dict[str, float] = field(default_factory=dict)
    permittivity: float | None = None
    barrier: dict[str, Any] | None = None
    note: str = ""


def sources(manifest: Path = MANIFEST) -> dict[str, Source]:
    """All sets by name."""
    content = json.loads(manifest.read_text("utf-8"))
    return {name: Source(name=name, **{**one, "files": tuple(one["files"])}) for name, one in content.items()}


def models() -> tuple[str, ...]:
    """Names of the sets that hold a model; it lies in ``reference/NAME``."""
    return tuple(name for name, one in sources().items() if any(file["kind"] == "model" for file in one.files))


def data_folder() -> Path:
    """Where `jaxelyte fetch` puts data: ``JAXELYTE_DATA``, or the user's data folder; it need not exist.

    Raises:
        InputError: there is no home directory.
    """
    given = os.environ.get("JAXELYTE_DATA")
    if given:
        return Path(given).expanduser()
    try:
        share = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    except RuntimeError as error:
        raise InputError(f"there is no folder for data ({error}); set JAXELYTE_DATA to one") from error
    return share / "jaxelyte"


def data_folders() -> tuple[Path, ...]:
    """Where published data are looked for, in this order: `data_folder`, and ``../shared`` beside a clone.

    ``JAXELYTE_DATA_ONLY=1`` leaves out the second.
    """
    beside = (CLONE / "pyproject.toml").is_file() and os.environ.get("JAXELYTE_DATA_ONLY", "0") in ("", "0")
    return (data_folder(), *((CLONE.parent / "shared",) if beside else ()))


def find_published(*parts: str) -> Path | None:
    """A file or folder of published data, such as ``find_published("reference", "licl")``; None where it is absent."""
    return next((path for folder in data_folders() if (path := folder.joinpath(*parts)).exists()), None)


def find_model(name: str | os.PathLike[str]) -> Path | None:
    """The folder of a published model by its name, such as "licl_ions"; None where it is absent, or no such name."""
    if len(Path(name).parts) != 1 or Path(name).is_absolute():
        return None
    found = find_published("reference", str(name), "config.json")
    return None if found is None else found.parent


def source_of(folder: Path) -> Source | None:
    """The set that the model in a folder belongs to, by what `jaxelyte fetch` left there, or by its place; else None.

    Raises:
        InputError: a file of that name with something else in it.
    """
    path = folder / SOURCE
    if path.is_file():
        content = read_json(path)
        try:
            return Source(name=folder.name, files=(), **content)
        except TypeError as error:
            raise InputError(f"{path} is not what `jaxelyte fetch` writes ({error}); fetch the model again") from error
    for name in models():
        if any(folder.resolve() == (place / "reference" / name).resolve() for place in data_folders()):
            return sources()[name]
    return None


def published(*parts: str) -> Path:
    """`find_published`, or an error if the data are absent.

    Raises:
        InputError: absent; the message names the command that downloads the data.
    """
    found = find_published(*parts)
    if found is None:
        name, places = "/".join(parts), " nor ".join(str(folder) for folder in data_folders())
        targets = [entry["target"] for one in sources().values() for entry in one.files]
        known = any(target == name or target.startswith(f"{name}/") for target in targets)
        how = "downloads it" if known else "does not download it"
        raise InputError(f"{name} is neither in {places}; `jaxelyte fetch` {how}; JAXELYTE_DATA names another folder")
    return found


def place_of(*parts: str, holding: str) -> Path:
    """The first folder of this name that holds a file; where none does, the last place, for a message."""
    folders = [folder.joinpath(*parts) for folder in data_folders()]
    return next((folder for folder in folders if (folder / holding).exists()), folders[-1])
