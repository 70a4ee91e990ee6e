# SPDX-License-Identifier: Apache-2.0
"""Networks, one per file, and the registry that rebuilds one from a checkpoint's name and configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.models.digits_cnn import DigitsCnn
from picobnn.trainer.models.fmnist_cnn import FmnistCnn
from picobnn.trainer.models.network import Network, NetworkConfig, hidden_layers, valued_layers

MODELS: dict[str, type[Network]] = {model.model_name: model for model in (DigitsCnn, FmnistCnn)}


def build_model(name: str, config: Mapping[str, Any] | None = None) -> Network:
    """The network called ``name``, with fresh weights from torch's global generator.

    ``config`` may hold any of the fields of :class:`NetworkConfig`; what is absent takes the network's default.
    Raises CONFIG_VALUE for an unknown name or a wrong value, CONFIG_UNKNOWN_KEY for an unknown field.
    """
    if name not in MODELS:
        raise PicobnnError(
            ErrorId.CONFIG_VALUE,
            f"There is no network {name!r}.",
            where="model name",
            remedy=f"Choose one of: {', '.join(sorted(MODELS))}.",
        )
    values = dict(config or {})
    known = [field.name for field in fields(NetworkConfig)]
    for key in values:
        if key not in known:
            raise PicobnnError(
                ErrorId.CONFIG_UNKNOWN_KEY,
                f"A network has no setting {key!r}.",
                where=name,
                remedy=f"Settings are: {', '.join(known)}.",
            )
    if "widths" in values:
        widths = values["widths"]
        if not isinstance(widths, list | tuple) or not all(type(width) is int and width > 0 for width in widths):
            raise PicobnnError(
                ErrorId.CONFIG_VALUE,
                f"widths is {widths!r}.",
                where=name,
                remedy="Give a list of positive integers, one per convolution.",
            )
        values["widths"] = tuple(widths)
    value_bits, value_head = values.pop("value_bits", None), values.pop("value_head", False)
    if type(value_head) is not bool or (value_head and value_bits is None):
        raise PicobnnError(
            ErrorId.CONFIG_VALUE,
            f"value_head is {value_head!r}, with value_bits {value_bits!r}.",
            where=name,
            remedy="Give true or false, and true only with value_bits.",
        )
    model = MODELS[name](**values)
    if value_bits is not None:
        model.learn_values(value_bits, head=value_head)
    return model


__all__ = [
    "MODELS", "DigitsCnn", "FmnistCnn", "Network", "NetworkConfig", "build_model", "hidden_layers", "valued_layers",
]  # fmt: skip
