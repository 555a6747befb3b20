"""The folder of a training run: configuration, metrics, checkpoints (orbax), the best model."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxelyte.dynamics.checkpoint import atomic_write, write_json
from jaxelyte.errors import InputError

CONFIG, METRICS, CHECKPOINTS, MODEL = "config.json", "metrics.jsonl", "checkpoints", "model"
EVALUATION = "evaluation"
"""What ``jaxelyte evaluate`` leaves in the folder."""
PICTURES = ("training.png", "test_parity.png", "test_spread.png", "stability.png")
REPORTS = frozenset({EVALUATION, "test.json", "stability.json", *PICTURES})
KNOWN = frozenset({CONFIG, METRICS, CHECKPOINTS, MODEL}) | REPORTS


class TrainFolder:
    """Where a training run keeps what it knows.

    Args:
        path: the folder.
        config: everything that decides the result, as JSON; a folder of other settings is not resumed.
        resume: go on with what is there, if something is.
        overwrite: remove what is there.

    Raises:
        InputError: the folder holds another run, or anything else.
    """

    def __init__(self, path: str | Path, config: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        self.path = Path(path)
        there = sorted(entry.name for entry in self.path.iterdir()) if self.path.is_dir() else []
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file; choose a folder")
        strange = [name for name in there if name not in KNOWN and not name.startswith(".model.")]
        if strange and resume and CONFIG not in there:
            raise InputError(
                f"{self.path} holds {', '.join(strange)} and no training run to resume; choose another folder"
            )
        if there and not resume:
            if not overwrite:
                raise InputError(f"{self.path} exists; pass resume=True to go on, overwrite=True, or another folder")
            if strange:
                raise InputError(
                    f"{self.path} holds {', '.join(strange)}, which is no training run; nothing is removed"
                )
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        stored = self.path / CONFIG
        if resume and stored.is_file():
            _same_settings(read_settings(stored), config, self.path)
        write_json(stored, config)
        self._manager: Any = None

    @property
    def manager(self) -> Any:
        """Orbax's checkpoint manager; the last two epochs are kept."""
        if self._manager is None:
            import orbax.checkpoint as ocp

            options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
            self._manager = ocp.CheckpointManager((self.path / CHECKPOINTS).absolute(), options=options)
        return self._manager

    def save(self, epoch: int, state: Any, host: dict[str, Any]) -> None:
        """Keep the state after an epoch; atomic."""
        import orbax.checkpoint as ocp

        leaves = {f"{n:04d}": np.asarray(leaf) for n, leaf in enumerate(jax.tree.leaves(state))}
        self.manager.save(
            epoch, args=ocp.args.Composite(state=ocp.args.StandardSave(leaves), host=ocp.args.JsonSave(host))
        )
        self.manager.wait_until_finished()

    def restore(self, like: Any) -> tuple[int, Any, dict[str, Any]] | None:
        """Epoch, state and host values of the last checkpoint, or None where there is none.

        Raises:
            InputError: the checkpoint belongs to other settings.
        """
        import orbax.checkpoint as ocp

        epoch = self.manager.latest_step()
        if epoch is None:
            return None
        leaves, structure = jax.tree.flatten(like)
        template = {f"{n:04d}": np.asarray(leaf) for n, leaf in enumerate(leaves)}
        try:
            found = self.manager.restore(
                epoch,
                args=ocp.args.Composite(state=ocp.args.StandardRestore(template), host=ocp.args.JsonRestore()),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"the checkpoint in {self.path} does not fit these settings: {error}") from error
        restored = [found.state[name] for name in template]
        wrong = [a.shape != np.shape(b) or a.dtype != b.dtype for a, b in zip(restored, leaves, strict=True)]
        if any(wrong):
            raise InputError(
                f"the checkpoint in {self.path} is of another model or precision; resume with the first ones"
            )
        state = jax.tree.unflatten(structure, [jax.numpy.asarray(x) for x in restored])
        return int(epoch), state, dict(found.host)

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """All epochs, one JSON object a line; replaced as a whole, so that it never says more than the checkpoint."""
        atomic_write(self.path / METRICS, "".join(json.dumps(row) + "\n" for row in rows).encode())

    def read_metrics(self, epochs: int) -> list[dict[str, Any]]:
        """The rows up to that epoch."""
        return [row for row in read_rows(self.path / METRICS) if row["epoch"] <= epochs]

    def close(self) -> None:
        """Wait for orbax and let go of the folder."""
        if self._manager is not None:
            self._manager.close()
            self._manager = None


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a training.

    Raises:
        InputError: the file is missing, damaged or something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object")
    return content


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The metrics of each epoch; none where there is no file.

    Raises:
        InputError: a line that is damaged, by its number.
    """
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"line {number} of {path} is damaged: {error}") from error
        if not isinstance(row, dict) or not {"epoch", "best", "validation"} <= set(row):
            raise InputError(f"line {number} of {path} is no row of metrics (epoch, best, validation, …)")
        rows.append(row)
    return rows


def _same_settings(stored: dict[str, Any], config: dict[str, Any], path: Path) -> None:
    # More epochs go on from fewer; versions are for people, and what was trained on follows from data and start.
    loose = {"epochs", "versions", "trained_on"}
    plain = json.loads(json.dumps(config))
    different = [key for key in sorted({*stored, *plain} - loose) if not _alike(stored.get(key), plain.get(key))]
    if different:
        key = different[0]
        raise InputError(
            f"{path} holds a run with other settings ({', '.join(different)}; {key} was {stored.get(key)!r} and is "
            f"{plain.get(key)!r} now); resume with those of {CONFIG}, or choose another folder"
        )


def _alike(one: Any, other: Any) -> bool:
    """Equal but for the last digits of floats, which differ between processors where they were computed."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return one == other
