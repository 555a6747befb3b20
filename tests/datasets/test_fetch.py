"""Published data: downloaded from a local server, compared with digests, converted, and found where they lie."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from typer.testing import CliRunner

import jaxelyte as jxl
import small_networks
from jaxelyte.cli.app import app
from jaxelyte.cli.models import check_permittivity
from jaxelyte.cli.sections import Term
from jaxelyte.datasets import download as downloading
from jaxelyte.datasets.convert import BOHR, HARTREE, array_digest, digest, projection, table_digest
from jaxelyte.datasets.download import RAW, RECORD, download, fetch
from jaxelyte.errors import DownloadError, InputError
from jaxelyte.interop.nequip_files import load_nequip, save_nequip
from jaxelyte.interop.published import (
    MANIFEST,
    SOURCE,
    data_folder,
    find_published,
    place_of,
    published,
    source_of,
    sources,
)
from jaxelyte.interop.shipped import located, no_model
from jaxelyte.potentials.preparation import check_baselines

COMMIT = "0123456789" * 4
SET = {
    "repository": "someone/data",
    "commit": COMMIT,
    "licence": "CC0-1.0",
    "citation": "Nobody, never",
    "what": "made up",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A mirror on this machine: ``files`` by path, ``asked`` the paths in order, ``broken`` those that break off."""
    state = SimpleNamespace(files={}, asked=[], broken={}, url="")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            content = state.files.get(self.path.lstrip("/"))
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            left = state.broken.get(self.path.lstrip("/"), 0)
            state.broken[self.path.lstrip("/")] = max(left - 1, 0)
            self.wfile.write(content[: len(content) // 2] if left else content)

        def log_message(self, *_: Any) -> None: ...

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=functools.partial(running.serve_forever, poll_interval=0.02))
    thread.start()
    state.url = f"http://127.0.0.1:{running.server_address[1]}"
    yield state
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "PAUSE", 0.0)


def runner_text(frames: list[Atoms]) -> bytes:
    """Frames as a RuNNer file, in atomic units."""
    blocks = []
    for atoms in frames:
        energy = atoms.calc.results["energy"]
        lines = ["begin", *("lattice " + " ".join(f"{x:.10f}" for x in row / BOHR) for row in atoms.cell[:])]
        rows = zip(atoms.positions / BOHR, atoms.symbols, atoms.calc.results["forces"] * BOHR / HARTREE, strict=True)
        for place, symbol, force in rows:
            numbers = " ".join(f"{x:.10f}" for x in place), " ".join(f"{x:.10f}" for x in force)
            lines.append(f"atom {numbers[0]} {symbol} 0.0 0.0 {numbers[1]}")
        lines += [f"energy {energy / HARTREE:.13f}", "charge 0.0", "end"]
        blocks.append("\n".join(lines) + "\n")
    return "".join(blocks).encode()


def labelled(seed: int) -> Atoms:
    from ase.calculators.singlepoint import SinglePointCalculator

    rng = np.random.default_rng(seed)
    atoms = Atoms("OH2", rng.uniform(0, 8, (3, 3)).round(6), cell=np.diag([8.0, 9.0, 10.0]), pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-400.125, forces=rng.normal(size=(3, 3)).round(5))
    return atoms


def manifest(folder: Path, files: list[dict[str, Any]], **more: Any) -> Path:
    path = folder / "manifest.json"
    path.write_text(json.dumps({"made_up": {**SET, **more, "files": files}}))
    return path


def copied(name: str, content: bytes) -> dict[str, Any]:
    return {"kind": "copy", "source": f"raw/{name}", "target": f"reference/{name}", "sha256": digest(content)}


def frame_entry(frames: list[Atoms], *, last: int, left_out: list[int]) -> dict[str, Any]:
    values = {
        "positions": np.concatenate([one.positions for one in frames]),
        "cells": np.concatenate([one.cell[:] for one in frames]),
        "forces": np.concatenate([one.get_forces() for one in frames]),
        "energies": np.array([one.get_potential_energy() for one in frames]),
    }
    return {
        "kind": "frames",
        "sources": [{"source": "raw/frames.data", "config": "made_up", "last": last, "left_out": left_out}],
        "target": "data/frames.xyz.gz",
        "numbers": digest(np.concatenate([one.numbers for one in frames]).astype("<i8").tobytes()),
        "fingerprint": {name: projection(value) for name, value in values.items()},
    }


