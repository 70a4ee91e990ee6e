# SPDX-License-Identifier: Apache-2.0
"""A network as a list of module calls, read by ``torch.fx``: who makes a value and who reads it.

Invariant: every call is one module of the network on one value, each module is called once, and calls stand in
execution order; anything else is refused here, so that what walks a trace needs no special cases. picobnn layers and
``torch.nn`` layers are leaves. Called by ``trainer.pruning`` and ``trainer.export``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import fx, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.layers import LEAF_TYPES

_USE_MODULES = "Write the network as a chain of modules (nn.Flatten, nn.MaxPool2d, ...), each called once."


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One module applied to one value. ``name``: the value it makes; ``path``: the dotted name of the module."""

    name: str
    path: str
    module: nn.Module
    input: str


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """``image``: name of the input value; ``result``: name of the output value."""

    image: str
    calls: tuple[Call, ...]
    result: str

    def readers(self, value: str) -> tuple[Call, ...]:
        """The calls that read a value, in execution order."""
        return tuple(call for call in self.calls if call.input == value)


class _LayerTracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, LEAF_TYPES) or super().is_leaf_module(m, module_qualified_name)


def trace(model: nn.Module) -> Trace:
    """The module calls of ``model.forward`` in execution order. The model is not run and not changed.

    Raises UNSUPPORTED_FEATURE for a forward that cannot be traced, UNSUPPORTED_LAYER for operations that are not
    modules.
    """
    where = type(model).__name__
    try:
        nodes = list(_LayerTracer().trace(model).nodes)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise PicobnnError(
            ErrorId.UNSUPPORTED_FEATURE,
            f"torch.fx cannot trace the network: {error}.",
            where=where,
            remedy=_USE_MODULES,
        ) from error
    modules = dict(model.named_modules())
    image, result = "", ""
    calls: list[Call] = []
    for node in nodes:
        if node.op == "placeholder":
            if image:
                raise PicobnnError(
                    ErrorId.UNSUPPORTED_FEATURE, "the network takes more than one input.", where=where,
                    remedy="Give forward() one argument, the image.",
                )  # fmt: skip
            image = node.name
        elif node.op == "call_module":
            calls.append(_call(node, modules))
        elif node.op == "output":
            value = node.args[0]
            if not isinstance(value, fx.Node):
                raise PicobnnError(
                    ErrorId.UNSUPPORTED_FEATURE, "the network does not return exactly one tensor.", where=where,
                    remedy="Return the logits alone.",
                )  # fmt: skip
            result = value.name
        else:
            raise PicobnnError(
                ErrorId.UNSUPPORTED_LAYER, f"the operation {node.target!s} ({node.op}) is not a module.",
                where=node.name, remedy=_USE_MODULES,
            )  # fmt: skip
    names = _short_names(image, calls)
    renamed = [replace(call, name=names[call.name], input=names[call.input]) for call in _used_once(calls)]
    return Trace(image, tuple(renamed), names.get(result, result))


def _call(node: fx.Node, modules: dict[str, nn.Module]) -> Call:
    path = str(node.target)
    if len(node.args) != 1 or node.kwargs or not isinstance(node.args[0], fx.Node):
        raise PicobnnError(
            ErrorId.UNSUPPORTED_FEATURE, "the module is called with more than one tensor.", where=path,
            remedy=_USE_MODULES,
        )  # fmt: skip
    return Call(node.name, path, modules[path], node.args[0].name)


def _short_names(image: str, calls: list[Call]) -> dict[str, str]:
    """Names that people read: the last part of the module's path where that is one module's alone."""
    last = [call.path.rpartition(".")[2] for call in calls]
    taken = {image, *(call.name for call in calls)}
    unique = {name for name in last if last.count(name) == 1 and not name.isdigit() and name not in taken}
    names = {call.name: short if short in unique else call.name for call, short in zip(calls, last, strict=True)}
    return {image: image, **names}


def _used_once(calls: list[Call]) -> tuple[Call, ...]:
    seen: set[int] = set()
    for call in calls:
        if id(call.module) in seen:
            raise PicobnnError(
                ErrorId.UNSUPPORTED_FEATURE, "the module is called twice.", where=call.path,
                remedy="Make one module per call; shared layers are not supported.",
            )  # fmt: skip
        seen.add(id(call.module))
    return tuple(calls)
