"""Files and folders without a model for jaxelyte are recognised by their content, of which nothing is executed."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest

import jaxelyte as jxl
from jaxelyte.interop.nequip_config import read_config
from jaxelyte.interop.nequip_keys import check_keys

FIXTURE = Path(__file__).resolve().parent.parent / "fixtures" / "nequip" / "parity"


def archive(path: Path, content: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in content.items():
            file.writestr(f"model/{name}", data)
    return path


def pickled(module: str, protocol: int, monkeypatch: pytest.MonkeyPatch, **content: Any) -> bytes:
    """An object of a class that another package would define; unpickling it would fail."""
    parent = types.ModuleType(module)
    cls = type("Model", (), {"__module__": module})
    parent.Model = cls  # pyright: ignore[reportAttributeAccessIssue]
    with monkeypatch.context() as patch:
        for n in range(module.count(".")):
            patch.setitem(sys.modules, module.rsplit(".", n + 1)[0], types.ModuleType("parent"))
        patch.setitem(sys.modules, module, parent)
        return pickle.dumps({"model": cls(), **content}, protocol=protocol)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {".data/extern_modules": "", "model/package_metadata.txt": "code_versions:\n  nequip: 0.19.1\n"},
            r"a packaged nequip model of nequip 0\.19\.1; jaxelyte runs models of nequip 0\.5 and 0\.6",
        ),
        ({".data/extern_modules": "", "allegro/nn.py": ""}, "a packaged Allegro model of nequip 0.7 or later"),
        ({"data/aotinductor/model/a.so": ""}, "AOTInductor"),
        ({"code/__torch__/nequip/nn.py": "", "extra/r_max": "5", "extra/type_names": "H O"}, r"nequip-compile \(0\.7"),
        ({"code/__torch__/n.py": "", "extra/config": "", "extra/nequip_version": "0.7.1"}, r"of nequip 0\.7\.1"),
        ({"code/__torch__/mace/modules.py": ""}, "a TorchScript program of MACE"),
        ({"code/__torch__/allegro/nn.py": "", "extra/config": "", "extra/nequip_version": "0.6.1"}, "of Allegro"),
        ({"R.npy": "", "z.npy": ""}, "an archive of arrays; give the folder"),
        ({"readme": ""}, "a zip archive of model/readme"),
        (
            {"code/__torch__/nequip/nn.py": "", "extra/config": "", "extra/nequip_version": "0.6.2"},
            r"a deployed model of nequip 0\.6\.2 \(TorchScript\); if you trust it, call load_nequip",
        ),
    ],
)
def test_archives_are_told_apart_by_their_lists(tmp_path: Path, content: dict[str, str], message: str) -> None:
    path = archive(tmp_path / "model.pth", content)
    with pytest.raises(jxl.InputError, match=message):
        jxl.load_nequip(path)
    if "torchscript" not in message and "call load_nequip" not in message:
        with pytest.raises(jxl.InputError, match=message):
            jxl.load_nequip(path, torchscript=True)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("module", "content", "message"),
    [
        ("mace.modules.models", {}, "a model of MACE, pickled by PyTorch; jaxelyte runs models of nequip"),
        ("sevenn.nn.sequential", {}, "a model of SevenNet"),
        ("collections.abc", {"config": {"model_type": "E3_equivariant_model"}}, "a checkpoint of SevenNet"),
        ("collections.abc", {"pytorch-lightning_version": "2.6"}, "a checkpoint of PyTorch Lightning, as nequip 0.7"),
        ("collections.abc", {"model.radial_basis.basis.bessel_weights": 0}, "weights of nequip 0.5 or 0.6 without"),
        ("somebody.else", {}, "a pickled object of somebody, which is not loaded since that could run code"),
    ],
)
def test_pickles_are_told_apart_by_their_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, content: dict[str, Any], message: str, protocol: int
) -> None:
    data = pickled(module, protocol, monkeypatch, **content)
    (tmp_path / "bare.model").write_bytes(data)
    archive(tmp_path / "zipped.model", {"data.pkl": data, "data/0": b"\0" * 8})
    for name in ("bare.model", "zipped.model"):
        with pytest.raises(jxl.InputError, match=message):
            jxl.load_nequip(tmp_path / name)


class _Trap:
    def __reduce__(self) -> Any:
        return (Path("executed").touch, ())


def test_nothing_is_executed_or_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(_Trap())
    Path("trap.pt").write_bytes(data)
    archive(Path("trap.pth"), {"data.pkl": data})
    for name in ("trap.pt", "trap.pth"):
        with pytest.raises(jxl.InputError, match="a pickled object of pathlib"):
            jxl.load_nequip(name, torchscript=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["trap.pt", "trap.pth"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("trainer.pth", "config.yaml", "best_model.pth"),
            r"training by nequip 0\.5 or 0\.6; deploy it .*--train-dir /",
        ),
        ((".hydra", "last.ckpt"), r"training by nequip 0\.7 or later; jaxelyte runs"),
        (("a.model", "a_swa.model"), "training by MACE"),
        (("log.csv", "summary.json", "config.json"), "the folder of a simulation; open_trajectory reads"),
        (("a.pth", "notes.txt"), "a folder that holds a.pth, notes.txt; give the file of the model"),
        ((), "an empty folder; a NequIP folder has config.json and state_dict.npz"),
    ],
)
def test_folders_are_told_apart_by_their_files(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    with pytest.raises(
        jxl.InputError, match=f"holds no .*: it is (a|the|an) ?.*{message.partition('a ')[2] or message}"
    ):
        jxl.load_nequip(folder)
    if "jaxelyte;" not in message:
        with pytest.raises(jxl.InputError, match="holds no trained model"):
            jxl.load_fit(folder)


def test_folders_of_models(tmp_path: Path) -> None:
    for number in "01":
        shutil.copytree(FIXTURE, tmp_path / "model" / number)
    with pytest.raises(jxl.InputError, match=r"a folder of the models 0, 1; give one, such as .*model.0"):
        jxl.load_nequip(tmp_path / "model")
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(jxl.InputError, match=r"the folder of a training run; load_fit reads it: fit\.total is"):
        jxl.load_nequip(tmp_path)
    with pytest.raises(jxl.InputError, match="a NequIP model without its training; load_nequip reads it"):
        jxl.load_fit(FIXTURE)
    with pytest.raises(jxl.InputError, match="there is no folder"):
        jxl.load_fit(tmp_path / "nothing")


def test_other_files(tmp_path: Path) -> None:
    cases = {
        "empty.pth": (b"", "an empty file"),
        "graph.onnx": (b"\x08\x07", "an ONNX graph"),
        "graph.pb": (b"\n\x07", "a TensorFlow graph"),
        "config.json": (b"{}", "a file of settings without weights"),
        "run.xyz": (b"3\n\n", "a file of atoms"),
        "set.h5": (b"\x89HDF\r\n", "an HDF5 file"),
        "model.tar.gz": (b"\x1f\x8b\x08", "a packed file; unpack it first"),
        "broken.pth": (b"PK\x03\x04 cut", "an archive that is damaged or incomplete"),
        "text": (b"hello", r"no file of a model that is known \(it starts with b'hello'\)"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(jxl.InputError, match=message):
            jxl.load_nequip(tmp_path / name)


@pytest.mark.parametrize(
    "key",
    [
        *("per_edge_type_cutoff", "radial_mlp_width", "type_embed_num_features", "polynomial_cutoff_p", "num_bessels"),
        *("per_type_energy_shifts", "readout_mlp_nonlinearity", "convnet_resnet", "_target_", "pair_potential"),
        *("one_hot_set_features", "BesselBasis_r_max", "PolynomialCutoff_r_max", "output_hidden_to_scalar_irreps_out"),
    ],
)
@pytest.mark.parametrize("version", [None, "0.5.6"])
def test_keys_that_change_the_energy_are_refused(key: str, version: str | None) -> None:
    options = json.loads((FIXTURE / "config.json").read_text()) | {"nequip_version": version}
    check_keys(options)
    with pytest.raises(jxl.UnsupportedError, match=f"'{key}'"):
        check_keys(options | {key: 3})


def test_keys_about_training_are_ignored() -> None:
    options = json.loads((FIXTURE / "config.json").read_text())
    training = (
        "n_train",
        "lr_scheduler_name",
        "dataset_file_name",
        "wandb_project",
        "code_commits",
        "global_rescale_scale",
    )
    check_keys(options | dict.fromkeys(training, 1))
    check_keys(options | {"per_edge_type_cutoff": None, "nequip_version": "0.6.2", "my_own_note": 3})
    with pytest.raises(jxl.InputError, match=r"the key 'my_own_note' .* is not known"):
        check_keys(options | {"my_own_note": 3})
    for version in ("0.7.0", "0.19.1", "1.0"):
        with pytest.raises(jxl.UnsupportedError, match=f"of nequip {version}; models of nequip 0.5 and 0.6"):
            check_keys(options | {"nequip_version": version})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("type_names", 5, "type_names = 5 must be a list of names"),
        ("model_builders", "EnergyModel", "model_builders = 'EnergyModel' must be a list of names"),
        ("chemical_symbol_to_type", ["H", "O"], "must number the types from 0"),
        ("chemical_symbol_to_type", {"H": 0.0, "O": 1, "Na": 2}, "must number the types from 0"),
        ("num_types", float("nan"), "num_types = nan but there are 3 species"),
        ("num_layers", 10**30, "num_layers = 1000000000000000000000000000000 is larger than 100"),
        ("l_max", 99, "l_max = 99 is larger than 11"),
        ("feature_irreps_hidden", "4x99e", "feature_irreps_hidden = '4x99e' is larger than degree 11"),
    ],
)
def test_values_of_the_wrong_kind(key: str, value: Any, message: str) -> None:
    options = json.loads((FIXTURE / "config.json").read_text())
    with pytest.raises(jxl.InputError, match=message):
        read_config(options | {key: value})
