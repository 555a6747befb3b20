"""Where a fit to observables is kept: its state after each step, and a line of history for it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.dynamics.checkpoint import load_arrays, pack, save_arrays, unpack
from jaxelyte.dynamics.ensembles import NVT
from jaxelyte.dynamics.identity import changes_of, describe_potential, plain_value
from jaxelyte.errors import InputError, StorageError
from jaxelyte.gradients.targets import Target
from jaxelyte.potentials.base import Potential
from jaxelyte.storage import explained, write_text, writing
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

STATE, HISTORY = "fit.npz", "history.jsonl"


@dataclass
class Progress:
    """A fit on its way.

    Attributes:
        potential: with the parameters of the next step.
        state: of the optimiser.
        atoms: what the next simulation starts from.
        history: a row for each step that is done, and one of the last parameters.
        best: loss, number and potential of the best step among those that were simulated with their own parameters.
    """

    potential: Potential
    state: Any
    atoms: Atoms | list[Atoms]
    history: list[dict[str, Any]] = field(default_factory=list)
    best: tuple[float, int, Potential] | None = None

    def judge(self, row: dict[str, Any], potential: Potential) -> None:
        """Add a row, and keep its potential if it is the best so far."""
        self.history.append(row)
        if row["simulated"] and (self.best is None or row["loss"] < self.best[0]):
            self.best = (row["loss"], row["step"], potential)


def describe(potential: Potential, targets: Sequence[Target], ensemble: NVT) -> dict[str, Any]:
    """What a fit is: where it starts and what it is to reach; for JSON. Functions are not compared."""
    numbers = {
        f"{one.name}.{part}": plain_value(np.asarray(getattr(one, part)))
        for one in targets
        for part in ("value", "scale", "weight")
    }
    content = {"potential": describe_potential(potential), "target": numbers, "ensemble": asdict(ensemble)}
    return json.loads(json.dumps(content, default=float))


def begin(folder: Path, fresh: Progress, settings: dict[str, Any], resume: bool, iterations: int) -> Progress:
    """What the folder holds, or the start.

    Args:
        folder: it exists.
        fresh: the start.
        settings: see `describe`.
        resume: go on with what is there.
        iterations: gradient steps in all.

    Raises:
        InputError: a fit is there and is not to be resumed, or it is another one, or its files are damaged.
    """
    there = (folder / STATE).exists()
    if there and not resume:
        raise InputError(f"{folder} holds a fit; resume=True goes on with it, or choose another folder")
    if not there:
        with writing(folder / HISTORY):
            (folder / HISTORY).unlink(missing_ok=True)
        return fresh
    arrays = load_arrays(folder / STATE)
    if "settings" not in arrays:
        raise InputError(f"the fit in {folder} is of another version of jaxelyte; choose another folder")
    stored = json.loads(str(arrays["settings"]))
    changed = [line for name in settings for line in changes_of(name, stored.get(name), settings[name], rounding=True)]
    if changed:
        raise InputError(
            f"{folder} holds another fit: {'; '.join(changed[:5])}; give its potential, targets and ensemble, or "
            "another folder"
        )
    lines = _history(folder / HISTORY, int(arrays["steps"]))
    if len(lines) <= iterations and json.loads(lines[-1])["length"] is None:
        lines.pop()  # the end of a shorter fit, from where this one goes on
    best = None
    if int(arrays["best/step"]) >= 0:
        best = (float(arrays["best/loss"]), int(arrays["best/step"]), unpack("best", arrays, fresh.potential))
    return Progress(
        unpack("potential", arrays, fresh.potential),
        unpack("state", arrays, fresh.state),
        _moved(fresh.atoms, arrays),
        [json.loads(line) for line in lines],
        best,
    )


def keep(folder: Path, settings: dict[str, Any], now: Progress) -> None:
    """History first, then the state that counts its lines.

    Raises:
        StorageError: they cannot be written; the step before is kept.
    """
    loss, step, best = now.best or (math.nan, -1, now.potential)
    arrays = {"steps": np.array(len(now.history)), "settings": np.array(json.dumps(settings))}
    arrays |= {"best/loss": np.array(loss), "best/step": np.array(step)}
    arrays |= pack("potential", now.potential) | pack("best", best) | pack("state", now.state)
    several = now.atoms if isinstance(now.atoms, list) else [now.atoms]
    arrays["atoms/positions"] = np.array([a.positions for a in several])
    arrays["atoms/momenta"] = np.array([a.get_momenta() for a in several])
    arrays["atoms/cells"] = np.array([a.cell.array for a in several])
    try:
        write_text(folder / HISTORY, "".join(json.dumps(row) + "\n" for row in now.history))
        save_arrays(folder / STATE, arrays)
    except StorageError as error:
        kept = f"The fit in {folder} is kept up to the step before, and goes on from there with resume=True"
        raise explained(error, kept) from error


def _history(path: Path, count: int) -> list[str]:
    """The first lines of the history."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[:count]
        if len(lines) == count and all(isinstance(json.loads(line), dict) for line in lines):
            return lines
        raise ValueError(f"{counted(count, 'row')} were written, {len(lines)} are there")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the history of the fit {path}: {error}; restore the file") from error


def _moved(atoms: Atoms | list[Atoms], arrays: dict[str, np.ndarray]) -> Atoms | list[Atoms]:
    """The atoms where the last simulation left them, one for each of its replicas."""
    first = atoms if isinstance(atoms, list) else [atoms]
    several = []
    for number, positions in enumerate(arrays["atoms/positions"]):
        one = first[min(number, len(first) - 1)].copy()
        if len(one) != len(positions):
            raise InputError(
                f"the fit was of {counted(len(positions), 'atom')}, not {len(one)}; give its start structure"
            )
        one.set_cell(arrays["atoms/cells"][number])
        one.set_positions(positions)
        momenta = arrays["atoms/momenta"][number]
        if np.any(momenta):
            one.set_momenta(momenta)
        several.append(one)
    return several if len(several) > 1 else several[0]
