"""NequIP files: lossless round trips, refusals by name, nothing executed, nothing half written."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.interop.nequip_files import build_potential, load_nequip, save_nequip, state_of
from jaxelyte.models import NequIP
from jaxelyte.potentials.nequip import NequIPPotential

TESTS = Path(__file__).resolve().parent.parent
FIXTURES = TESTS / "fixtures" / "nequip"
CASES = sorted(folder.name for folder in FIXTURES.iterdir())


def read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(folder / "state_dict.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads((folder / "config.json").read_text()), arrays


def assert_same_files(first: Path, second: Path) -> None:
    (options, arrays), (other_options, other_arrays) = read(first), read(second)
    assert options == other_options
    assert list(arrays) == list(other_arrays)
    for name, array in arrays.items():
        other = other_arrays[name]
        assert (array.dtype, array.shape) == (other.dtype, other.shape), name
        assert array.tobytes() == other.tobytes(), name


@pytest.mark.parametrize("name", ["licl", "licl_ions"])
def test_published_models_come_back_bitwise(reference: Path, tmp_path: Path, name: str) -> None:
    save_nequip(load_nequip(reference / name), tmp_path / "copy")
    assert_same_files(reference / name, tmp_path / "copy")


@pytest.mark.parametrize("case", CASES)
def test_fixtures_come_back_bitwise(tmp_path: Path, case: str) -> None:
    save_nequip(load_nequip(FIXTURES / case), tmp_path / "copy")
    assert_same_files(FIXTURES / case, tmp_path / "copy")


@pytest.mark.parametrize("name", ["licl", "licl_ions"])
def test_a_model_without_a_source_gets_the_layout_of_nequip(reference: Path, name: str) -> None:
    """What we would write for a model of our own is, name by name, what nequip wrote for this one."""
    _, arrays = read(reference / name)
    options, ours = state_of(load_nequip(reference / name).replace(source=None))
    assert set(ours) == set(arrays)
    for key, array in arrays.items():
        assert ours[key].shape == array.shape, key
        np.testing.assert_allclose(ours[key], array, atol=1e-7, err_msg=key)
    assert build_potential(options, ours).config == load_nequip(reference / name).config


def test_a_new_model_round_trips(tmp_path: Path) -> None:
    config = NequIP(r_max=4.5, num_layers=2, l_max=1, num_features=3, nonlinearity_scalars={"e": "ssp"}, zbl=True)
    config, params = config.init(jax.random.key(1), ("Na", "Cl"))
    params |= {"shifts": jnp.array([-1.0, 2.5]), "shift": jnp.asarray(0.125), "scale": jnp.asarray(3.0)}
    save_nequip(NequIPPotential(params, config), tmp_path / "model")
    loaded = load_nequip(tmp_path / "model")
    assert loaded.config == config
    for ours, theirs in zip(jax.tree.leaves(params), jax.tree.leaves(loaded.params), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_trained_values_that_float32_cannot_hold_stay_float64(tmp_path: Path) -> None:
    potential = load_nequip(FIXTURES / "parity")
    weight = potential.params["output_hidden_to_scalar"] + 1e-12
    potential = potential.replace(params=potential.params | {"output_hidden_to_scalar": weight})
    save_nequip(potential, tmp_path / "model")
    np.testing.assert_array_equal(load_nequip(tmp_path / "model").params["output_hidden_to_scalar"], weight)
    _, arrays = read(tmp_path / "model")
    assert [name for name, array in arrays.items() if array.dtype == np.float64] == [
        "model.model.func.output_hidden_to_scalar.linear.weight"
    ]


def test_a_rescaling_that_the_source_lacked_is_not_lost(tmp_path: Path) -> None:
    potential = load_nequip(FIXTURES / "scalars_without_species_rescale")
    shifts = jnp.array([1.0, 2.0, 3.0])
    save_nequip(potential.replace(params=potential.params | {"shifts": shifts}), tmp_path / "model")
    loaded = load_nequip(tmp_path / "model")
    np.testing.assert_array_equal(loaded.params["shifts"], shifts)
    assert loaded.config == potential.config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_builders": ["allegro.model.Allegro"]}, "model builder 'allegro.model.Allegro' is not supported"),
        ({"model_builders": ["EnergyModel", "RescaleEnergyEtc", "PerSpeciesRescale"]}, "not in the supported order"),
        ({"model_builders": ["EnergyModel", "PairPotentialTerm"], "pair_style": "LJ"}, "pair_style = 'LJ'"),
        ({"model_builders": ["EnergyModel", "PairPotentialTerm"], "pair_style": "ZBL"}, "units = None"),
        ({"nonlinearity_type": "relu"}, "nonlinearity_type = 'relu'"),
        ({"nonlinearity_gates": {"e": "gelu", "o": "tanh"}}, r"nonlinearity_gates\['e'\] = 'gelu'"),
        ({"edge_sh_normalization": "norm"}, "edge_sh_normalization = 'norm'"),
        ({"layer1_convnet_num_features": 3}, "'layer1_convnet_num_features' overrides one layer"),
        ({"avg_num_neighbors": "auto"}, "avg_num_neighbors = 'auto' was never resolved"),
        ({"num_types": 7}, "num_types = 7 but there are 3 species"),
        ({"type_names": ["O", "H", "Na"]}, "contradict chemical_symbol_to_type"),
        ({"chemical_symbol_to_type": {"H": 0, "O": 2, "Na": 3}}, "must number the types from 0"),
        ({"chemical_symbol_to_type": {"H": 0, "Ow": 1, "Na": 2}, "type_names": None}, "'Ow' is not a chemical symbol"),
        ({"num_layers": 4}, r"lacks the array 'model.model.func.layer3_convnet.conv.linear_1.weight'"),
        ({"num_layers": 2}, "'.*layer2_convnet.*' that its configuration does not account for"),
        ({"num_features": 5}, "chemical_embedding_irreps_out = '4x0e' contradicts .*5x0e"),
        ({"invariant_neurons": 9}, r"conv.fc.layer0.weight' is float32\(8, 8\); .* floats \(8, 9\)"),
        ({"use_sc": False}, "'.*conv.sc.weight' that its configuration does not account for"),
        ({"l_max": None}, "has no l_max"),
        ({"r_max": None}, "has no r_max"),
    ],
)
def test_unsupported_options_are_named(change: dict[str, Any], message: str) -> None:
    options, arrays = read(FIXTURES / "parity")
    options = {key: value for key, value in (options | change).items() if value is not None}
    with pytest.raises(InputError, match=message):
        build_potential(options, arrays)


def test_bad_arrays_are_named() -> None:
    options, arrays = read(FIXTURES / "parity")
    name = "model.model.func.conv_to_output_hidden.linear.weight"
    broken = arrays[name].copy()
    broken[0] = np.nan
    with pytest.raises(InputError, match=f"{name}' holds values that are not finite"):
        build_potential(options, arrays | {name: broken})
    with pytest.raises(InputError, match=f"{name}' is int64"):
        build_potential(options, arrays | {name: np.zeros(arrays[name].shape, np.int64)})
    with pytest.raises(UnsupportedError, match="'extra' that its configuration does not account for"):
        build_potential(options, arrays | {"extra": np.ones(2)})
    with pytest.raises(UnsupportedError, match=r"'model.model.func.conv_to_output_hidden.linear.bias'"):
        build_potential(options, arrays | {"model.model.func.conv_to_output_hidden.linear.bias": np.ones(2)})
    with pytest.raises(UnsupportedError, match="rescaled 2 times"):
        build_potential(options, arrays | {"outer.scale_by": np.ones(())})
    with pytest.raises(InputError, match="not a NequIP energy model"):
        build_potential(options, {"weight": np.ones(3)})
    zbl_options, zbl = read(FIXTURES / "zbl")
    prefactor = "model.model.func.pair_potential._qqr2exesquare"
    with pytest.raises(UnsupportedError, match="_qqr2exesquare' is not what the configuration gives"):
        build_potential(zbl_options, zbl | {prefactor: 2 * zbl[prefactor]})


def test_unreadable_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no NequIP model"):
        load_nequip(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"holds no config.json"):
        load_nequip(tmp_path)
    (tmp_path / "config.json").write_text("{broken")
    with pytest.raises(InputError, match=r"holds no state_dict.npz"):
        load_nequip(tmp_path)
    (tmp_path / "state_dict.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(InputError, match="is not JSON"):
        load_nequip(tmp_path)
    (tmp_path / "config.json").write_text("[1, 2]")
    with pytest.raises(InputError, match="must hold a JSON object"):
        load_nequip(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="not an archive of plain arrays"):
        load_nequip(tmp_path)


class _Trap:
    def __reduce__(self) -> Any:
        return (Path("executed").touch, ())


def test_pickled_arrays_are_refused_without_running_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(FIXTURES / "parity" / "config.json", tmp_path)
    np.savez(tmp_path / "state_dict.npz", trap=np.array([_Trap()], dtype=object))
    with pytest.raises(InputError, match="not an archive of plain arrays"):
        load_nequip(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_saving_never_clobbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    potential = load_nequip(FIXTURES / "parity")
    folder = save_nequip(potential, tmp_path / "models" / "a")
    with pytest.raises(InputError, match="exists; choose another folder or pass overwrite=True"):
        save_nequip(potential, folder)
    other = load_nequip(FIXTURES / "norm")

    def broken(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", broken)
        with pytest.raises(OSError, match="disk full"):
            save_nequip(other, folder, overwrite=True)
    assert_same_files(FIXTURES / "parity", folder)
    save_nequip(other, folder, overwrite=True)
    assert_same_files(FIXTURES / "norm", folder)
    assert [entry.name for entry in folder.parent.iterdir()] == ["a"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds more than a NequIP model"):
        save_nequip(other, folder, overwrite=True)
    with pytest.raises(InputError, match="a NequIPPotential, not a float"):
        save_nequip(3.0, tmp_path / "b")  # pyright: ignore[reportArgumentType]


def test_torchscript_only_on_request(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/code/__torch__/nequip/nn.py", "")
    with pytest.raises(InputError, match=r"is a TorchScript program; if you trust it.*torchscript=True"):
        load_nequip(path)
    if importlib.util.find_spec("torch") is None:
        with pytest.raises(ImportError, match=r"jaxelyte\[torch\]"):
            load_nequip(path, torchscript=True)
    else:
        with pytest.raises(InputError, match="not a TorchScript file"):
            load_nequip(path, torchscript=True)


@pytest.mark.parametrize("case", ["parity", "zbl"])
def test_deployed_models(tmp_path: Path, case: str) -> None:
    """A model that nequip deploys is read as the fixture of the same weights is, and written back losslessly."""
    pytest.importorskip("nequip")
    spec = importlib.util.spec_from_file_location("oracle", TESTS / "oracles" / "make_nequip_oracle.py")
    assert spec is not None
    assert spec.loader is not None
    oracle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)
    oracle.deploy(*oracle.build(case), tmp_path / "deployed.pth")
    potential = load_nequip(tmp_path / "deployed.pth", torchscript=True)
    fixture = load_nequip(FIXTURES / case)
    assert potential.config == fixture.config
    for ours, theirs in zip(jax.tree.leaves(potential.params), jax.tree.leaves(fixture.params), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    again = load_nequip(save_nequip(potential, tmp_path / "folder"))
    assert again.source == potential.source
    assert state_of(again)[0]["nequip_version"] == "0.6.2"


def test_importing_is_fast() -> None:
    """Neither e3nn-jax (seconds) nor PyTorch is imported before a model needs it."""
    code = "import sys, jaxelyte.interop.nequip_files; print({'e3nn_jax', 'torch'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TESTS.parent)
    assert result.stdout.strip() == "set()"
