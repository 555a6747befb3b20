"""Published NequIP models: read a folder of arrays or a deployed TorchScript file, write the folder back.

A folder holds ``config.json`` (nequip's own configuration keys) and ``state_dict.npz`` (every array of the PyTorch
model under its original name). Only numbers and JSON are read; nothing in a folder can run code. A ``.pth`` file is a
TorchScript program, which PyTorch's own loader interprets: it is read only on request.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte import checks
from jaxelyte.arrays import HashableArray, read_arrays
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.interop.foreign_models import describe
from jaxelyte.interop.nequip_config import read_config, write_config
from jaxelyte.interop.nequip_names import NETWORK_MARK, fresh_buffers, parameter_names, zbl_prefactor
from jaxelyte.interop.potential_files import read_potential
from jaxelyte.interop.shipped import is_shipped, located, member_folders, no_model
from jaxelyte.models.config import NequIP
from jaxelyte.models.parameters import parameter_shapes
from jaxelyte.potentials.codec import identities
from jaxelyte.potentials.nequip import NequIPPotential, NequIPSource
from jaxelyte.storage import output_folder, saving, write_json, writing

CONFIG, STATE = "config.json", "state_dict.npz"
BASELINE = "baseline"
"""Name of the files of the baseline beside a network that was trained on labels less one."""


def load_nequip(path: str | os.PathLike[str], *, torchscript: bool = False) -> NequIPPotential:
    """Read a NequIP model (nequip 0.5 and 0.6).

    Args:
        path: a folder with ``config.json`` and ``state_dict.npz``, a deployed ``.pth`` file, or the name of an included
            potential: its first network, which needs the baseline. `load_potential` loads the complete potential.
        torchscript: allow a ``.pth`` file to be opened with ``torch.jit.load``, which may execute code of the file
            (needs ``jaxelyte[torch]``).

    Returns:
        The potential; its parameters are float64 if ``jax_enable_x64`` is on, else float32. A network that was trained
        relative to a baseline cannot be used without it; `load_fit` reads both.

    Raises:
        InputError: a file that is missing, unreadable or contradictory; the message states the reason.
        UnsupportedError: an option that this version does not implement, by name.
    """
    given, path = path, located(path)
    if path.is_dir() and is_shipped(path):
        path = member_folders(path)[0]
    if path.is_dir():
        config, arrays = _read_folder(path)
    elif not path.exists():
        raise no_model(given)
    else:
        config, arrays = _read_file(path, torchscript=torchscript)
    potential = build_potential(config, arrays)
    if path.is_dir() and (path / f"{BASELINE}.json").is_file():
        return replace(potential, requires=identities(read_potential(path, BASELINE)))
    return potential


def _read_file(path: Path, *, torchscript: bool) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    found = describe(path)
    if not (torchscript and found.deployed):
        raise InputError(f"{path} is {found.what}; {found.remedy}")
    from jaxelyte.interop.torchscript import read_torchscript

    return read_torchscript(path)


def _read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    for name in (CONFIG, STATE):
        if not (folder / name).is_file():
            found = describe(folder)
            raise InputError(f"{folder} holds no {name}: it is {found.what}; {found.remedy}")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder / CONFIG} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{folder / CONFIG} must hold a JSON object")
    return config, read_arrays(folder / STATE, "the arrays of a NequIP model")


def build_potential(options: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> NequIPPotential:
    """The potential of a nequip configuration and its named arrays; see `load_nequip` for the errors."""
    prefix, outer = _prefixes(arrays)
    config = read_config(options)
    names = parameter_names(config, prefix, outer)
    dtype = jax.dtypes.canonicalize_dtype(np.float64)

    def leaf(path: tuple[Any, ...], shape: tuple[int, ...]) -> jax.Array:
        return jnp.asarray(_parameter(names[_dotted(path)], shape, arrays), dtype)

    params = jax.tree_util.tree_map_with_path(leaf, parameter_shapes(config), is_leaf=_is_shape)
    stored = {name for name in names.values() if name in arrays and arrays[name].size}
    buffers = {name: array for name, array in arrays.items() if name not in stored}
    _check_buffers(config, buffers, prefix, float(params["scale"]))
    source = NequIPSource(
        config=json.dumps(dict(options)),
        names=tuple(arrays),
        prefix=prefix,
        outer=outer,
        buffers=tuple((name, HashableArray(array)) for name, array in buffers.items()),
    )
    return NequIPPotential(params, config, source)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple)


def _dotted(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _prefixes(arrays: Mapping[str, np.ndarray]) -> tuple[str, str]:
    """What stands before the network's arrays and before the global scale."""
    marks = [name for name in arrays if name.endswith(NETWORK_MARK)]
    if len(marks) != 1:
        raise InputError(
            f"the arrays hold {len(marks)} of '...{NETWORK_MARK}', not one: this is not a NequIP energy model"
        )
    scales = [name for name in arrays if name.rpartition(".")[2] == "scale_by"]
    if len(scales) > 1:
        raise UnsupportedError(
            f"the model is rescaled {len(scales)} times ({', '.join(scales)}); only once is supported"
        )
    return marks[0].removesuffix(NETWORK_MARK), scales[0].removesuffix("scale_by") if scales else ""


