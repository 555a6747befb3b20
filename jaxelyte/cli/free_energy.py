"""``jaxelyte free-energy``: from a validated file to a result, its tables and its files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxelyte.cli.objects import build_ensemble, build_sum, build_system
from jaxelyte.cli.report import save_figure
from jaxelyte.free_energy import FreeEnergyResult, PathResult, free_energy, free_energy_path
from jaxelyte.free_energy.difference import KJ_MOL
from jaxelyte.storage import writing
from jaxelyte.wording import plus_minus

if TYPE_CHECKING:
    from rich.table import Table

    from jaxelyte.cli.free_energy_sections import FreeEnergyFile

NAME = "free_energy"
"""Of the files of a result."""


def run_free_energy(
    config: FreeEnergyFile, *, progress: bool = True, resume: bool = False, overwrite: bool = False
) -> FreeEnergyResult | PathResult:
    """Carry out a free-energy file; ``free_energy.float64`` switches to float64 for it.

    Raises:
        JaxelyteError: see `jaxelyte.free_energy`.
    """
    import jax

    settings = config.free_energy.model_dump(exclude={"float64", "every"})
    if config.free_energy.every is not None:
        settings["every"] = config.free_energy.every
    wide = jax.dtypes.canonicalize_dtype("float64") == "float64"
    with jax.enable_x64(config.free_energy.float64 or wide):
        atoms = build_system(config)
        common = build_sum(config.common, atoms, "[[common]]") if config.common else None
        ends = {"[[initial]]": config.initial, "[[final]]": config.final}
        if not config.initial:
            ends = {f"[[stage.potential]] of stage {n}": one.potential for n, one in enumerate(config.stage, 1)}
        stages = [build_sum(terms, atoms, tables) for tables, terms in ends.items()]
        shared: dict[str, Any] = dict(
            common=common,
            progress=progress,
            resume=resume,
            overwrite=overwrite,
            config=config.model_dump(mode="json"),
            **settings,
        )
        ensemble: Any = build_ensemble(config.ensemble)
        if config.initial:
            return free_energy(stages[0], stages[1], atoms, ensemble, **shared)
        return free_energy_path(stages, atoms, ensemble, **shared)


def legs_of(result: FreeEnergyResult | PathResult) -> list[FreeEnergyResult]:
    """The results of all legs."""
    return list(result.legs) if isinstance(result, PathResult) else [result]


def completed(result: FreeEnergyResult | PathResult) -> bool:
    """Whether every leg was run to its end."""
    runs = [leg.run for leg in legs_of(result)]
    return (result.completed if isinstance(result, PathResult) else True) and all(
        r is None or r.completed for r in runs
    )


def tables(result: FreeEnergyResult | PathResult) -> list[Table]:
    """For people: estimates of every leg, its windows, the sum of several legs, and what all of it is of."""
    from rich.table import Table

    legs = legs_of(result)
    names = [f", leg {n} of {len(legs)}" if isinstance(result, PathResult) else "" for n in range(1, len(legs) + 1)]
    found = [one for leg, name in zip(legs, names, strict=True) for one in (_windows(leg, name), _estimates(leg, name))]
    if isinstance(result, PathResult):
        total = Table("leg", "ΔF / eV", title="path" if result.completed else "path, interrupted")
        for number, leg in enumerate(legs, 1):
            total.add_row(str(number), plus_minus(leg.value, leg.error))
        total.add_row("sum", plus_minus(result.value, result.error))
        found.append(total)
    return [*found, _contents(result)]


def _contents(result: FreeEnergyResult | PathResult) -> Table:
    from rich.table import Table

    table = Table(title="what the free energy is of", show_header=False)
    table.add_row("process", result.contents.process)
    table.add_row("standard state", result.contents.standard_state)
    table.add_row("corrections", result.contents.corrections)
    return table


def _estimates(leg: FreeEnergyResult, name: str) -> Table:
    from rich.table import Table

    state = "" if leg.run is None or leg.run.completed else " so far"
    table = Table("estimator", "ΔF / eV", "ΔF / kJ/mol", title=f"free energy{name}{state}, {leg.temperature:g} K")
    for which, (value, error) in leg.estimates.items():
        mark = " (result)" if which == leg.estimator else ""
        mark += ", no error bar" if which in leg.refused else ""
        table.add_row(f"{which}{mark}", *_both(value, error))
    value, error = leg.hysteresis
    table.add_row("hysteresis", *_both(value, error))
    return table


def _both(value: float, error: float) -> tuple[str, str]:
    """In eV and in kJ/mol."""
    return plus_minus(value, error), plus_minus(value * KJ_MOL, error * KJ_MOL)


def _windows(leg: FreeEnergyResult, name: str) -> Table:
    from rich.table import Table

    columns = ("λ", "<dU/dλ> / eV", "independent samples", "left out", "overlap with the next")
    table = Table(*columns, title=f"windows{name}")
    overlaps = [f"{one:.3f}" for one in leg.overlaps[int(leg.lam[0] > 0.0) :]] + [""]  # λ = 0 may be no window
    for n, lam in enumerate(leg.lam):
        gradient = plus_minus(leg.gradient[n], leg.gradient_error[n])
        table.add_row(f"{lam:.4f}", gradient, str(leg.counts[n]), str(leg.discarded[n]), overlaps[n])
    return table


def save(result: FreeEnergyResult | PathResult, folder: Path) -> list[Path]:
    """Write JSON, CSV and pictures into the folder, of several legs each into its own; returns the files."""
    files = []
    if isinstance(result, PathResult):
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        files.append(folder / f"{NAME}.json")
        result.to_json(files[0])
        for number, leg in enumerate(result.legs, 1):
            files += save(leg, folder / f"leg{number}")
        return files
    files = [folder / f"{NAME}.json", folder / f"{NAME}.csv", folder / f"{NAME}.png", folder / "convergence.png"]
    result.to_json(files[0])
    result.to_csv(files[1])
    for axes, path in ((result.plot(), files[2]), (result.plot_convergence(), files[3])):
        save_figure(axes.figure, path)
    return files
