"""Keys of a nequip configuration: those of the model, those that change nothing, and those that are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jaxelyte.errors import InputError, UnsupportedError

MODEL = frozenset(
    {
        *("r_max", "num_layers", "l_max", "parity", "num_features", "num_basis", "BesselBasis_trainable"),
        *("PolynomialCutoff_p", "invariant_layers", "invariant_neurons", "avg_num_neighbors", "use_sc", "resnet"),
        *("nonlinearity_type", "nonlinearity_scalars", "nonlinearity_gates", "chemical_embedding_irreps_out"),
        *("feature_irreps_hidden", "irreps_edge_sh", "conv_to_output_hidden_irreps_out", "model_builders"),
        *("chemical_symbol_to_type", "chemical_symbols", "type_names", "num_types", "pair_style", "units"),
        *("edge_sh_normalization", "edge_sh_normalize", "basis", "cutoff", "convolution", "reduce"),
    }
)
"""Read, and checked, by `jaxelyte.interop.nequip_config.read_config`."""

HARMLESS = frozenset(
    {
        # Precision, and names of species that repeat those of the model.
        *("default_dtype", "model_dtype", "allow_tf32", "dtype", "n_species", "type_to_chemical_symbol"),
        # Training and data; statistics of the data are arrays of the model by then.
        *("seed", "root", "run_name", "append", "restart", "verbose", "device", "workdir", "wandb", "tensorboard"),
        *(
            "batch_size",
            "shuffle",
            "n_train",
            "n_val",
            "n_train_per_epoch",
            "train_idcs",
            "val_idcs",
            "train_val_split",
        ),
        *("learning_rate", "max_epochs", "max_gradient_norm", "use_ema", "exclude_keys", "include_keys"),
        *("key_mapping", "train_val_split"),
        *("train_on_keys", "report_init_validation", "equivariance_test", "grad_anomaly_mode", "gpu_oom_offload"),
        *("warn_unused", "include_frames", "extra_fixed_fields", "npz_fixed_field_keys", "ase_args", "horovod"),
        *("state", "progress", "best_metrics", "best_epoch", "iepoch", "stop_arg", "timestamp", "final_callbacks"),
        *("init_callbacks", "stress", "dataset", "model_debug_mode", "model_input_fields", "trainable"),
        # What people note about a model.
        *("description", "comment", "comments", "author", "authors", "license", "citation", "notes", "name", "version"),
    }
)

HARMLESS_BEGIN = (
    *(
        "dataset_",
        "validation_dataset",
        "test_dataset",
        "data_",
        "dataloader_",
        "validation_",
        "wandb_",
        "tensorboard_",
    ),
    *("log_", "save_", "loss_", "metrics_", "lr_", "early_stopping_", "ema_", "start_of_", "end_of_"),
    *("initial_model_state", "load_model_state", "initialize_", "code_", "_jit_", "nequip_", "e3nn_version", "torch_"),
    *("per_species_rescale_", "global_rescale_", "gmm_", "lj_"),
)
"""Beginnings of more such keys. The values of rescaling are arrays of the model; other terms need a builder."""

NEWER = frozenset(
    {
        *("_target_", "model", "training_module", "preset", "modifiers", "type_embed_num_features", "num_bessels"),
        *("bessel_trainable", "polynomial_cutoff_p", "pair_potential", "learnable_shift", "do_derivatives"),
        *("per_edge_type_cutoff", "per_type_energy_scales", "per_type_energy_shifts", "categorical_graph_field_embed"),
    }
)
NEWER_BEGIN = ("radial_mlp_", "readout_mlp_", "convnet_", "per_type_energy_", "radial_chemical_embed", "tensor_")
"""Options of the models of nequip 0.7 and later."""

_OVERRIDE = re.compile(
    r"layer\d+_|convolution_|InteractionBlock_|ConvNetLayer_|basis_kwargs|cutoff_kwargs|p$|set_features$|avg_num_atoms$"
    r"|one_hot_|OneHotAtomEncoding_|spharm_edges_|SphericalHarmonicEdgeAttrs_|radial_basis_|RadialBasisEdgeEncoding_"
    r"|BesselBasis_(?!trainable$)|PolynomialCutoff_(?!p$)|e3nn_basis_|AtomwiseLinear_|AtomwiseReduce_|total_energy_sum_"
    r"|output_hidden_to_scalar_|conv_to_output_hidden_(?!irreps_out$)|chemical_embedding_(?!irreps_out$)"
    r"|pair_potential_|PerSpeciesScaleShift_|RescaleOutput_"
)
"""Options of nequip 0.5 and 0.6 that set an argument of one module alone."""

_VERSION = re.compile(r"(\d+)\.(\d+)")


def check_keys(options: Mapping[str, Any]) -> None:
    """Refuse every key that changes the energy and is not read.

    Keys that no table holds are ignored in a configuration that nequip 0.5 or 0.6 wrote (``nequip_version``): those
    versions have no other options of the model. Elsewhere they are refused.

    Raises:
        InputError: a key that is not known.
        UnsupportedError: a key of an option that is not implemented, or another version of nequip.
    """
    version = str(options.get("nequip_version") or "")
    parts = _VERSION.match(version)
    old = parts is not None and (int(parts[1]), int(parts[2])) < (0, 7)
    if parts is not None and not old:
        raise UnsupportedError(f"the configuration is of nequip {version}; models of nequip 0.5 and 0.6 are supported")
    for key, value in options.items():
        if key in MODEL:
            continue
        if value is not None and (key in NEWER or key.startswith(NEWER_BEGIN)):
            raise UnsupportedError(
                f"{key!r} is an option of nequip 0.7 or later, which is not supported: it changes the energy"
            )
        if _OVERRIDE.match(key):
            place = "one layer" if key.startswith("layer") else "one part of the network"
            raise UnsupportedError(f"nequip option {key!r} overrides {place}; that is not supported")
        harmless = value is None or key in HARMLESS or key.startswith(HARMLESS_BEGIN)
        if not (old or harmless):
            raise InputError(
                f"the key {key!r} of the nequip configuration is not known, and may change the energy; remove it if it "
                "concerns training only"
            )
