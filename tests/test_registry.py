"""What is declared once: files, stored potentials and the table of types follow."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from flax import struct
from typer.testing import CliRunner

import jaxelyte as jxl
from jaxelyte import registry
from jaxelyte.cli.app import app
from jaxelyte.cli.objects import build_sum
from jaxelyte.cli.sections import EnsembleSection, Recorded, Term
from jaxelyte.dynamics.identity import describe_potential
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.interop.potential_files import read_potential, write_potential
from jaxelyte.potentials.codec import decode, encode, identity
from jaxelyte.potentials.pairs import PairPotential

PLUGIN = '''"""A potential of one's own."""
from typing import Any
import jax.numpy as jnp
from flax import struct
import jaxelyte as jxl
from jaxelyte.potentials.pairs import PairPotential


@jxl.register("plugin-morse")
@struct.dataclass
class PluginMorse(PairPotential):
    """U = D (1 - exp(-a (r - r0)))² - D.

    Args:
        depth: D in eV.
    """

    depth: Any
    width: Any = 1.5
    rest: Any = 2.8

    def pair(self, r, i, j):
        return self.depth * ((1.0 - jnp.exp(-self.width * (r - self.rest))) ** 2 - 1.0)
'''


@pytest.fixture
def morse(monkeypatch: pytest.MonkeyPatch) -> type:
    """A potential with fields that have the names of derived fields of ours."""
    monkeypatch.setattr(registry.POTENTIALS, "_declared", {})

    @jxl.register("morse")
    @struct.dataclass
    class Morse(PairPotential):
        """A well."""

        depth: Any
        source: Any = 2.8
        plan: str = struct.field(pytree_node=False, default="plain", kw_only=True)
        table: Any = struct.field(default=None, kw_only=True)

        def pair(self, r: Any, i: Any, j: Any) -> Any:
            return self.depth * ((1.0 - jnp.exp(-(r - self.source))) ** 2 - 1.0)

    return Morse


def pair(distance: float) -> Atoms:
    """Two atoms."""
    return Atoms("Ar2", [[0.0, 0.0, 0.0], [0.0, 0.0, distance]])


def energy(potential: Any, distance: float) -> float:
    """Of two atoms, in eV."""
    atoms = pair(distance)
    atoms.calc = jxl.Calculator(potential)
    return float(atoms.get_potential_energy())


def test_potentials_of_ones_own_are_stored_with_all_their_fields(morse: type, tmp_path: Path) -> None:
    made = morse(0.2, 3.1, cutoff=6.0, plan="other", table=np.arange(3.0))
    both = made + 0.5 * jxl.LennardJones({"Ar": 3.4}, {"Ar": 0.01}, cutoff=6.0)
    write_potential(both, tmp_path, "both")
    back = read_potential(tmp_path, "both")
    assert (float(back.terms[0].source), back.terms[0].plan) == (pytest.approx(3.1), "other")
    np.testing.assert_allclose(back.terms[0].table, np.arange(3.0))
    assert jax.tree.structure(back) == jax.tree.structure(both)
    expected = 0.2 * ((1.0 - np.exp(-0.4)) ** 2 - 1.0)
    assert energy(back.terms[0], 3.5) == pytest.approx(expected, rel=1e-5)
    assert identity(made) != identity(morse(0.2, 3.1, cutoff=6.0)), "each field tells potentials apart"
    assert describe_potential(made)["source"] == pytest.approx(3.1)
    assert encode(made)[0]["potential"] == "morse", "a name, not a path"


def test_files_take_what_is_declared(morse: type) -> None:
    terms = [Term.model_validate({"type": "morse", "depth": 0.2, "cutoff": 6.0, "factor": 2.0})]
    built = build_sum(terms, None)
    assert energy(built, 2.8) == pytest.approx(-0.4)
    with pytest.raises(ValueError, match=r"type 'morse' needs depth, cutoff"):
        Term.model_validate({"type": "morse"})
    with pytest.raises(ValueError, match=r"unknown key 'dept' of type 'morse'; did you mean 'depth'"):
        Term.model_validate({"type": "morse", "dept": 1.0})
    with pytest.raises(ValueError, match=r"unknown key 'rows'"):  # derived
        Term.model_validate({"type": "morse", "depth": 1.0, "cutoff": 6.0, "rows": 3})
    with pytest.raises(InputError, match=r"type spc-fw|made for given atoms"):
        build_sum([Term.model_validate({"type": "spc-fw"})], None, "[[baseline]]")


def test_functions_are_declared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.POTENTIALS, "_declared", {})

    @jxl.register("first-atom", kind="potential")
    def held(atoms: Atoms, k: float = 2.0) -> Any:
        """A spring at the first atom."""
        return jxl.HarmonicRestraint(atoms.positions[:1], k, indices=[0])

    (term,) = [Term.model_validate({"type": "first-atom", "k": 4.0})]
    atoms = pair(3.0)
    potential = term.made(atoms)
    atoms.positions[0, 0] += 0.5
    atoms.calc = jxl.Calculator(potential)
    assert atoms.get_potential_energy() == pytest.approx(0.5 * 4.0 * 0.25, rel=1e-5)


def test_what_cannot_be_declared(morse: type) -> None:
    with pytest.raises(InputError, match="'coulomb' is a potential of jaxelyte"):
        jxl.register("coulomb")(morse)
    with pytest.raises(InputError, match="lower-case letters"):
        jxl.register("My Potential")
    with pytest.raises(InputError, match="neither a potential nor an observable"):
        jxl.register("number")(int)

    class Bare(PairPotential):
        pass

    with pytest.raises(InputError, match=r"Bare is no dataclass; put @flax.struct.dataclass below"):
        jxl.register("bare")(Bare)
    other = struct.dataclass(type("Other", (PairPotential,), {"__annotations__": {}}))
    with pytest.raises(InputError, match=r"'morse' is .*Morse already"):
        jxl.register("morse")(other)
    with pytest.raises(UnsupportedError, match=r"a Other cannot be stored .* @jxl.register"):
        encode(other(cutoff=3.0))
    with pytest.raises(InputError, match=r"unknown potential 'nonsense'.*jaxelyte --plugin FILE"):
        decode({"potential": "nonsense"}, {})


def test_entry_points_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("pair-of-others", "jaxelyte.potentials.lennard_jones:LennardJones", "jaxelyte.potentials")

    def found(*, group: str, name: str | None = None) -> list[EntryPoint]:
        return [point] if group == point.group and name in (None, point.name) else []

    monkeypatch.setattr(registry, "entry_points", found)
    assert "pair-of-others" in registry.POTENTIALS.names()
    assert registry.POTENTIALS.find("pair-of-others") is jxl.LennardJones


def test_every_name_has_a_row_and_every_class_its_own_name() -> None:
    for kind in registry.REGISTRIES.values():
        for name in kind.names():
            made = kind.find(name)
            assert made.__doc__, name
            if isinstance(made, type):
                assert kind.find(kind.name_of(made) or "") is made
    assert EnsembleSection.model_validate({"type": "NVT", "temperature": 300.0}).made() == jxl.NVT(300.0)
    assert Recorded.model_validate({"type": "rdf", "pairs": ["Na-O"]}).made() == jxl.RDF("Na-O")


def test_plugins_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.POTENTIALS, "_declared", {})
    path = tmp_path / "own_potential.py"
    path.write_text(PLUGIN)
    listed = CliRunner().invoke(app, ["--plugin", str(path), "types"], env={"COLUMNS": "200"})
    assert listed.exit_code == 0, listed.output
    assert "plugin-morse" in listed.output
    assert "lennard-jones" in listed.output
    one = CliRunner().invoke(app, ["types", "plugin-morse"])
    assert "D in eV" in one.output
    path.write_text("raise ValueError('no')")
    failed = CliRunner().invoke(app, ["--plugin", str(tmp_path / "own_potential.py"), "types"])
    assert (failed.exit_code, "ValueError: no" in failed.output) == (2, True)
    missing = CliRunner().invoke(app, ["--plugin", str(tmp_path / "none.py"), "types"])
    assert missing.exit_code == 2
    assert "there is no such Python file" in missing.output
