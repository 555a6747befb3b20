"""The result of training: network, baseline, their sum, and the metrics."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte import checks
from jaxelyte.errors import InputError
from jaxelyte.interop.foreign_models import describe
from jaxelyte.interop.nequip_files import BASELINE, load_nequip, save_nequip
from jaxelyte.interop.potential_files import read_potential, write_potential
from jaxelyte.interop.shipped import located
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.potentials.codec import identities
from jaxelyte.potentials.nequip import NequIPPotential
from jaxelyte.storage import claimed, output_folder, read_json, write_json, write_text, writing
from jaxelyte.training.folder import CONFIG, METRICS, MODEL, read_rows
from jaxelyte.wording import counted


@dataclass(frozen=True)
class Fit:
    """The result of training. Used as a potential, also in sums and multiples, it stands for `total`.

    Attributes:
        members: the networks, one unless a committee was trained; each stores the baseline that it needs.
        baseline: the potential that was subtracted from the labels, or None.
        metrics: a row for each epoch: errors in eV/atom, eV/Å and eV/Å³, learning rate, seconds. Epoch 0 stands for the
            network that training went on from, where there was one.
        config: all settings, the split, references and versions.
        folder: the folder on disk, or None.
    """

    members: tuple[NequIPPotential, ...]
    baseline: Potential | None
    metrics: list[dict[str, Any]]
    config: dict[str, Any]
    folder: Path | None = None

    @property
    def potential(self) -> NequIPPotential:
        """The network without the baseline; for a committee, the first one."""
        return self.members[0]

    @property
    def total(self) -> Potential:
        """Network + baseline, the potential for simulations."""
        return self.potential if self.baseline is None else self.potential + self.baseline

    @property
    def totals(self) -> tuple[Potential, ...]:
        """`total` of every member of a committee."""
        return tuple(one if self.baseline is None else one + self.baseline for one in self.members)

    def __add__(self, other: Potential | Fit) -> Potential:
        return self.total + as_potential(other, "the other term of the sum")

    def __radd__(self, other: Potential | Fit) -> Potential:
        return as_potential(other, "the other term of the sum") + self.total

    def __sub__(self, other: Potential | Fit) -> Potential:
        return self.total - as_potential(other, "the other term of the difference")

    def __rsub__(self, other: Potential | Fit) -> Potential:
        return as_potential(other, "the other term of the difference") - self.total

    def __mul__(self, factor: float) -> Potential:
        return self.total * factor

    __rmul__ = __mul__

    def __neg__(self) -> Potential:
        return -self.total

    @property
    def epochs(self) -> int:
        """Number of completed epochs."""
        return self.metrics[-1]["epoch"] if self.metrics else 0

    @property
    def best(self) -> dict[str, Any]:
        """The metrics of the epoch whose weights were kept; epoch 0 if none was better than the start.

        Raises:
            InputError: no epoch was completed.
        """
        for row in reversed(self.metrics):
            if row["best"]:
                return row
        raise InputError("no epoch of this training was completed")

    def __repr__(self) -> str:
        many = f"committee of {len(self.members)}, " if len(self.members) > 1 else ""
        base = "no baseline" if self.baseline is None else f"baseline {', '.join(identities(self.baseline))}"
        known = [row for row in self.metrics if row["best"]]
        forces = known[-1]["validation"].get("forces") if known else None
        best = "" if forces is None else f", best epoch {known[-1]['epoch']} with {1e3 * forces:.1f} meV/Å"
        names = ", ".join(self.potential.config.type_names)
        counts = self.config.get("labels", {})
        kinds = [f"{kind} in {counts[kind]}" for kind in ("energy", "forces", "stress") if counts.get(kind)]
        labels = f"; {counted(counts['frames'], 'frame')}, {', '.join(kinds)}" if kinds else ""
        return f"Fit({many}{names}; {base}{labels}; {counted(self.epochs, 'epoch')}{best})"

    def save(self, folder: str | Path) -> Path:
        """Write network, baseline, configuration and metrics to a new folder that `load_fit` reads.

        Raises:
            InputError: the folder exists, or cannot be made.
            StorageError: it cannot be written.
        """
        folder = output_folder(folder, argument="folder")
        if folder.exists():
            raise InputError(f"{folder} exists; choose another folder")
        with claimed(folder):
            write_models(self.members, self.baseline, folder)
            write_json(folder / CONFIG, self.config)
            write_text(folder / METRICS, "".join(json.dumps(row) + "\n" for row in self.metrics))
        return folder


def make_members(stacked: NequIPPotential, baseline: Potential | None, committee: int | None) -> tuple[Any, ...]:
    """The networks of a trained state, each marked with the baseline that it needs."""
    needed = () if baseline is None else identities(baseline)
    parts = [stacked] if committee is None else [jax.tree.map(lambda x, n=n: x[n], stacked) for n in range(committee)]
    return tuple(replace(part, requires=needed) for part in parts)


def write_models(members: tuple[NequIPPotential, ...], baseline: Potential | None, folder: Path) -> None:
    """Put the networks (``model``, or ``model/0`` and so on) into a folder, with the baseline in each, all at once."""
    with writing(folder / MODEL):
        work = Path(tempfile.mkdtemp(prefix=".model.", dir=folder))
        try:
            for number, member in enumerate(members):
                home = work / MODEL / (str(number) if len(members) > 1 else "")
                save_nequip(replace(member, source=None), home)
                if baseline is not None:
                    write_potential(baseline, home, BASELINE)
            target = folder / MODEL
            if target.exists():
                target.rename(work / "old")
            try:
                (work / MODEL).rename(target)
            except OSError:
                if (work / "old").exists():
                    (work / "old").rename(target)
                raise
        finally:
            shutil.rmtree(work, ignore_errors=True)


def load_fit(folder: str | Path) -> Fit:
    """Read a training folder.

    Args:
        folder: the ``output`` of `train`, or a folder that `Fit.save` made.

    Raises:
        InputError: the folder holds no trained model.
    """
    folder = located(checks.file_path("folder", folder))
    if not folder.exists():
        raise InputError(f"there is no folder {folder}")
    if not (folder / MODEL).is_dir() or not (folder / CONFIG).is_file():
        raise InputError(f"{folder} holds no trained model ({MODEL}/ and {CONFIG}): {_instead(folder)}")
    homes = sorted((p for p in (folder / MODEL).iterdir() if p.name.isdecimal()), key=lambda p: int(p.name))
    homes = homes or [folder / MODEL]
    members = tuple(load_nequip(home) for home in homes)
    stored = (homes[0] / f"{BASELINE}.json").is_file()
    baseline = read_potential(homes[0], BASELINE) if stored else None
    return Fit(members, baseline, read_rows(folder / METRICS), read_json(folder / CONFIG), folder)


def _instead(folder: Path) -> str:
    """What a path contains instead of a training, and which function reads it."""
    if (folder / "config.json").is_file() and (folder / "state_dict.npz").is_file():
        return "it is a NequIP model without its training; load_nequip reads it"
    found = describe(folder)
    return f"it is {found.what}; {found.remedy}"


def with_references(potential: NequIPPotential, energies: np.ndarray) -> NequIPPotential:
    """The potential with its reference energies (eV, by species) in the widest float there is."""
    shifts = jnp.broadcast_to(
        jnp.asarray(energies, jax.dtypes.canonicalize_dtype(np.float64)), potential.params["shifts"].shape
    )
    return replace(potential, params=potential.params | {"shifts": shifts})
