"""The demonstration: from labelled frames to a potential, from the potential to the structure of salt water."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxelyte.cli.experiment import PEAKS
from jaxelyte.cli.report import errors_table, rdf_rows, run_table, save_evaluation, save_learning, save_log, save_rdf
from jaxelyte.storage import write_text

if TYPE_CHECKING:
    from ase import Atoms
    from rich.table import Table

    from jaxelyte.observables import RDFResult
    from jaxelyte.training import Fit

PAIRS = (("Na", "O"), ("Cl", "O"), ("O", "O"))
SHELL = {"Na-O": 3.2, "Cl-O": 3.9, "O-O": 3.4}
"""Å: where experiment has the first minimum. That of a short run is lost in its noise."""
TIMESTEP, EVERY = 1.0, 10
"""fs; steps between frames."""


def start_frame(frames: list[Atoms]) -> Atoms:
    """The sampled frame at 300 K whose density is nearest to that of the experiment, without its labels."""
    cool = [atoms for atoms in frames if atoms.info["origin"] == "classical" and atoms.info["temperature_K"] == 300.0]
    volume = sorted({round(atoms.get_volume(), 3) for atoms in cool})
    atoms = next(a for a in reversed(cool) if round(a.get_volume(), 3) == volume[len(volume) // 2 - 1]).copy()
    atoms.calc = None
    return atoms


def train_on(frames: list[Atoms], folder: Path, epochs: int) -> tuple[Fit, list[Atoms]]:
    """Training that goes on from the included network, and the frames that neither has seen."""
    from jaxelyte.datasets import nacl_water_fit
    from jaxelyte.training import Optimization, train

    start = nacl_water_fit()
    split = start.config["split"]
    fit = train(
        [frames[n] for n in split["train"]],
        start.potential,
        baseline=start.baseline,
        epochs=epochs,
        validation=[frames[n] for n in split["validation"]],
        optimization=Optimization(learning_rate=5e-4, schedule="cosine"),
        output=folder,
        overwrite=True,
    )
    return fit, [frames[n] for n in split["test"]]


def structure_table(result: RDFResult, rows: list[dict[str, Any]]) -> Table:
    """`rdf_rows` beside experiment, for people; coordination numbers and experiment are put into the rows."""
    from rich.table import Table

    columns = ("pair", "first peak / Å", "coordination number", "experiment: peak / Å", "by")
    table = Table(*columns, title="structure: a short run, at the level of GFN1-xTB")
    for row in rows:
        position, (value, source) = row["peak_position_A"], PEAKS[row["pair"]]
        row["experiment_A"], row["source"], radius = value, source, SHELL[row["pair"]]
        number, error = result[row["pair"]].coordination_at(radius)
        row["coordination"] = [number, error, radius]
        table.add_row(
            row["pair"],
            "none" if position is None else f"{position[0]:.3f} ± {position[1]:.3f}",
            f"{number:.2f} ± {error:.2f} (to {radius:.1f} Å)",
            f"{value:.3f}",
            source.split(",")[0],
        )
    return table


def run_demo(output: Path, *, epochs: int, steps: int, show: Callable[[object], None]) -> dict[str, Any]:
    """Train, simulate, analyse, and write pictures and ``summary.json`` into ``output``; an earlier one is replaced.

    Training goes on from the network that comes with the package: from nothing it takes ten minutes on one core. The
    frames left untouched are those that this network has not seen either. The first sixth of the run counts as
    equilibration.

    Raises:
        JaxelyteError: training or the run failed.
    """
    from jaxelyte.datasets import nacl_water
    from jaxelyte.dynamics import NVT, simulate
    from jaxelyte.observables import rdf
    from jaxelyte.training import evaluate

    frames = nacl_water()
    fit, untouched = train_on(frames, output / "fit", epochs)
    errors = evaluate(fit, untouched)
    show(errors_table(errors.summary(), "untouched frames, labels of GFN1-xTB"))
    run = simulate(
        fit.total,
        start_frame(frames),
        NVT(300.0, thermostat="svr", tau=100.0),
        steps=steps,
        timestep=TIMESTEP,
        every=EVERY,
        minimize=True,
        seed=1,
        output=output / "run",
        overwrite=True,
    )
    discard = len(run.trajectory) // 6
    result = rdf(run.trajectory, pairs=PAIRS, discard=discard)
    rows = rdf_rows(result)
    show(run_table(run))
    show(structure_table(result, rows))
    pictures = [save_learning(fit, output), *save_evaluation(errors, output, "untouched")]
    pictures += [*save_rdf(result, output), save_log(run, output)]
    summary = {
        "what": "2 NaCl in 32 H2O: a NequIP network trained relative to a screened Coulomb term, then NVT at 300 K",
        "labels": "GFN1-xTB, a semi-empirical method; the package's network, trained on for the epochs given",
        "epochs": fit.epochs,
        "errors_of_untouched_frames": errors.summary(),
        "completed": run.completed,
        "temperature": run.summary["temperature"],
        "drift": run.summary["drift"],
        "performance": run.summary["performance"],
        "discarded_frames": discard,
        "peaks": rows,
        "files": [str(path) for path in pictures] + [str(output / "summary.json")],
    }
    write_text(output / "summary.json", json.dumps(summary, indent=1) + "\n")
    return summary
