"""The folder of a training run: configuration, metrics, a checkpoint of the last epoch, the best model."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxelyte.checks import caution
from jaxelyte.dynamics.checkpoint import load_arrays, pack, save_arrays, unpack
from jaxelyte.dynamics.identity import moved_to, not_bitwise
from jaxelyte.errors import InputError, StorageError
from jaxelyte.storage import LOCK, explained, read_json, write_json, write_text, writing
from jaxelyte.wording import counted

CONFIG, METRICS, CHECKPOINT, MODEL = "config.json", "metrics.jsonl", "checkpoint.npz", "model"
EARLIER = "checkpoints"
"""Where version 0.1 kept its checkpoints."""
EVALUATION = "evaluation"
"""What ``jaxelyte evaluate`` leaves in the folder."""
PICTURES = ("training.png", "test_parity.png", "test_spread.png", "stability.png")
REPORTS = frozenset({EVALUATION, "test.json", "stability.json", *PICTURES})
KNOWN = frozenset({CONFIG, METRICS, CHECKPOINT, EARLIER, MODEL}) | REPORTS
UNFINISHED = (".model.", ".tmp-")
"""What a killed run leaves of a file or model that was being written."""


class TrainFolder:
    """Where a training run is kept. Nothing on disk changes before `open`.

    Args:
        path: the folder.
        config: everything that decides the result, as JSON; a folder of other settings is not resumed.
        resume: go on with what is there, if something is.
        overwrite: remove what is there.

    Raises:
        InputError: the folder holds another run, or anything else.
    """

    def __init__(self, path: Path, config: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        if resume and overwrite:
            raise InputError("resume=True and overwrite=True exclude each other; choose one")
        self.path, self.config, self.overwrite = path, json.loads(json.dumps(config)), overwrite
        self.saved = 0
        there = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
        there = [name for name in there if name != LOCK]
        strange = [name for name in there if name not in KNOWN and not name.startswith(UNFINISHED)]
        if strange and resume and CONFIG not in there:
            raise InputError(f"{path} holds {', '.join(strange)} and no training run to resume; choose another folder")
        if there and not resume:
            if not overwrite:
                raise InputError(f"{path} exists; pass resume=True to continue, overwrite=True, or another folder")
            if strange:
                raise InputError(f"{path} holds {', '.join(strange)}, which is not a training run; nothing is removed")
        ours = sorted(set(there) & KNOWN)
        if resume and ours and CONFIG not in ours:
            raise InputError(
                f"{path} holds {', '.join(ours)}, but no {CONFIG} to resume; restore it, or choose another folder"
            )
        self._resuming = resume and CONFIG in there
        if self._resuming:
            self._check_stored(CHECKPOINT in there)

    def _check_stored(self, started: bool) -> None:
        """Refuse to go on with another training, or one whose files are not complete."""
        path, stored = self.path, read_json(self.path / CONFIG)
        if "data_sha256" not in stored:
            raise InputError(f"{path / CONFIG} is not of a training; choose another folder")
        _same_settings(stored, self.config, path)
        moved = moved_to(stored.get("versions", {}), self.config.get("versions", {}))
        if started:
            if moved:
                caution(not_bitwise(path, moved))
                self.config["versions"] = stored["versions"]
            return
        if (path / EARLIER).exists():
            raise InputError(
                f"{path} was written by version 0.1 of jaxelyte, whose checkpoints cannot be resumed; its best model "
                "can be read (load_fit) and trained further in another folder"
            )
        # The first checkpoint follows the metrics of the first epoch.
        if any(row["epoch"] > 1 for row in read_rows(path / METRICS)):
            raise InputError(
                f"{path} holds the metrics of a training, but no {CHECKPOINT} to resume; restore it, or choose another "
                "folder"
            )

    def open(self) -> None:
        """Make the folder ready for this run: remove what is to be replaced, write the configuration.

        Raises:
            StorageError: it cannot be written.
        """
        with writing(self.path):
            left = [entry for entry in self.path.iterdir() if entry.name.startswith(UNFINISHED)]
            for entry in left:
                # Killed while a new model took the place of the old one, which is better than none.
                if (entry / "old").is_dir() and not (self.path / MODEL).exists():
                    (entry / "old").rename(self.path / MODEL)
            for entry in left + ([self.path / name for name in sorted(KNOWN)] if not self._resuming else []):
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink(missing_ok=True)
        write_json(self.path / CONFIG, self.config)

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """Add to a `StorageError` met inside what is kept of the training, and how to go on."""
        try:
            yield
        except StorageError as error:
            kept = f"is kept up to epoch {self.saved} in {self.path} and goes on from there" if self.saved else "starts"
            raise explained(error, f"The training {kept} with resume=True") from error

    def save(self, epoch: int, state: Any, host: dict[str, Any]) -> None:
        """Keep the state after an epoch; the checkpoint before is replaced as a whole.

        Raises:
            StorageError: it cannot be written; the one before is kept.
        """
        arrays = {"epoch": np.array(epoch), "host": np.array(json.dumps(host))}
        save_arrays(self.path / CHECKPOINT, arrays | pack("state", state))
        self.saved = epoch

    def restore(self, like: Any) -> tuple[int, Any, dict[str, Any]] | None:
        """Epoch, state and host values of the last checkpoint, or None where there is none to go on from.

        Raises:
            InputError: the checkpoint is damaged, or of another model or precision.
        """
        path = self.path / CHECKPOINT
        if not self._resuming or not path.exists():
            return None
        arrays = load_arrays(path)
        if "epoch" not in arrays or "host" not in arrays:
            raise InputError(f"{path} is not a checkpoint of a training; choose another folder")
        if any(".inner_states" in name for name in arrays):
            raise InputError(
                f"{path} was written when the optimiser had an array for each of the weights, and cannot be resumed; "
                "the best model of its folder can be read (load_fit) and trained further in another one"
            )
        state = unpack("state", arrays, jax.tree.map(jax.numpy.asarray, like))
        self.saved = int(arrays["epoch"])
        return self.saved, state, json.loads(str(arrays["host"]))

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """All epochs, one JSON object a line; replaced as a whole.

        Raises:
            StorageError: they cannot be written; those before are kept.
        """
        write_text(self.path / METRICS, "".join(json.dumps(row) + "\n" for row in rows))

    def read_metrics(self, epochs: int) -> list[dict[str, Any]]:
        """The rows up to that epoch.

        Raises:
            InputError: the file is damaged, or rows are missing.
        """
        rows = [row for row in read_rows(self.path / METRICS) if row["epoch"] <= epochs]
        if [row["epoch"] for row in rows if row["epoch"]] != list(range(1, epochs + 1)):
            raise InputError(
                f"{self.path / METRICS} lacks rows of the {counted(epochs, 'epoch')} of the checkpoint; restore it"
            )
        return rows


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
            raise InputError(f"line {number} of {path} is not a row of metrics (epoch, best, validation, …)")
        rows.append(row)
    return rows


def _same_settings(stored: dict[str, Any], config: dict[str, Any], path: Path) -> None:
    # Before there was a choice, splits were random, and batches in one piece.
    stored = {"split_method": "random", "accumulate": 1} | stored
    # More epochs go on from fewer; versions are for people, and what was trained on follows from data and start.
    loose = {"epochs", "versions", "trained_on", "labels"}
    # References, scales and split follow from the frames, and are named only where these are the same.
    derived = {"references_eV", "references_residual_eV_per_atom", "scales_eV_per_A", "split"}
    keys = [key for key in sorted({*stored, *config} - loose) if not _alike(stored.get(key), config.get(key))]
    first = [key for key in keys if key not in derived] or keys
    lines = [line for key in first for line in _differences(key, stored.get(key), config.get(key))]
    if lines:
        more = f"; and {len(lines) - 5} more" if len(lines) > 5 else ""
        raise InputError(
            f"{path} holds a run with other settings: {'; '.join(lines[:5])}{more}. Resume with those of {CONFIG}, or "
            "choose another folder"
        )


NAMES = {"data_sha256": "frames or labels", "start_sha256": "weights to start from"}


def _differences(name: str, old: Any, new: Any) -> list[str]:
    """Each value below ``name`` that differs, with both."""
    if name in NAMES:
        return [f"the {NAMES[name]} changed"]
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new}, key=str)
        return [
            line
            for key in keys
            if not _alike(old.get(key), new.get(key))
            for line in _differences(f"{name}.{key}", old.get(key), new.get(key))
        ]
    return [f"{name} {_short(old)} → {_short(new)}"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _alike(one: Any, other: Any) -> bool:
    """Equal but for the last digits of floats, which differ between processors where they were computed."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return one == other
