"""The report of a run: the numbers of the functions behind it, and reasons where there are none."""

from __future__ import annotations

import io
import json
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from rich.console import Console

import jaxelyte as jxl
from jaxelyte.cli import short_range
from jaxelyte.cli.analysis import PARTS, analyse_sample, analyse_source
from jaxelyte.cli.analysis_structure import BROAD, _top
from jaxelyte.cli.analysis_thermodynamics import GRID, ion_model
from jaxelyte.cli.experiment import limiting_conductivity, pitzer
from jaxelyte.cli.known import known_of
from jaxelyte.cli.objects import all_pairs, parse_charges
from jaxelyte.cli.page import Section, chosen
from jaxelyte.cli.report import section_table
from jaxelyte.cli.sample import Salt, Sample
from jaxelyte.cli.sections import RunFile
from jaxelyte.cli.short_range import pair_tables
from jaxelyte.dynamics.identity import describe_potential
from jaxelyte.observables.diffusion import finite_size_correction
from jaxelyte.trajectory import Trajectory
from jaxelyte.wording import plus_minus

CHARGES = {"Na": 1.0, "Cl": -1.0}
PAIRS = [("Na", "Cl"), ("Na", "O")]


@pytest.fixture
def walkers(rng: np.random.Generator) -> Trajectory:
    """Random walkers in the numbers of a solution: no structure, but known diffusion."""
    atoms = Atoms("Na4Cl4O8H16")
    steps = rng.normal(0.0, 0.25, (800, 2, 32, 3))
    return Trajectory(
        positions=np.cumsum(steps, axis=0) + 5.0,
        numbers=atoms.numbers,
        masses=atoms.get_masses(),
        cells=np.eye(3) * 12.0,
        pbc=(True, True, True),
        steps=np.arange(800),
        times=np.arange(800) * 100.0,
    )


