"""Potentials that come with the package: where a name leads, and what their cards say.

Each has a folder with ``card.json``, which names the folders of its networks (the format of `load_nequip`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jaxelyte import checks
from jaxelyte.errors import InputError
from jaxelyte.interop.published import find_model, models
from jaxelyte.storage import read_json

HOME = Path(__file__).parent.parent / "datasets"
CARD = "card.json"


def shipped_names() -> tuple[str, ...]:
    """Names of the potentials that come with the package, in alphabetical order."""
    return tuple(sorted(path.parent.name for path in HOME.glob(f"*/{CARD}")))


def located(path: str | os.PathLike[str], *, folder: Path | None = None) -> Path:
    """The path that is meant: a path as it is, the name of a shipped or published potential as its folder.

    Args:
        path: a path, such a name, or the name with the folder of one network (``nacl_r2scan/member1``). Published
            potentials (``licl_ions``) have names where `jaxelyte fetch` has brought them.
        folder: what a relative path is relative to; by default the working directory.

    Returns:
        A path, which need not exist.

    Raises:
        InputError: no path.

    Warns:
        UserWarning: a file or folder that has the name of a shipped potential; the file or folder is taken.
    """
    given = checks.file_path("path", path)
    real = given if folder is None else folder / given
    shipped = HOME / given
    known = not given.is_absolute() and given.parts[:1] and given.parts[0] in shipped_names() and shipped.is_dir()
    if not known:
        return real if real.exists() else find_model(given) or real
    if real.exists() and real.resolve() != shipped.resolve():
        checks.caution(
            f"{real} is read, not the potential of this name that comes with jaxelyte; rename the folder to get that "
            f"one (it lies in {shipped})"
        )
        return real
    return shipped


def no_model(path: str | os.PathLike[str], what: str = "NequIP model at") -> InputError:
    """The error for a path where nothing is; for a plain word with the names that it may stand for."""
    names, word = shipped_names(), Path(path).name
    message = f"there is no {what} {path}"
    near = checks.nearest(word, names)
    if near or not (Path(path).suffix or Path(path).is_absolute() or len(Path(path).parts) > 1):
        hint = f"; did you mean {near!r}?" if near else ""
        message += f"{hint}; potentials that come with jaxelyte: {', '.join(names)}"
    if word in models():
        message += f"; `jaxelyte fetch {word}` downloads the published one"
    return InputError(message)


def is_shipped(folder: Path) -> bool:
    """True for a folder with a card, which may be one of the package or of somebody else."""
    return (folder / CARD).is_file()


def is_member(folder: Path) -> bool:
    """True for the folder of a network of a potential with a card."""
    return is_shipped(folder.parent) and folder in member_folders(folder.parent)


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a folder.

    Raises:
        InputError: no JSON, or one that lacks what is needed.
    """
    card = read_json(folder / CARD)
    members = card.get("members")
    if not (isinstance(members, list) and members and all(isinstance(one, dict) for one in members)):
        raise InputError(f"{folder / CARD} must list the networks under 'members'")
    if not all(isinstance(one.get("folder"), str) for one in members):
        raise InputError(f"{folder / CARD}: each member needs a 'folder'")
    return card


def member_folders(folder: Path) -> list[Path]:
    """The folders of the networks of a potential with a card, in order.

    Raises:
        InputError: see `read_card`.
    """
    return [folder / one["folder"] for one in read_card(folder)["members"]]
