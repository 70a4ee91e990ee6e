# SPDX-License-Identifier: Apache-2.0
"""What the modules of a network compute, in the compiler's terms: executor 1 of the equality chain.

Invariant: keys are the ``source`` names of the graph that ``to_graph`` makes of the same network, and values are in
H, W, C order with the element types of the program. Called by the ``verify`` verb and by tests.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from picobnn.trainer import layers
from picobnn.trainer.modes import evaluating
from picobnn.trainer.trace import Call, Trace, trace

ModuleOutput = npt.NDArray[np.uint8] | npt.NDArray[np.int32]

_ACCUMULATORS = (layers.InputConv2d, layers.BinaryConv2d, layers.BinaryLinear)


def module_outputs(
    model: nn.Module, images: npt.NDArray[np.uint8], sources: Collection[str] | None = None, *, batch: int = 256
) -> dict[str, ModuleOutput]:
    """Eval outputs of the modules on images uint8 (N, H, W, C), by dotted module name.

    Sign and the pools behind it: bits, uint8 0/1 (N, H, W, C). Layers, pools in front of batch norm, LogitScale:
    int32 (N, H, W, C), vectors as (N, 1, 1, C). Batch norms, flattens and what stands between batch norm and sign
    are left out. ``sources`` limits the result; hundreds of images make large results.
    """
    wanted = {call.path: bits for call, bits in _integer_calls(trace(model)) if sources is None or call.path in sources}
    parts: dict[str, list[npt.NDArray[Any]]] = {path: [] for path in wanted}

    def keep(path: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        parts[path].append(_to_array(output, is_bits=wanted[path]))

    modules = dict(model.named_modules())
    hooks = [modules[path].register_forward_hook(partial(keep, path)) for path in wanted]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    try:
        with evaluating(model), torch.no_grad():
            for start in range(0, len(images), batch):
                nchw = np.ascontiguousarray(images[start : start + batch].transpose(0, 3, 1, 2))
                model(torch.from_numpy(nchw).to(device))
    finally:
        for hook in hooks:
            hook.remove()
    return {path: np.concatenate(arrays) for path, arrays in parts.items()}


def _integer_calls(read: Trace) -> list[tuple[Call, bool]]:
    """The calls whose output is integer, each with whether it is bits."""
    is_bits: dict[str, bool] = {}
    found = []
    for call in read.calls:
        if isinstance(call.module, layers.Sign):
            is_bits[call.name] = True
        elif isinstance(call.module, (*_ACCUMULATORS, layers.LogitScale)):
            is_bits[call.name] = False
        elif isinstance(call.module, nn.MaxPool2d) and call.input in is_bits:
            is_bits[call.name] = is_bits[call.input]
        if call.name in is_bits:
            found.append((call, is_bits[call.name]))
    return found


def _to_array(output: Tensor, *, is_bits: bool) -> ModuleOutput:
    x = output.detach().cpu()
    x = x.permute(0, 2, 3, 1) if x.dim() == 4 else x.reshape(len(x), 1, 1, -1)
    array = (x > 0).to(torch.uint8) if is_bits else x.to(torch.int32)
    return np.ascontiguousarray(array.numpy())
