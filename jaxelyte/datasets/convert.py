"""From the files of public repositories to the formats that are read here; every result is compared with a digest."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.errors import DownloadError
from jaxelyte.interop.published import SOURCE
from jaxelyte.units import BOHR, HARTREE
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

TOLERANCES = {"positions": 5e-3, "cells": 1e-4, "forces": 1e-2, "energies": 1e-2}
"""Of projections, in Å and eV: some ten times what rounding of the stored numbers adds up to."""


def digest(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def array_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of names, types, shapes and contents; arrays without elements do not count."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        if arrays[name].size:
            total.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
            total.update(np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()


def projection(values: np.ndarray) -> float:
    """Σ cos(k) x_k: unlike a digest it does not depend on the last digit that rounding leaves."""
    return float(np.dot(np.cos(np.arange(values.size)), values.ravel()))


def convert(entry: Mapping[str, Any], raw: Sequence[bytes], target: Path, *, extra: Mapping[str, Any]) -> bool:
    """Write the result of one entry of the manifest.

    Args:
        entry: of `Source.files`: its ``kind`` is "copy", "table", "model" or "frames".
        raw: the downloaded files.
        target: the file, or for a model the folder, to write.
        extra: what `SOURCE` in the folder of a model says.

    Returns:
        True where the content was compared with a known digest.

    Raises:
        DownloadError: the content is not what it should be; nothing is written.
        ImportError: a model without PyTorch.
        StorageError: the file cannot be written.
    """
    from jaxelyte.storage import write_bytes

    if entry["kind"] == "model":
        return _model(entry, raw[0], target, extra)
    if entry["kind"] == "frames":
        write_bytes(target, _frames(entry, raw))
        return True
    content = raw[0] if entry["kind"] == "copy" else _table(raw[0], entry)
    found = digest(content) if entry["kind"] == "copy" else table_digest(content)
    _compare(entry["source"], found, entry["sha256"])
    write_bytes(target, content)
    return True


def _compare(name: str, found: str, known: str) -> None:
    if found != known:
        raise DownloadError(
            f"{name} is not the published file: its SHA-256 is {found}, not {known}; nothing of it is kept. Check the "
            "address (--url), or whether something on the way changes files"
        )


def _table(raw: bytes, entry: Mapping[str, Any]) -> bytes:
    """Rows of numbers: every n-th, below a line that names the columns; with a line, five digits are kept."""
    lines = [line for line in raw.decode("utf-8", "replace").splitlines() if line.split() and _numeric(line)]
    chosen = lines[:: entry["every"]]
    if entry["head"]:
        chosen = [entry["head"], *(" ".join(f"{float(word):.5f}" for word in line.split()) for line in chosen)]
    return ("\n".join(chosen) + "\n").encode()


def _numeric(line: str) -> bool:
    try:
        return bool([float(word) for word in line.split()])
    except ValueError:
        return False


def table_digest(content: bytes) -> str:
    """SHA-256 of the numbers to five digits, however they are spaced."""
    rows = np.loadtxt(io.BytesIO(content), ndmin=2)
    return digest("\n".join(" ".join(f"{x:.5f}" for x in row) for row in rows).encode())


def _model(entry: Mapping[str, Any], raw: bytes, folder: Path, extra: Mapping[str, Any]) -> bool:
    """A deployed nequip model as a folder of arrays and JSON."""
    import tempfile

    from jaxelyte.interop import torchscript
    from jaxelyte.interop.nequip_files import CONFIG, STATE, build_potential, save_nequip
    from jaxelyte.storage import write_bytes, write_json

    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / Path(entry["source"]).name
        path.write_bytes(raw)
        config, arrays = torchscript.read_torchscript(path)
    known = entry.get("sha256")
    if known is not None:
        _compare(entry["source"], array_digest(arrays), known)
    potential = build_potential(config, arrays)
    species = potential.config.type_names
    if sorted(species) != sorted(entry["species"]):
        raise DownloadError(f"{entry['source']} is a model of {', '.join(species)}, not of {entry['species']}")
    with tempfile.TemporaryDirectory() as work:
        written = save_nequip(potential, Path(work) / "model")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / SOURCE, dict(extra))
        for name in (STATE, CONFIG):  # a folder is a model from the last of them on
            write_bytes(folder / name, (written / name).read_bytes())
    return known is not None


def _frames(entry: Mapping[str, Any], raw: Sequence[bytes]) -> bytes:
    """Chosen frames of RuNNer files as one packed extended XYZ file."""
    from ase.io import write

    frames: list[Atoms] = []
    for one, content in zip(entry["sources"], raw, strict=True):
        left_out = set(one["left_out"])
        wanted = [n for n in range(one["last"] + 1) if n not in left_out]
        frames += _chosen(content.decode("utf-8", "replace"), wanted, one)
    _check_frames(entry, frames)
    text = io.StringIO()
    write(text, frames, format="extxyz")
    return gzip.compress(text.getvalue().encode(), mtime=0)


def _chosen(text: str, wanted: Sequence[int], one: Mapping[str, Any]) -> Iterator[Atoms]:
    blocks = text.split("begin\n")[1:]
    if len(blocks) <= one["last"]:
        raise DownloadError(
            f"{one['source']} holds {counted(len(blocks), 'frame')}, not more than {one['last']}: it is cut short"
        )
    for number in wanted:
        try:
            atoms = runner_frame(blocks[number])
        except (ValueError, IndexError) as error:
            raise DownloadError(f"frame {number} of {one['source']} cannot be read ({error}): it is damaged") from error
        atoms.info |= {"config": one["config"], "src_index": number}
        yield atoms


def runner_frame(block: str) -> Atoms:
    """One frame of a RuNNer file (Behler), the text after "begin": Bohr, hartree and hartree/Bohr.

    Positions are rounded to 1e-6 Å, forces to 1e-5 eV/Å, as in the stored files.

    Raises:
        ValueError: lines that are no frame.
    """
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    lines = [line.split() for line in block.splitlines()]
    cell = np.array([line[1:4] for line in lines if line[:1] == ["lattice"]], float)
    rows = [line for line in lines if line[:1] == ["atom"]]
    energy = next((float(line[1]) for line in lines if line[:1] == ["energy"]), None)
    if energy is None or cell.shape != (3, 3) or not rows or ["end"] not in lines:
        raise ValueError("no energy, atoms, cell or end")
    numbers = np.array([row[1:4] + row[7:10] for row in rows], float)
    atoms = Atoms([row[4] for row in rows], np.round(numbers[:, :3] * BOHR, 6), cell=np.round(cell * BOHR, 6), pbc=True)
    forces = np.round(numbers[:, 3:] * HARTREE / BOHR, 5)
    atoms.calc = SinglePointCalculator(atoms, energy=round(energy * HARTREE, 8), forces=forces)
    return atoms


def _check_frames(entry: Mapping[str, Any], frames: Sequence[Atoms]) -> None:
    """Compare elements exactly, and numbers by their projections."""
    found = digest(np.concatenate([atoms.numbers for atoms in frames]).astype("<i8").tobytes())
    _compare(f"the list of elements of {Path(entry['target']).name}", found, entry["numbers"])
    values = {
        "positions": np.concatenate([atoms.positions for atoms in frames]),
        "cells": np.concatenate([atoms.cell.array for atoms in frames]),
        "forces": np.concatenate([atoms.get_forces() for atoms in frames]),
        "energies": np.array([atoms.get_potential_energy() for atoms in frames]),
    }
    for name, known in entry["fingerprint"].items():
        if not abs(projection(values[name]) - known) < TOLERANCES[name]:
            raise DownloadError(
                f"the {name} of {Path(entry['target']).name} are not the published ones (projection "
                f"{projection(values[name]):.6f}, known {known:.6f}); nothing of it is kept"
            )
