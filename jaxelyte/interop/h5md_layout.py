"""The structure of an H5MD file of jaxelyte: a function of the header alone, byte for byte."""

from __future__ import annotations

from typing import Any, NamedTuple

import h5py
import numpy as np

from jaxelyte.interop.h5md_reader import CREATOR, Node

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


def write_structure(file: Node, header: Header) -> None:
    """Groups, attributes and space for all frames; steps say that none is written yet."""
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
        # The same cell for every frame: readers such as MDAnalysis look for time-dependent edges only.
        edges = box.create_group("edges")
        cell = np.where(np.asarray(header.pbc)[:, None], header.cells[replica], 0.0)
        value = _allocate(edges, "value", (header.frames, 3, 3), np.dtype("f8"))
        value[...] = np.broadcast_to(cell, value.shape)
        value.attrs["unit"] = "Angstrom"
    shape = (header.frames, len(numbers), 3)
    for name in series_names(header):
        series = group.create_group(name)
        value = _allocate(series, "value", shape, header.dtype)
        value.attrs["unit"] = "Angstrom" if name == "position" else "Angstrom fs-1"
        time = _allocate(series, "time", (header.frames,), np.dtype("f8"))
        time.attrs["unit"] = "fs"
        _allocate(series, "step", (header.frames,), np.dtype("i8"))[...] = NOT_WRITTEN
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
