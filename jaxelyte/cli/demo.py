"""The demonstration: salt water from nothing, its structure beside experiment."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from jaxelyte.cli.config import RunFile, parse_config
from jaxelyte.cli.objects import run_config
from jaxelyte.cli.report import rdf_rows, run_table, save_log, save_rdf

PAIRS = (("Na", "O"), ("Cl", "O"), ("O", "O"))
EXPERIMENT = {
    "Na-O": (2.384, "X-ray diffraction and EXAFS, Galib et al. 2017"),
    "Cl-O": (3.16, "diffraction, 3.14 to 3.2 Å"),
    "O-O": (2.80, "X-ray diffraction of water"),
}
"""First peaks in Å at 25 °C."""


def demo_config(output: Path, steps: int | None) -> RunFile:
    """The embedded run file, with its run folder inside ``output``."""
    import tomllib

    text = files("jaxelyte.cli").joinpath("demo.toml").read_text("utf-8")
    config = parse_config(tomllib.loads(text), output, "demo.toml")
    if steps is None:
        return config
    return config.model_copy(update={"run": config.run.model_copy(update={"steps": steps})})


def run_demo(output: Path, *, steps: int | None, show: Callable[[object], None]) -> dict[str, Any]:
    """Simulate, analyse, and write pictures and ``summary.json`` into ``output``; an earlier demonstration is replaced.

    The first fifth of the run counts as equilibration.

    Raises:
        JaxelyteError: the run failed.
    """
    from rich.table import Table

    from jaxelyte.observables import rdf

    run = run_config(demo_config(output, steps), overwrite=True)
    discard = len(run.trajectory) // 5
    result = rdf(run.trajectory, pairs=PAIRS, discard=discard)
    rows = rdf_rows(result)
    table = Table("pair", "first peak / Å", "experiment / Å", "source", title="structure, short classical run")
    for row in rows:
        measured, (value, source) = row["peak_position_A"], EXPERIMENT[row["pair"]]
        row["experiment_A"], row["source"] = value, source
        shown = "none" if measured is None else f"{measured[0]:.3f} ± {measured[1]:.3f}"
        table.add_row(row["pair"], shown, f"{value:.3f}", source)
    show(run_table(run))
    show(table)
    pictures = [*save_rdf(result, output), save_log(run, output)]
    summary = {
        "what": "NaCl in flexible SPC/Fw water, Joung-Cheatham ions, 300 K; a short classical run, no trained model",
        "completed": run.completed,
        "temperature": run.summary["temperature"],
        "drift": run.summary["drift"],
        "performance": run.summary["performance"],
        "discarded_frames": discard,
        "peaks": rows,
        "files": [str(path) for path in pictures] + [str(output / "summary.json")],
    }
    (output / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return summary
