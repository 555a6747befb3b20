"""What a file or folder is that holds no model jaxelyte reads, from its content alone: nothing of it is executed."""

from __future__ import annotations

import itertools
import pickletools
import re
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

RETRAIN = (
    "jaxelyte runs models of nequip 0.5 and 0.6 and its own: train one on frames that this model has labelled "
    "(jaxelyte.train)"
)
DEPLOY = "deploy it with nequip 0.5 or 0.6 (nequip-deploy build --train-dir FOLDER deployed.pth) and load that file"
LOAD_FIT = "load_fit reads it: fit.total is the potential with its baseline (model/ is the network alone)"
FOLDER = "a NequIP folder has config.json and state_dict.npz"

LOAD_POTENTIAL = "load_potential reads it: a committee with all that has to be added to its networks"

FOLDERS = (
    ({"card.json"}, "a potential with its card, as those that come with jaxelyte", LOAD_POTENTIAL),
    ({"config.json", "model"}, "the folder of a training run", LOAD_FIT),
    ({"metrics.jsonl", "model"}, "the folder of a training run", LOAD_FIT),
    ({"log.csv", "summary.json"}, "the folder of a simulation", "open_trajectory reads its trajectory"),
    ({"log.csv", "checkpoint.npz"}, "the folder of a simulation", "open_trajectory reads its trajectory"),
    ({"fit.npz", "history.jsonl"}, "the folder of a fit to observables", "resume the fit, which returns the potential"),
    ({"trainer.pth"}, "the folder of a training by nequip 0.5 or 0.6", DEPLOY),
    ({"best_model.pth"}, "the folder of a training by nequip 0.5 or 0.6", DEPLOY),
    ({"last_model.pth"}, "the folder of a training by nequip 0.5 or 0.6", DEPLOY),
    ({".hydra"}, "the folder of a training by nequip 0.7 or later", RETRAIN),
    ({"last.ckpt"}, "the folder of a training by nequip 0.7 or later", RETRAIN),
    ({"best.ckpt"}, "the folder of a training by nequip 0.7 or later", RETRAIN),
)
"""Names of files, all of which tell what a folder is, and what can be done with it."""

SUFFIXES = (
    ((".onnx",), "an ONNX graph", RETRAIN),
    ((".pb",), "a TensorFlow graph, as DeePMD-kit writes it", RETRAIN),
    ((".json", ".yaml", ".yml", ".toml"), "a file of settings without weights", f"give the folder: {FOLDER}"),
    (
        (".xyz", ".extxyz", ".dcd", ".xtc", ".trr", ".dump", ".lammpstrj", ".pdb", ".traj", ".nc", ".cif", ".data"),
        "a file of atoms",
        "read or open_trajectory reads it; as a model give a folder",
    ),
)
"""Endings of files whose content has no mark of its own."""

MAGIC = (
    ((b"\x89HDF",), "an HDF5 file", "open_trajectory reads trajectories; as a model give a folder"),
    ((b"\x1f\x8b", b"BZh", b"\xfd7zXZ"), "a packed file", "unpack it first"),
)

PROGRAMS = (
    ("mace", "MACE"),
    ("sevenn", "SevenNet"),
    ("allegro", "Allegro"),
    ("deepmd", "DeePMD-kit"),
    ("metatomic", "metatomic"),
    ("metatensor", "metatomic"),
    ("chgnet", "CHGNet"),
    ("matgl", "MatGL"),
    ("schnetpack", "SchNetPack"),
    ("torchani", "TorchANI"),
    ("orb_models", "Orb"),
    ("fairchem", "fairchem"),
    ("mattersim", "MatterSim"),
    ("nequix", "Nequix"),
)
"""Python packages by whose classes a model is recognised, and the names of the programs."""

LIGHTNING = ("pytorch-lightning_version", "pytorch_lightning", "lightning")
SEVENN_TEXT = "E3_equivariant_model"
WEIGHTS = "radial_basis.basis.bessel_weights"
"""An array of every network of nequip 0.5 and 0.6."""

MODEL_FILES = ("config.json", "state_dict.npz")

LIMIT = 1 << 22
"""Bytes of a pickle that are looked at."""


class Description(NamedTuple):
    """What a path holds, what can be done, and whether it may be a program that nequip 0.5 or 0.6 deployed."""

    what: str
    remedy: str
    deployed: bool = False


def describe(path: Path) -> Description:
    """Describe a file or folder that was given as a model.

    Archives are listed and pickles are scanned for names of classes; neither is unpacked or loaded.
    """
    return _describe_folder(path) if path.is_dir() else _describe_file(path)


def _describe_folder(path: Path) -> Description:
    names = {entry.name for entry in itertools.islice(path.iterdir(), 10_000)}
    for marks, what, remedy in FOLDERS:
        if marks <= names:
            return Description(what, remedy.replace("FOLDER", str(path)))
    if any(name.endswith(".model") for name in names):
        return Description("a folder of a training by MACE", RETRAIN)
    inside = sorted(name for name in names if all((path / name / file).is_file() for file in MODEL_FILES))
    if inside:
        return Description(f"a folder of the models {', '.join(inside[:8])}", f"give one, such as {path / inside[0]}")
    held = f"a folder that holds {', '.join(sorted(names)[:8])}" if names else "an empty folder"
    if any(name.endswith((".pth", ".pt", ".nequip.zip")) for name in names):
        return Description(held, "give the file of the model")
    return Description(held, FOLDER)


