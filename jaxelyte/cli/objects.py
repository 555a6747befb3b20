"""From a validated run file to atoms, potential, ensemble and observables: the only path there is."""

from __future__ import annotations

import math
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import numpy as np

from jaxelyte.cli.models import check_permittivity, open_model
from jaxelyte.cli.placing import placed
from jaxelyte.cli.sections import EnsembleSection, RunFile, Term
from jaxelyte.cli.train_sections import TrainFile
from jaxelyte.datasets import ShippedPotential
from jaxelyte.dynamics.ensembles import Ensemble
from jaxelyte.errors import InputError
from jaxelyte.observables import Observable, Series
from jaxelyte.potentials.base import Potential, as_potential, walk
from jaxelyte.potentials.memory import Learning
from jaxelyte.potentials.topology import IndexTable

if TYPE_CHECKING:
    from ase import Atoms

    from jaxelyte.cli.free_energy_sections import FreeEnergyFile
    from jaxelyte.dynamics import Run
    from jaxelyte.models.config import NequIP
    from jaxelyte.potentials.nequip import NequIPPotential
    from jaxelyte.training import Fit, Stability


def build_system(config: RunFile | FreeEnergyFile) -> Atoms:
    """The start structure.

    Raises:
        InputError: a file that cannot be read, or a box that cannot be built.
    """
    from jaxelyte.build import electrolyte
    from jaxelyte.interop.frames import read

    system = config.system
    with placed("[system]"):
        if system.build is not None:
            made = system.build
            atoms = electrolyte(
                made.ions, waters=made.waters, density=made.density, concentration=made.concentration, seed=made.seed
            )
        else:
            assert system.file is not None
            atoms = read(system.file, system.frame, **system.reading())[0]
    return atoms.repeat(system.repeat)


def build_potential(config: RunFile, atoms: Atoms) -> Potential:
    """The sum of all terms.

    Raises:
        InputError: a model that cannot be read, or atoms that a term cannot describe.
    """
    return build_sum(config.potential, atoms)


def build_sum(terms: list[Term], atoms: Atoms | None, tables: str = "[[potential]]") -> Potential:
    """The sum of terms.

    Args:
        terms: at least one.
        atoms: for those that are made for given atoms.
        tables: where they stand in the file, for errors.

    Raises:
        InputError: see `build_potential`.
    """
    built = []
    for number, term in enumerate(terms, 1):
        with placed(f"{tables}{f' number {number}' if len(terms) > 1 else ''} (type {term.type})"):
            built.append(build_term(term, atoms))
    check_permittivity(terms)
    return reduce(add, built)


def build_term(term: Term, atoms: Atoms | None) -> Potential:
    """One term; some, such as water, are made for given atoms.

    Raises:
        InputError: see `build_potential`.
    """
    potential = as_potential(term.made(atoms))
    return potential if term.factor == 1.0 else term.factor * potential


def build_ensemble(section: EnsembleSection) -> Ensemble:
    """The ensemble.

    Raises:
        InputError: a setting that the ensemble refuses.
    """
    with placed("[ensemble]"):
        return section.made()


def build_observables(config: RunFile) -> dict[str, Observable | Series]:
    """What is averaged or recorded in the loop, by name.

    Raises:
        InputError: a setting that an observable refuses.
    """
    built = {}
    for name, section in config.observables.items():
        with placed(f"[observables.{name}]"):
            built[name] = section.made()
    return built


def parse_charges(text: str, symbols: list[str], *, periodic: bool) -> dict[str, float]:
    """``Na=1,Cl=-1`` as a mapping.

    Args:
        text: what the user wrote; charges in e.
        symbols: of all atoms.
        periodic: whether they repeat, so that their charges have to add up to zero.

    Raises:
        InputError: anything else, a species that is not there or given twice, or ions that are not neutral together.
    """
    parts = [part.partition("=") for part in text.split(",")]
    found = {}
    for name, _, value in parts:
        try:
            found[name.strip()] = float(value)
        except ValueError:
            found[name.strip()] = math.nan
    if len(found) < len(parts) or not all(map(math.isfinite, found.values())):
        raise InputError(f"--charges are written as Na=1,Cl=-1, each species once, not {text!r}")
    unknown = [name for name in found if name not in symbols]
    if unknown:
        raise InputError(f"--charges names {', '.join(unknown)}, but the atoms are {', '.join(sorted(set(symbols)))}")
    net = sum(found.get(symbol, 0.0) for symbol in symbols)
    if periodic and abs(net) > 1e-6:
        ions = ", ".join(f"{symbols.count(name)} {name} of {charge:+g} e" for name, charge in found.items())
        raise InputError(f"--charges adds up to {net:+g} e ({ions}); give the charges of all ions, and of them alone")
    return found


SOLVENT = ("H", "C", "N", "O")


def all_pairs(symbols: list[str]) -> tuple[tuple[str, str], ...]:
    """Every pair of species that is there, ions first: coordination numbers are those of the first species."""
    from ase.data import atomic_numbers

    order = sorted(set(symbols), key=lambda s: (s in SOLVENT, atomic_numbers[s] * (-1 if s in SOLVENT else 1)))
    return tuple((a, b) for n, a in enumerate(order) for b in order[n:] if a != b or symbols.count(a) > 1)


