"""jaxelyte: differentiable simulation of electrolyte solutions in JAX.

Units everywhere: eV, Å, fs, K, elementary charges, g/mol. Public names are imported on first use, so that
``import jaxelyte`` stays fast. Programs that jax compiles are kept for the next process from the first of these
imports on, see `jaxelyte.cache.keep_programs`.
"""

from __future__ import annotations

import importlib
import sys
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxelyte import build, datasets, plots, theory
    from jaxelyte.data import LabelKeys
    from jaxelyte.datasets import load as load_potential
    from jaxelyte.dynamics import NPT, NVE, NVT, Run, load_run, minimize, simulate
    from jaxelyte.errors import (
        DownloadError,
        InputError,
        JaxelyteError,
        SimulationError,
        StorageError,
        TrainingError,
        UnsupportedError,
    )
    from jaxelyte.free_energy import (
        ChargeCorrection,
        FreeEnergyResult,
        Insertion,
        MetadynamicsResult,
        PathResult,
        UmbrellaResult,
        charge_correction,
        free_energy,
        free_energy_path,
        ideal_chemical_potential,
        metadynamics,
        umbrella_pmf,
        umbrella_sampling,
        widom,
    )
    from jaxelyte.gradients import (
        FreeEnergyGradient,
        InsertionFactor,
        ObservablesFit,
        PathGradient,
        Reweighting,
        Target,
        fit_observables,
        frame_rdf,
        free_energy_gradient,
        insertion_factor,
        path_gradient,
    )
    from jaxelyte.interop.ase_calculator import Calculator
    from jaxelyte.interop.frames import read
    from jaxelyte.interop.jax_md_energy import to_jax_md
    from jaxelyte.interop.labelled_files import read_cp2k
    from jaxelyte.interop.lammps import attach_lammps, open_lammps
    from jaxelyte.interop.nequip_files import load_nequip, save_nequip
    from jaxelyte.models.config import NequIP
    from jaxelyte.neighbors import neighbor_lists
    from jaxelyte.observables import (
        RDF,
        ActivityDerivative,
        Angles,
        AnglesResult,
        ConductivityResult,
        DiffusivityResult,
        Distance,
        KirkwoodBuffResult,
        MSDResult,
        Observable,
        PartialVolumes,
        PMFResult,
        PressureTensor,
        RDFResult,
        ResidenceResult,
        Series,
        SeriesResult,
        StructureFactor,
        StructureFactorResult,
        VACFResult,
        ViscosityResult,
        activity_derivative,
        angles,
        conductivity,
        diffusivity,
        kirkwood_buff,
        msd,
        partial_molar_volumes,
        pmf,
        rdf,
        residence_time,
        structure_factor,
        vacf,
        viscosity,
    )
    from jaxelyte.parallel import distribute
    from jaxelyte.potentials.barrier import GaussianBarrier
    from jaxelyte.potentials.base import Potential, mix
    from jaxelyte.potentials.bonded import HarmonicAngles, HarmonicBonds
    from jaxelyte.potentials.coulomb import ScreenedCoulomb
    from jaxelyte.potentials.derivatives import energy_and_forces, energy_forces_stress
    from jaxelyte.potentials.distance import DistanceRestraint, Metadynamics
    from jaxelyte.potentials.form_error import FormError, form_error
    from jaxelyte.potentials.lennard_jones import LennardJones
    from jaxelyte.potentials.nequip import NequIPPotential
    from jaxelyte.potentials.restraints import HarmonicRestraint
    from jaxelyte.potentials.soft_core import SoftCoreLennardJones
    from jaxelyte.potentials.water import spc_fw
    from jaxelyte.registry import register
    from jaxelyte.system import System
    from jaxelyte.training import Evaluation, Fit, Loss, Optimization, Stability, evaluate, load_fit, stability, train
    from jaxelyte.trajectory import Trajectory, open_trajectory

