"""All speeds that can be measured here, ours and the peer's in turns, as one table, a picture and JSON.

    python -m benchmarks                                  # ours: 48, 248, 992, 3,968 atoms
    python -m benchmarks --peer ~/nequip/bin/python       # and the original, from the environment it is installed in
    python -m benchmarks --systems "48 ions,248" --rounds 3
    python -m benchmarks --scaling 1,2                    # replicas and domains on one device and on two
    python -m benchmarks --against CHECKOUT               # fails where this checkout is 15 % slower; see against.py

Each round runs `md.py` and, where nequip and torch are found, `original.py`, one after the other, so that a machine
that drifts does so for both; the ratio is the median of the ratios of the rounds, of the network alone, which the
original is. Both check their forces first. `scaling.py` follows: steps against replicas and devices.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
SAME = {"48 ions": "licl_ions", "248": "licl"}
"""Systems of `md.py` by the names that `original.py` has for them."""


def has_peer(python: str) -> bool:
    """Whether that interpreter has nequip and torch."""
    return subprocess.run([python, "-c", "import nequip, torch"], capture_output=True, check=False).returncode == 0


def run(python: str, script: str, output: Path, *options: str) -> dict[str, Any]:
    """The report of one script."""
    command = [python, str(HERE / script), "--output", str(output), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads(output.read_text())


def commit() -> str:
    """Of the working tree."""
    found = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def main() -> None:
    """Measure, print, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=sys.executable, help="interpreter with nequip 0.6.2 and torch")
    parser.add_argument("--systems", default="48 ions,248,992,3968")
    parser.add_argument("--rounds", type=int, help="3, or 5 with --against")
    parser.add_argument("--against", type=Path, help="another checkout to compare with")
    parser.add_argument("--seconds", default="10", help="measuring time of a system in a round")
    parser.add_argument("--scaling", default="1", help="numbers of devices for scaling.py, such as 1,2; '' for none")
    parser.add_argument("--output", type=Path, default=HERE / "output" / "all.json")
    options = parser.parse_args()
    rounds = options.rounds or (5 if options.against else 3)
    if options.against:
        command = [sys.executable, str(HERE / "against.py"), str(options.against), "--rounds", str(rounds)]
        raise SystemExit(subprocess.run(command, check=False).returncode)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    peer = has_peer(options.peer)
    if not peer:
        print(f"{options.peer} has no nequip and torch: only ours is measured (pass --peer)", file=sys.stderr)
    ours, theirs = [], []
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        ours.append(
            run(
                sys.executable,
                "md.py",
                options.output.with_suffix(".ours"),
                "--systems",
                options.systems,
                "--seconds",
                options.seconds,
            )
        )
        if peer:
            theirs.append(run(options.peer, "original.py", options.output.with_suffix(".peer")))
    for suffix in (".ours", ".peer"):
        options.output.with_suffix(suffix).unlink(missing_ok=True)
    rows = [summary(number, ours, theirs) for number in range(len(ours[0]["systems"]))]
    report = {name: ours[0][name] for name in ("date", "precision", "cpu", "cores", "versions")}
    report |= {"commit": commit(), "peer": theirs[0]["versions"] if theirs else None, "rows": rows, "rounds": ours}
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{'system':10} {'force call':>12} {'MD step':>10} {'step/call':>10} {'original':>10} {'ratio':>7}")
    for row in rows:
        beside = f"{row['original_ms']:7.1f} ms {row['ratio']:7.1f}" if "ratio" in row else ""
        times = f"{row['force_call_ms']:9.2f} ms {row['md_step_ms']:7.2f} ms {row['step_over_call']:10.2f}"
        print(f"{row['system']:10} {times} {beside}")
    draw(rows, options.output.with_suffix(".png"))
    if options.scaling:
        print("steps against replicas and devices", file=sys.stderr, flush=True)
        script = [sys.executable, str(HERE / "scaling.py"), "--devices", options.scaling]
        output = options.output.with_stem(f"{options.output.stem}-scaling")
        subprocess.run([*script, "--output", str(output)], check=True)


def summary(number: int, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, Any]:
    """One system: medians over the rounds."""
    found = [one["systems"][number] for one in ours]
    row: dict[str, Any] = {"system": found[0]["system"], "atoms": found[0]["atoms"]}
    for name in ("force_call_ms", "network_call_ms", "md_step_ms"):
        times = [one[name] for one in found]
        row[name] = None if None in times else float(np.median(times))
    row["step_over_call"] = float(np.median([one["md_step_over_force_call"] for one in found]))
    if theirs and row["system"] in SAME:
        times = [
            next(s["force_call_ms_median"] for s in one["systems"] if s["model"] == SAME[row["system"]])
            for one in theirs
        ]
        ratios = [b / a["network_call_ms"] for a, b in zip(found, times, strict=True)]
        row |= {"original_ms": float(np.median(times)), "ratio": float(np.median(ratios)), "ratios": ratios}
    return row


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Milliseconds a step against atoms."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(5, 3.6), layout="constrained")
    atoms = [row["atoms"] for row in rows]
    ax.loglog(atoms, [row["md_step_ms"] for row in rows], "o-", label="MD step")
    ax.loglog(atoms, [row["force_call_ms"] for row in rows], "s--", label="force call")
    beside = [row for row in rows if "ratio" in row]
    if beside:
        ax.loglog([r["atoms"] for r in beside], [r["original_ms"] for r in beside], "k^", label="force call, original")
    ax.set(xlabel="atoms", ylabel="ms")
    ax.legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
