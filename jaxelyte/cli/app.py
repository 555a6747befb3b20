"""The commands of ``jaxelyte``."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from jaxelyte.cache import keep_programs_of_command
from jaxelyte.cli.placing import of_file
from jaxelyte.cli.spelling import spelled
from jaxelyte.errors import InputError, JaxelyteError, RunInterruptedError
from jaxelyte.storage import output_folder, writing


class Once(TyperCommand):
    """A command that refuses an option given twice, of which otherwise the last one would count in silence."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click's Command; one line and exit code 2 for a value that cannot be used, or for two of them."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        valued = [one for one in order if not getattr(one, "is_flag", False) and one.param_type_name == "option"]
        for one in valued:
            if valued.count(one) > 1:
                _refuse(f"{max(one.opts, key=len)} is given twice; give it once")
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            text = error.format_message()
            for pattern, words in WORDS:
                text = re.sub(pattern, words, text)
            _refuse(text)


WORDS = (
    (r"Input should be a valid integer.*", "it must be an integer"),
    (r"Input should be a valid number.*", "it must be a number, with a decimal point"),
    (r"Input should be greater than or equal to", "it must be at least"),
)
"""How values of options are refused, as patterns, and what we write."""


def _refuse(text: str) -> NoReturn:
    typer.secho(f"error: {text}", err=True, fg=typer.colors.RED)
    raise typer.Exit(2)


