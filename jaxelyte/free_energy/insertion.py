"""Chemical potentials: insertion of test particles, the ideal part, and corrections of charged cells.

    μ = k_B T ln(ρ Λ³) + μ_ex,   μ_ex = -k_B T ln (<V exp(-ΔU/k_B T)> / <V>)

(Widom, J. Chem. Phys. 39, 2808 (1963)); ΔU is the energy of one more particle at a random place.
"""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte import checks, units
from jaxelyte.arrays import finite
from jaxelyte.dynamics import load_run
from jaxelyte.errors import InputError
from jaxelyte.evaluate import Evaluator
from jaxelyte.free_energy.contents import Contents, of_insertion
from jaxelyte.observables.blocks import FEWEST, block_error
from jaxelyte.observables.diffusion import lattice_potential
from jaxelyte.observables.provenance import check_made_by, recorded_energies
from jaxelyte.observables.sampling import analysed, complete_cells
from jaxelyte.observables.series import temperature_of
from jaxelyte.observables.species import same_order
from jaxelyte.observables.tails import half_width, independent_sums, skewed, spread_freedom
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.potentials.preparation import prepare_potential
from jaxelyte.potentials.reference import reference_energies
from jaxelyte.potentials.topology import idle_terms_allowed
from jaxelyte.storage import write_text
from jaxelyte.system import System, batch_of
from jaxelyte.wording import counted, plus_minus

PLANCK = 6.62607015e-34
SKIN = 1e-3
"""Å; lists are built anew for each batch."""

LEAST = 20
"""Insertions that carry half of the average, below which there is no error bar."""

LEAST_FRAMES = 2
"""Independent frames that decide the average, (Σw)²/Σw², below which there is no error bar. It is low on purpose:
refusing averages that few frames decide leaves those that have missed the frames of large weight, and are off."""


@dataclass(frozen=True)
class Insertion:
    """An excess chemical potential.

    Attributes:
        symbol: of the particle.
        value: μ_ex in eV.
        error: standard error in eV, correlation of frames taken into account; NaN where too few insertions or frames
            decide the average.
        temperature: K.
        insertions: number of test particles.
        contributing: share of them that carries half of the average: small where insertion is hopeless.
        contents: what ``value`` is of: process and sign, standard state, corrections.
    """

    symbol: str
    value: float
    error: float
    temperature: float
    insertions: int
    contributing: float
    contents: Contents

    def to_json(self, path: str | Path) -> None:
        """Write the numbers; what is not finite is stored as null."""
        content = {
            "symbol": self.symbol,
            "excess_chemical_potential_eV": finite(self.value),
            "error_eV": finite(self.error),
            "temperature_K": self.temperature,
            "insertions": self.insertions,
            "contributing_share": self.contributing,
            "contents": self.contents.as_dict(),
        }
        write_text(path, json.dumps(content, indent=1) + "\n")

    def __repr__(self) -> str:
        head = (
            f"μ_ex({self.symbol}) = {plus_minus(self.value, self.error, unit='eV')} at {self.temperature:g} K from "
            f"{self.insertions:,} insertions, half of the average from {self.contributing:.2%} of them"
        )
        return "\n".join([head, *self.contents.lines()])