_HOMES = {
    "ActivityDerivative": "observables",
    "Angles": "observables",
    "AnglesResult": "observables",
    "Calculator": "interop.ase_calculator",
    "ChargeCorrection": "free_energy",
    "ConductivityResult": "observables",
    "DiffusivityResult": "observables",
    "Distance": "observables",
    "DistanceRestraint": "potentials.distance",
    "DownloadError": "errors",
    "Evaluation": "training",
    "Fit": "training",
    "FormError": "potentials.form_error",
    "FreeEnergyGradient": "gradients",
    "FreeEnergyResult": "free_energy",
    "GaussianBarrier": "potentials.barrier",
    "HarmonicAngles": "potentials.bonded",
    "HarmonicBonds": "potentials.bonded",
    "HarmonicRestraint": "potentials.restraints",
    "InputError": "errors",
    "Insertion": "free_energy",
    "JaxelyteError": "errors",
    "KirkwoodBuffResult": "observables",
    "LabelKeys": "data",
    "LennardJones": "potentials.lennard_jones",
    "Loss": "training",
    "MSDResult": "observables",
    "Metadynamics": "potentials.distance",
    "MetadynamicsResult": "free_energy",
    "NVE": "dynamics",
    "NPT": "dynamics",
    "NVT": "dynamics",
    "NequIP": "models.config",
    "NequIPPotential": "potentials.nequip",
    "Observable": "observables",
    "ObservablesFit": "gradients",
    "Optimization": "training",
    "PMFResult": "observables",
    "PartialVolumes": "observables",
    "PathGradient": "gradients",
    "PathResult": "free_energy",
    "Potential": "potentials.base",
    "PressureTensor": "observables",
    "RDF": "observables",
    "RDFResult": "observables",
    "ResidenceResult": "observables",
    "Reweighting": "gradients",
    "Run": "dynamics",
    "ScreenedCoulomb": "potentials.coulomb",
    "Series": "observables",
    "SeriesResult": "observables",
    "SimulationError": "errors",
    "StorageError": "errors",
    "SoftCoreLennardJones": "potentials.soft_core",
    "Stability": "training",
    "StructureFactor": "observables",
    "StructureFactorResult": "observables",
    "System": "system",
    "Target": "gradients",
    "TrainingError": "errors",
    "Trajectory": "trajectory",
    "UmbrellaResult": "free_energy",
    "UnsupportedError": "errors",
    "VACFResult": "observables",
    "ViscosityResult": "observables",
    "activity_derivative": "observables",
    "angles": "observables",
    "attach_lammps": "interop.lammps",
    "charge_correction": "free_energy",
    "conductivity": "observables",
    "diffusivity": "observables",
    "distribute": "parallel",
    "energy_and_forces": "potentials.derivatives",
    "energy_forces_stress": "potentials.derivatives",
    "evaluate": "training",
    "fit_observables": "gradients",
    "InsertionFactor": "gradients",
    "form_error": "potentials.form_error",
    "frame_rdf": "gradients",
    "insertion_factor": "gradients",
    "free_energy": "free_energy",
    "free_energy_gradient": "gradients",
    "free_energy_path": "free_energy",
    "ideal_chemical_potential": "free_energy",
    "kirkwood_buff": "observables",
    "load_fit": "training",
    "load_nequip": "interop.nequip_files",
    "load_potential": "datasets",
    "load_run": "dynamics",
    "metadynamics": "free_energy",
    "minimize": "dynamics",
    "mix": "potentials.base",
    "msd": "observables",
    "neighbor_lists": "neighbors",
    "open_lammps": "interop.lammps",
    "open_trajectory": "trajectory",
    "partial_molar_volumes": "observables",
    "path_gradient": "gradients",
    "pmf": "observables",
    "rdf": "observables",
    "read": "interop.frames",
    "register": "registry",
    "read_cp2k": "interop.labelled_files",
    "residence_time": "observables",
    "save_nequip": "interop.nequip_files",
    "simulate": "dynamics",
    "spc_fw": "potentials.water",
    "stability": "training",
    "structure_factor": "observables",
    "to_jax_md": "interop.jax_md_energy",
    "train": "training",
    "umbrella_pmf": "free_energy",
    "umbrella_sampling": "free_energy",
    "vacf": "observables",
    "viscosity": "observables",
    "widom": "free_energy",
}
_RENAMED = {"load_potential": "load"}
"""Names at home of those that would say too little here."""
_MODULES = ("build", "datasets", "plots", "theory")