def _parameter(name: str, shape: tuple[int, ...], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    last = name.rpartition(".")[2]
    default = {"scales": 1.0, "shifts": 0.0, "scale_by": 1.0, "shift_by": 0.0}.get(last)
    # nequip leaves out a rescaling that was not asked for, or stores an empty array.
    if default is not None and (name not in arrays or arrays[name].size == 0):
        return np.full(shape, default)
    if name not in arrays and 0 not in shape:
        raise InputError(f"the model lacks the array {name!r} that its configuration asks for")
    value = arrays.get(name, np.zeros(shape))
    if value.shape != shape or value.dtype.kind != "f":
        raise InputError(f"array {name!r} is {value.dtype}{value.shape}; the configuration asks for floats {shape}")
    if not np.all(np.isfinite(value)):
        raise InputError(f"array {name!r} holds values that are not finite")
    return value


def _check_buffers(config: NequIP, buffers: Mapping[str, np.ndarray], prefix: str, scale: float) -> None:
    """Compare what is no parameter with what nequip would have put there: a mismatch means another architecture."""
    expected = fresh_buffers(config, prefix)
    if config.zbl:
        expected[f"{prefix}pair_potential._qqr2exesquare"] = zbl_prefactor(scale)
    for name, value in buffers.items():
        if value.size == 0:
            continue
        if name not in expected:
            raise UnsupportedError(f"the model holds an array {name!r} that its configuration does not account for")
        if value.shape != expected[name].shape or not np.allclose(value, expected[name], rtol=1e-5, atol=1e-6):
            raise UnsupportedError(
                f"array {name!r} is not what the configuration gives; the model differs from nequip's own"
            )


def save_nequip(potential: NequIPPotential, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a model as ``config.json`` and ``state_dict.npz``, the format of `load_nequip`.

    A model that was loaded is written with every key and array of its source. An array keeps the floating type of the
    source if that represents its values exactly. The folder is written completely or not at all.

    Args:
        potential: the model.
        folder: where to write; must not exist unless ``overwrite``.
        overwrite: replace an existing folder that holds a NequIP model and nothing else.

    Raises:
        InputError: not a `NequIPPotential`; the folder exists, or contains something other than a NequIP model.
        StorageError: the folder cannot be written; an existing one is kept.
    """
    if not isinstance(potential, NequIPPotential):
        remedy = "; Fit.save writes a fit with its baseline" if hasattr(potential, "members") else ""
        raise InputError(f"save_nequip writes a NequIPPotential, not a {type(potential).__name__}{remedy}")
    folder, overwrite = output_folder(folder, argument="folder"), checks.flag("overwrite", overwrite)
    if folder.exists():
        if not overwrite:
            raise InputError(f"{folder} exists; choose another folder or pass overwrite=True")
        if not folder.is_dir() or {entry.name for entry in folder.iterdir()} - {CONFIG, STATE}:
            raise InputError(f"{folder} holds more than a NequIP model and is not replaced; choose another folder")
    config, arrays = state_of(potential)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            work.chmod(0o755)
            write_json(work / CONFIG, config)
            with saving(work / STATE) as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            _replace(work, folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return folder


def _replace(work: Path, folder: Path) -> None:
    """Move a finished folder into place; a folder in its place steps aside first and is removed last."""
    if not folder.exists():
        work.rename(folder)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    folder.rename(aside / "old")
    try:
        work.rename(folder)
    except OSError:
        (aside / "old").rename(folder)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def state_of(potential: NequIPPotential) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The configuration and named arrays of a potential, as `save_nequip` writes them."""
    config, source = potential.config, potential.source
    flat = {_dotted(path): np.asarray(x) for path, x in jax.tree_util.tree_flatten_with_path(potential.params)[0]}
    if source is not None and _representable(flat, config, source):
        names = parameter_names(config, source.prefix, source.outer)
        options, buffers, order = json.loads(source.config), source.buffer_arrays(), source.names
        dtype = np.dtype(options.get("default_dtype", "float32"))
    else:
        names = parameter_names(config, "model.func.", "")
        options, dtype = write_config(config), flat["scale"].dtype
        buffers = {k: v.astype(dtype) for k, v in fresh_buffers(config, "model.func.").items()}
        if config.zbl:
            buffers["model.func.pair_potential._qqr2exesquare"] = zbl_prefactor(float(flat["scale"]))
        options["default_dtype"] = str(dtype)
        order = tuple(dict.fromkeys((*names.values(), *buffers)))
        if not flat["shift"]:
            buffers["shift_by"] = np.zeros(0, dtype)  # how nequip writes "no shift"
    values = {names[path]: _narrow(value, dtype) for path, value in flat.items()}
    return options, {name: buffers[name] if name in buffers else values[name] for name in order}


def _narrow(value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    narrow = value.astype(dtype)
    return narrow if np.array_equal(narrow.astype(value.dtype), value) else value


def _representable(flat: Mapping[str, np.ndarray], config: NequIP, source: NequIPSource) -> bool:
    """False if a rescaling that the source leaves out (it was one or zero) has since been given another value."""
    names, buffers = parameter_names(config, source.prefix, source.outer), source.buffer_arrays()
    neutral = {"scales": 1.0, "shifts": 0.0, "scale": 1.0, "shift": 0.0}
    left_out = [key for key in neutral if names[key] not in source.names or names[key] in buffers]
    return all(np.all(flat[key] == neutral[key]) for key in left_out)