def test_files_come_checked_and_once(server: SimpleNamespace, tmp_path: Path) -> None:
    one, two = b"first\n" * 1000, b"second\n"
    server.files = {f"someone/data/{COMMIT}/raw/a.dat": one, f"someone/data/{COMMIT}/raw/b.dat": two}
    table, to, seen = manifest(tmp_path, [copied("a.dat", one), copied("b.dat", two)]), tmp_path / "to", []
    done = fetch(
        to=to, url=server.url + "/", manifest=table, progress=lambda name, got, total: seen.append((name, got, total))
    )
    assert [(item.path.read_bytes(), item.checked, item.new) for item in done] == [(one, True, True), (two, True, True)]
    assert seen[-1] == ("b.dat", 7, 7)
    record = json.loads((to / RECORD).read_text())
    assert record["reference/a.dat"]["licence"] == "CC0-1.0"
    assert record["reference/a.dat"]["sha256"] == {"raw/a.dat": digest(one)}
    assert {path.name for path in to.iterdir()} == {"reference", RECORD}  # no downloads, no lock
    again = fetch(to=to, url=server.url, manifest=table)
    assert [item.new for item in again] == [False, False]
    assert len(server.asked) == 2
    (to / "reference/b.dat").unlink()
    assert [item.new for item in fetch(to=to, url=server.url, manifest=table)] == [False, True]
    (to / "reference/a.dat").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"a\.dat was changed since it was fetched"):
        fetch(to=to, url=server.url, manifest=table)
    assert (to / "reference/a.dat").read_bytes() == b"mine"


def test_a_broken_line_leaves_nothing_and_the_next_call_goes_on(server: SimpleNamespace, tmp_path: Path) -> None:
    one, two = b"first\n" * 1000, b"second\n" * 1000
    path = f"someone/data/{COMMIT}/raw/b.dat"
    server.files = {f"someone/data/{COMMIT}/raw/a.dat": one, path: two}
    server.broken = {path: 3}
    table, to = manifest(tmp_path, [copied("a.dat", one), copied("b.dat", two)]), tmp_path / "to"
    with pytest.raises(DownloadError, match=r"b\.dat cannot be downloaded: .*repeat the command"):
        fetch(to=to, url=server.url, manifest=table)
    assert (to / "reference/a.dat").read_bytes() == one
    assert not (to / "reference/b.dat").exists()
    assert not list(to.rglob("*b.dat*"))
    server.broken, server.asked = {path: 2}, []  # two attempts fail, the third is whole
    assert [item.new for item in fetch(to=to, url=server.url, manifest=table)] == [False, True]
    assert server.asked == [f"/{path}"] * 3
    assert (to / "reference/b.dat").read_bytes() == two


def test_what_a_killed_call_leaves_is_replaced(server: SimpleNamespace, tmp_path: Path) -> None:
    one = b"first\n"
    server.files = {f"someone/data/{COMMIT}/raw/a.dat": one}
    table, to = manifest(tmp_path, [copied("a.dat", one)]), tmp_path / "to"
    fetch(to=to, url=server.url, manifest=table)
    record = json.loads((to / RECORD).read_text())
    record["reference/a.dat"]["content"] = None  # killed after the file was written, before it was recorded
    (to / RECORD).write_text(json.dumps(record))
    (to / RAW).mkdir()
    (to / RAW / ".tmp-half").write_bytes(b"fi")
    assert [item.new for item in fetch(to=to, url=server.url, manifest=table)] == [True]
    assert not (to / RAW).exists()