__all__ = [
    "NPT",
    "NVE",
    "NVT",
    "RDF",
    "ActivityDerivative",
    "Angles",
    "AnglesResult",
    "Calculator",
    "ChargeCorrection",
    "ConductivityResult",
    "DiffusivityResult",
    "Distance",
    "DistanceRestraint",
    "DownloadError",
    "Evaluation",
    "Fit",
    "FormError",
    "FreeEnergyGradient",
    "FreeEnergyResult",
    "GaussianBarrier",
    "HarmonicAngles",
    "HarmonicBonds",
    "HarmonicRestraint",
    "InputError",
    "Insertion",
    "InsertionFactor",
    "JaxelyteError",
    "KirkwoodBuffResult",
    "LabelKeys",
    "LennardJones",
    "Loss",
    "MSDResult",
    "Metadynamics",
    "MetadynamicsResult",
    "NequIP",
    "NequIPPotential",
    "Observable",
    "ObservablesFit",
    "Optimization",
    "PMFResult",
    "PartialVolumes",
    "PathGradient",
    "PathResult",
    "Potential",
    "PressureTensor",
    "RDFResult",
    "ResidenceResult",
    "Reweighting",
    "Run",
    "ScreenedCoulomb",
    "Series",
    "SeriesResult",
    "SimulationError",
    "SoftCoreLennardJones",
    "Stability",
    "StorageError",
    "StructureFactor",
    "StructureFactorResult",
    "System",
    "Target",
    "TrainingError",
    "Trajectory",
    "UmbrellaResult",
    "UnsupportedError",
    "VACFResult",
    "ViscosityResult",
    "activity_derivative",
    "angles",
    "attach_lammps",
    "build",
    "charge_correction",
    "conductivity",
    "datasets",
    "diffusivity",
    "distribute",
    "energy_and_forces",
    "energy_forces_stress",
    "evaluate",
    "fit_observables",
    "form_error",
    "frame_rdf",
    "free_energy",
    "free_energy_gradient",
    "free_energy_path",
    "ideal_chemical_potential",
    "insertion_factor",
    "kirkwood_buff",
    "load_fit",
    "load_nequip",
    "load_potential",
    "load_run",
    "metadynamics",
    "minimize",
    "mix",
    "msd",
    "neighbor_lists",
    "open_lammps",
    "open_trajectory",
    "partial_molar_volumes",
    "path_gradient",
    "plots",
    "pmf",
    "rdf",
    "read",
    "read_cp2k",
    "register",
    "residence_time",
    "save_nequip",
    "simulate",
    "spc_fw",
    "stability",
    "structure_factor",
    "theory",
    "to_jax_md",
    "train",
    "umbrella_pmf",
    "umbrella_sampling",
    "vacf",
    "viscosity",
    "widom",
]


class _Names(ModuleType):
    """The package: its public function `free_energy` is not hidden by the folder of that name, once it is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _MODULES and isinstance(value, ModuleType):
            from jaxelyte.names import guard_module

            guard_module(value)
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Names


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("jaxelyte")
    if name in _MODULES:
        return importlib.import_module(f"jaxelyte.{name}")
    if name in _HOMES:
        from jaxelyte.names import guard_class, guarded

        home = importlib.import_module(f"jaxelyte.{_HOMES[name]}")
        if "jax" in sys.modules:
            from jaxelyte.cache import keep_programs

            keep_programs()
        # Results of a function come from its own home, and have methods, too.
        for other in [one for one in _HOMES if _HOMES[one] == _HOMES[name]]:
            if isinstance(found := getattr(home, _RENAMED.get(other, other)), type):
                guard_class(found)
        value = getattr(home, _RENAMED.get(name, name))
        value = guarded(value) if isinstance(value, FunctionType) else value
        globals()[name] = value  # so that the next look-up is an ordinary one
        return value
    raise AttributeError(f"module 'jaxelyte' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
