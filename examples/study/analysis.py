"""What the runs of study.py say: distribution functions, contact pairs, diffusion, and pictures beside experiment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

import jaxelyte as jxl

TEMPERATURE, CONCENTRATION, DENSITY = 300.0, 2.4, 1.092
"""K, mol/L, g/cm³: density of NaCl solution at 25 °C (2.52 mol/kg)."""
WATER_VISCOSITY, SOLUTION_VISCOSITY = 0.888e-3, 1.14e-3
"""Pa s at 25 °C: of water, as in the study; of the solution, by the tables of Kestin, Khalifa and Correia, J. Phys.
Chem. Ref. Data 10, 71 (1981)."""
PAIRS = (("Na", "O"), ("Cl", "O"), ("O", "O"), ("Na", "Cl"))
USUAL = {"Na-O": 3.2, "Cl-O": 3.8, "O-O": 3.4, "Na-Cl": 3.7}
"""Å, edges of first shells."""
WIDTH = 0.02
"""Å, of the bins."""
PEAKS = {"Na-O": 2.384, "Cl-O": 3.16, "O-O": 2.80}
"""Å, measured: Na-O and (in pure water) O-O by X-ray diffraction; Cl-O between 3.14 and 3.2 Å."""
MEASURED = {
    "Na, tracer (Mills and Lobo 1989)": 1.1e-9,
    "NaCl, mutual (Vitagliano and Lyons 1956)": 1.5e-9,
    "water, pure (Mills 1973)": 2.30e-9,
}
"""m²/s at 298.15 K and about 2.4 mol/L, to two digits. The runs are at 300 K, where water moves 4 to 5 % faster."""


def structure(runs: Sequence[jxl.Run], discard: int) -> dict[str, Any]:
    """First peaks, minima and neighbours up to them, with errors from the spread between runs; mean curves."""
    curves = [jxl.rdf(run, pairs=PAIRS, width=WIDTH, discard=discard) for run in runs]
    found = {}
    for pair in PAIRS:
        each = [one[pair] for one in curves]
        g = np.array([one.g for one in each])
        spread = g.std(0, ddof=1) / math.sqrt(len(g)) if len(g) > 1 else np.nan_to_num(each[0].error)
        edge = _minimum("-".join(pair), each)
        neighbours = [one.coordination_at(edge)[0] for one in each]
        peaks = [first_peak(one) for one in each]
        found["-".join(pair)] = {
            "r_A": each[0].r.tolist(),
            "g": g.mean(0).tolist(),
            "error": spread.tolist(),
            "peak_A": mean_and_error([peak[0] for peak in peaks]),
            "height": mean_and_error([peak[1] for peak in peaks]),
            "minimum_A": edge,
            "neighbours": mean_and_error(neighbours),
            "neighbours_of_each_run": neighbours,
        }
    return found


def first_peak(curve: Any) -> tuple[float, float]:
    """Position in Å and height; NaN for a pair that was never close."""
    try:
        peak = curve.first_peak()
    except jxl.InputError:
        return math.nan, math.nan
    return float(peak.position), float(peak.height)


def _minimum(name: str, curves: Sequence[Any]) -> float:
    """The edge of the first shell in Å: of the first run that has one, else a usual value."""
    for curve in curves:
        try:
            return float(curve.first_minimum().position)
        except jxl.InputError:
            continue
    return USUAL[name]


def mean_and_error(values: Sequence[float]) -> list[float]:
    """Mean and standard error of independent values; NaN ones do not count."""
    good = np.array([value for value in values if math.isfinite(value)])
    if not len(good):
        return [math.nan, math.nan]
    return [float(good.mean()), float(good.std(ddof=1) / math.sqrt(len(good))) if len(good) > 1 else math.nan]


def frames_rdf(frames: Sequence[Atoms], r_max: float = 4.8) -> dict[str, Any]:
    """g(r) of Na-O over frames of different cells and compositions: each is normalised by its own density."""
    from ase.neighborlist import neighbor_list

    edges = np.arange(0.0, r_max + WIDTH / 2, 2.5 * WIDTH)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    curves = []
    for frame in frames:
        symbols = np.array(frame.get_chemical_symbols())
        first, second, distance = neighbor_list("ijd", frame, r_max)
        chosen = distance[(symbols[first] == "Na") & (symbols[second] == "O")]
        expected = (symbols == "Na").sum() * (symbols == "O").sum() / frame.get_volume() * shells
        curves.append(np.histogram(chosen, edges)[0] / expected)
    g = np.array(curves)
    return {
        "r_A": ((edges[1:] + edges[:-1]) / 2).tolist(),
        "g": g.mean(0).tolist(),
        "error": (g.std(0, ddof=1) / math.sqrt(len(g))).tolist(),
    }


def pairing(run: jxl.Run, discard: int, edge: float) -> dict[str, Any]:
    """Contact pairs: how many at the start, on average, at the end; how often they formed and broke.

    A pair is formed below ``edge`` and broken above it plus 1 Å, so that vibrations at the edge are no events. The
    frames of the equilibration count for events, and for the start.
    """
    trajectory = run.trajectory
    atoms = trajectory.frame(0)
    sodium, chlorine = (np.flatnonzero(atoms.numbers == number) for number in (11, 17))
    sides = atoms.cell.lengths()
    positions = np.asarray(trajectory.positions)[:, 0]
    apart = positions[:, sodium][:, :, None] - positions[:, chlorine][:, None]
    distance = np.linalg.norm(apart - np.round(apart / sides) * sides, axis=-1)
    bound, formed, broken = distance[0] < edge, 0, 0
    counts = [int(bound.sum())]
    for now in distance[1:]:
        new, gone = ~bound & (now < edge), bound & (now > edge + 1.0)
        formed, broken = formed + int(new.sum()), broken + int(gone.sum())
        bound = (bound | new) & ~gone
        counts.append(int(bound.sum()))
    after = counts[discard:] or counts
    return {"first": counts[0], "mean": float(np.mean(after)), "last": counts[-1], "formed": formed, "broken": broken}


def diffusion(run: jxl.Run, species: str, discard: int, viscosity: float) -> dict[str, Any]:
    """D of one run in m²/s, with the correction of Yeh and Hummer; NaN where the run is too short for it."""
    names = ("value", "error", "uncorrected", "correction", "exponent")
    try:
        found = jxl.diffusivity(run, species, viscosity=viscosity, temperature=TEMPERATURE, discard=discard)
    except jxl.InputError as error:
        return dict.fromkeys(names, math.nan) | {"refused": str(error)}
    return {name: float(getattr(found, name)) for name in names} | {"fit_fs": list(found.fit)}


def combined(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean over runs. The error is the larger one of their spread and of their own errors taken together."""
    good = [one for one in each if math.isfinite(one["value"])]
    value, spread = mean_and_error([one["value"] for one in good])
    own = [one["error"] for one in good if math.isfinite(one["error"])]
    together = math.sqrt(sum(x * x for x in own)) / len(own) if own else math.nan
    error = max((x for x in (spread, together) if math.isfinite(x)), default=math.nan)
    return {
        "value": value,
        "error": error,
        "spread": spread,
        "uncorrected": mean_and_error([one["uncorrected"] for one in good])[0],
        "correction": good[0]["correction"] if good else math.nan,
        "runs": list(each),
    }


