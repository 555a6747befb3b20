"""Read damaged files by every reader, in processes of their own, and count what went wrong.

Usage: python tests/fuzz/run.py --inputs 3000 [--seed 0] [--only PART_OF_A_NAME] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.judge import attempt, complaint
from fuzz.mutations import damage
from fuzz.seeds import Case, data_cases, own_cases, text_cases

LIMIT = 60.0
"""Seconds for one input; a reader that takes longer hangs."""

MEMORY = 24 << 30
"""Bytes of address space of a process."""

GROUPS = {"text": text_cases, "data": data_cases, "own": own_cases}


class Job(NamedTuple):
    case: int
    seed: int


def make_cases(folder: Path, groups: list[str]) -> list[Case]:
    """All sound files in a folder; those of runs and networks by a process of its own, since forks need a fresh JAX."""
    folder.mkdir(exist_ok=True)
    found = []
    for group in groups:
        if group == "own":
            maker = multiprocessing.get_context("fork").Process(target=own_cases, args=(folder,))
            maker.start()
            maker.join()
            if maker.exitcode != 0:
                raise RuntimeError("the sound files could not be made")
            found += _listed(folder)
        else:
            found += GROUPS[group](folder)
    return found


def _listed(folder: Path) -> list[Case]:
    """The cases of `own_cases`, whose files are there already."""
    from fuzz import seeds

    kept = {name: getattr(seeds, name) for name in ("make_run", "make_fit")}
    try:
        for name in kept:
            setattr(seeds, name, lambda _: None)
        shutil.rmtree(folder / "model")
        return own_cases(folder)
    finally:
        for name, function in kept.items():
            setattr(seeds, name, function)


def work(cases: list[Case], sound: Path, pipe: Connection, scratch: Path, keep: Path | None) -> None:
    """Answer jobs from a pipe until it ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    outcomes: dict[int, Any] = {}
    while (job := pipe.recv()) is not None:
        case = cases[job.case]
        if job.case not in outcomes:
            outcomes[job.case] = attempt(case, sound)
        before = outcomes[job.case]
        if before.content is None:
            pipe.send((job, "sound", f"the sound file is refused: {before.error or before.foreign}"))
            continue
        folder = scratch / f"{job.case}.{job.seed}"
        shutil.copytree(sound, folder, copy_function=os.link)
        content = (sound / case.target).read_bytes()
        damaged = damage(content, job.seed, text=case.text)
        (folder / case.target).unlink()
        (folder / case.target).write_bytes(damaged.content)
        wrong = complaint(case, damaged, before, attempt(case, folder))
        if wrong and keep is not None:
            shutil.copytree(folder, keep / f"{case.name.replace('/', '_')}.{job.seed}", dirs_exist_ok=True)
        shutil.rmtree(folder)
        pipe.send((job, damaged.kind, wrong))


class Worker:
    """A process, and the job that it works on."""

    def __init__(self, *arguments: Any) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=work, args=(*arguments[:2], other, *arguments[2:]), daemon=True)
        self.process.start()
        other.close()
        self.job: Job | None = None
        self.since = 0.0

    def give(self, job: Job) -> None:
        self.job, self.since = job, time.monotonic()
        self.pipe.send(job)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()


def fuzz(
    cases: list[Case], jobs: list[Job], folders: tuple[Path, Path, Path | None], workers: int
) -> list[tuple[Job, str, str]]:
    """Every job with its damage and what was wrong."""
    waiting, results = jobs[::-1], []
    pool = [Worker(cases, *folders) for _ in range(min(workers, len(jobs)))]
    while waiting or any(worker.job for worker in pool):
        for n, worker in enumerate(pool):
            if worker.job is not None and time.monotonic() - worker.since > LIMIT:
                results.append((worker.job, "?", f"hangs for more than {LIMIT:.0f} s"))
                worker.stop()
                pool[n] = Worker(cases, *folders)
            if pool[n].job is None and waiting:
                pool[n].give(waiting.pop())
        busy = {worker.pipe: n for n, worker in enumerate(pool) if worker.job}
        for ready in wait(list(busy), timeout=1.0):
            n = busy[ready]  # pyright: ignore[reportArgumentType]
            try:
                results.append(pool[n].pipe.recv())
                pool[n].job = None
            except (EOFError, OSError):
                job = pool[n].job
                assert job is not None
                pool[n].process.join()
                results.append((job, "?", f"the interpreter ended with {pool[n].process.exitcode}"))
                pool[n] = Worker(cases, *folders)
    for worker in pool:
        worker.stop()
    return results


def main() -> int:
    """Make the files, damage and read them, print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--groups", default="text,data,own")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        home = Path(name)
        cases = make_cases(home / "sound", options.groups.split(","))
        chosen = [n for n, case in enumerate(cases) if options.only in case.name]
        cases_and_rounds = [(chosen[n % len(chosen)], n // len(chosen)) for n in range(options.inputs)]
        # Each reader starts with other kinds of damage, so that a small sample has all of them.
        jobs = [Job(case, options.seed + 11 * case + turn) for case, turn in cases_and_rounds]
        results = fuzz(cases, jobs, (home / "sound", home, options.keep), options.workers)
    wrong: dict[tuple[str, str, str], list[int]] = {}
    for job, kind, text in results:
        if text:
            wrong.setdefault((cases[job.case].name, kind, re.sub(r"/tmp/\S*/", "", text)), []).append(job.seed)
    for (name, kind, text), seeds in sorted(wrong.items()):
        print(f"{name}, {kind}, seeds {', '.join(map(str, sorted(seeds)[:5]))}: {text}")
    kinds = Counter(kind for _, kind, _ in results)
    seconds = time.monotonic() - start
    print(f"{len(results)} inputs of {len(chosen)} readers and {len(kinds)} kinds of damage in {seconds:.0f} s")
    print(f"{sum(map(len, wrong.values()))} not as they should be")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
