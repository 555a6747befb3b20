"""The report card: events are found where they happen, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl

QUICK = {"timestep": 1.0, "every": 5, "progress": False}
ARGON = jxl.LennardJones({"Ar": 3.4}, {"Ar": 0.0104}, cutoff=8.0)


def argon(distance: float) -> Atoms:
    return Atoms("Ar3", [[0, 0, 0], [distance, 0, 0], [0, 7.0, 0]], cell=[20, 20, 20], pbc=True)


def nitrogen() -> Atoms:
    return Atoms("N4", [[0, 0, 0], [1.1, 0, 0], [0, 5, 0], [1.1, 5, 0]], cell=[12, 12, 12], pbc=True)


def bonds(k: float) -> jxl.HarmonicBonds:
    return jxl.HarmonicBonds([[0, 1], [2, 3]], k=k, length=1.1)


@pytest.mark.more
def test_molecules_that_hold_together_have_no_event() -> None:
    card = jxl.stability(bonds(100.0), [nitrogen()] * 2, temperatures=(100.0, 300.0), length=0.1, **QUICK)
    assert card.stable, card.trials
    assert [trial.time for trial in card.trials] == pytest.approx([0.1] * 4)
    row = card.summary()["temperatures"][1]
    # Exact for a Poisson process: no event in 0.2 ps bounds the rate by -ln(0.05) / 0.2 ps.
    assert row["rate_below_per_ns"] == pytest.approx(-np.log(0.05) / 0.0002)
    assert row["first_event_ps"] is None


def test_molecules_without_bonds_fall_apart() -> None:
    # Atoms of 14 g/mol at 600 K part with 840 m/s (root mean square), 0.0084 Å/fs, along a bond that may gain 1.3 Å
    # or lose 0.25 Å: one of two molecules gets there before 2 ps, and neither within 5 fs.
    card = jxl.stability(bonds(1e-6), [nitrogen()], temperatures=(600.0,), length=2.0, **QUICK)
    (trial,) = card.trials
    assert trial.event is not None
    assert trial.event.startswith(("broken bond N", "overlap N"))
    assert 0.005 < trial.time < 2.0
    assert not card.stable
    assert card.summary()["temperatures"][0]["first_event_ps"] == trial.time


def test_a_broken_bond_is_named() -> None:
    from jaxelyte.training.stability import watch_of

    atoms = nitrogen()
    watch = watch_of(atoms)
    assert watch.bonds == {(0, 1), (2, 3)}
    # Sums of covalent radii are 1.42 Å: broken beyond 2.41 Å, squeezed below 0.85 Å.
    atoms.positions[3, 0] = 2.40
    assert watch.event(atoms, 300.0, 300.0) is None
    atoms.positions[3, 0] = 2.42
    assert watch.event(atoms, 300.0, 300.0) == "broken bond N 2 - N 3"
    atoms.positions[3, 0] = 0.84
    assert watch.event(atoms, 300.0, 300.0) == "overlap N 2 - N 3, 0.84 Å"


def test_a_frame_that_blows_up_does_not_stop_the_others() -> None:
    # 1.75 Å is a hundred eV up the repulsive wall.
    card = jxl.stability(ARGON, [argon(1.75), argon(4.0)], temperatures=(50.0,), length=0.05, **QUICK)
    first, second = card.trials
    assert first.event is not None
    assert first.time <= 0.05
    assert (second.event, second.time) == (None, pytest.approx(0.05))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda a: a.positions.__setitem__((1, 0), 1.0), "overlap Ar 0 - Ar 1, 1.00 Å"),
        (lambda a: a.positions.__setitem__((1, 0), 19.0), "overlap Ar 0 - Ar 1, 1.00 Å"),  # through the boundary
        (lambda a: a.positions.__setitem__((1, 0), np.nan), "not finite"),
    ],
)
def test_events_by_name(change: object, word: str) -> None:
    from jaxelyte.training.stability import watch_of

    atoms = argon(4.0)
    watch = watch_of(atoms)
    assert watch.event(atoms, 50.0, 50.0) is None
    change(atoms)  # pyright: ignore[reportCallIssue]
    assert word in str(watch.event(atoms, 50.0, 50.0))


def test_temperature_run_away() -> None:
    from jaxelyte.training.stability import watch_of

    atoms = argon(4.0)
    # Six degrees of freedom: the limit is 50 (1 + 8 sqrt(2/6)) = 281 K.
    assert watch_of(atoms).event(atoms, 280.0, 50.0) is None
    assert "281 K" in str(watch_of(atoms).event(atoms, 282.0, 50.0))


def test_ions_in_contact_are_no_bond() -> None:
    from jaxelyte.training.stability import watch_of

    pair = Atoms("NaCl", [[0, 0, 0], [2.6, 0, 0]], cell=[12, 12, 12], pbc=True)
    watch = watch_of(pair)
    assert watch.bonds == set()
    pair.positions[1, 0] = 5.0
    assert watch.event(pair, 300.0, 300.0) is None
    # 0.8 (0.72 · 1.66 + 1.02) = 1.77 Å.
    pair.positions[1, 0] = 1.78
    assert watch.event(pair, 300.0, 300.0) is None
    pair.positions[1, 0] = 1.76
    assert watch.event(pair, 300.0, 300.0) == "overlap Na 0 - Cl 1, 1.76 Å"


def test_wrong_input_is_refused() -> None:
    with pytest.raises(jxl.InputError, match="frames is empty"):
        jxl.stability(ARGON, [])
    with pytest.raises(jxl.InputError, match="frame 1 is unphysical at the start: overlap"):
        jxl.stability(ARGON, [argon(4.0), argon(1.0)])
    with pytest.raises(jxl.InputError, match="length = -1 ps cannot be"):
        jxl.stability(ARGON, [argon(4.0)], length=-1.0)


def test_the_card_is_drawn() -> None:
    from jaxelyte.training import Stability, Trial

    card = Stability((Trial(0, "Ar", 300.0, 2.0, "x"), Trial(1, "Ar", 300.0, 5.0, None)), 5.0)
    (line,) = card.plot().lines
    assert np.allclose(line.get_xydata(), [[0, 1], [2, 0.5], [5, 0.5]])
    assert "1 of 2 last" in repr(card)
