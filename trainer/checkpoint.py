# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: one safetensors file with weights, optimizer and random state, and JSON metadata inside.

Invariants: a checkpoint file is complete or absent (written beside, then renamed); it holds no pickle; the same state
gives the same bytes. Written by fit, read by fit (to resume), prune and export (to rebuild the network).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from picobnn.errors import ErrorId, PicobnnError
from picobnn.files import write_bytes
from picobnn.trainer.models import Network, build_model

FORMAT = 1
_METADATA_KEY = "picobnn"
_MODEL = "model."
_OPTIMIZER = "optimizer."
_RNG = "rng.torch"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A network's name, configuration and weights; what resumes its training; and facts about it (``metadata``)."""

    model_name: str
    config: dict[str, Any]
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor] = field(default_factory=dict)
    rng: Tensor | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def checkpoint_of(model: Network, metadata: Mapping[str, Any] | None = None) -> Checkpoint:
    """The network as it is now, without what training needs to resume. Tensors are copies on the CPU."""
    return Checkpoint(
        model.model_name, model.config.as_dict(), _copies(model.state_dict()), metadata=dict(metadata or {})
    )


def training_checkpoint(model: Network, optimizer: torch.optim.Optimizer, metadata: Mapping[str, Any]) -> Checkpoint:
    """The network with its optimizer's state and torch's random state."""
    state: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            state[f"{name}/{key}"] = value
    return Checkpoint(
        model.model_name,
        model.config.as_dict(),
        _copies(model.state_dict()),
        _copies(state),
        torch.get_rng_state(),
        dict(metadata),
    )


def restore_training(checkpoint: Checkpoint, model: Network, optimizer: torch.optim.Optimizer, where: str) -> None:
    """Put weights, optimizer state and random state back, in place, keeping each parameter's memory format.

    Raises CHECKPOINT when the file holds another network or no training state.
    """
    if checkpoint.rng is None or (checkpoint.model_name, checkpoint.config) != (
        model.model_name,
        model.config.as_dict(),
    ):
        raise PicobnnError(
            ErrorId.CHECKPOINT,
            f"The file holds {checkpoint.model_name} {checkpoint.config}, not a run of this network to resume.",
            where=where,
            remedy="Resume with the settings of the first run, or start a new run.",
        )
    _load_weights(model, checkpoint.weights, where)
    parameters = dict(model.named_parameters())
    for key, value in checkpoint.optimizer.items():
        name, _, slot = key.rpartition("/")
        parameter = parameters[name]
        if value.dim() == 0:
            optimizer.state[parameter][slot] = value.to(parameter.device)
        else:
            optimizer.state[parameter][slot] = torch.empty_like(parameter).copy_(value)
    torch.set_rng_state(checkpoint.rng)


def restore_model(checkpoint: Checkpoint, where: str = "checkpoint") -> Network:
    """A new network with the checkpoint's weights, on the CPU, in eval mode. Raises CHECKPOINT, CONFIG_VALUE."""
    model = build_model(checkpoint.model_name, checkpoint.config)
    _load_weights(model, checkpoint.weights, where)
    return model.eval()  # type: ignore[no-any-return,unused-ignore]


def _load_weights(model: Network, weights: Mapping[str, Tensor], where: str) -> None:
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise PicobnnError(
            ErrorId.CHECKPOINT,
            f"Weights and network disagree: {error}.",
            where=where,
            remedy="Use a checkpoint written by this version for this network.",
        ) from error


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write the file, complete or not at all. Raises FILE_UNWRITABLE."""
    tensors = {f"{_MODEL}{key}": value for key, value in checkpoint.weights.items()}
    tensors |= {f"{_OPTIMIZER}{key}": value for key, value in checkpoint.optimizer.items()}
    if checkpoint.rng is not None:
        tensors[_RNG] = checkpoint.rng
    header = {
        "format": FORMAT,
        "model": checkpoint.model_name,
        "config": checkpoint.config,
        "metadata": checkpoint.metadata,
        "sha256": _digest(tensors),
    }
    write_bytes(path, safetensors.torch.save(tensors, {_METADATA_KEY: json.dumps(header, sort_keys=True)}))


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file. Raises FILE_MISSING, CHECKPOINT (damaged, foreign, or of another version)."""
    if not path.is_file():
        raise PicobnnError(
            ErrorId.FILE_MISSING, "There is no such file.", where=str(path), remedy="Run `picobnn train` to make one."
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[_METADATA_KEY])
            if header["format"] != FORMAT:
                raise ValueError(f"format {header['format']}, this version reads {FORMAT}")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if header["sha256"] != _digest(tensors):
                raise ValueError("its checksum does not agree")
            name, config, metadata = header["model"], header["config"], header["metadata"]
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise PicobnnError(
            ErrorId.CHECKPOINT,
            f"This is not a readable checkpoint of picobnn ({type(error).__name__}: {error}).",
            where=str(path),
            remedy="Use the checkpoint.safetensors of a run folder; a damaged one must be trained again.",
        ) from error
    return Checkpoint(
        name,
        config,
        _with_prefix(tensors, _MODEL),
        _with_prefix(tensors, _OPTIMIZER),
        tensors.get(_RNG),
        metadata,
    )


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(key.encode())
        digest.update(tensors[key].numpy().tobytes())
    return digest.hexdigest()
