"""What a LAMMPS instance has to be like, found out before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.data import atomic_masses, atomic_numbers

from jaxelyte import checks
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.interop.ranks import Alone
from jaxelyte.units import KCAL_PER_MOL

EV_IN_UNITS = {"metal": 1.0, "real": 1.0 / KCAL_PER_MOL}
"""One eV in the energy unit of each of LAMMPS' unit styles that measure lengths in Å."""


def communicator(lmp: Any) -> Any:
    """What the ranks of an instance talk through: mpi4py's communicator, or `Alone`.

    Raises:
        UnsupportedError: several ranks without an mpi4py that knows of them.
    """
    ranks = lmp.extract_setting("world_size")
    if ranks <= 1:
        return Alone()
    try:
        comm = lmp.get_mpi_comm()
    except ImportError:
        comm = None
    if comm is None:
        raise UnsupportedError(
            f"LAMMPS runs on {ranks} MPI ranks, whose atoms are collected by mpi4py: pip install mpi4py, or run on one "
            "rank; several ranks make the potential no faster"
        )
    if comm.Get_size() != ranks:
        raise UnsupportedError(
            f"LAMMPS runs on {ranks} MPI ranks, but mpi4py sees {comm.Get_size()}: they use different MPI libraries; "
            "install an mpi4py for LAMMPS' library, or run on one rank"
        )
    return comm


def check_instance(lmp: Any, fix_id: str) -> None:
    """Raise unless an instance is ready for a fix of that name; see `attach_lammps`."""
    if not hasattr(lmp, "extract_setting"):
        raise InputError(f"lmp must be an instance of LAMMPS, of jaxelyte.open_lammps, not {checks.shown(lmp)}")
    if not getattr(lmp, "opened", 0):
        raise UnsupportedError(
            "this LAMMPS instance does not belong to Python (it was closed, or LAMMPS itself started Python), so that "
            "errors could not be raised; start LAMMPS with jaxelyte.open_lammps"
        )
    if not lmp.extract_setting("box_exist"):
        raise InputError("LAMMPS has no box yet; create box and atoms, or read them, before the potential is attached")
    if lmp.extract_setting("dimension") != 3:
        raise UnsupportedError("LAMMPS runs in two dimensions, a potential here has three; use 'dimension 3'")
    if not isinstance(fix_id, str) or not fix_id.replace("_", "a").isalnum():
        raise InputError(
            f"fix_id {checks.shown(fix_id)} is not a valid name of a LAMMPS fix; use letters, digits and underscores"
        )
    if lmp.has_id("fix", fix_id):
        raise InputError(f"LAMMPS has a fix {fix_id!r} already; choose another fix_id, or detach the first potential")


def energy_factor(lmp: Any) -> float:
    """One eV in the energy unit of an instance.

    Raises:
        UnsupportedError: a unit style without Å or without a definite energy.
    """
    style = lmp.extract_global("units")
    if style not in EV_IN_UNITS:
        raise UnsupportedError(f"LAMMPS' units {style!r} are not supported; use one of {', '.join(EV_IN_UNITS)}")
    return EV_IN_UNITS[style]


def numbers_of_types(lmp: Any, species: Sequence[str]) -> np.ndarray:
    """Atomic number of each type, which count from 1, after a look at the masses.

    Raises:
        InputError: symbols that do not exist, or do not match types or masses.
    """
    types = lmp.extract_setting("ntypes")
    if not isinstance(species, list | tuple) or len(species) != types:
        raise InputError(f"species {species!r} do not match LAMMPS' {types} atom types; give one symbol for each type")
    unknown = [
        symbol for symbol in species if not isinstance(symbol, str) or symbol not in atomic_numbers or symbol == "X"
    ]
    if unknown:
        near = checks.near_symbol(unknown[0])
        raise InputError(f"unknown chemical symbol {unknown[0]!r} in species {list(species)}{near}")
    numbers = np.array([0, *(atomic_numbers[symbol] for symbol in species)], np.int32)
    masses = lmp.numpy.extract_atom("mass")
    if masses is None:
        return numbers  # this atom style has a mass for each atom
    expected = atomic_masses[numbers]
    for kind, mass in enumerate(np.asarray(masses)[1 : types + 1], start=1):
        # Heavy hydrogen is fine, the mass of another species of the list is a wrong order.
        others = np.abs(mass - expected[1:]) < 0.01 * expected[1:]
        if np.any(others) and abs(mass - expected[kind]) > 0.2 * expected[kind]:
            right = species[int(np.argmax(others))]
            raise InputError(
                f"LAMMPS' type {kind} is {species[kind - 1]!r} in species {list(species)}, but has the mass {mass} of "
                f"{right!r}; order species as LAMMPS' types"
            )
    return numbers