app = typer.Typer(
    name="jaxelyte",
    help="Molecular dynamics of electrolyte solutions with neural network potentials. Units: eV, Å, fs, K, e, g/mol.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
TorchScript = Annotated[
    bool,
    typer.Option(
        "--torchscript", help="Allow a deployed .pth file to be opened with torch, which may run code of the file."
    ),
]
INTERRUPTED = 130
LONGEST = 300  # characters of a message of another package
REPORT_CARD = 4  # frames that `evaluate --stability` starts from
SECTIONS = (
    "structure, pmf, scattering, angles, residence, diffusion, conductivity, viscosity, vibrations, activity, osmotic"
)
DEMO_OUTPUT = Path("demo_output")
DEMO = (6, 15000)  # epochs, steps: some two minutes on two cores


@contextlib.contextmanager
def _clean_errors(debug: bool) -> Iterator[None]:
    """One message instead of a traceback.

    Exit code 2 for input that the user can correct, 130 after Ctrl-C, 1 for all other failures.
    """
    with warnings.catch_warnings():
        if not debug:
            warnings.showwarning = _warn
        try:
            yield
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise  # what typer ends a command with
        except (Exception, KeyboardInterrupt) as error:
            if debug:
                raise
            message, code = _said(error)
            typer.secho(message, err=True, fg=typer.colors.RED)
            raise typer.Exit(code) from error


def _said(error: BaseException) -> tuple[str, int]:
    """What to print for an error, and the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return (
            "interrupted; everything written so far is kept, and --resume continues a run that has started",
            INTERRUPTED,
        )
    if isinstance(error, JaxelyteError):
        notes = [str(note) for note in getattr(error, "__notes__", ()) if "JAX has removed" not in str(note)]
        code = INTERRUPTED if isinstance(error, RunInterruptedError) else 2 if isinstance(error, InputError) else 1
        return spelled("\n".join([f"error: {error}", *notes])), code
    if isinstance(error, OSError) and error.filename is not None:
        return f"error: {error.filename}: {error.strerror}; check that it exists and is accessible", 1
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    text = f"{type(error).__name__}: {first if len(first) <= LONGEST else first[:LONGEST] + '…'}"
    if "RESOURCE_EXHAUSTED" in text or isinstance(error, MemoryError):
        return f"error: out of memory; reduce the number of replicas, atoms or frames at once ({text})", 1
    return f"unexpected error: {text}; please report it with the traceback that --debug prints", 1


def _warn(message: Warning | str, *_: object) -> None:
    """A warning without the line of code that it came from."""
    typer.secho(f"warning: {spelled(str(message))}", err=True, fg=typer.colors.YELLOW)


def _folder(value: str) -> Path:
    """The value of ``--output``."""
    try:
        return output_folder(value, argument="--output")
    except InputError as error:
        raise typer.BadParameter(str(error)) from error


def _to(value: str) -> Path:
    """The value of ``--to``."""
    try:
        return output_folder(value, argument="--to")
    except InputError as error:
        raise typer.BadParameter(str(error)) from error


RunFolder = Annotated[Path | None, typer.Option(parser=_folder, help="Run folder; overrides the file.")]


def _again(command: str, file: Path, **options: object) -> str:
    """The command that continues an interrupted run."""
    given = [part for name, value in options.items() if value is not None for part in (f"--{name}", str(value))]
    return shlex.join(["jaxelyte", command, str(file), *given, "--resume"])


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        typer.echo(f"jaxelyte {version('jaxelyte')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(help="Python file that declares potentials or observables of yours (jaxelyte.register)."),
    ] = None,
) -> None:
    """Molecular dynamics of electrolyte solutions with neural network potentials."""
    os.environ.setdefault("MPLBACKEND", "Agg")  # pictures go to files; a terminal may have no display
    keep_programs_of_command()
    if plugin:
        from jaxelyte.cli.declared import load_plugin

        with _clean_errors(debug=False):
            for path in plugin:
                load_plugin(path)


@app.command(cls=Once)
def simulate(
    file: Annotated[Path, typer.Argument(help="Run file (TOML).")],
    output: RunFolder = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps; overrides the file.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.")] = False,
    analyse: Annotated[bool, typer.Option("--analyse", help="Analyse the run afterwards.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    debug: Debug = False,
) -> None:
    """Run molecular dynamics from a TOML file; writes trajectory, log, checkpoint and summary to the run folder."""
    with _clean_errors(debug):
        from jaxelyte.cli.config import load_config
        from jaxelyte.cli.objects import run_config

        config = load_config(file)
        changes = {"output": output, "steps": steps}
        chosen = {name: value for name, value in changes.items() if value is not None}
        config = config.model_copy(update={"run": config.run.model_copy(update=chosen)})
        with of_file(file, config):
            run = run_config(config, progress=not quiet, resume=resume, overwrite=overwrite)
        from jaxelyte.cli.report import observable_table, run_table, save_log

        _print(run_table(run))
        for name, result in run.observables.items():
            _print(observable_table(name, result))
        save_log(run, config.run.output)
        typer.echo(f"in {config.run.output}")
        if not run.completed:
            typer.echo(f"interrupted; continue with: {_again('simulate', file, **changes)}", err=True)
            raise typer.Exit(INTERRUPTED)
        if analyse:
            from jaxelyte.cli.analysis import analyse_source

            analyse_source(config.run.output, show=_print, say=_say)


@app.command(cls=Once)
def train(
    file: Annotated[Path, typer.Argument(help="Training file (TOML).")],
    output: RunFolder = None,
    epochs: Annotated[int | None, typer.Option(help="Number of epochs; overrides the file.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in the folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the training in the folder.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    debug: Debug = False,
) -> None:
    """Train a potential on labelled frames; writes metrics, checkpoints, the best model and pictures."""
    with _clean_errors(debug):
        from jaxelyte.cli.config import load_training
        from jaxelyte.cli.objects import report_card, train_config, training_frames
        from jaxelyte.cli.report import errors_table, save_evaluation, save_learning, save_stability, stability_table
        from jaxelyte.training import evaluate as evaluate_fit

        config = load_training(file)
        changes = {"output": output, "epochs": epochs}
        chosen = {name: value for name, value in changes.items() if value is not None}
        config = config.model_copy(update={"train": config.train.model_copy(update=chosen)})
        with of_file(file, config):
            frames = training_frames(config)
            fit = train_config(config, frames, progress=not quiet, resume=resume, overwrite=overwrite)
        typer.echo(str(save_learning(fit, config.train.output)))
        untouched = [frames[n] for n in fit.config["split"]["test"]]
        if untouched:
            result = evaluate_fit(fit, untouched, keys=config.data.keys())
            _print(errors_table(result.summary(), "untouched test frames"))
            for path in save_evaluation(result, config.train.output, "test"):
                typer.echo(str(path))
        with of_file(file, config):
            card = report_card(config, fit, frames, progress=not quiet)
        if card is not None:
            _print(stability_table(card))
            for path in save_stability(card, config.train.output):
                typer.echo(str(path))
        typer.echo(f"in {config.train.output}")


@app.command(name="free-energy", cls=Once)
def free_energy(
    file: Annotated[Path, typer.Argument(help="Free-energy file (TOML).")],
    output: RunFolder = None,
    steps: Annotated[int | None, typer.Option(help="Steps of each window; overrides the file.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    debug: Debug = False,
) -> None:
    """Free energy difference between two potentials, or along a path of several, by TI, BAR and MBAR."""
    with _clean_errors(debug):
        from jaxelyte.cli.config import load_free_energy
        from jaxelyte.cli.free_energy import completed, run_free_energy, save, tables

        config = load_free_energy(file)
        changes = {"output": output, "steps": steps}
        chosen = {name: value for name, value in changes.items() if value is not None}
        config = config.model_copy(update={"free_energy": config.free_energy.model_copy(update=chosen)})
        with of_file(file, config):
            result = run_free_energy(config, progress=not quiet, resume=resume, overwrite=overwrite)
        for table in tables(result):
            _print(table)
        for path in save(result, config.free_energy.output):
            typer.echo(str(path))
        if not completed(result):
            typer.echo(f"interrupted; continue with: {_again('free-energy', file, **changes)}", err=True)
            raise typer.Exit(INTERRUPTED)


@app.command(cls=Once)
def evaluate(
    model: Annotated[Path, typer.Argument(help="Training folder, name of an included potential, or NequIP model.")],
    frames: Annotated[Path, typer.Argument(help="Labelled frames, in any format that jaxelyte or ASE reads.")],
    index: Annotated[str, typer.Option(help="Which frames, in ASE notation (::10 for every tenth).")] = ":",
    energy: Annotated[
        str | None, typer.Option(help="Name of the energies in the file, if not ASE's; several as a,b.")
    ] = None,
    forces: Annotated[
        str | None, typer.Option(help="Name of the forces in the file, if not ASE's; several as a,b.")
    ] = None,
    stability: Annotated[
        float | None, typer.Option(help="Also run this many ps of NVT at 300, 400 and 600 K from the first frames.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            parser=_folder, help="Folder for the results; by default evaluation/ in the training folder, or here."
        ),
    ] = None,
    torchscript: TorchScript = False,
    debug: Debug = False,
) -> None:
    """Errors of a potential on labelled frames, by species and composition: table, JSON and pictures."""
    with _clean_errors(debug):
        from jaxelyte.cli.models import open_model
        from jaxelyte.cli.report import errors_table, save_evaluation, save_stability, stability_table
        from jaxelyte.cli.train_sections import label_keys
        from jaxelyte.datasets import ShippedPotential
        from jaxelyte.interop.frames import read
        from jaxelyte.training import Fit
        from jaxelyte.training import evaluate as evaluate_fit
        from jaxelyte.training import stability as try_out
        from jaxelyte.training.folder import EVALUATION

        found = open_model(model, torchscript=torchscript)
        trained = isinstance(found, Fit)
        potential = found.committee if isinstance(found, ShippedPotential) else found
        chosen = read(frames, index)
        result = evaluate_fit(potential, chosen, keys=label_keys(energy, forces))
        _print(errors_table(result.summary(), str(frames)))
        folder = output if output is not None else (model if trained else Path()) / EVALUATION
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for path in save_evaluation(result, folder, "evaluation"):
            typer.echo(str(path))
        if stability is not None:
            card = try_out(potential, chosen[:REPORT_CARD], length=stability)
            _print(stability_table(card))
            for path in save_stability(card, folder):
                typer.echo(str(path))


@app.command(cls=Once)
def analyse(
    source: Annotated[Path, typer.Argument(help="Run folder or trajectory file.")],
    pairs: Annotated[str, typer.Option(help="Pairs of species, such as Li-Cl,Li-O; all pairs by default.")] = "",
    r_max: Annotated[
        float | None,
        typer.Option(help="Longest distance of g(r) in Å; by default half the smallest width of the cell."),
    ] = None,
    width: Annotated[float | None, typer.Option(help="Bin width in Å; 0.05 by default.")] = None,
    discard: Annotated[
        int | None, typer.Option(help="Frames to discard; by default the equilibration of a run.")
    ] = None,
    charges: Annotated[str, typer.Option(help="Charges in e, such as Na=1,Cl=-1; by default the potential's.")] = "",
    permittivity: Annotated[float | None, typer.Option(help="Relative; by default the potential's, or 78.3.")] = None,
    viscosity: Annotated[
        float | None, typer.Option(help="Pa s, for the finite-size correction; by default the run's, if it is precise.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Temperature in K; by default that of the run.")] = None,
    fit: Annotated[str, typer.Option(help="Fit window of diffusion and conductivity in fs, such as 1000,5000.")] = "",
    stretches: Annotated[int | None, typer.Option(help="Parts of a replica, for errors of transport.")] = None,
    only: Annotated[str, typer.Option(help=f"Compute only these sections: {SECTIONS}.")] = "",
    skip: Annotated[str, typer.Option(help="Skip these sections, such as scattering,residence (the slow ones).")] = "",
    output: Annotated[
        Path | None,
        typer.Option(parser=_folder, help="Folder for the results; by default analysis/ next to the source."),
    ] = None,
    interval: Annotated[float | None, typer.Option(help="Time between frames in fs, for a file without times.")] = None,
    topology: Annotated[Path | None, typer.Option(help="File with the elements of a DCD, XTC, … trajectory.")] = None,
    cell: Annotated[str, typer.Option(help="Cell in Å, if absent: 20,20,20; with angles; or nine numbers.")] = "",
    units: Annotated[str | None, typer.Option(help="Units of LAMMPS (real, metal, …) or xyz (bohr, nm) files.")] = None,
    elements: Annotated[str, typer.Option(help="Elements of LAMMPS types or atom names, such as 1=Na,2=Cl.")] = "",
    file_format: Annotated[str | None, typer.Option("--format", help="File format, if it is not recognised.")] = None,
    debug: Debug = False,
) -> None:
    """Structure, dynamics and thermodynamics with standard errors, compared with experiment: HTML, JSON and CSV."""
    with _clean_errors(debug):
        from jaxelyte.cli.analysis import analyse_source
        from jaxelyte.cli.reading import reading_options

        analyse_source(
            source,
            output,
            pairs=pairs,
            r_max=r_max,
            width=width,
            discard=discard,
            charges=charges,
            permittivity=permittivity,
            viscosity=viscosity,
            temperature=temperature,
            fit=fit,
            stretches=stretches,
            only=only,
            skip=skip,
            reading=reading_options(interval, topology, cell, units, elements, file_format),
            show=_print,
            say=_say,
        )


@app.command(cls=Once)
def info(
    model: Annotated[
        Path | None, typer.Argument(help="Included potential (none: list them), training folder, or NequIP model.")
    ] = None,
    torchscript: TorchScript = False,
    debug: Debug = False,
) -> None:
    """Show a model's species, cut-off, hyperparameters, training data and accuracy."""
    with _clean_errors(debug):
        from jaxelyte.cli.models import open_model
        from jaxelyte.cli.report import card_table, fit_table, model_table
        from jaxelyte.datasets import ShippedPotential, potentials
        from jaxelyte.training import Fit

        if model is None:
            _print(potentials().table())
            return
        found = open_model(model, torchscript=torchscript)
        if isinstance(found, ShippedPotential):
            _print(card_table(found))
            _print(model_table(found.networks[0], f"{model}: the first of its networks"))
        elif isinstance(found, Fit):
            _print(fit_table(found, str(model)))
            _print(model_table(found.potential, str(model / "model")))
        else:
            _print(model_table(found, str(model)))


@app.command(cls=Once)
def types(
    name: Annotated[str | None, typer.Argument(help="One of them: its documentation.")] = None, debug: Debug = False
) -> None:
    """What files may name as type = "…": potentials, ensembles and observables, with their keys."""
    with _clean_errors(debug):
        from jaxelyte.cli.declared import described, types_table

        if name is None:
            _print(types_table())
        else:
            typer.echo(described(name))


@app.command(cls=Once)
def demo(
    output: Annotated[Path, typer.Option(parser=_folder, help="Folder for pictures and summary.")] = DEMO_OUTPUT,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of training.")] = DEMO[0],
    steps: Annotated[int, typer.Option(min=1, help="Steps of 1 fs.")] = DEMO[1],
    debug: Debug = False,
) -> None:
    """Train a network, then simulate salt water with an included potential and compare with experiment."""
    with _clean_errors(debug):
        from jaxelyte.cli.demo import run_demo

        summary = run_demo(output, epochs=epochs, steps=steps, show=_print)
        typer.echo(json.dumps(summary["files"], indent=1))


@app.command(cls=Once)
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Data sets; all by default.")] = None,
    to: Annotated[
        Path | None, typer.Option(parser=_to, help="Default: JAXELYTE_DATA, or ~/.local/share/jaxelyte.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Base URL of a mirror of the GitHub files.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the data sets and download nothing.")] = False,
    debug: Debug = False,
) -> None:
    """Download published potentials, curves and frames of electrolytes, at fixed versions, and check them."""
    with _clean_errors(debug):
        from jaxelyte.cli.fetching import bar, list_sources, report
        from jaxelyte.datasets.download import BASE
        from jaxelyte.datasets.download import fetch as fetch_data
        from jaxelyte.interop.published import data_folder

        if listed:
            _print(list_sources())
            return
        folder = data_folder() if to is None else to
        with bar() as progress:
            fetched = fetch_data(names or (), to=folder, url=url or BASE, progress=progress)
        report(fetched, folder, _print, _say)


def _print(item: object) -> None:
    from rich.console import Console

    Console(file=sys.stdout).print(item)


def _say(line: str) -> None:
    """Print progress to stderr, apart from the results."""
    typer.echo(line, err=True)
