"""Speed of force calls and MD steps of the published LiCl potentials.

    python benchmarks/md.py --output benchmarks/results/md-<machine>.json

Systems: 48 ions (ions-only potential), and the all-atom potential on 248, 992 and 3,968 atoms (the published frame and
its 2 x 2 x 1 and 4 x 2 x 2 repetitions); larger ones, up to a million atoms, where they are asked for. Every system is
checked first: forces against those published with the potential, and the supercells against the frame that they repeat.
Times are medians of several repetitions, force calls and MD steps taken in turn in one process, since machines drift. A
force call is energy and forces of network + Coulomb with exact lists at hand, a network call those of the network alone
(48 ions and 248 atoms, which peers are measured on); an MD step adds integration, thermostat, and neighbour lists. Each
system runs in a process of its own, so that its peak memory is its own; with --one-process, for GPUs, the systems share
one, and its peak is that of the largest system so far.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxelyte.interop.published import place_of

REFERENCE = place_of("reference", holding="licl_ions/reference.npz")
REPEATS = {"48 ions": None, "248": (1, 1, 1), "992": (2, 2, 1), "3968": (4, 2, 2)}
LARGE = {"15872": (4, 4, 4), "63488": (8, 8, 4), "253952": (16, 8, 8), "1015808": (16, 16, 16)}


def load(name: str) -> tuple[Any, Any, float]:
    """Potential, atoms, and the largest deviation of the network's forces from the published ones in eV/Å."""
    from ase import Atoms

    import jaxelyte as jxl

    folder = REFERENCE / ("licl_ions" if name == "48 ions" else "licl")
    frame = np.load(folder / "reference.npz")
    atoms = Atoms(frame["0_numbers"], frame["0_positions"], cell=frame["0_cell"], pbc=True)
    network = jxl.load_nequip(folder)
    potential = network + jxl.ScreenedCoulomb({"Li": 1.0, "Cl": -1.0}, permittivity=78.3)
    repeat = (REPEATS | LARGE)[name]
    if repeat in (None, (1, 1, 1)):
        return potential, atoms, float(np.abs(forces_of(network, atoms) - frame["0_forces"]).max())
    _, _, deviation = load("248")
    expected = np.tile(forces_of(potential, atoms), (int(np.prod(repeat)), 1))
    atoms = atoms.repeat(repeat)
    return potential, atoms, max(deviation, float(np.abs(forces_of(potential, atoms) - expected).max()))


def forces_of(potential: Any, atoms: Any) -> np.ndarray:
    """Forces in eV/Å from lists made on the host."""
    call = force_call(potential, atoms)
    return np.asarray(call()[1], np.float64)


def force_call(potential: Any, atoms: Any) -> Any:
    """A compiled energy-and-forces call with its neighbour lists at hand."""
    from jaxelyte.neighbors import neighbor_lists
    from jaxelyte.potentials.derivatives import energy_and_forces
    from jaxelyte.system import System

    system = System.from_atoms(atoms)
    prepared = potential.prepare(system).compiled()
    lists = neighbor_lists(system, prepared)
    compiled = jax.jit(energy_and_forces)
    return lambda: jax.block_until_ready(compiled(prepared, system, lists))


def make_engine(
    potential: Any, atoms: Any, timestep: float, replicas: int = 1, devices: Any = None, frames: int = 1
) -> Any:
    """An engine at step 0, equilibrated velocities at 300 K; replicas are divided among ``devices``.

    ``frames`` is the room in a chunk, see `jaxelyte.dynamics.chunk.Settings`.
    """
    import jaxelyte as jxl
    from jaxelyte.dynamics.chunk import Settings
    from jaxelyte.dynamics.engine import Engine
    from jaxelyte.dynamics.integrators import make_integrator
    from jaxelyte.dynamics.start import batch_systems, start_velocities
    from jaxelyte.potentials.preparation import prepare_potential

    systems = batch_systems(atoms, replicas)
    prepared = prepare_potential(potential, systems)
    integrator = make_integrator(jxl.NVT(300.0), len(atoms), momentum_conserved=True)
    settings = Settings(integrator, 1_000_000, 1_000_000, frames, (), (), False)
    keys = jax.random.split(jax.random.key(0), (replicas, 2))
    engine = Engine.create(prepared, systems, settings, timestep=timestep, skin=1.0, devices=devices)
    velocities = start_velocities(
        atoms,
        systems,
        keys[:, 0],
        request=300.0,
        temperature=300.0,
        momentum_conserved=True,
        degrees=integrator.degrees,
    )
    engine.start(velocities, keys[:, 1])
    return engine


def with_precision(potential: Any, atoms: Any, precision: Any) -> tuple[Any, dict[str, Any]]:
    """The form with products of fewer bits, and what that does to the forces; raises where it spoils them."""
    import jaxelyte as jxl

    potential = potential.compiled(precision=precision)
    error = jxl.form_error(potential, atoms)
    if not error.forces_rms < 0.05 * error.forces_scale:
        raise SystemExit(f"{error}; no figures")
    return potential, {"form_error": error.to_dict()}


