"""Steps of MD against the number of replicas and of devices.

    python benchmarks/scaling.py --output benchmarks/results/scaling-<machine>.json

Replicas of 48 ions (the published ions-only LiCl potential with its Coulomb term) in one program, on one device and
divided among all; and one system of 992 atoms (the all-atom potential), cut into domains. A device is a GPU, or a core
of a CPU when --devices is more than one; a single CPU device uses all cores for convolutions. First the forces of all
replicas, and of the divided system, are compared with those of the system alone. Turns of all cases follow each other;
times are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from md import cpu_name, load, make_engine

DEVIATION = 5e-4
"""eV/Å, by which float32 forces may differ between programs."""


def cases(replicas: list[int], devices: list[int], domains: str) -> dict[tuple[str, int, int], Any]:
    """Engines at step 0 by system, replicas and devices; raises where their forces are not those of the first."""
    import jaxelyte as jxl

    found: dict[tuple[str, int, int], Any] = {}
    for name, numbers in (("48 ions", replicas), (domains, [1])):
        potential, atoms, deviation = load(name)
        alone = None
        for number in numbers:
            for count in devices:
                if number % count and number > 1:
                    continue
                some = tuple(jax.devices()[:count])
                if number == 1 and count > 1:
                    if name == "48 ions":  # too small to be cut
                        continue
                    engine = make_engine(jxl.distribute(potential, some), atoms, 0.5)
                else:
                    engine = make_engine(potential, atoms, 0.5, number, some if count > 1 else None)
                forces = np.asarray(engine.state.particles.forces)
                alone = forces if alone is None else alone
                worst = float(np.abs(forces - alone).max())
                if not max(worst, deviation) < DEVIATION:
                    raise SystemExit(f"{name}, {number} replicas, {count} devices: forces off by {worst:.1e} eV/Å")
                found[name, number, count] = engine
    return found


def measure(engines: dict[Any, Any], turns: int, seconds: float) -> dict[Any, float]:
    """Milliseconds a step of all replicas."""
    steps = {}
    for key, engine in engines.items():
        engine.advance(20)
        began = time.perf_counter()
        engine.advance(20)
        steps[key] = max(5, int(20 * seconds / (time.perf_counter() - began)))
    times: dict[Any, list[float]] = {key: [] for key in engines}
    for _ in range(turns):
        for key, engine in engines.items():
            began = time.perf_counter()
            engine.advance(steps[key])
            times[key].append((time.perf_counter() - began) / steps[key])
    return {key: 1e3 * float(np.median(many)) for key, many in times.items()}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", default="1,2,4,8,16,32")
    parser.add_argument("--devices", default="1", help="numbers of devices, such as 1,2")
    parser.add_argument("--domains", default="992", help="atoms of the system that is cut")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a case in a turn")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/output/scaling.json"))
    options = parser.parse_args()
    replicas, devices = ([int(n) for n in text.split(",")] for text in (options.replicas, options.devices))
    if max(devices) > 1:  # before anything is computed; GPUs are there or not
        jax.config.update("jax_num_cpu_devices", max(devices))
    if len(jax.devices()) < max(devices):
        raise SystemExit(f"{max(devices)} devices asked for, {len(jax.devices())} found")
    from jaxelyte.dynamics.summary import versions

    found = measure(cases(replicas, devices, options.domains), options.turns, options.seconds)
    rows = [
        {"system": name, "replicas": number, "devices": count, "ms_per_step": ms, "ms_per_replica": ms / number}
        for (name, number, count), ms in found.items()
    ]
    report = {"date": time.strftime("%Y-%m-%d"), "precision": "float32", "cpu": cpu_name()}
    report |= {"cores": len(os.sched_getaffinity(0)), "versions": versions(), "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{'system':10} {'replicas':>8} {'devices':>8} {'step':>12} {'step/replica':>14}")
    for row in rows:
        print(
            f"{row['system']:10} {row['replicas']:8} {row['devices']:8} {row['ms_per_step']:9.2f} ms "
            f"{row['ms_per_replica']:11.3f} ms"
        )
    draw(rows, options.output.with_suffix(".png"))


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Milliseconds a step of a replica against replicas, and a step of the divided system against devices."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    for count in sorted({row["devices"] for row in rows}):
        some = [row for row in rows if row["devices"] == count and row["system"] == "48 ions"]
        label = f"{count} device{'s' if count > 1 else ''}"
        left.semilogx([r["replicas"] for r in some], [r["ms_per_replica"] for r in some], "o-", base=2, label=label)
    left.set(
        xlabel="replicas of 48 ions",
        ylabel="ms a step of one replica",
        ylim=(0, 1.1 * max(r["ms_per_replica"] for r in rows if r["system"] == "48 ions")),
    )
    left.legend(frameon=False)
    cut = [row for row in rows if row["system"] != "48 ions"]
    right.plot([row["devices"] for row in cut], [row["ms_per_step"] for row in cut], "s-")
    right.set(
        xlabel="devices",
        ylabel="ms a step",
        ylim=(0, 1.1 * max(r["ms_per_step"] for r in cut)),
        title=f"{cut[0]['system']} atoms in domains",
    )
    right.set_xticks([row["devices"] for row in cut])
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
