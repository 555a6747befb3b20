"""The demonstration: a glimpse of training, then the structure of salt water with a potential that comes with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.arrays import finite
from jaxelyte.cli.experiment import PEAKS
from jaxelyte.cli.report import absent, rdf_rows, run_table, save_figure, save_learning, save_log, save_rdf
from jaxelyte.storage import write_text
from jaxelyte.wording import plus_minus

if TYPE_CHECKING:
    from ase import Atoms
    from rich.table import Table

    from jaxelyte.dynamics import Run
    from jaxelyte.observables import RDFResult
    from jaxelyte.training import Fit

POTENTIAL = "nacl_r2scan"
IONS, WATERS, DENSITY = {"Na": 3, "Cl": 3}, 54, 1.11
"""168 atoms; g/cm³, that of the solution (3.1 mol/kg) at 25 °C."""
PAIRS = (("Na", "O"), ("Cl", "O"), ("O", "O"))
SHELL = {"Na-O": 3.2, "Cl-O": 3.9, "O-O": 3.4}
"""Å: where experiment has the first minimum. That of a short run is lost in its noise."""
TIMESTEP, EVERY = 1.0, 10
"""fs; steps between frames."""
GLIMPSE = 160
"""Frames that the demonstration trains on, half of those there are for it."""


def start_box(seed: int = 1) -> Atoms:
    """Three NaCl in 54 H2O, built from nothing: molecules on a lattice."""
    from jaxelyte.build import electrolyte

    return electrolyte(IONS, waters=WATERS, density=DENSITY, seed=seed)


def train_from_nothing(folder: Path, epochs: int) -> Fit:
    """A small network on included frames, from random weights: enough to see the error fall, not to simulate with."""
    import jaxelyte as jxl

    frames, split = jxl.datasets.nacl_water(), jxl.datasets.nacl_water_fit().config["split"]
    chosen = np.random.default_rng(0).permutation(split["train"])[:GLIMPSE]
    return jxl.train(
        [frames[n] for n in chosen],
        jxl.NequIP(r_max=4.0, num_layers=2, l_max=1, num_features=8, parity=False),
        baseline=jxl.ScreenedCoulomb({"Na": 1.0, "Cl": -1.0}, permittivity=78.3),
        validation=[frames[n] for n in split["validation"][::2]],
        epochs=epochs,
        batch_size=2,
        loss=jxl.Loss(per_species=False),
        output=folder,
        overwrite=True,
    )


def training_table(fit: Fit) -> Table:
    """Errors by epoch, for people."""
    from rich.table import Table

    columns = ("epoch", "forces: training", "validation / meV/Å", "energy: validation / meV/atom")
    table = Table(*columns, title=f"training from random weights on {GLIMPSE} included frames (GFN1-xTB)")
    for row in fit.metrics:
        errors = row["validation"]
        numbers = (row["train"]["forces"], errors["forces"], errors["energy"])
        table.add_row(str(row["epoch"]), *(f"{1e3 * value:.3g}" for value in numbers))
    return table


def structure_table(result: RDFResult, rows: list[dict[str, Any]]) -> Table:
    """`rdf_rows` beside experiment, for people; coordination numbers and experiment are put into the rows."""
    from rich.table import Table

    table = Table(title=f"structure: {POTENTIAL}, level r2SCAN", caption_justify="left")
    for column in ("pair", "first peak / Å", "measured", "height", "measured", "neighbours", "measured"):
        table.add_column(column)
    for row in rows:
        known, radius, peak, height = PEAKS[row["pair"]], SHELL[row["pair"]], row["peak_position_A"], row["peak_height"]
        number, error = result[row["pair"]].coordination_at(radius)
        row["coordination"] = [number, error, radius]
        row["experiment"] = known._asdict()
        table.add_row(
            row["pair"],
            absent(row) if peak is None else plus_minus(*peak),
            f"{known.position:g}",
            "" if height is None else plus_minus(*height),
            "" if known.height is None else plus_minus(*known.height),
            f"{plus_minus(number, error)} (to {radius:.1f} Å)",
            known.neighbors,
        )
    table.caption = "\n".join(f"{pair}: {PEAKS[pair].source}" for pair in SHELL)
    return table


def simulate_salt_water(output: Path, steps: int) -> Run:
    """NVT at 300 K with the first network of the potential, from a structure that is built and relaxed."""
    import jaxelyte as jxl

    return jxl.simulate(
        jxl.load_potential(POTENTIAL).potential,
        start_box(),
        jxl.NVT(300.0, "langevin", friction=0.02),  # heats bonds and molecules alike; no motion is measured here
        steps=steps,
        timestep=TIMESTEP,
        every=EVERY,
        minimize=True,
        velocities=300.0,
        seed=1,
        output=output,
        overwrite=True,
    )


def run_demo(output: Path, *, epochs: int, steps: int, show: Callable[[object], None]) -> dict[str, Any]:
    """Train a little, simulate, analyse, and write pictures and ``summary.json`` into ``output``.

    An earlier demonstration there is replaced. The first quarter of the run counts as equilibration.

    Raises:
        JaxelyteError: training or the run failed.
    """
    from jaxelyte.datasets import potentials
    from jaxelyte.observables import rdf

    fit = train_from_nothing(output / "fit", epochs)
    show(training_table(fit))
    run = simulate_salt_water(output / "run", steps)
    discard = len(run.trajectory) // 4
    result = rdf(run.trajectory, pairs=PAIRS, discard=discard)
    rows = rdf_rows(result)
    show(run_table(run))
    show(structure_table(result, rows))
    picture = output / "structure.png"
    measured = {pair: (known.position, known.height) for pair, known in PEAKS.items()}
    save_figure(_compared(result, measured), picture)
    pictures = [picture, save_learning(fit, output), *save_rdf(result, output), save_log(run, output)]
    card = potentials()[POTENTIAL]
    for row in rows:
        row.update({key: [finite(x) for x in value] for key, value in row.items() if isinstance(value, list)})
    summary = {
        "what": "3 NaCl in 54 H2O at 300 K, NVT, with a network trained on frames of density functional theory",
        "potential": {key: card[key] for key in ("name", "level_of_theory", "licence", "citation")},
        "training": {
            "what": f"a small network from random weights, {GLIMPSE} frames labelled by GFN1-xTB; not used for the run",
            "validation_forces_meV_per_A": [1e3 * row["validation"]["forces"] for row in fit.metrics],
        },
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


def _compared(result: RDFResult, measured: dict[str, Any]) -> Any:
    """The figure of the distribution functions with what was measured."""
    from jaxelyte import plots

    return plots.compared(result, measured)[0].figure
