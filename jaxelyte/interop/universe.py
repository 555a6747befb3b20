"""Frames as a Universe of MDAnalysis: elements, masses, charges, bonds, molecules, cells and times of its own units."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte import checks
from jaxelyte.errors import InputError, MissingError
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from jaxelyte.trajectory import Trajectory

COVALENT = frozenset(("H", "C", "N", "O", "P", "S"))
"""Elements that are bonded where they are close; ions stay alone."""

REACH = 1.2
"""Of the sum of covalent radii, within which they are."""


def to_universe(trajectory: Trajectory, *, replica: int = 0, charges: Mapping[str, float] | None = None) -> Any:
    """One replica as ``MDAnalysis.Universe``, in memory in single precision.

    Lengths are in Å as here, times in ps, velocities in Å/ps; positions are unwrapped where they are so here. Bonds are
    those of the first frame, and molecules (residues) what they connect: ``HOH`` for water, the symbol for an ion.
    MDAnalysis keeps lengths and angles of the cell only: frames of cells in another orientation are turned.

    Args:
        trajectory: frames; slice it first (``run.trajectory[::10]``) where memory is short.
        replica: which one.
        charges: e, of elements; without, the universe has none.

    Raises:
        InputError: frames that are not evenly spaced in time, charges that are no numbers.
        MissingError: no such replica.
        ImportError: MDAnalysis is not installed (the extra ``analysis``).
    """
    replica = checks.count("replica", replica, least=0)
    if replica >= trajectory.replicas or not len(trajectory):
        raise MissingError(
            f"replica {replica} does not exist: {counted(trajectory.replicas, 'replica')} of "
            f"{counted(len(trajectory), 'frame')}"
        )
    from ase.data import chemical_symbols

    symbols = [chemical_symbols[z] for z in trajectory.numbers[replica]]
    owners, bonds = _molecules(trajectory, replica)
    universe = _empty(symbols, owners)
    universe.add_TopologyAttr("masses", np.asarray(trajectory.masses[replica], np.float64))
    universe.add_TopologyAttr("bonds", bonds)
    if charges is not None:
        known = {name: checks.number(f"charges[{name!r}]", q, "e") for name, q in charges.items()}
        missing = sorted(set(symbols) - set(known))
        if missing:
            raise InputError(f"charges has none for {', '.join(missing)}; give those of all elements, 0.0 for none")
        universe.add_TopologyAttr("charges", np.array([known[name] for name in symbols]))
    _load(universe, trajectory, replica)
    return universe


def _empty(symbols: list[str], owners: np.ndarray) -> Any:
    """A universe of named atoms in molecules, without coordinates."""
    try:
        import MDAnalysis
    except ImportError as error:
        raise ImportError("a Universe needs MDAnalysis: pip install 'jaxelyte[analysis]'") from error
    count = int(owners.max()) + 1
    universe = MDAnalysis.Universe.empty(
        len(symbols), n_residues=count, atom_resindex=owners, residue_segindex=[0] * count, trajectory=False
    )
    molecules: list[list[str]] = [[] for _ in range(count)]
    for symbol, owner in zip(symbols, owners.tolist(), strict=True):
        molecules[owner].append(symbol)
    names = ["HOH" if sorted(own) == ["H", "H", "O"] else own[0] if len(own) == 1 else "MOL" for own in molecules]
    for name, values in (
        ("names", symbols),
        ("types", symbols),
        ("elements", symbols),
        ("resnames", names),
        ("resids", list(range(1, count + 1))),
        ("segids", ["SYSTEM"]),
    ):
        universe.add_TopologyAttr(name, values)
    return universe


def _molecules(trajectory: Trajectory, replica: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Number of the molecule of each atom, and bonds, in the first frame."""
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    atoms = trajectory.frame(0, replica)
    sizes = zip(atoms.numbers, atoms.symbols, strict=True)
    radii = np.array([covalent_radii[z] if name in COVALENT else 0.0 for z, name in sizes])
    first, second = neighbor_list("ij", atoms, REACH * radii)
    there = (radii[first] > 0) & (radii[second] > 0) & (first < second)
    bonds = sorted({(int(i), int(j)) for i, j in zip(first[there], second[there], strict=True)})
    pairs = np.array(bonds, int).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(atoms), len(atoms)))
    _, labels = connected_components(graph, directed=False)
    # Molecules are numbered as their first atoms are.
    order = {label: number for number, label in enumerate(dict.fromkeys(labels.tolist()))}
    return np.array([order[label] for label in labels.tolist()]), bonds


def _load(universe: Any, trajectory: Trajectory, replica: int) -> None:
    """Positions, velocities, cells and times."""
    from ase.cell import Cell
    from MDAnalysis.coordinates.memory import MemoryReader

    cells = trajectory.cells_of(slice(None))[:, replica]
    positions = np.asarray(trajectory.positions[:, replica], np.float64)
    velocities = None if trajectory.velocities is None else np.asarray(trajectory.velocities[:, replica], np.float64)
    dimensions = None
    if all(trajectory.pbc):
        dimensions = np.array([Cell(cell).cellpar() for cell in cells], np.float32)
        turns = np.array([Cell(cell).standard_form()[1] for cell in cells])
        # ASE: cell = standard @ turn, so that a position of the standard form is the old one times turn transposed.
        positions = np.einsum("fai,fji->faj", positions, turns)
        velocities = None if velocities is None else np.einsum("fai,fji->faj", velocities, turns)
    options: dict[str, Any] = {"order": "fac", "dimensions": dimensions}
    if velocities is not None:
        options["velocities"] = (1e3 * velocities).astype(np.float32)
    times = np.asarray(trajectory.times, np.float64) / 1e3
    if np.all(np.isfinite(times)):
        gaps = np.diff(times)
        if len(gaps) and not np.allclose(gaps, gaps[0], rtol=1e-6):
            raise InputError(
                "the frames are not evenly spaced in time, and a Universe knows one time step: slice the trajectory to "
                "frames that are"
            )
        options |= {"dt": float(gaps[0]) if len(gaps) else 1.0, "time_offset": float(times[0])}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        universe.load_new(positions.astype(np.float32), format=MemoryReader, **options)