@pytest.mark.parametrize("kind", ["copy", "frames"])
def test_other_content_is_refused(server: SimpleNamespace, tmp_path: Path, kind: str) -> None:
    frames = [labelled(n) for n in range(3)]
    entry = copied("a.dat", b"right\n") if kind == "copy" else frame_entry(frames, last=2, left_out=[])
    wrong = [one.copy() for one in frames]
    for one, good in zip(wrong, frames, strict=True):
        one.calc = good.calc
    wrong[1].positions[2, 1] += 0.1
    server.files = {
        f"someone/data/{COMMIT}/raw/a.dat": b"wrong\n",
        f"someone/data/{COMMIT}/raw/frames.data": runner_text(wrong),
    }
    with pytest.raises(DownloadError, match="not the published"):
        fetch(to=tmp_path / "to", url=server.url, manifest=manifest(tmp_path, [entry]))
    assert not list((tmp_path / "to").rglob("*.dat*"))
    assert not list((tmp_path / "to").rglob("*.gz"))


def test_frames_of_runner_files(server: SimpleNamespace, tmp_path: Path) -> None:
    frames = [labelled(n) for n in range(4)]
    text = runner_text(frames).replace(b"begin\n", b"begin\nrubbish\n", 1)
    server.files = {f"someone/data/{COMMIT}/raw/frames.data": text}
    entry = frame_entry([frames[1], frames[3]], last=3, left_out=[0, 2])
    (done,) = fetch(to=tmp_path / "to", url=server.url, manifest=manifest(tmp_path, [entry]))
    found = read(done.path, ":", format="extxyz")
    assert [one.info["src_index"] for one in found] == [1, 3]
    for one, good in zip(found, (frames[1], frames[3]), strict=True):
        np.testing.assert_allclose(one.positions, good.positions, atol=1e-9)
        np.testing.assert_allclose(one.cell[:], good.cell[:], atol=1e-9)
        np.testing.assert_allclose(one.get_forces(), good.get_forces(), atol=1e-9)
        assert one.get_potential_energy() == pytest.approx(-400.125, abs=1e-8)
    server.files = {f"someone/data/{COMMIT}/raw/frames.data": text[: len(text) // 2]}
    with pytest.raises(DownloadError, match="cut short"):
        fetch(to=tmp_path / "other", url=server.url, manifest=manifest(tmp_path, [entry]))


def test_tables_keep_every_hundredth_row_or_five_digits(server: SimpleNamespace, tmp_path: Path) -> None:
    long = "".join(f"{n:5d}  {n / 7:.3f}\n" for n in range(1, 1002))
    curve = "# made by a program\n0.005 0.123456789\n0.0150000001 1.5\n"
    server.files = {f"someone/data/{COMMIT}/raw/{n}": t.encode() for n, t in (("long", long), ("curve", curve))}
    entries = [
        {"kind": "table", "source": "raw/long", "target": "long", "head": "", "every": 100},
        {"kind": "table", "source": "raw/curve", "target": "curve", "head": "# r g", "every": 1},
    ]
    wanted = [long.splitlines()[::100], ["# r g", "0.00500 0.12346", "0.01500 1.50000"]]
    for entry, lines in zip(entries, wanted, strict=True):
        entry["sha256"] = table_digest("\n".join(lines).encode())
    done = fetch(to=tmp_path / "to", url=server.url, manifest=manifest(tmp_path, entries))
    assert [one.path.read_text().splitlines() for one in done] == wanted


def test_deployed_models_become_folders(
    server: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jaxelyte.interop import torchscript

    potential = small_networks.network()
    saved = save_nequip(potential, tmp_path / "model")
    arrays = dict(np.load(saved / "state_dict.npz"))
    config = json.loads((saved / "config.json").read_text())
    server.files = {f"someone/data/{COMMIT}/raw/model.pth": b"a program"}
    species = list(potential.config.type_names)
    entry = {"kind": "model", "source": "raw/model.pth", "target": "reference/ions", "species": species}
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"jaxelyte\[torch\]"):
        fetch(["made_up"], to=tmp_path / "to", url=server.url, manifest=manifest(tmp_path, [entry]))
    with pytest.warns(UserWarning, match="are left out"):
        assert fetch(to=tmp_path / "to", url=server.url, manifest=manifest(tmp_path, [entry])) == []
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    monkeypatch.setattr(torchscript, "read_torchscript", lambda _: (config, arrays))
    barrier = {"height": 0.665, "center": 1.325, "width": 0.06, "species": ["Na", "Cl"]}
    table = manifest(tmp_path, [entry], charges={"Na": 1, "Cl": -1}, permittivity=72.0, barrier=barrier)
    (done,) = fetch(to=tmp_path / "to", url=server.url, manifest=table)
    assert not done.checked  # nobody knows its digest beforehand
    assert json.loads((done.path / SOURCE).read_text())["permittivity"] == 72.0
    found = load_nequip(done.path)
    assert array_digest(dict(np.load(done.path / "state_dict.npz"))) == array_digest(arrays)
    assert found.config == potential.config
    whole = jxl.load_potential(done.path)  # with what it was trained beside, and run with
    network, coulomb, wall = whole.potential.terms
    assert (float(coulomb.permittivity), coulomb.numbers) == (72.0, (11, 17))
    np.testing.assert_allclose([wall.height, wall.center, wall.width], [0.665, 1.325, 0.06], rtol=1e-6)
    assert (whole.card["licence"], whole.card["citation"]) == (
        "CC0-1.0",
        [f"Nobody, never (someone/data, commit {COMMIT[:8]})"],
    )
    with pytest.raises(InputError, match="is no force field without it"):
        check_baselines(network)
    term = Term.model_validate({"type": "nequip", "path": done.path})
    charges = {"type": "coulomb", "charges": source_of(done.path).charges}
    check_permittivity([term, Term.model_validate(charges | {"permittivity": 72.0})])  # no warning
    with pytest.warns(UserWarning, match=r"ions was trained relative to a Coulomb term of permittivity 72, .* 78\.3"):
        check_permittivity([term, Term.model_validate(charges | {"permittivity": 78.3})])
    (done.path / "source.json").write_text('{"somebody": "else"}')
    with pytest.raises(InputError, match="is not what `jaxelyte fetch` writes"):
        jxl.load_potential(done.path)
    table = manifest(tmp_path, [{**entry, "sha256": array_digest(arrays)}])
    (done,) = fetch(to=tmp_path / "known", url=server.url, manifest=table)
    assert done.checked
    table = manifest(tmp_path, [{**entry, "sha256": "0" * 64}])
    with pytest.raises(DownloadError, match="not the published file"):
        fetch(to=tmp_path / "other", url=server.url, manifest=table)


def test_wrong_requests(server: SimpleNamespace, tmp_path: Path) -> None:
    table = manifest(tmp_path, [copied("a.dat", b"")])
    with pytest.raises(InputError, match=r"no published set 'nacll'; there are made_up"):
        fetch(["nacll"], to=tmp_path / "to", manifest=table)
    with pytest.raises(InputError, match="must begin with https"):
        fetch(to=tmp_path / "to", url="file:///etc", manifest=table)
    with pytest.raises(DownloadError, match=r"404.*check the connection and the address"):
        fetch(to=tmp_path / "to", url=server.url, manifest=table)
    assert len(server.asked) == 1  # a missing file is not asked for again
    with pytest.raises(DownloadError, match="cannot be downloaded"):
        download("http://127.0.0.1:9/nobody")
    (tmp_path / "to/reference").mkdir(parents=True)
    (tmp_path / "to/reference/a.dat").write_text("mine")
    with pytest.raises(InputError, match="is there and was not fetched"):
        fetch(to=tmp_path / "to", url=server.url, manifest=table)


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAXELYTE_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    (tmp_path / "reference/made_up").mkdir(parents=True)
    assert published("reference", "made_up") == tmp_path / "reference/made_up"
    assert find_published("reference", "nothing") is None
    with pytest.raises(InputError, match=r"reference/nothing is neither in .*does not download it"):
        published("reference", "nothing")
    with pytest.raises(InputError, match=r"reference/kcl is neither in .*`jaxelyte fetch` downloads it"):
        published("reference", "kcl")
    assert place_of("reference", holding="made_up") == tmp_path / "reference"
    (tmp_path / "reference/made_up/config.json").write_text("{}")
    assert located("made_up") == tmp_path / "reference/made_up"  # a name in TOML files and on the command line
    assert located("made_up", folder=tmp_path / "elsewhere") == tmp_path / "reference/made_up"
    assert "`jaxelyte fetch kcl` downloads" in str(no_model("kcl"))
    monkeypatch.delenv("JAXELYTE_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert data_folder() == tmp_path / "share" / "jaxelyte"


def test_the_table_of_sets_is_whole() -> None:
    for source in sources().values():
        assert len(source.commit) == 40
        assert source.licence in {"MIT", "CC-BY-SA-4.0"}
        models = [one for one in source.files if one["kind"] == "model"]
        assert bool(models) == bool(source.permittivity)
        for one in models:
            assert set(source.charges) <= set(one["species"])
        for one in source.files:
            assert one["kind"] == "model" or "sha256" in one or "fingerprint" in one


def test_the_command(server: SimpleNamespace, tmp_path: Path, reference: Path) -> None:
    """The measured curves as they are stored beside the repository, through the real table."""
    names = ["rdf_OO_xrd.dat", "rdf_OO_mbpol.dat", "licl_activity_derivative.dat"]
    (source,) = (one for one in sources().values() if one.name == "experiment")
    for one, name in zip(source.files, names, strict=True):
        path = f"{source.repository}/{source.commit}/{one['source']}"
        server.files[path] = (reference / "experiment" / name).read_bytes()
    call = ["fetch", "experiment", "--to", str(tmp_path / "to"), "--url", server.url]
    answer = CliRunner().invoke(app, call)
    assert answer.exit_code == 0, answer.output
    assert "licence MIT; cite J. Zhang" in answer.output
    assert f"JAXELYTE_DATA={tmp_path / 'to'}" in answer.output
    assert (tmp_path / "to/reference/experiment/rdf_OO_xrd.dat").read_bytes() == (
        reference / "experiment/rdf_OO_xrd.dat"
    ).read_bytes()
    server.files = dict.fromkeys(server.files, b"else")
    answer = CliRunner().invoke(app, [*call[:3], str(tmp_path / "other"), *call[4:]])
    assert answer.exit_code == 1
    assert "is not the published file" in answer.output
    assert "nacl" in CliRunner().invoke(app, ["fetch", "--list"]).output


def test_published_potentials_are_whole_by_name(reference: Path) -> None:
    found = jxl.load_potential("licl")
    network, coulomb = found.potential.terms
    assert float(coulomb.permittivity) == pytest.approx(78.3)
    assert network.config.type_names == load_nequip(reference / "licl").config.type_names
    assert found.card["licence"] == "MIT"
    assert "ScreenedCoulomb" in repr(found.committee)


@pytest.mark.more
def test_stored_frames_come_back(server: SimpleNamespace, tmp_path: Path, dft_data: Path) -> None:
    """The real table of frames: the stored ones, put among others into RuNNer files, come back digit by digit."""
    entry = sources()["nacl"].files[0]
    frames = read(dft_data / "nacl_r2SCAN.xyz.gz", ":", format="extxyz")
    for one in entry["sources"]:
        by_number = {int(f.info["src_index"]): f for f in frames if f.info["config"] == one["config"]}
        rubbish = labelled(1)
        all_frames = [by_number.get(n, rubbish) for n in range(one["last"] + 1)]
        server.files[f"{SET['repository']}/{COMMIT}/{one['source']}"] = runner_text(all_frames)
    (done,) = fetch(to=tmp_path / "to", url=server.url, manifest=manifest(tmp_path, [entry]))
    import gzip

    assert gzip.decompress(done.path.read_bytes()) == gzip.decompress((dft_data / "nacl_r2SCAN.xyz.gz").read_bytes())


def test_stored_models_and_curves_have_the_digests_of_the_table(reference: Path) -> None:
    for name in ("licl", "licl_ions"):
        for entry in sources()[name].files:
            path = reference.parent / entry["target"]
            if entry["kind"] == "model":
                assert array_digest(dict(np.load(path / "state_dict.npz"))) == entry["sha256"]
            elif entry["kind"] == "table":
                assert table_digest(path.read_bytes()) == entry["sha256"]
            else:
                assert digest(path.read_bytes()) == entry["sha256"]
    assert MANIFEST.is_file()
