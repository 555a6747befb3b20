"""Arrays and configuration out of a deployed nequip model (TorchScript, nequip 0.5 and 0.6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jaxelyte.errors import InputError, UnsupportedError

METADATA = ("config", "r_max", "type_names", "n_species", "nequip_version", "e3nn_version", "torch_version")
"""Texts that nequip stores beside the program."""


def read_torchscript(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The nequip configuration and every named array of a deployed model.

    The file is opened by ``torch.jit.load`` alone. Its configuration is YAML, read by a parser that makes plain values
    only.

    Raises:
        ImportError: PyTorch is not installed.
        InputError: not a TorchScript file, or not one that nequip deployed.
        UnsupportedError: a deployed model whose arrays were frozen into the program.
    """
    try:
        import torch
        import yaml
    except ImportError as error:
        raise ImportError(f"reading {path} needs PyTorch and PyYAML: pip install 'jaxelyte[torch]'") from error
    extra: dict[str, Any] = dict.fromkeys(METADATA, "")
    try:
        module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"{path} is not a TorchScript file that PyTorch {torch.__version__} can read: {first}"
        ) from error
    texts = {key: value.decode() if isinstance(value, bytes) else value for key, value in extra.items()}
    if not texts["config"]:
        raise InputError(
            f"{path} holds no nequip configuration; deploy the model with nequip-deploy (nequip 0.5 or 0.6)"
        )
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}
    if not arrays:
        raise UnsupportedError(f"the arrays of {path} were frozen into its program; deploy the model without freezing")
    try:
        config = yaml.load(texts["config"], Loader=_plain_loader())  # noqa: S506 - a subclass of the safe loader
    except yaml.YAMLError as error:
        raise InputError(f"the nequip configuration in {path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"the nequip configuration in {path} is not a mapping")
    return _complete(config, texts), arrays


def _plain_loader() -> Any:
    """YAML's safe loader, which makes plain values only, taught that nequip's tuples are lists."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("tag:yaml.org,2002:python/tuple", yaml.SafeLoader.construct_yaml_seq)
    return Loader


def _complete(config: dict[str, Any], texts: dict[str, str]) -> dict[str, Any]:
    """Plain JSON values, with the cut-off and species that nequip stores beside the configuration."""
    plain = {str(key): _plain(value) for key, value in config.items()}
    if texts["r_max"]:
        plain.setdefault("r_max", float(texts["r_max"]))
    if texts["type_names"]:
        plain.setdefault("type_names", texts["type_names"].split())
    if texts["nequip_version"]:
        plain.setdefault("nequip_version", texts["nequip_version"])
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