@pytest.fixture
def shells(rng: np.random.Generator) -> Trajectory:
    """Na with six O at the corners of an octahedron, one of which changes places with a seventh now and then."""
    corners = 2.4 * np.concatenate([np.eye(3), -np.eye(3)])
    frames, interval, ions = 1200, 50.0, 4
    where = np.empty((frames, 1, 8 * ions, 3))
    for ion in range(ions):
        centre = np.array([10.0 * (ion % 2), 10.0 * (ion // 2), 5.0])
        where[:, 0, ion] = centre
        where[:, 0, ions + 7 * ion : ions + 7 * ion + 6] = centre + corners
        where[:, 0, ions + 7 * ion + 6] = centre + 6.0 / np.sqrt(3.0)
        # A corner and the place between the shells change tenants with a mean time of 2.5 ps.
        swaps = np.cumsum(rng.random(frames) < interval / 2500.0) % 2 == 1
        pair = [ions + 7 * ion + 5, ions + 7 * ion + 6]
        where[swaps, 0, pair[0]], where[swaps, 0, pair[1]] = where[swaps, 0, pair[1]], where[swaps, 0, pair[0]]
    where += rng.normal(0.0, 0.08, where.shape)
    numbers = np.array([11] * ions + [8] * 7 * ions + [1])
    where = np.concatenate([where, np.full((frames, 1, 1, 3), 1.0)], axis=2)
    return Trajectory(
        positions=where,
        numbers=numbers,
        masses=np.ones(len(numbers)),
        cells=np.eye(3) * 20.0,
        pbc=(True, True, True),
        steps=np.arange(frames),
        times=np.arange(frames) * interval,
    )


def sample_of(trajectory: Trajectory, **known: Any) -> Sample:
    options: dict[str, Any] = {"temperature": 300.0, "charges": CHARGES}
    return Sample(trajectory, jxl.rdf(trajectory, pairs=PAIRS, width=0.5), **(options | known))


def printed(sections: dict[str, Section]) -> str:
    console = Console(width=200, file=io.StringIO())
    for section in sections.values():
        console.print(section_table(section))
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def test_report_says_what_the_functions_say(walkers: Trajectory, tmp_path: Path) -> None:
    sample = sample_of(walkers, viscosity=1e-3)
    names = ["structure", "pmf", "diffusion", "conductivity"]
    text = printed(analyse_sample(sample, tmp_path, title="walk <1>", names=names))
    stored = json.loads((tmp_path / "report.json").read_text())
    own = jxl.pmf(sample.result["Na-Cl"], 300.0)
    # Free walkers have no peak but of noise, so that there may be no contact: report and function agree on it.
    contact = stored["pmf"]["Na-Cl"]["contact"]
    if contact is None:
        with pytest.raises(jxl.InputError, match="no peak above 1"):
            _ = own.contact
    else:
        assert contact["energy_eV"] == pytest.approx(own.contact.energy, rel=1e-12)
        assert str(own.contact) in text
    for species in ("Na", "Cl", "O"):
        own = jxl.diffusivity(walkers, species, viscosity=1e-3, temperature=300.0)
        assert stored["diffusion"][species]["value_m2_s"] == pytest.approx(own.value, rel=1e-12)
        assert stored["diffusion"][species]["error_m2_s"] == pytest.approx(own.error, rel=1e-12)
        assert plus_minus(own.value * 1e9, own.error * 1e9) in text
    own = jxl.conductivity(walkers, CHARGES, temperature=300.0)
    assert plus_minus(own.value, own.error, unit="S/m") in text
    assert stored["conductivity"]["value_S_m"] == pytest.approx(own.value, rel=1e-12)
    assert set(stored["pmf"]) == {"Na-Cl"}
    page = (tmp_path / "report.html").read_text()
    assert "walk &lt;1&gt;" in page
    assert page.count("data:image/png;base64,") >= 4
    assert "scattering" not in stored


@pytest.mark.more
def test_independent_atoms_scatter_as_a_gas(walkers: Trajectory, tmp_path: Path) -> None:
    """S_ab = δ_ab; integrals of flat functions and the activity derivative are 0 and 1."""
    places = np.random.default_rng(2).uniform(0.0, 12.0, (100, 2, 32, 3))
    sample = sample_of(replace(walkers, positions=places, steps=np.arange(100), times=np.arange(100.0)))
    analyse_sample(sample, tmp_path, title="gas", names=["scattering", "activity"])
    stored = json.loads((tmp_path / "report.json").read_text())
    for kind in ("x-ray", "neutron"):
        total, error = (np.array(stored["scattering"]["totals"][kind][x], float) for x in ("S", "error"))
        assert abs(np.mean((total - 1.0) / error)) < 1.0
        assert np.mean(np.abs(total - 1.0) > 3.0 * error) < 0.1
    found = stored["activity"]["derivative"]
    assert abs(found["value"] - 1.0) < 4.0 * found["error"]
    assert found["molarity_mol_L"] == pytest.approx(4 / 12.0**3 / 6.02214076e-4)
    assert found["experiment"] == pytest.approx(pitzer("NaCl", found["molarity_mol_L"]).derivative, abs=0.006)  # pyright: ignore[reportOptionalMemberAccess]
    assert set(stored["activity"]["integrals_A3"]) == {"Na-Na", "Na-Cl", "Cl-Cl", "Na-O", "Cl-O"}


def test_shells_have_their_angles_and_times(shells: Trajectory, tmp_path: Path) -> None:
    """The octahedron: 12 of 15 angles are right ones, 3 straight; the shell is found by itself."""
    result = jxl.rdf(shells, "Na", "O")
    sample = Sample(shells, result, charges={"Na": 1.0})
    analyse_sample(sample, tmp_path, title="shells", names=["angles", "residence"])
    stored = json.loads((tmp_path / "report.json").read_text())
    angle, stay = stored["angles"]["O-Na-O"], stored["residence"]["Na"]
    assert 2.6 < angle["r_max_A"] < 5.9
    assert angle["r_max_A"] == stay["r_max_A"]
    assert abs(angle["mean_deg"][0] - (12 * 90 + 3 * 180) / 15) < 3.0
    assert abs(angle["most_frequent_deg"] - 90.0) < 5.0
    assert stay["number"][0] == pytest.approx(6.0, abs=0.01)
    own = jxl.residence_time(shells, "Na", "O", stay["r_max_A"])
    assert stay["residence_time_fs"][0] == pytest.approx(own.value, rel=1e-12)


def test_recorded_pressure_gives_viscosity_and_osmotic_coefficient(walkers: Trajectory, tmp_path: Path) -> None:
    """Pressure of an ideal gas of the ions: φ = 1; noise about it has the viscosity that `jxl.viscosity` says."""
    rng = np.random.default_rng(3)
    ions = replace(
        walkers, positions=walkers.positions[:, :, :8], numbers=walkers.numbers[0, :8], masses=walkers.masses[0, :8]
    )
    ideal = 8 * 8.617333262e-5 * 300.0 / 12.0**3 * 160.2176634
    values = ideal * np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]) + rng.normal(0.0, 0.1, (4000, 2, 6))
    series = jxl.SeriesResult(jxl.PressureTensor().columns, "GPa", 5.0, 5.0, values)
    wet = sample_of(walkers, observables={"pressure": series})
    dry = Sample(ions, jxl.rdf(ions, "Na", "Cl"), temperature=300.0, charges=CHARGES, observables={"p": series})
    names = ["viscosity", "osmotic"]
    analyse_sample(wet, tmp_path, title="wet", names=names)
    found = json.loads((tmp_path / "report.json").read_text())
    own = jxl.viscosity(series, temperature=300.0, volume=12.0**3)
    assert found["viscosity"]["value_Pa_s"] == pytest.approx(own.value, rel=1e-12)
    assert "osmotic only where ions are alone" in found["notes"]["osmotic"][0]
    analyse_sample(dry, tmp_path, title="dry", names=names)
    found = json.loads((tmp_path / "report.json").read_text())
    virial = found["osmotic"]["virial"]
    assert virial["error"] == pytest.approx(0.1 / np.sqrt(3 * 8000) / ideal, rel=0.3)
    assert abs(virial["osmotic"] - 1.0) < 4.0 * virial["error"]
    assert found["viscosity"] is None
    assert "hypernetted chain: the potential of the run is unknown" in " ".join(found["notes"]["osmotic"])


def test_what_lies_behind_a_wall_does_not_count(walkers: Trajectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pocket of a network at 1.3 Å behind 25 kT, for which the equations have no solution, is part of the wall."""
    heights = np.select([GRID < 1.2, GRID < 1.5, GRID < 2.0], [100.0, 5.0, 25.0], 1.0)
    thermal = 8.617333262e-5 * 300.0
    monkeypatch.setattr(short_range, "pair_tables", lambda _, pairs, __: dict.fromkeys(pairs, heights * thermal))
    model = ion_model(sample_of(walkers), Salt("Na", "Cl", 1e-3))
    assert model.short_range is not None
    r, tables = model.short_range
    assert r[0] == pytest.approx(2.0, abs=0.011)
    np.testing.assert_allclose(tables["Na", "Na"], 1.0)


def test_velocities_give_their_spectrum(tmp_path: Path) -> None:
    """H atoms that oscillate at 3,336 1/cm, ten fs a period, show that line."""
    rng = np.random.default_rng(4)
    times = np.arange(2000) * 1.0
    phase = rng.uniform(0.0, 2.0 * np.pi, (1, 2, 12, 3))
    velocities = np.cos(2.0 * np.pi * times[:, None, None, None] / 10.0 + phase) * 1e-2
    atoms = Atoms("O4H8")
    frames = Trajectory(
        positions=rng.uniform(0.0, 12.0, (2000, 2, 12, 3)),
        numbers=atoms.numbers,
        masses=atoms.get_masses(),
        cells=np.eye(3) * 12.0,
        pbc=(True, True, True),
        steps=np.arange(2000),
        times=times,
        velocities=velocities,
    )
    sample = Sample(frames, jxl.rdf(frames[:50], "O", "H"), temperature=300.0)
    analyse_sample(sample, tmp_path, title="spectrum", names=["vibrations"])
    found = json.loads((tmp_path / "report.json").read_text())["vibrations"]
    assert abs(found["stretch_1_cm"][0] - 3336.0) < 10.0
    analyse_sample(replace(sample, trajectory=frames[::40]), tmp_path, title="sparse", names=["vibrations"])
    assert "40 fs apart" in json.loads((tmp_path / "report.json").read_text())["notes"]["vibrations"][0]


def test_what_cannot_be_computed_is_said(walkers: Trajectory, tmp_path: Path) -> None:
    timeless = replace(walkers[:60], times=np.full(60, np.nan))
    sections = analyse_sample(sample_of(timeless, temperature=None), tmp_path, title="no times")
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["diffusion"] == {}
    assert found["conductivity"] is None
    assert set(sections) == set(PARTS)
    page = (tmp_path / "report.html").read_text()
    for reason in (
        "the times of the frames, which are not known",
        "pass --temperature",
        "no pressure tensor was recorded; add [observables.pressure]",
        "no velocities are stored",
        "osmotic only where ions are alone",
    ):
        assert reason in page
        assert reason in " ".join(printed(sections).split())
    assert page.index("Not computed") > page.index("Structure")


def test_pairs_that_never_met_and_sections_that_fail_are_said(
    walkers: Trajectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report is written whatever is missing: g of like ions is 0, and a section ends in an unforeseen error."""
    with pytest.warns(UserWarning, match="no pair Na-Na, Na-Cl came within"):
        result = jxl.rdf(walkers[:2], pairs=[("Na", "Na"), ("Na", "Cl")], r_max=0.01, bins=2)
    sample = Sample(walkers, result, temperature=300.0, charges=CHARGES)

    def broken(_: Sample) -> Section:
        raise ZeroDivisionError("no reason")

    monkeypatch.setitem(PARTS, "scattering", broken)
    monkeypatch.setitem(
        PARTS, "activity", lambda _: Section("activity", ("a",), rows=[("1",)], content={"x": [np.nan, 1.0]})
    )
    sections = analyse_sample(
        sample, tmp_path, title="Ions apart", names=("structure", "pmf", "scattering", "activity")
    )
    assert sections["structure"].rows[0][:3] == ("Na-Na", "not sampled", "not sampled")
    assert sections["pmf"].rows == [(pair, *["not sampled"] * 3) for pair in ("Na-Na", "Na-Cl")]
    assert "ZeroDivisionError in test_analysis.py" in sections["scattering"].notes[0]
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["pmf"]["Na-Na"] == {"contact": None, "barrier": None, "separated": None}
    assert content["activity"] == {"x": [None, 1.0]}
    assert "not sampled" in (tmp_path / "report.html").read_text()


def test_sections_are_chosen_by_name() -> None:
    assert chosen(PARTS, "", "") == list(PARTS)
    assert chosen(PARTS, "activity, structure", "") == ["structure", "activity"]
    assert "scattering" not in chosen(PARTS, "", "scattering")
    with pytest.raises(jxl.InputError, match=r"no section 'viscosty'; --only and --skip take structure, pmf"):
        chosen(PARTS, "viscosty", "")


def test_pitzer_on_three_scales() -> None:
    """Derivatives belong to their coefficients; LiCl at 2.4 mol/L is 1.64 in the published comparison."""
    solution = pitzer("LiCl", 2.4)
    assert solution is not None
    assert abs(solution.derivative - 1.64) < 0.03
    assert solution.osmotic_mm > solution.osmotic
    lower, upper = pitzer("LiCl", 2.3), pitzer("LiCl", 2.5)
    assert lower is not None
    assert upper is not None
    slope = (2.5 * upper.osmotic_mm - 2.3 * lower.osmotic_mm) / 0.2
    assert abs(slope - solution.derivative_mm) < 1e-3
    assert pitzer("LiCl", 20.0) is None
    assert pitzer("CsI", 1.0) is None
    # Λ of NaCl at infinite dilution is 126.4 S cm²/mol.
    assert limiting_conductivity(CHARGES, {"Na": 1.0, "Cl": 1.0}) == pytest.approx(12.64, abs=0.02)


def test_run_file_knows_its_pair_potential() -> None:
    content: dict[str, Any] = {
        "system": {"build": {"ions": {"Na": 1, "Cl": 1}, "waters": 0, "concentration": 1.0}},
        "potential": [
            {"type": "lennard-jones", "sigma": {"Na": 2.4, "Cl": 4.4}, "epsilon": {"Na": 0.004, "Cl": 0.005}},
            {"type": "coulomb", "charges": CHARGES, "permittivity": 72.0},
        ],
        "ensemble": {"type": "NVE"},
        "run": {"steps": 1},
    }
    config = RunFile.model_validate(content)
    water = RunFile.model_validate(content | {"potential": [{"type": "spc-fw"}]})
    r = np.array([3.0, 4.0, 8.9, 12.0])
    table = pair_tables(config, [("Na", "Cl")], r)["Na", "Cl"]
    epsilon, power = np.sqrt(0.004 * 0.005), (3.4 / r) ** 6
    np.testing.assert_allclose(table[:2], 4.0 * epsilon * (power**2 - power)[:2], rtol=1e-6)
    assert table[3] == 0.0
    with pytest.raises(jxl.InputError, match="spc-fw terms"):
        pair_tables(water, [("Na", "Cl")], r)


def test_the_potential_of_a_run_knows_charges_and_permittivity() -> None:
    """Also of runs from Python; scaled charges, those of molecules and none are no charges of ions."""
    salt, names = ["Na", "Cl"], ["Na", "Cl", "O", "H", "H"]
    lj = jxl.LennardJones(sigma={"Na": 2.4, "Cl": 4.4}, epsilon={"Na": 0.004, "Cl": 0.005}, cutoff=5.0)

    def known(potential: Any, symbols: list[str]) -> Any:
        return known_of(describe_potential(potential), symbols)

    ions = jxl.ScreenedCoulomb(charges=CHARGES, permittivity=72.0)
    assert known(lj + ions, salt)[:2] == (CHARGES, 72.0)
    assert known(ions, salt)[:2] == (CHARGES, 72.0)
    assert known_of({}, salt) == (None, None, "")
    assert known(lj, salt) == (None, None, "the potential of the run has no Coulomb term")
    water = jxl.ScreenedCoulomb(charges={**CHARGES, "O": -0.82, "H": 0.41})
    assert known(water, names)[:2] == (CHARGES, None)  # the permittivity of a vacuum is not that of the solvent
    scaled = jxl.ScreenedCoulomb(charges={"Na": 0.75, "Cl": -0.75, "O": -0.82, "H": 0.41})
    assert known(scaled, names)[::2] == (None, "the potential of the run has scaled charges (Cl -0.75 e, Na +0.75 e)")
    assert "add up to +1 e" in known(ions, ["Na", "Na", "Cl"]).reason
    assert "different charges" in known(water + ions, names).reason
    assert known_of(describe_potential(jxl.load_potential("nacl_r2scan").potential), names)[:2] == (CHARGES, 78.3)


def test_the_report_stands_by_itself(walkers: Trajectory, tmp_path: Path) -> None:
    """Answers first, provenance last; one file that reads on narrow screens, with a caption for each picture."""
    sample = sample_of(walkers, viscosity=1e-3, provenance={"charges": "Na +1 e; given by --charges"})
    analyse_sample(sample, tmp_path, title="walk", names=["structure", "diffusion", "conductivity", "viscosity"])
    page = (tmp_path / "report.html").read_text()
    places = [
        page.index(f">{name}<") for name in ("Results", "Structure", "Self-diffusion", "Not computed", "Provenance")
    ]
    assert places == sorted(places)
    assert "self-diffusion of Na" in page[places[0] : places[1]]
    assert "0.890" not in page[: places[1]]
    assert 'name="viewport"' in page
    assert page.count("<figure") == page.count("<figcaption>") == page.count('<img alt="') > 2
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    for anchor in re.findall(r'href="#(\w+)"', page):
        assert f'id="{anchor}"' in page
    assert json.loads((tmp_path / "report.json").read_text())["provenance"] == dict(sample.provenance)


def test_diffusion_says_how_it_is_corrected(walkers: Trajectory, tmp_path: Path) -> None:
    """Given, by the run's own viscosity, or not, with the value of water that it would take."""
    size = 1e9 * finite_size_correction(np.eye(3) * 12.0, 300.0, 0.890e-3)

    def note(**known: Any) -> str:
        sections = analyse_sample(sample_of(walkers[:200], **known), tmp_path, title="w", names=["diffusion"])
        return sections["diffusion"].notes[0]

    assert f"0.89 mPa s by experiment, it would add {size:.2g}e-9" in note()
    assert "given viscosity of 1 mPa s" in note(viscosity=1e-3)
    noise = np.random.default_rng(1).normal(0.0, 0.1, (20000, 4, 6))
    series = jxl.SeriesResult(jxl.PressureTensor().columns, "GPa", 5.0, 5.0, noise)
    own = jxl.viscosity(series, temperature=300.0, volume=12.0**3)
    assert own.error < 0.2 * own.value
    text = plus_minus(1e3 * own.value, 1e3 * own.error, unit="mPa s")
    assert (
        note(observables={"pressure": series}) == f"corrected for the finite cell with the viscosity of the run, {text}"
    )


LENGTHS = [1, *(pytest.param(length, marks=pytest.mark.more) for length in (12, 100))]


@pytest.mark.parametrize("length", LENGTHS)
def test_no_section_writes_numbers_that_say_nothing(walkers: Trajectory, tmp_path: Path, length: int) -> None:
    """Whatever the length of the run: errors that are unknown or zero, and one of a thing, have words of their own."""
    nothing = re.compile(r"\bnan\b|± 0(\.0*)?(?![.\d])|\b1 (frames|replicas|steps|blocks|stretches)\b|\(s\)")
    names = [name for name in PARTS if name != "scattering"]
    frames = walkers[:length]
    alone = {name: getattr(frames, name)[:1] for name in ("numbers", "masses")} | {"cells": np.eye(3) * 12.0}
    for trajectory in (frames, replace(frames, positions=frames.positions[:, :1], **alone)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = printed(analyse_sample(sample_of(trajectory), tmp_path, title="walk", names=names))
        page = re.sub(r'src="[^"]*"', "", (tmp_path / "report.html").read_text())
        assert not (found := nothing.search(text)), text[found.start() - 80 : found.end() + 40]
        assert not (found := nothing.search(page)), page[found.start() - 80 : found.end() + 40]


def test_two_peaks_that_are_not_resolved_have_no_position() -> None:
    """Around 2.0 and 2.8 1/Å: as wide apart as they are, while one peak is narrow."""
    k = np.arange(0.5, 8.0, 0.1)
    one = 1.0 + np.exp(-(((k - 2.0) / 0.5) ** 2))
    both = one + 0.97 * np.exp(-(((k - 2.8) / 0.5) ** 2))
    for total, width in ((one, 0.4), (both, 1.0)):
        at = int(np.argmax(total))
        low, high = _top(k, total, float(k[at]), float(total[at]))
        assert high - low == pytest.approx(width, abs=0.25)
        assert low <= k[at] <= high
        assert (high - low > BROAD) == (total is both)


def test_ions_stand_first() -> None:
    """Of Na and O the coordination number is that of Na."""
    assert all_pairs(list(Atoms("NaClH4O2").symbols)) == (
        *(("Na", "Cl"), ("Na", "O"), ("Na", "H"), ("Cl", "O"), ("Cl", "H")),
        *(("O", "O"), ("O", "H"), ("H", "H")),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Na:1", "written as Na=1,Cl=-1"),
        ("Na=one,Cl=-1", "written as Na=1,Cl=-1"),
        ("Na=nan,Cl=-1", "written as Na=1,Cl=-1"),
        ("Na=1,Na=1", "each species once"),
        ("Na=1,Cl=-1,Li=1", "names Li, but the atoms are Cl, H, Na, O"),
        ("Na=1", r"adds up to \+2 e \(2 Na of \+1 e\)"),
        ("Na=1,Cl=-2", "adds up to -2 e"),
    ],
)
def test_bad_charges_are_named(text: str, message: str) -> None:
    symbols = list(Atoms("Na2Cl2H2O").symbols)
    with pytest.raises(jxl.InputError, match=message):
        parse_charges(text, symbols, periodic=True)


def test_charges_of_a_droplet_need_not_be_neutral() -> None:
    assert parse_charges("Na=1", ["Na", "O"], periodic=False) == {"Na": 1.0}
    assert parse_charges("Na=1, Cl=-1", ["Na", "Cl"], periodic=True) == {"Na": 1.0, "Cl": -1.0}


def test_clusters_move_although_they_have_no_density(tmp_path: Path, walkers: Trajectory) -> None:
    """Without a density there are no distribution functions; the sections that need none are computed all the same."""
    frames = replace(walkers, pbc=(False, False, False), cells=np.zeros((3, 3)))
    path, shown = tmp_path / "cluster.xyz", []
    write(path, [frames.frame(n) for n in range(200)])
    options: dict[str, Any] = {"only": "structure,pmf,diffusion", "charges": "Na=1,Cl=-1", "fit": "200,600"}
    analyse_source(path, **options, show=shown.append, say=lambda _: None)
    content = json.loads((tmp_path / "analysis" / "report.json").read_text())
    curve = jxl.diffusivity(path, "Na", fit=(200.0, 600.0))
    assert content["diffusion"]["Na"]["value_m2_s"] == pytest.approx(curve.value)
    assert all(
        "no density that g(r) could be compared with" in content["notes"][name][0] for name in ("structure", "pmf")
    )
    assert not (tmp_path / "analysis" / "rdf.csv").exists()
    with pytest.raises(jxl.InputError, match="needs a density"):
        analyse_source(path, pairs="Na-Cl", show=shown.append, say=lambda _: None)


def test_messages_do_not_repeat_the_title(walkers: Trajectory, tmp_path: Path) -> None:
    """Names at the start of a message that the title contains, and warnings of another section."""
    short = walkers[:60]
    sample = sample_of(short, temperature=3e4)
    sections = analyse_sample(sample, tmp_path, title="walk", names=["diffusion", "conductivity", "viscosity"])
    for section in sections.values():
        assert not any(note.lower().startswith(("viscosity:", "conductivity:")) for note in section.notes)
    text = printed(sections)
    assert "Viscosity: no pressure tensor was recorded" in text
    assert "iscosity: viscosity" not in text
    assert sum("is unusual for a temperature" in n for s in sections.values() for n in s.notes) == 1
