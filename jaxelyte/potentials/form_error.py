"""What the form of a potential that is evaluated changes: fewer bits, tables, other programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.models.tiling import precision_of
from jaxelyte.neighbors import neighbor_lists
from jaxelyte.potentials.base import Potential, as_potential, walk
from jaxelyte.potentials.derivatives import energy_and_forces
from jaxelyte.potentials.nequip import NequIPPotential
from jaxelyte.potentials.preparation import prepare_potential
from jaxelyte.potentials.reference import in_float64
from jaxelyte.system import System
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class FormError:
    """Deviation of a form of a potential from its plain form in float64, for one structure.

    Attributes:
        form: which one.
        atoms: of the structure.
        forces_rms: root mean square of the deviation of all components of the forces, eV/Å.
        forces_max: the largest, eV/Å.
        energy: deviation of the energy, eV/atom.
        forces_scale: root mean square of the forces themselves, eV/Å.
    """

    form: str
    atoms: int
    forces_rms: float
    forces_max: float
    energy: float
    forces_scale: float

    def __str__(self) -> str:
        return (
            f"{self.form}, {counted(self.atoms, 'atom')}, against float64: forces of {self.forces_scale:.3g} eV/Å off "
            f"by {self.forces_rms:.1e} eV/Å (root mean square; largest {self.forces_max:.1e}), energy by "
            f"{self.energy:.1e} eV/atom"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON; units are in the names."""
        names = {"forces_rms": "forces_rms_eV_A", "forces_max": "forces_max_eV_A", "energy": "energy_eV_atom"}
        names |= {"forces_scale": "forces_scale_eV_A"}
        return {names.get(name, name): value for name, value in asdict(self).items()}


def form_error(potential: Potential, atoms: Atoms, dtype: Any = np.float32) -> FormError:
    """What is lost by evaluating a potential in its compiled form, for this structure.

    >>> print(form_error(potential.compiled(precision="tf32"), atoms))  # doctest: +SKIP

    Args:
        potential: plain, or compiled with any options; of a plain one the default compiled form is judged.
        atoms: a structure as the simulation will meet it.
        dtype: of the form that is judged.

    Raises:
        InputError: a structure that the potential cannot describe.
    """
    potential = as_potential(potential)
    dtype = np.dtype(dtype)
    with jax.enable_x64(dtype == np.float64):
        form = potential.compiled()
        found = _evaluate(form, System.from_atoms(atoms, dtype=dtype))
    with jax.enable_x64(True):
        exact = _evaluate(in_float64(potential.plain()), System.from_atoms(atoms, dtype=np.float64))
    off = np.asarray(found.forces, np.float64) - np.asarray(exact.forces)
    return FormError(
        _described(form, dtype),
        len(atoms),
        float(np.sqrt(np.mean(off**2))),
        float(np.abs(off).max()),
        float(np.float64(found.energy) - np.float64(exact.energy)) / len(atoms),
        float(np.sqrt(np.mean(np.asarray(exact.forces) ** 2))),
    )


def reduced_precision(potential: Potential) -> bool:
    """Whether a network in it makes products of fewer bits than float32."""
    return any(precision_of(one.kernel) != "float32" for one in _networks(potential))


def check_plain(potential: Potential) -> None:
    """Raise `InputError` for a compiled form, where parameters are to change."""
    if any(one.maps is not None or one.tables is not None for one in _networks(potential)):
        raise InputError(
            "this potential is compiled, and would not change with its parameters; give the plain one, which "
            "potential.plain() is"
        )


def _evaluate(potential: Potential, system: System) -> Any:
    prepared = prepare_potential(potential, system)
    return jax.jit(energy_and_forces)(prepared, system, neighbor_lists(system, prepared))


def _networks(potential: Potential) -> list[NequIPPotential]:
    return [one for one in walk(potential) if isinstance(one, NequIPPotential)]


def _described(potential: Potential, dtype: np.dtype) -> str:
    networks = _networks(potential)
    parts = [dtype.name]
    parts += sorted({f"{precision_of(one.kernel)} products" for one in networks} - {"float32 products"})
    if dtype == np.float32 and any(one.tables is not None for one in networks):
        parts.append("tables")
    return ", ".join(parts)
