"""One wrong argument at a time: an error of the package, or a warning; never another exception, never silence."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import jaxelyte as jxl
from jaxelyte.errors import JaxelyteError
from public_analyses import ANALYSES
from public_calls import CALLS, LEGITIMATE, Call
from public_results import RESULTS as METHODS
from public_runs import RUNS
from public_theory import THEORIES
from wrong_values import label


class Accepted(Exception):  # noqa: N818 - no error: the call went as far as the first step that would compile
    """The arguments were taken."""


STOPS = (
    "jaxelyte.dynamics.simulate.Runner",
    "jaxelyte.evaluate.evaluator.plan_lists",
    "jaxelyte.free_energy.insertion._Energies",
    "jaxelyte.gradients.quantities._inserted",
    "jaxelyte.free_energy.umbrella.solve_mbar",
    "jaxelyte.interop.jax_md_energy.import_jax_md",
    "jaxelyte.potentials.derivatives.jax",
    "jaxelyte.potentials.form_error.in_float64",
    "jaxelyte.observables.rdf.accumulate",
    "jaxelyte.observables.angles.accumulate",
    "jaxelyte.observables.structure_factor.accumulate",
    "jaxelyte.training.evaluate.evaluate_frames",
    "jaxelyte.training.stability.simulate",
    "jaxelyte.training.run.Trainer",
)
"""Where a call would begin to compile."""


def stop(*_: Any, **__: Any) -> Any:
    raise Accepted


class Stop:
    """Stands for a module of which a function is asked for."""

    def __getattr__(self, name: str) -> Any:
        raise Accepted


def attempt(call: Call, arguments: dict[str, Any]) -> str:
    """What became of a call: "refused", "warned", "accepted", or the text of another exception."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            made = call.function(**arguments)
            if call.use is not None:
                call.use(made)
        except JaxelyteError as error:
            return "refused" if str(error).strip() else "an error without a message"
        except Accepted:
            pass
        except Exception as error:  # noqa: BLE001 - what is looked for
            return f"{type(error).__name__}: {error}"
    return "warned" if any(w.category is UserWarning for w in found) else "accepted"


@pytest.fixture
def _nothing_compiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for place in STOPS:
        module, _, name = place.rpartition(".")
        # Not by the dotted path: functions of the package hide modules of the same name.
        monkeypatch.setattr(importlib.import_module(module), name, Stop() if name == "jax" else stop)


def cases(call: Call) -> Iterator[tuple[str, Any]]:
    for name, kind in call.kinds.items():
        for value in kind.wrong():
            yield name, value


ALL = {**CALLS, **RUNS, **THEORIES, **ANALYSES, **METHODS}
ACCEPTED = [name for name, call in ALL.items() if call.right or not call.kinds]

RESULTS = [
    "ActivityDerivative",
    "AnglesResult",
    "ChargeCorrection",
    "ConductivityResult",
    "DiffusivityResult",
    "Evaluation",
    "Fit",
    "FormError",
    "FreeEnergyGradient",
    "FreeEnergyResult",
    "Insertion",
    "InsertionFactor",
    "KirkwoodBuffResult",
    "MSDResult",
    "MetadynamicsResult",
    "NequIPPotential",
    "ObservablesFit",
    "PMFResult",
    "PartialVolumes",
    "PathGradient",
    "PathResult",
    "RDFResult",
    "ResidenceResult",
    "Run",
    "SeriesResult",
    "Stability",
    "StructureFactorResult",
    "System",
    "UmbrellaResult",
    "VACFResult",
    "ViscosityResult",
]
"""Made by functions, not by users."""

BASES = [
    "DownloadError",
    "InputError",
    "JaxelyteError",
    "Observable",
    "Potential",
    "Series",
    "SimulationError",
    "StorageError",
    "TrainingError",
    "UnsupportedError",
]
MODULES = [
    "build",
    "datasets",
    "plots",
    "theory",
]


@pytest.mark.usefixtures("_nothing_compiles")
@pytest.mark.parametrize("name", ACCEPTED)
def test_a_right_call_is_accepted_without_a_word(name: str) -> None:
    call = ALL[name]
    assert attempt(call, call.right) == "accepted"


@pytest.mark.usefixtures("_nothing_compiles")
@pytest.mark.parametrize("name", ALL)
def test_one_wrong_argument_is_refused_or_warned_about(name: str) -> None:
    call, wrong = ALL[name], []
    for argument, value in cases(call):
        found = attempt(call, {**call.right, argument: value})
        expected = (argument, label(value)) in LEGITIMATE.get(name, {})
        if found not in ("refused", "warned") and not (expected and found == "accepted"):
            wrong.append(f"{argument} = {label(value)}: {found[:150]}")
    assert not wrong, f"{len(wrong)} of {len(list(cases(call)))}\n" + "\n".join(wrong)


def test_the_number_of_cases() -> None:
    count = sum(len(list(cases(call))) for call in ALL.values())
    print(f"{count} single wrong arguments of {len(ALL)} functions and classes")
    assert count > 12_000


def test_every_public_name_is_known_here() -> None:
    known = {*ALL, *RESULTS, *BASES, *MODULES}
    assert not set(jxl.__all__) - known, "add a right call and the kinds of its arguments"