def widom(
    source: Any,
    potential: Potential,
    symbol: str,
    *,
    per_frame: int = 200,
    temperature: float | None = None,
    discard: int | None = None,
    at_once: int = 50,
    seed: int = 0,
) -> Insertion:
    """Excess chemical potential of an uncharged particle by Widom's insertions into the frames of a run.

    It fails in dense liquids and for large or charged particles, where no random place has room: ``contributing``
    tells, and the true value is then lower than the one found. Take `free_energy_path` with a cavity there.

    Args:
        source: a run, a `Trajectory`, a file or a run folder, periodic in all directions.
        potential: of the system with one more particle.
        symbol: its chemical symbol.
        per_frame: insertions into each frame.
        temperature: K; that of the run by default.
        discard: frames left out at the start; by default what a run counts as its equilibration, and none of a
            trajectory or file.
        at_once: insertions evaluated together; bounds the memory.
        seed: of the places.

    Raises:
        InputError: no such symbol, no cell, no temperature, or a potential that did not make the frames of the run.
        UnsupportedError: replicas that list their atoms in another order.

    Warns:
        UserWarning: no error bar (NaN), of fewer than four frames, fewer than `LEAST` insertions that carry half of the
            average, or fewer than `LEAST_FRAMES` independent frames that decide it.
    """
    potential = as_potential(potential)
    if isinstance(source, (str, Path)) and (Path(source) / "trajectory.h5").exists():
        source = load_run(source)
    number, mass = particle(symbol)
    per_frame, at_once = checks.count("per_frame", per_frame), checks.count("at_once", at_once)
    seed = checks.random_seed(seed)
    trajectory = analysed(source, discard)
    temperature = checked_temperature(source, temperature, "insertion")
    if not all(trajectory.pbc) or len(trajectory) == 0:
        raise InputError("insertion needs frames in a cell that is periodic in all directions")
    # A potential knows atoms by their numbers, and a topology by their order.
    same_order(trajectory.numbers, "insertion")
    atoms = trajectory.frame(0)
    before = System.from_atoms(atoms)
    after = with_one_more(before, number, mass)
    rng = np.random.default_rng(seed)
    beta = 1.0 / (units.BOLTZMANN * temperature)
    sums, weights, energies = [], [], []
    # A term may act on the particle alone.
    without, with_one = _Energies(potential, before, idle=True), _Energies(potential, after)
    references = [reference_energies(potential, batch_of(system, 1))[0] for system in (after, before)]
    gap = float(references[0] - references[1])
    for replica in range(trajectory.replicas):
        cells = complete_cells(np.asarray(trajectory.cells_of(slice(None)))[:, replica], trajectory.pbc)
        for frame, cell in enumerate(cells):
            positions = np.asarray(trajectory.positions[frame, replica], np.float64)
            own = without(positions[None], cell)[0]
            energies.append(own)
            places = rng.random((per_frame, 3)) @ cell
            found = []
            for start in range(0, per_frame, at_once):
                some = places[start : start + at_once]
                same = np.broadcast_to(positions, (len(some), *positions.shape))
                many = np.concatenate([same, some[:, None]], axis=1)
                found.append(with_one(_filled(many, min(at_once, per_frame)), cell)[: len(some)])
            energy = np.concatenate(found) - own
            # An overlap whose energy is not finite has no weight.
            boltzmann = np.exp(-beta * np.where(np.isfinite(energy), energy, np.inf))
            volume = abs(float(np.linalg.det(cell)))
            sums.append([volume * boltzmann.mean(), volume])
            weights.append(boltzmann)
    own_energies = np.reshape(energies, (trajectory.replicas, -1)).T + float(references[1])
    check_made_by(recorded_energies(source, len(trajectory)), own_energies, 1.0 / beta)
    share = _contributing(np.concatenate(weights))
    value, error = average_of_insertions(np.array(sums), trajectory.replicas, beta)
    doubt = doubt_of_insertions(np.array(sums), trajectory.replicas, round(share * per_frame * len(sums)))
    if doubt:
        checks.caution(f"insertion of {symbol} has no error bar: {doubt}")
        error = math.nan
    contents = of_insertion(symbol, potential, before, after)
    return Insertion(
        symbol, float(value) + gap, float(error), float(temperature), per_frame * len(sums), share, contents
    )


def ideal_chemical_potential(density: float, mass: float, temperature: float) -> float:
    """k_B T ln(ρ Λ³) in eV, Λ = h/√(2π m k_B T): the part of an ideal gas without inner degrees of freedom.

    A standard state of 1 mol/L is a density of 6.02214e-4 per Å³; adding k_B T ln(ρ°/ρ) to a chemical potential at
    density ρ moves its ideal part there. (1 bar at 298.15 K is ρ° = 2.4293e-5 per Å³, 0.0825 eV below 1 mol/L.)

    Args:
        density: particles per Å³.
        mass: g/mol.
        temperature: K.

    Raises:
        InputError: numbers that are not positive.
    """
    density = checks.quantity("density", density, "number density")
    mass = checks.quantity("mass", mass, "mass")
    temperature = checks.quantity("temperature", temperature, "temperature")
    thermal = units.BOLTZMANN * temperature
    joule = thermal * 1.602176634e-19
    length = PLANCK / math.sqrt(2.0 * math.pi * mass * 1.66053906660e-27 * joule) * 1e10
    return thermal * math.log(density * length**3)


