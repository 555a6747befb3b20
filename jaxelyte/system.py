"""The state that potentials see: positions, species, masses and the periodic cell."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from jaxelyte import checks
from jaxelyte.arrays import brief_repr
from jaxelyte.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms


class System(struct.PyTreeNode):
    """Atoms in a (partly) periodic, possibly triclinic cell. A pytree; ``pbc`` is static.

    Attributes:
        positions: shape (atoms, 3), Å; not wrapped into the cell.
        numbers: shape (atoms,), atomic numbers.
        masses: shape (atoms,), g/mol.
        cell: shape (3, 3), Å, rows are the lattice vectors. Directions that are not periodic hold a unit vector
            that completes the basis; it carries no physical meaning.
        mask: shape (atoms,), True for real atoms, False for padding.
        pbc: periodic directions.
    """

    positions: Float[Array, "atoms 3"]
    numbers: Int[Array, " atoms"]
    masses: Float[Array, " atoms"]
    cell: Float[Array, "3 3"]
    mask: Bool[Array, " atoms"]
    pbc: tuple[bool, bool, bool] = struct.field(pytree_node=False, default=(True, True, True))

    __repr__ = brief_repr

    @classmethod
    def from_atoms(cls, atoms: Atoms, *, dtype: Any = None) -> System:
        """Convert ``ase.Atoms``.

        Args:
            atoms: the atoms; Å and g/mol (ASE's own units).
            dtype: floating type; float64 where ``jax_enable_x64`` is on, else float32.

        Raises:
            InputError: no atoms, positions that are not finite, a periodic direction without a cell vector, or
                constraints, which the integrators do not know.
        """
        try:
            dtype = jax.dtypes.canonicalize_dtype(np.float64 if dtype is None else np.dtype(dtype))
        except TypeError as error:
            raise InputError(f"dtype must be a floating type, not {checks.shown(dtype)}") from error
        if not jnp.issubdtype(dtype, jnp.floating):
            raise InputError(f"dtype must be a floating type, not {dtype}")
        check_kind(atoms)
        check_atoms(atoms)
        pbc = tuple(bool(p) for p in atoms.pbc)
        return cls(
            positions=jnp.asarray(atoms.get_positions(), dtype),
            numbers=jnp.asarray(atoms.get_atomic_numbers(), jnp.int32),
            masses=jnp.asarray(atoms.get_masses(), dtype),
            cell=jnp.asarray(complete_cell(atoms), dtype),
            mask=jnp.ones(len(atoms), bool),
            pbc=pbc,  # pyright: ignore[reportArgumentType]
        )

    def to_atoms(self) -> Atoms:
        """The real atoms as ``ase.Atoms`` (Å, g/mol); directions that are not periodic get a zero cell vector."""
        from ase import Atoms

        keep = np.asarray(self.mask)
        cell = np.asarray(self.cell, np.float64) * np.asarray(self.pbc)[:, None]
        return Atoms(
            numbers=np.asarray(self.numbers)[keep],
            positions=np.asarray(self.positions, np.float64)[keep],
            masses=np.asarray(self.masses, np.float64)[keep],
            cell=cell,
            pbc=self.pbc,
        )

    @property
    def volume(self) -> Float[Array, ""]:
        """Volume of the cell in Å³ (of a unit basis along directions that are not periodic)."""
        return jnp.abs(jnp.linalg.det(self.cell))

    @property
    def volumes(self) -> Float[Array, "*replicas"]:
        """`volume` of each system of a batch."""
        return jnp.abs(jnp.linalg.det(self.cell))

    @property
    def num_atoms(self) -> int:
        """Number of rows, padding included."""
        return self.positions.shape[-2]


def check_kind(atoms: Any, name: str = "atoms") -> None:
    """Raise `InputError` unless the argument is an ``ase.Atoms``."""
    from ase import Atoms

    if isinstance(atoms, Atoms):
        return
    hint = ""
    if isinstance(atoms, str | os.PathLike):
        hint = "; read the file first: jaxelyte.read(path)[-1]"
    elif isinstance(atoms, list | tuple) and atoms and isinstance(atoms[0], Atoms):
        hint = "; give one of these structures"
    raise InputError(f"{name} must be one ase.Atoms structure, not {checks.shown(atoms)}{hint}")


def check_atoms(atoms: Atoms) -> None:
    """Raise `InputError` unless the atoms can be simulated; see `System.from_atoms`."""
    if len(atoms) == 0:
        raise InputError("the system holds no atoms; read or build at least one atom")
    positions = atoms.get_positions()
    if not np.all(np.isfinite(positions)):
        bad = int(np.argwhere(~np.isfinite(positions))[0, 0])
        raise InputError(f"position of atom {bad} is not finite: {positions[bad]}; repair the input structure")
    for name, values in (("momentum", atoms.get_momenta()), ("mass", atoms.get_masses()[:, None])):
        wrong = ~np.isfinite(values).all(axis=1) | ((name == "mass") & (values[:, 0] <= 0))
        if np.any(wrong):
            bad = int(np.argmax(wrong))
            raise InputError(f"{name} of atom {bad} ({atoms[bad].symbol}) is {values[bad]}; repair the input structure")
    if not np.all(np.isfinite(atoms.cell.array)):
        raise InputError(f"the cell is not finite: {atoms.cell.array.tolist()}; repair the input structure")
    for axis in range(3):
        if atoms.pbc[axis] and np.linalg.norm(atoms.cell.array[axis]) < 1e-8:
            raise InputError(
                f"direction {'abc'[axis]} is periodic but its cell vector is zero; set atoms.cell or atoms.pbc=False"
            )
    if any(atoms.pbc) and not abs(np.linalg.det(complete_cell(atoms))) > 1e-8:
        raise InputError(f"the cell has no volume: {atoms.cell.array.tolist()}; its vectors are linearly dependent")
    if atoms.constraints:
        names = sorted({type(c).__name__ for c in atoms.constraints})
        raise InputError(
            f"constraints {names} on the atoms are not supported; remove them with atoms.set_constraint() "
            "or use a HarmonicRestraint"
        )


def complete_cell(atoms: Atoms) -> np.ndarray:
    """Cell rows in Å, with unit vectors that complete the basis in directions that are not periodic."""
    cell = np.array(atoms.cell.array, np.float64)
    cell[~np.asarray(atoms.pbc)] = 0.0
    from ase.geometry import complete_cell as complete

    return np.asarray(complete(cell))


def perpendicular_widths(cell: np.ndarray) -> np.ndarray:
    """Distances in Å between opposite faces of the cell, shape (3,): volume over face area."""
    inverse = np.linalg.inv(np.asarray(cell, np.float64))
    return 1.0 / np.linalg.norm(inverse, axis=0)


def as_system(system: System | Atoms, *, dtype: Any = None) -> System:
    """Accept a `System` or ``ase.Atoms`` wherever a structure is an argument."""
    return system if isinstance(system, System) else System.from_atoms(system, dtype=dtype)


def as_batch(system: System) -> System:
    """A batch of one system; a batch, with a leading axis of all arrays, as it is."""
    return system if system.positions.ndim == 3 else jax.tree.map(lambda x: x[None], system)


def batch_of(system: System, count: int) -> System:
    """Copies along a leading axis."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), system)


def one_by_one(systems: System) -> list[System]:
    """The systems of a batch, or one system alone; for the host, without a program for each slice.

    Raises:
        InputError: traced systems, which have no values yet.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(systems)):
        raise InputError(
            "a potential is prepared inside jit, grad or vmap, where positions have no values; call "
            "potential = potential.prepare(system) once, outside"
        )
    batch = as_batch(jax.tree.map(np.asarray, systems))
    return [jax.tree.map(lambda x, n=n: jnp.asarray(x[n]), batch) for n in range(len(batch.positions))]
