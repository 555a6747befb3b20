"""How well a potential predicts labelled frames: errors by species and composition, the worst frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte import checks
from jaxelyte.arrays import finite
from jaxelyte.data.baseline import evaluate_frames
from jaxelyte.data.frames import as_frames
from jaxelyte.data.labels import LabelKeys, collect_labels
from jaxelyte.observables.blocks import FEWEST
from jaxelyte.observables.tails import skewed, spread_freedom
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.training.digests import structure_digests
from jaxelyte.training.fit import Fit
from jaxelyte.wording import counted, plus_minus

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class Evaluation:
    """Predictions and labels, and their differences.

    Attributes:
        symbols: symbol of every atom of all frames, one after the other.
        frame_of: frame of every atom.
        energies: shape (frames, 2), label and prediction, eV; NaN where there is no label.
        forces: shape (atoms, 3, 2), label and prediction, eV/Å.
        stresses: shape (frames, 3, 3, 2), eV/Å³.
        sizes: atoms of each frame.
        formulas: composition of each frame.
        force_spread: shape (atoms,), standard deviation over a committee of the force vector, eV/Å; None without one.
        energy_spread: shape (frames,), eV/atom; None without a committee.
    """

    symbols: np.ndarray
    frame_of: np.ndarray
    energies: np.ndarray
    forces: np.ndarray
    stresses: np.ndarray
    sizes: np.ndarray
    formulas: np.ndarray
    force_spread: np.ndarray | None = None
    energy_spread: np.ndarray | None = None

    @property
    def force_errors(self) -> np.ndarray:
        """Prediction less label, (atoms, 3), eV/Å."""
        return self.forces[..., 1] - self.forces[..., 0]

    @property
    def energy_errors(self) -> np.ndarray:
        """Prediction less label, (frames,), eV per atom."""
        return (self.energies[:, 1] - self.energies[:, 0]) / self.sizes

    def summary(self) -> dict[str, Any]:
        """Root mean square and mean absolute errors; standard errors of the former from the spread between frames.

        All keys are always there. ``rmse_error`` and ``rmse_freedom``, its degrees of freedom, are None for fewer than
        four frames with this label (of this composition), and a row is None where there are no labels.
        Energies in meV/atom, forces (components) in meV/Å, stresses in meV/Å³. Of a committee also its root mean square
        spread (of force vectors), and whether that says how large the errors are.
        """
        species = {s: self._forces(self.symbols == s) for s in sorted(set(self.symbols.tolist()))}
        compositions = {
            name: {
                "frames": int(np.sum(self.formulas == name)),
                "energy": _moments(1e3 * self.energy_errors[self.formulas == name]),
                "forces": self._forces(np.isin(self.frame_of, np.flatnonzero(self.formulas == name))),
            }
            for name in sorted(set(self.formulas.tolist()))
        }
        stress = (self.stresses[..., 1] - self.stresses[..., 0]).reshape(len(self.sizes), -1)
        return {
            "frames": len(self.sizes),
            "energy_meV_per_atom": _moments(1e3 * self.energy_errors),
            "forces_meV_per_A": self._forces(np.ones(len(self.symbols), bool)),
            "forces_by_species_meV_per_A": species,
            "stress_meV_per_A3": _moments(1e3 * stress.ravel(), np.repeat(np.arange(len(stress)), stress.shape[1])),
            "compositions": compositions,
            "worst_frames": self.worst(10),
            "committee": self._committee(),
        }

    def _committee(self) -> dict[str, float | None] | None:
        """Spread of a committee, and what it says about the errors of the forces; None without a committee.

        ``error_over_spread`` is the ratio of the root mean squares over atoms, by which the spread would have to be
        multiplied to be an error (Musil et al., J. Chem. Theory Comput. 15, 906 (2019)); ``rank_correlation`` is
        Spearman's, 1 where the spread sorts the atoms by their error.
        """
        from scipy.stats import rankdata

        if self.force_spread is None or self.energy_spread is None:
            return None
        errors = np.linalg.norm(self.force_errors, axis=1)
        known = np.isfinite(errors)
        errors, spread = errors[known], self.force_spread[known]
        varied = len(set(errors.tolist())) > 1 and len(set(spread.tolist())) > 1
        return {
            "forces_spread_meV_per_A": 1e3 * float(np.sqrt(np.mean(self.force_spread**2))),
            "energy_spread_meV_per_atom": 1e3 * float(np.sqrt(np.mean(self.energy_spread**2))),
            "error_over_spread": float(np.sqrt(np.sum(errors**2) / np.sum(spread**2))) if varied else None,
            "rank_correlation": float(np.corrcoef(rankdata(spread), rankdata(errors))[0, 1]) if varied else None,
        }

    def worst(self, count: int) -> list[dict[str, Any]]:
        """The frames with the largest root mean square force error (or energy error where there are no forces)."""
        square = np.nanmean(self.force_errors**2, axis=1) if len(self.symbols) else np.zeros(0)
        known = np.isfinite(square)
        frames = len(self.sizes)
        weight = np.bincount(self.frame_of[known], minlength=frames)
        total = np.bincount(self.frame_of[known], square[known], minlength=frames)
        rms = np.sqrt(total / np.maximum(weight, 1))
        score = np.where(weight > 0, rms, np.nan_to_num(np.abs(self.energy_errors)))
        return [
            {
                "frame": int(n),
                "formula": str(self.formulas[n]),
                "forces_rmse_meV_per_A": None if weight[n] == 0 else 1e3 * float(rms[n]),
                "energy_error_meV_per_atom": finite(1e3 * float(self.energy_errors[n])),
            }
            for n in np.argsort(-score, kind="stable")[: checks.count("count", count, least=0)]
        ]

    def __repr__(self) -> str:
        found = self.summary()
        rows = (
            ("energy", "energy_meV_per_atom", "meV/atom"),
            ("forces", "forces_meV_per_A", "meV/Å"),
            ("stress", "stress_meV_per_A3", "meV/Å³"),
        )
        known = [(name, found[key], unit) for name, key, unit in rows if found[key] is not None]
        errors = "; ".join(
            f"{name} {plus_minus(row['rmse'], row.get('rmse_error'), unit=unit)}" for name, row, unit in known
        )
        frames, atoms = counted(len(self.sizes), "frame"), counted(len(self.symbols), "atom")
        return f"Evaluation({frames}, {atoms}; RMSE: {errors or 'no labels'})"

    def _forces(self, chosen: np.ndarray) -> dict[str, Any] | None:
        errors = self.force_errors[chosen]
        return _moments(1e3 * errors.ravel(), np.repeat(self.frame_of[chosen], 3))


def _moments(errors: np.ndarray, frame_of: np.ndarray | None = None) -> dict[str, Any] | None:
    """RMSE, MAE and mean of the finite errors; the standard error of the RMSE by the jackknife over frames.

    Squares are skewed, and few frames decide their mean: the error is widened for the first, and has the degrees of
    freedom ``rmse_freedom`` (Student's t) for the second. None without finite errors; ``rmse_error`` and its freedom
    are None for fewer than `FEWEST` frames.
    """
    frame_of = np.arange(len(errors)) if frame_of is None else frame_of
    known = np.isfinite(errors)
    if not np.any(known):
        return None
    errors, frame_of = errors[known], frame_of[known]
    _, which = np.unique(frame_of, return_inverse=True)
    square, count = np.bincount(which, errors**2), np.bincount(which)
    result: dict[str, Any] = {
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "rmse_error": None,
        "rmse_freedom": None,
        "mae": float(np.mean(np.abs(errors))),
        "mean": float(np.mean(errors)),
        "values": len(errors),
    }
    frames = len(count)
    if frames >= FEWEST:
        others = np.sqrt((square.sum() - square) / (count.sum() - count))
        each = square - count * np.mean(errors**2)
        result["rmse_freedom"] = spread_freedom(each, frames - 1.0)
        result["rmse_error"] = skewed(each) * float(
            np.sqrt((frames - 1) / frames * np.sum((others - others.mean()) ** 2))
        )
    return result


def _warn_of_seen(fit: Fit, frames: Sequence[Atoms]) -> None:
    trained = frozenset(fit.config.get("trained_on", ()))
    seen = [n for n, digest in enumerate(structure_digests(frames)) if digest in trained]
    if seen:
        checks.caution(
            f"the fit was trained on {len(seen)} of these {counted(len(frames), 'frame')} (first frame {seen[0]}), "
            "whose errors "
            'are smaller than those of new frames; evaluate on others, such as those of fit.config["split"]["test"]'
        )


def evaluate(
    potential: Potential | Fit,
    frames: Sequence[Atoms] | Atoms | str | Path,
    *,
    keys: LabelKeys | None = None,
    batch_size: int = 16,
) -> Evaluation:
    """Compare a potential with labelled frames.

    Args:
        potential: any potential, or a fit (its total, and the spread of its committee if it has one).
        frames: labelled ``ase.Atoms``, or a file of them; eV, eV/Å, eV/Å³.
        keys: names of the labels, if they are not ASE's.
        batch_size: number of frames that are evaluated together.

    Raises:
        InputError: no frames, no labels, or atoms that the potential cannot describe.

    Warns:
        UserWarning: frames that the fit was trained on.
    """
    frames = as_frames(frames)
    fit = potential if isinstance(potential, Fit) else None
    checks.instance("keys", keys, (LabelKeys, type(None)), "a jaxelyte.LabelKeys")
    batch_size = checks.count("batch_size", batch_size)
    labels = collect_labels(frames, keys)
    if fit is not None:
        _warn_of_seen(fit, frames)
    totals = [as_potential(potential)] if fit is None else fit.totals
    found = [evaluate_frames(total, frames, batch=batch_size) for total in totals]
    energies = np.mean([one.energies for one in found], axis=0)
    forces = np.mean([np.concatenate(one.forces) for one in found], axis=0)
    stresses = np.mean([one.stresses for one in found], axis=0)
    sizes = np.array([len(frame) for frame in frames])
    spread = None
    if len(found) > 1:
        parts = np.stack([np.concatenate(one.forces) for one in found])
        spread = np.sqrt(np.sum(np.var(parts, axis=0, ddof=1), axis=-1))
    energy_spread = None if len(found) == 1 else np.std([one.energies for one in found], axis=0, ddof=1) / sizes
    return Evaluation(
        symbols=np.concatenate([np.array(frame.get_chemical_symbols()) for frame in frames]),
        frame_of=np.repeat(np.arange(len(frames)), sizes),
        energies=np.stack([[label.energy for label in labels], energies], axis=-1),
        forces=np.stack([np.concatenate([label.forces for label in labels]), forces], axis=-1),
        stresses=np.stack([np.stack([label.stress for label in labels]), stresses], axis=-1),
        sizes=sizes,
        formulas=np.array([frame.get_chemical_formula() for frame in frames]),
        force_spread=spread,
        energy_spread=energy_spread,
    )