def quarters(run: jxl.Run, discard: int) -> dict[str, Any]:
    """How equilibration is judged: energy per atom and neighbours of Na in four equal parts of what counts."""
    energy = run.log["potential"][discard:, 0] / run.trajectory.num_atoms
    frames = len(run.trajectory) - discard
    parts = [run.trajectory[discard + k * frames // 4 : discard + (k + 1) * frames // 4] for k in range(4)]
    shells = [jxl.rdf(part, "Na", "O", width=0.05).coordination_at(3.2)[0] for part in parts]
    return {
        "energy_eV_per_atom": [float(part.mean()) for part in np.array_split(energy, 4)],
        "oxygen_within_3.2_A": [float(x) for x in shells],
        "temperature_K": run.summary.get("temperature"),
    }


def cleaned(content: Any) -> Any:
    """The same with null instead of NaN, which JSON does not have."""
    if isinstance(content, dict):
        return {key: cleaned(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [cleaned(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def figures(results: dict[str, Any], folder: Path) -> None:
    """``structure.png`` and ``diffusion.png``."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for ax, name in zip(axes, ("Na-O", "Cl-O", "Na-Cl"), strict=True):
        one = results["structure"][name]
        r, g, error = (np.array(one[key]) for key in ("r_A", "g", "error"))
        ax.fill_between(r, g - error, g + error, color="#1f5a94", alpha=0.3, lw=0)
        ax.plot(r, g, color="#1f5a94", label="simulation")
        if name in PEAKS:
            ax.axvline(PEAKS[name], color="#c8553d", ls="--", lw=1, label=f"measured, {PEAKS[name]} Å")
        ax.set(xlabel="r / Å", ylabel=f"g(r), {name}", xlim=(1.8, 6.0))
    frames = results["training_frames"]
    if frames is not None:
        axes[0].plot(frames["r_A"], frames["g"], "k:", lw=1, label="training frames")
    for ax in axes[:2]:
        ax.legend(frameon=False, fontsize=8)
    fig.savefig(folder / "structure.png", dpi=150)
    plt.close(fig)
    _bars(results, folder / "diffusion.png")


def _bars(results: dict[str, Any], path: Path) -> None:
    import matplotlib.pyplot as plt

    rows = [("Na, this run", results["diffusion"]["Na"]), ("water, this run", results["diffusion"]["O"])]
    for name, one in results.get("careful", {}).items():
        for viscosity, found in one["diffusion"]["Na"].items():
            rows.append((f"Na, 20 Å, {name}, viscosity of {viscosity}", found))
    fig, ax = plt.subplots(figsize=(8, 0.5 * (len(rows) + len(MEASURED)) + 1.2), layout="constrained")
    labels = []
    for k, (label, one) in enumerate(rows):
        ax.errorbar(1e9 * one["value"], k, xerr=np.nan_to_num(1e9 * one["error"]), fmt="o", color="#1f5a94", capsize=3)
        ax.plot(1e9 * one["uncorrected"], k, "o", mfc="none", color="#1f5a94")
        labels.append(label)
    for k, (label, value) in enumerate(MEASURED.items(), len(rows)):
        ax.plot(1e9 * value, k, "s", color="#c8553d")
        labels.append(f"{label}, 298.15 K")
    ax.set(yticks=range(len(labels)), yticklabels=labels, xlabel="D / 10⁻⁹ m²/s (open: without finite-size correction)")
    ax.invert_yaxis()
    fig.savefig(path, dpi=150)
    plt.close(fig)