@dataclass(frozen=True)
class ChargeCorrection:
    """What has to be added to a charging free energy of a periodic cell, in eV; each term apart.

    Attributes:
        self_interaction: -ξ q²/2, takes out the interaction of the charge with its images and the background, which the
            energies of a charged cell contain (Ewald sums of jaxelyte do).
        polarization: ξ q² (1 - 1/ε)/2, the solvent's answer to the images.
        undersolvation: of the solvent that the ion displaces, in leading orders of R/L; zero unless a radius was given.
    """

    self_interaction: float
    polarization: float
    undersolvation: float

    @property
    def total(self) -> float:
        """Sum of the terms; -ξ q²/2ε without the last one."""
        return self.self_interaction + self.polarization + self.undersolvation


def charge_correction(
    charge: float, cell: Any, permittivity: float, *, radius: float | None = None
) -> ChargeCorrection:
    """Finite-size correction of the free energy of charging an ion in a periodic cell of solvent.

    With the lattice potential ξ of a unit charge in its background (-2.837297/L in a cube, a lattice sum here) and
    e²/(4π ε0) = 1,

        ΔG = -ξ q²/2 + ξ q² (1 - 1/ε)/2 + (1 - 1/ε) q²/(2L) (4π/3 (R/L)² - 16π²/45 (R/L)⁵)

    (Hummer, Pratt and García, J. Phys. Chem. 100, 1206 (1996); Hünenberger and McCammon, J. Chem. Phys. 110, 1856
    (1999); the form of Kastenholz and Hünenberger, J. Chem. Phys. 124, 124106 (2006), for energies that contain the
    first term). In cells that are no cubes L is V^(1/3) in the last term, an approximation.

    Args:
        charge: e.
        cell: edge of a cube or (3, 3), Å.
        permittivity: relative, of the solvent as the model has it.
        radius: R of the ion's cavity in Å, for the last term; None leaves it out.

    Raises:
        InputError: a cell without volume, a permittivity below one, a radius that is not positive.
    """
    charge = checks.quantity("charge", charge, "charge", zero=True, signed=True)
    permittivity = checks.number("permittivity", permittivity, least=1.0, infinite=True)  # of a conductor: infinite
    edges = checks.array("cell", cell, None, "Å")
    if edges.ndim == 0:
        edges = np.asarray(checks.positive("cell", cell, "Å"))
    box = edges * np.eye(3) if edges.ndim == 0 else edges
    if box.shape != (3, 3) or not abs(np.linalg.det(box)) > 0:
        raise InputError(f"cell = {checks.shown(cell)} must be the edge of a cube or (3, 3) lattice vectors in Å")
    checks.quantity("the edge of the cell", abs(float(np.linalg.det(box))) ** (1.0 / 3.0), "edge")
    if radius is not None:
        radius = checks.quantity("radius", radius, "radius")
    half, screening = 0.5 * units.COULOMB * charge**2, 1.0 - 1.0 / permittivity
    lattice = half * lattice_potential(box)
    under = 0.0
    if radius is not None:
        edge = abs(float(np.linalg.det(box))) ** (1.0 / 3.0)
        ratio = radius / edge
        under = half * screening / edge * (4.0 * math.pi / 3.0 * ratio**2 - 16.0 * math.pi**2 / 45.0 * ratio**5)
    return ChargeCorrection(-lattice, lattice * screening, under)


class _Energies:
    """Energies of a batch of positions in one cell."""

    def __init__(self, potential: Potential, template: System, *, idle: bool = False) -> None:
        self.given, self.template, self.idle = potential, template, idle
        self.cell: np.ndarray | None = None
        self.evaluator: Evaluator

    def __call__(self, positions: np.ndarray, cell: np.ndarray) -> np.ndarray:
        """(batch,), eV, of (batch, atoms, 3) in Å."""
        dtype = self.template.positions.dtype
        systems = batch_of(self.template, len(positions))
        systems = systems.replace(positions=jnp.asarray(positions, dtype))
        systems = systems.replace(cell=jnp.broadcast_to(jnp.asarray(cell, dtype), systems.cell.shape))
        if self.cell is None or np.any(self.cell != cell):
            # Test particles may overlap, which a start structure may not: each system is prepared as one of a kind.
            with idle_terms_allowed() if self.idle else nullcontext():
                ready = prepare_potential(self.given, jax.tree.map(lambda x: x[:1], systems))
            self.evaluator, self.cell = Evaluator.of_prepared(ready, systems, form="plain", skin=SKIN), cell
        return np.asarray(self.evaluator.energies(systems), np.float64)


