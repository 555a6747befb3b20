"""LAMMPS instances that hold given atoms, and what they hold after a run."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk

import jaxelyte as jxl

QUIET = ("-log", "none", "-screen", "none")


def salt(seed: int = 0) -> Atoms:
    """32 ions, distorted, in a triclinic cell as LAMMPS holds it: lower triangular."""
    atoms = bulk("NaCl", "rocksalt", a=5.8, cubic=True).repeat((2, 2, 1))
    atoms.set_cell(np.array([[11.6, 0, 0], [1.7, 11.2, 0], [-1.1, 2.3, 6.2]]), scale_atoms=True)
    atoms.positions += np.random.default_rng(seed).normal(0, 0.12, (len(atoms), 3))
    return atoms


def gas(cells: int = 3, spacing: float = 5.4) -> Atoms:
    atoms = bulk("Ar", "fcc", a=spacing, cubic=True).repeat(cells)
    atoms.rattle(0.1, seed=3)
    return atoms


def lammps_with(atoms: Atoms, *, style: str = "metal", extra: str = "", species: tuple[str, ...] = ("Na", "Cl")) -> Any:
    """An instance that holds the atoms, in LAMMPS' box; ids in a random order."""
    lmp = jxl.open_lammps(*QUIET)
    cell = atoms.cell.array
    lx, ly, lz, xy, xz, yz = cell[0, 0], cell[1, 1], cell[2, 2], cell[1, 0], cell[2, 0], cell[2, 1]
    boundary = " ".join("p" if periodic else "s" for periodic in atoms.pbc)
    masses = [Atoms(symbol).get_masses()[0] for symbol in species]
    lmp.commands_string(
        f"units {style}\natom_style atomic\nboundary {boundary}\natom_modify map array\n{extra}\n"
        f"box tilt large\nregion box prism 0 {lx:.17g} 0 {ly:.17g} 0 {lz:.17g} {xy:.17g} {xz:.17g} {yz:.17g}\n"
        f"create_box {len(species)} box\n"
        + "".join(f"mass {k} {mass:.17g}\n" for k, mass in enumerate(masses, start=1))
        + "pair_style zero 4.0\npair_coeff * *\nthermo_modify norm no\n"
    )
    ids = np.random.default_rng(7).permutation(len(atoms)) + 1
    types = [species.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
    order = np.argsort(ids)  # the order of creation, while the atom k has the id k + 1
    lmp.create_atoms(
        len(atoms), (order + 1).tolist(), [types[k] for k in order], atoms.positions[order].ravel().tolist()
    )
    return lmp


def by_id(lmp: Any, name: str) -> np.ndarray:
    count = lmp.extract_setting("nlocal")
    tags = np.array(lmp.numpy.extract_atom("id"))[:count]
    return np.array(lmp.numpy.extract_atom(name))[:count][np.argsort(tags)]


def as_lammps_has_it(lmp: Any, species: tuple[str, ...]) -> Atoms:
    """What LAMMPS holds now, by rising id."""
    low, high, xy, yz, xz, periodic, _ = lmp.extract_box()
    (lx, ly, lz), tilts = np.subtract(high, low), (xy, xz, yz)
    cell = [[lx, 0, 0], [tilts[0], ly, 0], [tilts[1], tilts[2], lz]]
    symbols = [species[kind - 1] for kind in by_id(lmp, "type")]
    return Atoms(symbols, by_id(lmp, "x"), cell=cell, pbc=periodic)


def virial_pressure(lmp: Any) -> np.ndarray:
    """-stress in the energy unit of LAMMPS per Å³, from its pressure without the kinetic part."""
    lmp.command("compute virial_part all pressure NULL virial")
    lmp.command("thermo_style custom step pe c_virial_part[*]")
    lmp.command("run 0")
    xx, yy, zz, xy, xz, yz = lmp.numpy.extract_compute("virial_part", 0, 1)
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) / lmp.extract_global("nktv2p")