def _describe_file(path: Path) -> Description:
    with path.open("rb") as file:
        start = file.read(LIMIT)
    if start.startswith(b"PK"):
        return _describe_archive(path)
    if start.startswith(b"\x80"):
        return _describe_pickle(start)
    for marks, what, remedy in MAGIC:
        if start.startswith(marks):
            return Description(what, remedy)
    for endings, what, remedy in SUFFIXES:
        if path.name.endswith(endings):
            return Description(what, remedy)
    return Description(
        f"no file of a model that is known (it starts with {start[:12]!r})" if start else "an empty file",
        f"{FOLDER}; for a deployed nequip model that you trust, call load_nequip(path, torchscript=True)",
    )


def _describe_archive(path: Path) -> Description:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            inner = [name.partition("/")[2] for name in names]
            if ".data/extern_modules" in inner:
                return _describe_package(archive, names)
            if any(name.startswith("data/aotinductor/") for name in (*names, *inner)):
                return Description("a program that nequip-compile (0.7 and later) or AOTInductor compiled", RETRAIN)
            if any(name.startswith("code/") for name in inner):
                return _describe_torchscript(archive, names)
            pickles = [name for name in names if name.endswith("data.pkl")]
            if pickles:
                with archive.open(pickles[0]) as file:
                    return _describe_pickle(file.read(LIMIT))
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        return Description(f"an archive that is damaged or incomplete ({error})", "copy or download it once more")
    if names and all(name.endswith(".npy") for name in names):
        return Description("an archive of arrays", "give the folder in which config.json and state_dict.npz lie")
    return Description(
        f"a zip archive of {', '.join(names[:4]) or 'nothing'}", "unpack it, and give the folder of the model"
    )


def _describe_package(archive: zipfile.ZipFile, names: list[str]) -> Description:
    """A model with its program (torch.package), as nequip-package writes it."""
    text = "".join(_text(archive, name) for name in names if name.endswith("package_metadata.txt"))
    version = re.search(r"\bnequip['\"]?\s*:\s*['\"]?(\d[\w.]*)", text)
    who = "Allegro" if any("/allegro/" in name for name in names) else "nequip"
    by = f"nequip {version[1]}" if version else "nequip 0.7 or later"
    return Description(f"a packaged {who} model of {by}", RETRAIN)


def _describe_torchscript(archive: zipfile.ZipFile, names: list[str]) -> Description:
    texts = {Path(name).name: name for name in names if "/extra/" in name}
    program = next((label for mark, label in PROGRAMS if any(f"/__torch__/{mark}/" in name for name in names)), None)
    if program is not None:
        return Description(f"a TorchScript program of {program}", RETRAIN)
    version = _text(archive, texts["nequip_version"]).strip() if "nequip_version" in texts else ""
    config = "config" in texts
    if version and not re.match(r"0\.[0-6](\.|$)", version):
        return Description(f"a TorchScript program of nequip {version}", RETRAIN)
    if not config and "type_names" in texts and "r_max" in texts:
        return Description("a TorchScript program that nequip-compile (0.7 and later) made", RETRAIN)
    if config or version:
        what = f"a deployed model of nequip{' ' + version if version else ''} (TorchScript)"
    else:
        what = "a TorchScript program"
    return Description(what, "if you trust it, call load_nequip(path, torchscript=True)", deployed=True)


def _describe_pickle(data: bytes) -> Description:
    modules, texts = _names_in(data)
    for mark, label in PROGRAMS:
        if any(module == mark or module.startswith(f"{mark}.") for module in modules):
            return Description(f"a model of {label}, pickled by PyTorch", RETRAIN)
    if SEVENN_TEXT in texts:
        return Description("a checkpoint of SevenNet", RETRAIN)
    if any(mark in modules or mark in texts for mark in LIGHTNING):
        return Description("a checkpoint of PyTorch Lightning, as nequip 0.7 and later write it", RETRAIN)
    if any(text.endswith(WEIGHTS) for text in texts):
        return Description(
            "a file of weights of nequip 0.5 or 0.6 without the hyperparameters",
            "it lies in the folder of a training: " + DEPLOY,
        )
    if any(module.startswith("nequip") for module in modules):
        return Description("an object of nequip, pickled by PyTorch", DEPLOY)
    known = sorted({module.partition(".")[0] for module in modules} - {"torch", "collections", "builtins", "numpy"})
    of_what = f" of {', '.join(known[:3])}" if known else ""
    return Description(f"a pickled object{of_what}, which is not loaded since that could run code", RETRAIN)


def _names_in(data: bytes) -> tuple[set[str], set[str]]:
    """Modules of the classes that a pickle names, and its short texts; the pickle is read as far as it is sound."""
    modules: set[str] = set()
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in ("GLOBAL", "INST"):
                modules.add(str(argument).partition(" ")[0])
            elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
                modules.add(texts[-2])
            elif isinstance(argument, str) and len(argument) < 200:
                texts.append(argument)
    except (ValueError, IndexError, OverflowError, UnicodeDecodeError):
        pass
    # A class may be named by texts from before; those of a module have dots.
    dotted = {text for text in texts if re.fullmatch(r"[a-z_]\w*(\.\w+)+", text)}
    return modules | {text for text in dotted if text.partition(".")[0] in _PACKAGES}, set(texts)


_PACKAGES = frozenset({*(mark for mark, _ in PROGRAMS), "nequip", "pytorch_lightning", "lightning"})


def _text(archive: zipfile.ZipFile, name: str) -> str:
    with archive.open(name) as file:
        return file.read(1 << 20).decode("utf-8", errors="replace")