def checked_temperature(source: Any, temperature: float | None, what: str) -> float:
    """Temperature in K as given, or that of the run.

    Raises:
        InputError: neither is there, or it is no temperature.
    """
    if temperature is not None:
        return checks.quantity("temperature", temperature, "temperature")
    found = temperature_of(source)
    if found is None:
        raise InputError(f"{what} needs the temperature of the run: pass temperature= in K")
    return checks.quantity("temperature of the run", found, "temperature", warn=False)


def particle(symbol: str) -> tuple[int, float]:
    """Atomic number and mass in g/mol.

    Raises:
        InputError: no such symbol.
    """
    from ase.data import atomic_masses, atomic_numbers

    symbol = checks.symbol("symbol", symbol)
    return int(atomic_numbers[symbol]), float(atomic_masses[atomic_numbers[symbol]])


def with_one_more(system: System, number: int, mass: float) -> System:
    """Room for one more particle, at the end."""
    return system.replace(
        positions=jnp.concatenate([system.positions, jnp.zeros((1, 3), system.positions.dtype)]),
        numbers=jnp.append(system.numbers, jnp.asarray(number, system.numbers.dtype)),
        masses=jnp.append(system.masses, jnp.asarray(mass, system.masses.dtype)),
        mask=jnp.append(system.mask, True),
    )


def _filled(positions: np.ndarray, count: int) -> np.ndarray:
    """A batch of one size, filled up with copies of its last row."""
    missing = count - len(positions)
    return positions if not missing else np.concatenate([positions, np.repeat(positions[-1:], missing, axis=0)])


def _contributing(weight: np.ndarray) -> float:
    """Share of the largest weights that add up to half of the sum."""
    order = np.sort(weight)[::-1]
    total = np.cumsum(order)
    if not total[-1] > 0:
        return 0.0
    return float(np.searchsorted(total, 0.5 * total[-1]) + 1) / len(order)


def average_of_insertions(sums: np.ndarray, replicas: int, beta: float) -> tuple[float, float]:
    """-k_B T ln (Σ V exp(-ΔU/k_B T) / Σ V) in eV and its standard error, of (frames of all replicas, 2)."""
    total = sums.sum(axis=0)
    if not total[0] > 0.0:
        return math.inf, math.nan
    # What each frame adds to the deviation of the logarithm, whose mean over all frames is zero.
    moved = len(sums) * (sums[:, 0] / total[0] - sums[:, 1] / total[1])
    found = block_error(moved.reshape(replicas, -1).T)
    inefficiency = float(found.inefficiency)
    independent = independent_sums(moved, inefficiency if math.isfinite(inefficiency) else 1.0)
    student = half_width(spread_freedom(independent, len(independent)))
    relative = float(found.bound)
    # <ln²(1 + y)> = r² + 11/4 r⁴ + … for normal y of the width r.
    error = relative * student * skewed(independent, 2.75 * relative**2)
    return -math.log(total[0] / total[1]) / beta, error / beta


def doubt_of_insertions(sums: np.ndarray, replicas: int, carrying: int) -> str:
    """Why an average over insertions has no error bar, and the remedy; empty where it has one."""
    if len(sums) < FEWEST:
        return (
            f"no standard error from {counted(len(sums), 'frame')}: at least {FEWEST} are needed, and hundreds for a "
            "value to trust"
        )
    if carrying < LEAST:
        return (
            f"{carrying} insertions carry half of the average ({LEAST} are needed); the liquid is too dense for it, "
            "and the true value is lower. Take free_energy_path with a cavity"
        )
    if (frames := _deciding_frames(sums, replicas)) < LEAST_FRAMES:
        return f"only {frames:.1f} independent frames decide the average ({LEAST_FRAMES} are needed); run longer"
    return ""


def _deciding_frames(sums: np.ndarray, replicas: int) -> float:
    """Independent frames that decide Σ V exp(-ΔU/k_B T) / Σ V, of (frames of all replicas, 2)."""
    weight = sums[:, 0] / sums[:, 1]
    if len(weight) < 2 * replicas or np.ptp(weight) == 0.0:
        return float(len(weight))
    found = float(block_error(weight.reshape(replicas, -1).T).inefficiency)
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    return effective / max(1.0, found) if math.isfinite(found) else effective