def measure(
    name: str, timestep: float, seconds: float, x64: bool, steps_too: bool = True, precision: Any = "float32"
) -> dict[str, Any]:
    """All figures of one system, or those of force calls alone; raises where the result is not right."""
    jax.config.update("jax_enable_x64", x64)
    potential, atoms, deviation = load(name)
    # Coordinates of some hundred Å are rounded to 1e-5 Å in float32, and OH bonds have 50 eV/Å².
    tolerance = 1e-5 if x64 else 2e-3 if name in LARGE else 5e-4
    if not deviation < tolerance:
        raise SystemExit(f"{name}: forces deviate by {deviation:.2e} eV/Å from the published ones; no figures")
    form: dict[str, Any] = {}
    if precision != "float32":
        potential, form = with_precision(potential, atoms, precision)
    began = time.perf_counter()
    call = force_call(potential, atoms)
    call()
    force_compile = time.perf_counter() - began
    figures = {
        "system": name,
        "atoms": len(atoms),
        "force_deviation_eV_A": deviation,
        "force_compile_s": force_compile,
        "device": jax.devices()[0].device_kind,
    } | form
    if not steps_too:
        times = [timed(call, max(1, int(seconds / 10 / timed(call)))) for _ in range(5)]
        return figures | {"force_call_ms": float(np.median(times)) * 1e3, "peak_memory_MiB": peak_memory_mib()}
    began = time.perf_counter()
    engine = make_engine(potential, atoms, timestep)
    md_compile = time.perf_counter() - began
    engine.advance(5)

    network = force_call(potential.terms[0], atoms) if name in ("48 ions", "248") else None
    if network:
        network()
    single = timed(call)
    calls = max(1, int(seconds / 10 / single))
    force_times, network_times, step_times = [], [], []
    for _ in range(5):
        force_times.append(timed(call, calls))
        if network:
            network_times.append(timed(network, calls))
        steps = max(8, int(seconds / 10 / force_times[0]))  # enough to meet rebuilds of the lists
        began = time.perf_counter()
        engine.advance(steps)
        step_times.append((time.perf_counter() - began) / steps)
    force, step = float(np.median(force_times)), float(np.median(step_times))
    ratios = np.array(step_times) / np.array(force_times)
    return figures | {
        "force_call_ms": force * 1e3,
        "network_call_ms": float(np.median(network_times)) * 1e3 if network else None,
        "md_step_ms": step * 1e3,
        "md_step_over_force_call": float(np.median(ratios)),
        "md_step_over_force_call_range": [float(ratios.min()), float(ratios.max())],
        "ns_per_day": timestep * 1e-6 * 86400 / step,
        "atom_steps_per_s": len(atoms) / step,
        "md_start_and_compile_s": md_compile,
        "list_builds_per_1000_steps": 1000 * int(engine.state.lists.builds) / max(1, int(engine.state.step)),
        "compilations": engine.timing.compilations,
        "repetitions": len(force_times),
        "peak_memory_MiB": peak_memory_mib(),
    }


def timed(call: Any, count: int = 1) -> float:
    """Seconds per call."""
    began = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - began) / count


def peak_memory_mib() -> dict[str, float]:
    """Peak resident memory of the process and, where the device tells, of the device, in MiB."""
    memory = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0}
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        memory["device"] = stats["peak_bytes_in_use"] / 2**20
    return memory


def cpu_name() -> str:
    """Model of the processor."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Run the systems asked for and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default=",".join(REPEATS), help="comma-separated numbers of atoms")
    parser.add_argument("--calls-only", default="", help="systems for which only force calls are timed, too")
    parser.add_argument("--one-process", action="store_true", help="for all systems")
    parser.add_argument("--timestep", type=float, default=0.5, help="fs")
    parser.add_argument("--seconds", type=float, default=10.0, help="measuring time per system")
    parser.add_argument("--x64", action="store_true", help="float64")
    parser.add_argument("--precision", default="float32", help="of products in networks: float32, tf32 or bf16")
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    if not REFERENCE.exists():
        raise SystemExit(f"the reference potentials are not there: {REFERENCE}")
    from jaxelyte.dynamics.summary import versions

    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "precision": "float64" if options.x64 else options.precision,
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": versions(),
        "systems": [],
    }
    spawn = multiprocessing.get_context("spawn")
    only = [name for name in options.calls_only.split(",") if name]
    for name in [*filter(None, options.systems.split(",")), *only]:
        arguments = (name, options.timestep, options.seconds, options.x64, name not in only, options.precision)
        if options.one_process:
            figures = measure(*arguments)
        else:
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                figures = process.submit(measure, *arguments).result()
        report["systems"].append(figures)
        print(json.dumps(figures, indent=1), flush=True)
        if options.output:
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
