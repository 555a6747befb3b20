"""From a validated run file to atoms, potential, ensemble and observables: the only path there is."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

from jaxelyte.cli.config import (
    BarrierTerm,
    CoulombTerm,
    LennardJonesTerm,
    NequIPTerm,
    NVTSection,
    RestraintTerm,
    RunFile,
    TrainFile,
    WaterTerm,
)
from jaxelyte.dynamics import NVE, NVT
from jaxelyte.errors import InputError
from jaxelyte.observables import RDF
from jaxelyte.potentials.base import Potential

if TYPE_CHECKING:
    from ase import Atoms

    from jaxelyte.dynamics import Run
    from jaxelyte.models.config import NequIP
    from jaxelyte.potentials.nequip import NequIPPotential
    from jaxelyte.training import Fit, Stability


def build_system(config: RunFile) -> Atoms:
    """The start structure.

    Raises:
        InputError: a file that cannot be read, or a box that cannot be built.
    """
    from jaxelyte.build import electrolyte
    from jaxelyte.interop.frames import read

    system = config.system
    if system.build is not None:
        made = system.build
        atoms = electrolyte(
            made.ions, waters=made.waters, density=made.density, concentration=made.concentration, seed=made.seed
        )
    else:
        assert system.file is not None
        atoms = read(system.file, system.frame)[0]
    return atoms.repeat(system.repeat)


def build_potential(config: RunFile, atoms: Atoms) -> Potential:
    """The sum of all terms.

    Raises:
        InputError: a model that cannot be read, or atoms that a term cannot describe.
    """
    return reduce(add, [_build_term(term, atoms) for term in config.potential])


def _build_term(term: Any, atoms: Atoms) -> Potential:
    potential = _plain_term(term, atoms)
    return potential if term.factor == 1.0 else term.factor * potential


def _plain_term(term: Any, atoms: Atoms) -> Potential:
    import jaxelyte as jxl

    if isinstance(term, NequIPTerm):
        if not term.path.exists():
            raise InputError(f"there is no NequIP model {term.path}")
        return jxl.load_nequip(term.path, torchscript=term.torchscript)
    settings = term.model_dump(exclude={"type", "factor"})
    if isinstance(term, CoulombTerm):
        return jxl.ScreenedCoulomb(**settings)
    if isinstance(term, LennardJonesTerm):
        return jxl.LennardJones(**settings)
    if isinstance(term, WaterTerm):
        return jxl.spc_fw(atoms, **settings)
    if isinstance(term, BarrierTerm):
        return jxl.GaussianBarrier(**settings)
    assert isinstance(term, RestraintTerm)
    return jxl.HarmonicRestraint(atoms.get_positions(), term.k)


def build_ensemble(config: RunFile) -> NVE | NVT:
    """The ensemble."""
    section = config.ensemble
    if isinstance(section, NVTSection):
        return NVT(**section.model_dump(exclude={"type"}))
    return NVE()


def build_observables(config: RunFile) -> dict[str, RDF]:
    """The observables by name.

    Raises:
        InputError: a pair that is not two symbols joined by "-".
    """
    return {
        name: RDF(parse_pairs(section.pairs), r_max=section.r_max, width=section.width, bins=section.bins)
        for name, section in config.observables.items()
    }


def parse_charges(text: str) -> dict[str, float]:
    """``Na=1,Cl=-1`` as a mapping.

    Raises:
        InputError: anything else.
    """
    found = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError as error:
            raise InputError(f"charges are written as Na=1,Cl=-1, not {text!r}") from error
    return found


def parse_pairs(pairs: list[str]) -> tuple[tuple[str, str], ...]:
    """("Na", "O") from "Na-O".

    Raises:
        InputError: not two symbols joined by "-".
    """
    parsed = []
    for pair in pairs:
        parts = pair.strip().split("-")
        if len(parts) != 2 or not all(parts):
            raise InputError(f"a pair is two chemical symbols joined by '-', such as Na-O, not {pair!r}")
        parsed.append((parts[0], parts[1]))
    return tuple(parsed)


def run_config(config: RunFile, *, progress: bool = True, resume: bool = False, overwrite: bool = False) -> Run:
    """Carry out a run file: `jaxelyte.simulate` with what it says; ``run.float64`` switches to float64 for it.

    Raises:
        JaxelyteError: see `jaxelyte.simulate`.
    """
    import jax

    from jaxelyte.dynamics import simulate

    wide = jax.dtypes.canonicalize_dtype("float64") == "float64"
    with jax.enable_x64(config.run.float64 or wide):
        atoms = build_system(config)
        return simulate(
            build_potential(config, atoms),
            atoms,
            build_ensemble(config),
            observables=build_observables(config),
            progress=progress,
            resume=resume,
            overwrite=overwrite,
            config=config.model_dump(mode="json"),
            **config.run.model_dump(exclude={"float64"}),
        )


def training_frames(config: TrainFile) -> list[Atoms]:
    """All labelled frames of a training file, in order."""
    from jaxelyte.interop.frames import read

    return [frame for file in config.data.files for frame in read(file, config.data.index)]


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
    import numpy as np

    from jaxelyte.training import stability

    section = config.stability
    if section is None:
        return None
    places = fit.config["split"]["validation"]
    chosen = np.unique(np.linspace(0, len(places) - 1, section.frames).round().astype(int))
    starts = [frames[places[n]] for n in chosen]
    return stability(fit, starts, progress=progress, **section.model_dump(exclude={"frames"}))


def _network(config: TrainFile) -> tuple[NequIP | NequIPPotential, Potential | None]:
    """Hyperparameters of a new network; or a trained one and the baseline that it needs."""
    from jaxelyte.interop.nequip_files import load_nequip
    from jaxelyte.models.config import NequIP
    from jaxelyte.training import load_fit

    start = config.model.start
    if start is None:
        return NequIP(**config.model.model_dump(exclude={"start"})), None
    if (start / "model").is_dir():
        fit = load_fit(start)
        return fit.potential, fit.baseline
    return load_nequip(start), None


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
        baseline = reduce(add, [_build_term(term, frames[0]) for term in config.baseline]) if config.baseline else None
        model, own_baseline = _network(config)
        return train(
            frames,
            model,
            baseline=own_baseline if baseline is None else baseline,
            loss=Loss(**config.loss.model_dump()),
            optimization=Optimization(**config.optimization.model_dump()),
            validation=data.validation,
            test=data.test,
            split_seed=data.split_seed,
            keys=data.keys(),
            check_units=data.check_units,
            progress=progress,
            resume=resume,
            overwrite=overwrite,
            **own.model_dump(exclude={"float64"}),
        )