def run_config(config: RunFile, *, progress: bool = True, resume: bool = False, overwrite: bool = False) -> Run:
    """Carry out a run file: `jaxelyte.simulate` with what it says; ``run.float64`` switches to float64 for it.

    Raises:
        JaxelyteError: see `jaxelyte.simulate`.
    """
    import jax

    from jaxelyte.dynamics import simulate
    from jaxelyte.potentials.form_error import reduced_precision

    wide = jax.dtypes.canonicalize_dtype("float64") == "float64"
    with jax.enable_x64(config.run.float64 or wide):
        atoms = build_system(config)
        potential = build_potential(config, atoms)
        if config.run.precision != "float32":
            potential = potential.compiled(precision=config.run.precision)
            if not reduced_precision(potential):
                raise InputError(
                    f'precision = "{config.run.precision}" is for networks, and there is none; leave it out'
                )
        return simulate(
            potential,
            atoms,
            build_ensemble(config.ensemble),
            observables=build_observables(config),
            progress=progress,
            resume=resume,
            overwrite=overwrite,
            config=config.model_dump(mode="json"),
            **config.run.model_dump(exclude={"float64", "precision"}),
        )


def training_frames(config: TrainFile) -> list[Atoms]:
    """All labelled frames of a training file, in order: those of ``files``, then those of CP2K's separate files."""
    from jaxelyte.interop.frames import read
    from jaxelyte.interop.labelled_files import read_cp2k

    data = config.data
    with placed("[data]"):
        frames = [frame for file in data.files for frame in read(file, data.index, **data.reading())]
        for one in data.cp2k:
            cell = np.asarray(one.cell) if isinstance(one.cell, list) else one.cell
            frames += read_cp2k(one.positions, one.forces, cell=cell, kinds=one.kinds, index=data.index)
    return frames


def report_card(config: TrainFile, fit: Fit, frames: list[Atoms], *, progress: bool = True) -> Stability | None:
    """Carry out the section ``[stability]``, from validation frames spread over the set; None without the section.

    Args:
        config: the training file.
        fit: its result.
        frames: its `training_frames`.
        progress: show each run.

    Raises:
        JaxelyteError: see `jaxelyte.stability`.
    """
    from jaxelyte.training import stability

    section = config.stability
    if section is None:
        return None
    places = fit.config["split"]["validation"]
    chosen = np.unique(np.linspace(0, len(places) - 1, section.frames).round().astype(int))
    starts = [frames[places[n]] for n in chosen]
    with placed("[stability]"):
        return stability(fit, starts, progress=progress, **section.model_dump(exclude={"frames"}))


def _baseline(config: TrainFile) -> Potential:
    """The sum of the baseline's terms, which describe frames of any composition and order.

    Raises:
        InputError: see `build_potential`; a term that names atoms by their indices.
    """
    found = build_sum(config.baseline, None, "[[baseline]]")
    for one in walk(found):
        if isinstance(one, Learning) or any(isinstance(value, IndexTable) for value in vars(one).values()):
            raise InputError(
                f"[[baseline]]: {type(one).__name__} names atoms by their indices, so that it describes one order of "
                "atoms; a baseline has to describe all frames, as Coulomb, Lennard-Jones and barriers of species do"
            )
    return found


def _network(config: TrainFile) -> NequIP | NequIPPotential | Fit:
    """Hyperparameters of a new network; or a trained one, with the baseline that it needs where it is a fit."""
    from jaxelyte.models.config import NequIP

    start = config.model.start
    with placed("[model]"):
        if start is None:
            return NequIP(**config.model.model_dump(exclude={"start"}))
        found = open_model(start)
        return found.fit if isinstance(found, ShippedPotential) else found


def train_config(
    config: TrainFile, frames: list[Atoms], *, progress: bool = True, resume: bool = False, overwrite: bool = False
) -> Fit:
    """Carry out a training file on its `training_frames`: `jaxelyte.train` with what it says.

    Raises:
        JaxelyteError: see `jaxelyte.train`.
    """
    import jax

    from jaxelyte.training import Loss, Optimization, train

    data, own = config.data, config.train
    wide = jax.dtypes.canonicalize_dtype("float64") == "float64"
    with jax.enable_x64(own.float64 or wide):
        baseline = _baseline(config) if config.baseline else None
        with placed("[loss]"):
            loss = Loss(**config.loss.model_dump())
        with placed("[optimization]"):
            optimization = Optimization(**config.optimization.model_dump())
        return train(
            frames,
            _network(config),
            baseline=baseline,
            loss=loss,
            optimization=optimization,
            validation=data.validation,
            test=data.test,
            split_seed=data.split_seed,
            split=data.split,
            keys=data.keys(),
            check_units=data.check_units,
            drop_outliers=data.drop_outliers,
            exclude=data.exclude,
            progress=progress,
            resume=resume,
            overwrite=overwrite,
            **own.model_dump(exclude={"float64"}),
        )
