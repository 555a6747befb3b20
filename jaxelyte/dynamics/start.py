"""How a run starts: batch of systems, Maxwell velocities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxelyte import checks
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.periodicity import warn_of_periodicity
from jaxelyte.system import System, check_kind
from jaxelyte.units import ACCELERATION, BOLTZMANN
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

Velocities = float | Literal["atoms"] | None

MOST_REPLICAS = 1_000_000

OVERLAP = 0.3
"""Å; atoms closer than this at the start are a broken structure, not a chemical one (H-H in H2 is 0.74 Å)."""


def batch_systems(atoms: Atoms | list[Atoms], replicas: int, *, overlap: float = OVERLAP) -> System:
    """Stack systems along a leading axis of replicas; atoms closer than ``overlap`` (Å) are refused.

    Raises:
        InputError: an empty list, replicas that are not a positive integer or given beside a list, overlapping atoms.
        UnsupportedError: systems that differ in number of atoms or periodicity.

    Warns:
        UserWarning: see `warn_of_periodicity`.
    """
    replicas = checks.count("replicas", replicas, most=MOST_REPLICAS)
    if isinstance(atoms, list):
        if not atoms:
            raise InputError("the list of systems is empty")
        for number, one in enumerate(atoms):
            check_kind(one, f"atoms[{number}]")
        if replicas != 1:
            raise InputError(f"replicas={replicas} and a list of {len(atoms)} systems: give one of the two")
        several = atoms
    else:
        check_kind(atoms)
        several = [atoms] * replicas
    overlap = checks.quantity("overlap", overlap, "overlap", zero=True)
    for number, one in enumerate({id(a): a for a in several}.values() if overlap > 0 else ()):
        check_overlap(one, number, overlap)
    warn_of_periodicity(several[:1])
    singles = [System.from_atoms(one) for one in several]
    first = singles[0]
    for number, one in enumerate(singles):
        if one.num_atoms != first.num_atoms or one.pbc != first.pbc:
            raise UnsupportedError(
                f"systems run together need one shape: system 0 has {counted(first.num_atoms, 'atom')} and pbc "
                f"{first.pbc}, system {number} has {one.num_atoms} and {one.pbc}; run them one after the other"
            )
    return jax.tree.map(lambda *x: jnp.stack(x), *singles)


def check_overlap(atoms: Atoms, number: int = 0, overlap: float = OVERLAP) -> None:
    """Raise `InputError` where two atoms of a structure are closer than ``overlap`` in Å."""
    from jaxelyte.neighbors.host import host_list
    from jaxelyte.neighbors.lists import NeighborSpec

    system = System.from_atoms(atoms)
    close = host_list(system, NeighborSpec(overlap))
    rows = np.argwhere(np.asarray(close.mask))
    if len(rows):
        i, k = rows[0]
        j = int(close.index[i, k])
        distance = float(jnp.linalg.norm(close.vectors(system)[i, k]))
        raise InputError(
            f"atoms {i} ({atoms[int(i)].symbol}) and {j} ({atoms[j].symbol}) of system {number} are {distance:.3f} Å "
            "apart; remove the overlap or minimise with a soft potential first (overlap=0 for atoms that do not "
            "interact)"
        )


def maxwell_velocities(
    key: Array, masses: Float[Array, " atoms"], temperature: float, *, zero_momentum: bool
) -> Float[Array, "atoms 3"]:
    """Velocities in Å/fs from the Maxwell-Boltzmann distribution.

    Args:
        key: random key.
        masses: shape (atoms,), g/mol.
        temperature: K.
        zero_momentum: remove the motion of the centre of mass, which leaves 3N - 3 thermal degrees of freedom.
    """
    width = jnp.sqrt(BOLTZMANN * temperature * ACCELERATION / masses)[:, None]
    velocities = width * jax.random.normal(key, (masses.shape[0], 3), masses.dtype)
    if zero_momentum:
        velocities = velocities - jnp.sum(masses[:, None] * velocities, axis=0) / jnp.sum(masses)
    return velocities


def resolved_velocities(
    atoms: Atoms | list[Atoms], replicas: int, *, request: Velocities, temperature: float | None
) -> float | Literal["atoms"]:
    """Where the initial velocities come from: the atoms, or a temperature in K to draw them at.

    By default atoms that carry momenta keep them, unless replicas of one structure would then be copies of each other;
    otherwise they are drawn at the temperature of the ensemble.

    Args:
        atoms: the structures.
        replicas: how many run side by side.
        request: "atoms", a temperature in K, or None.
        temperature: of the ensemble in K, None for NVE.

    Raises:
        InputError: no velocities and no temperature to draw them at, or an invalid request.
    """
    if request is None:
        several = atoms if isinstance(atoms, list) else [atoms]
        distinct = isinstance(atoms, list) or replicas == 1
        request = "atoms" if distinct and any(np.any(one.get_velocities()) for one in several) else temperature
    if request is None:
        raise InputError(
            "the atoms have no velocities and NVE has no temperature; pass velocities=300.0 (K), or "
            "velocities='atoms' to start from rest"
        )
    if request == "atoms":
        return "atoms"
    return float(request)


def given_velocities(atoms: Atoms | list[Atoms], replicas: int) -> np.ndarray:
    """Those of the atoms in Å/fs, (replicas, atoms, 3)."""
    from ase.units import fs

    several = atoms if isinstance(atoms, list) else [atoms] * replicas
    return np.stack([one.get_velocities() for one in several]) * fs


def checked_velocities(velocities: Velocities) -> Velocities:
    """The argument ``velocities`` of `simulate`.

    Raises:
        InputError: neither "atoms" nor a temperature in K.
    """
    if velocities is None or (isinstance(velocities, str) and velocities == "atoms"):
        return velocities
    if isinstance(velocities, str | bool):
        raise InputError(f"velocities must be 'atoms' or a temperature in K, not {velocities!r}")
    return checks.quantity("velocities", velocities, "start temperature", zero=True)


def start_velocities(
    atoms: Atoms | list[Atoms],
    systems: System,
    keys: Array,
    *,
    request: Velocities,
    temperature: float | None,
    momentum_conserved: bool,
    degrees: int,
) -> Float[Array, "replicas atoms 3"]:
    """Initial velocities in Å/fs: those of the atoms, or drawn at a temperature; see `resolved_velocities`.

    Args:
        atoms: the structures.
        systems: the same as a batch.
        keys: one a replica.
        request: "atoms", a temperature in K, or None.
        temperature: of the ensemble in K, None for NVE.
        momentum_conserved: by the potential; velocities that are drawn then get no motion of the centre of mass.
        degrees: of freedom that the integrator counts. Where they are fewer than 3N, because the dynamics conserves the
            momentum, the motion of the centre of mass that the atoms bring along is taken away, too: a thermostat would
            count it as heat for ever.

    Warns:
        UserWarning: that motion held ten times its thermal share of the kinetic energy, 1/N, or more.

    Raises:
        InputError: no velocities and no temperature to draw them at, or an invalid request.
    """
    replicas = systems.positions.shape[0]
    origin = resolved_velocities(atoms, replicas, request=request, temperature=temperature)
    if origin == "atoms":
        given = given_velocities(atoms, replicas)
        given = _at_rest(given, systems) if degrees < 3 * systems.positions.shape[1] else given
        return jnp.asarray(given, systems.positions.dtype)
    draw = jax.vmap(lambda k, m: maxwell_velocities(k, m, origin, zero_momentum=momentum_conserved))
    return draw(keys, systems.masses)


def _at_rest(velocities: np.ndarray, systems: System) -> np.ndarray:
    """Velocities without the motion of each replica's centre of mass."""
    masses = np.asarray(systems.masses, np.float64)[..., None]
    center = np.sum(masses * velocities, axis=1, keepdims=True) / np.sum(masses, axis=1, keepdims=True)
    kinetic = np.sum(masses * velocities**2, axis=(1, 2))
    share = np.sum(masses * center**2, axis=(1, 2)) / np.where(kinetic > 0, kinetic, 1.0)
    # Thermal motion, as after Langevin dynamics, has 1/N of the kinetic energy on average, and rarely seven times it.
    if np.max(share) > max(1e-3, 10.0 / velocities.shape[1]):
        checks.caution(
            f"the atoms came with a motion of the centre of mass ({np.max(share):.1%} of the kinetic energy); it is "
            "removed, because this ensemble conserves it and would count it as heat"
        )
    return velocities - center
