"""The structure of an H5MD file of jaxelyte: a function of the header alone, byte for byte."""

from __future__ import annotations

import io
import os
from typing import Any, NamedTuple

import h5py
import numpy as np

from jaxelyte.interop.h5md_reader import CREATOR, Node
from jaxelyte.storage import write_all

LAYOUT_VERSION = "1"
"""Version of this layout, not of the package: an update of the package must not change the bytes of a resumed run."""

NOT_WRITTEN = -1


class Header(NamedTuple):
    """Everything that the structure of a file depends on; see `H5MDWriter.create`."""

    numbers: np.ndarray
    masses: np.ndarray
    cells: np.ndarray
    pbc: tuple[bool, bool, bool]
    frames: int
    every: int
    timestep: float
    velocities: bool
    dtype: np.dtype


def series_names(header: Header) -> tuple[str, ...]:
    """The time series that a file holds."""
    return ("position", "velocity") if header.velocities else ("position",)


class Places(NamedTuple):
    """Where the data of one particles group lie in the file, in bytes from its start.

    Attributes:
        series: for each time series, of ``value``, ``time`` and ``step``.
        edges: of the box, or None where nothing is periodic.
    """

    series: dict[str, tuple[int, int, int]]
    edges: int | None


def places_of(file: Node, header: Header) -> list[Places]:
    """One for each replica. All datasets that grow with the frames are contiguous, so an offset is all it takes."""
    found = []
    for name in group_names(len(header.numbers)):
        group = file["particles"][name]
        series = {
            one: tuple(group[one][part].id.get_offset() for part in ("value", "time", "step"))
            for one in series_names(header)
        }
        edges = group["box/edges/value"].id.get_offset() if any(header.pbc) else None
        found.append(Places(series, edges))  # pyright: ignore[reportArgumentType]
    return found


def write_empty(descriptor: int, header: Header) -> None:
    """Make an empty file one with room for all frames, none of which is written yet; it stays sparse there.

    HDF5 lays the file out in memory. A library that meets a full disk while it closes a file ends the process, so the
    bytes themselves are written by the system's own calls.

    Raises:
        OSError: no room, or no right.
    """
    image = SparseImage()
    with h5py.File(image, "w", libver=("earliest", "v108")) as file:
        _write_structure(file, header)
        places = places_of(file, header)
    os.ftruncate(descriptor, image.length)
    for offset, page in image.pages():
        write_all(descriptor, page, offset)
    for replica, place in enumerate(places):
        for _, _, step in place.series.values():
            _fill(descriptor, step, np.array(NOT_WRITTEN, "<i8"), header.frames)
        if place.edges is not None:
            # The cell of the start for every frame, until another is written.
            cell = np.where(np.asarray(header.pbc)[:, None], header.cells[replica], 0.0)
            _fill(descriptor, place.edges, cell.astype("<f8"), header.frames)


def _fill(descriptor: int, offset: int, value: np.ndarray, count: int, bunch: int = 4096) -> None:
    """Write one value ``count`` times."""
    data = np.broadcast_to(value, (min(bunch, count), *value.shape)).tobytes()
    for begin in range(0, count, bunch):
        write_all(descriptor, data[: value.nbytes * (count - begin)], offset + value.nbytes * begin)


class SparseImage(io.RawIOBase):
    """A file in memory that holds only the pages that were written; the rest reads as zeros."""

    PAGE = 4096

    def __init__(self) -> None:
        super().__init__()
        self.length, self._position = 0, 0
        self._pages: dict[int, bytearray] = {}

    def pages(self) -> list[tuple[int, bytes]]:
        """Offset and bytes of each page, in order."""
        several = sorted(self._pages.items())
        return [(n * self.PAGE, bytes(page[: self.length - n * self.PAGE])) for n, page in several]

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.length}[whence]
        self._position = origin + offset
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self.length = self._position if size is None else size
        return self.length

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self.length - self._position))
        done = 0
        while done < count:
            number, start = divmod(self._position + done, self.PAGE)
            length = min(self.PAGE - start, count - done)
            page = self._pages.get(number, bytes(self.PAGE))
            view[done : done + length] = page[start : start + length]
            done += length
        self._position += count
        return count

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            number, start = divmod(self._position + done, self.PAGE)
            length = min(self.PAGE - start, len(view) - done)
            page = self._pages.setdefault(number, bytearray(self.PAGE))
            page[start : start + length] = view[done : done + length]
            done += length
        self._position += done
        self.length = max(self.length, self._position)
        return done


def _write_structure(file: Node, header: Header) -> None:
    """Groups, attributes and room for all frames."""
    about = file.create_group("h5md")
    about.attrs["version"] = np.array([1, 1], np.int32)
    about.create_group("author").attrs["name"] = CREATOR
    creator = about.create_group("creator")
    creator.attrs["name"] = CREATOR
    creator.attrs["version"] = LAYOUT_VERSION
    units = about.create_group("modules/units")
    units.attrs["version"] = np.array([1, 0], np.int32)
    settings = file.create_group("parameters/jaxelyte")
    settings.attrs["every"] = header.every
    settings.attrs["timestep"] = header.timestep
    settings.attrs["timestep_unit"] = "fs"
    particles = file.create_group("particles")
    for r, name in enumerate(group_names(len(header.numbers))):
        _write_particles(particles.create_group(name), header, r)


def group_names(replicas: int) -> list[str]:
    """Names of the particles groups, in the order of the replicas."""
    digits = max(3, len(str(replicas - 1)))
    return ["all"] if replicas == 1 else [f"replica_{r:0{digits}d}" for r in range(replicas)]


def _write_particles(group: Node, header: Header, replica: int) -> None:
    from ase.data import chemical_symbols

    numbers = header.numbers[replica]
    names = {chemical_symbols[z]: int(z) for z in np.unique(numbers)}
    _constant(group, "species", numbers, h5py.enum_dtype(names, basetype="i4"))
    _constant(group, "mass", header.masses[replica], "f8").attrs["unit"] = "g mol-1"
    box = group.create_group("box")
    box.attrs["dimension"] = 3
    box.attrs["boundary"] = ["periodic" if p else "none" for p in header.pbc]
    if any(header.pbc):
        # One cell for each frame, also where it is the same: MDAnalysis looks for time-dependent edges only.
        edges = box.create_group("edges")
        value = _allocate(edges, "value", (header.frames, 3, 3), np.dtype("f8"))
        value.attrs["unit"] = "Angstrom"
    shape = (header.frames, len(numbers), 3)
    for name in series_names(header):
        series = group.create_group(name)
        value = _allocate(series, "value", shape, header.dtype)
        value.attrs["unit"] = "Angstrom" if name == "position" else "Angstrom fs-1"
        time = _allocate(series, "time", (header.frames,), np.dtype("f8"))
        time.attrs["unit"] = "fs"
        _allocate(series, "step", (header.frames,), np.dtype("i8"))
    if any(header.pbc):
        # Hard links: the box is sampled with the positions, as H5MD asks for.
        group["box/edges/step"] = group["position/step"]
        group["box/edges/time"] = group["position/time"]


def _constant(group: Node, name: str, values: np.ndarray, dtype: Any) -> Node:
    return group.create_dataset(name, data=np.asarray(values), dtype=dtype, track_times=False)


def _allocate(group: Node, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Node:
    """A contiguous dataset with its space reserved now; the file stays sparse until it is written."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)
    kind = h5py.h5t.py_create(dtype.newbyteorder("<"), logical=True)
    identifier = h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create_simple(shape), dcpl=creation)
    return h5py.Dataset(identifier)
