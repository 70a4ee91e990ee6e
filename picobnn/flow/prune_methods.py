# SPDX-License-Identifier: Apache-2.0
"""The methods that ``picobnn prune`` knows, one line each, and what an amount of pruning means for each kind.

A new method is one line in :func:`find_method` and one name in ``PruneMethod``. Called by ``prune.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from picobnn.config import PruneMethod
from picobnn.errors import ErrorId, PicobnnError

if TYPE_CHECKING:
    from picobnn.trainer.models import Network
    from picobnn.trainer.pruning import Ones, PruningMethod, PruningReport, Quota, Scope, Training

ZERO_STEPS = 195
_ZERO_STEP = 1 / 400


class Dial(Protocol):
    """What a method can be asked for, as a whole number from 0 (nothing) to :meth:`most`."""

    def most(self, network: Network) -> int:
        """The largest setting."""
        ...

    def share(self, network: Network, setting: int) -> float:
        """The share that the setting removes."""
        ...

    def goal(self, network: Network, share: float, scope: Scope) -> Any:
        """The method's own goal for a share to remove; ``scope``: how filters are spread over layers. Raises PRUNING
        for an impossible share."""
        ...

    def removed(self, report: PruningReport) -> float:
        """The share that was removed."""
        ...


class Filters:
    """A setting is a number of filters, spread over the layers in equal shares; one stays in every layer."""

    def most(self, network: Network) -> int:
        return sum(count - 1 for count in _filters(network).values())

    def share(self, network: Network, setting: int) -> float:
        return setting / sum(_filters(network).values())

    def goal(self, network: Network, share: float, scope: Scope) -> Quota:
        from picobnn.trainer.pruning import make_quota

        filters = _filters(network)
        return make_quota(filters, filters, share, scope, 1)

    def removed(self, report: PruningReport) -> float:
        return report.filters_removed


class Zeros:
    """A setting is a share of zeros among the weight bits of the hidden layers, from one half to 0.9875."""

    def most(self, network: Network) -> int:  # noqa: ARG002
        return ZERO_STEPS

    def share(self, network: Network, setting: int) -> float:  # noqa: ARG002
        return 0.5 + setting * _ZERO_STEP

    def goal(self, network: Network, share: float, scope: Scope) -> Ones:  # noqa: ARG002
        from picobnn.trainer.pruning import Ones

        if share < 0.5:
            raise PicobnnError(
                ErrorId.PRUNING, f"{share:.3g} is below 0.5, and at least half of the weight bits become zeros.",
                where="share of zeros", remedy="Give the share of zeros with --set prune.rate=0.9, or a target.",
            )  # fmt: skip
        return Ones(1 - share)

    def removed(self, report: PruningReport) -> float:
        return 1 - (report.density or 0.0)


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """``make`` gives a fresh method from a seed and the share that it will be asked to remove. ``dial``: None where a
    method removes nothing. ``ranks``: it trains nothing, so that it can be tried for free and is retrained after."""

    make: Callable[[int, float], PruningMethod[Any]]
    dial: Dial | None
    ranks: bool = False


def find_method(name: PruneMethod) -> MethodEntry:
    """The entry of a method."""
    from picobnn.trainer import pruning

    filters, zeros = Filters(), Zeros()
    return {
        PruneMethod.SENSITIVITY: MethodEntry(lambda _seed, _share: pruning.LossSensitivity(), filters, ranks=True),
        PruneMethod.SCALE: MethodEntry(lambda _seed, _share: pruning.FilterScale(), filters, ranks=True),
        PruneMethod.RANDOM: MethodEntry(lambda seed, _share: pruning.RandomFilters(seed), filters, ranks=True),
        PruneMethod.GATES: MethodEntry(lambda _seed, _share: pruning.Gates(), filters),
        PruneMethod.MSF_LAYERWISE: MethodEntry(lambda _seed, _share: pruning.MsfLayerwise(), filters),
        PruneMethod.MSF_CASCADE: MethodEntry(lambda _seed, _share: pruning.MsfCascade(), filters),
        PruneMethod.ISING: MethodEntry(lambda _seed, _share: pruning.IsingPruning(), filters),
        PruneMethod.EDROPOUT: MethodEntry(lambda _seed, _share: pruning.EDropout(), filters),
        PruneMethod.DOMAIN: MethodEntry(lambda _seed, share: pruning.GeneralDomain(_value_bits(share)), zeros),
        PruneMethod.BINARY_L2: MethodEntry(lambda _seed, _share: pruning.BinaryL2(), None),
    }[name]


def sketch(entry: MethodEntry, network: Network, setting: int, scope: Scope, training: Training, seed: int) -> Network:
    """About what the setting would leave of ``network``, without training: the filters a ranking takes, random ones for
    a method that trains, random bits with that share of ones for weight values."""
    from picobnn.trainer.pruning import RandomFilters, apply

    if isinstance(entry.dial, Zeros):
        return _random_bits(network, entry.dial.share(network, setting), seed)
    assert entry.dial is not None
    share = entry.dial.share(network, setting)
    method = entry.make(seed, share) if entry.ranks else RandomFilters(seed)
    return as_network(apply(network, method, entry.dial.goal(network, share, scope), training)[0])


def as_network(model: Any) -> Network:
    """Compaction keeps the class of the network; this says so to the type checker and to whoever breaks it."""
    from picobnn.trainer.models import Network

    if not isinstance(model, Network):
        raise TypeError(f"pruning returned a {type(model).__name__}, not a Network")
    return model


def _random_bits(network: Network, zeros: float, seed: int) -> Network:
    from copy import deepcopy

    import torch

    from picobnn.trainer.layers import best_two_values
    from picobnn.trainer.models import hidden_layers
    from picobnn.trainer.pruning import GeneralDomain

    generator = torch.Generator().manual_seed(seed)
    drawn = deepcopy(network)
    GeneralDomain(_value_bits(zeros)).prepare(drawn)
    normal = torch.randn(4096, generator=generator)
    values = best_two_values(normal, round((1 - zeros) * len(normal)))
    for layer in hidden_layers(drawn):
        assert layer.values is not None  # prepare() has just made them
        layer.values.start_from(*values)
        ones = torch.rand(layer.weight.shape, generator=generator) >= zeros
        layer.weight.data = torch.where(ones, 0.5, -0.5)
    return drawn


def _value_bits(zeros: float) -> int:
    from picobnn.trainer.layers import fractional_bits
    from picobnn.trainer.pruning.general_domain import DEFAULT_VALUE_BITS

    return max(DEFAULT_VALUE_BITS, fractional_bits(1 - zeros))


def _filters(network: Network) -> dict[str, int]:
    from picobnn.trainer.pruning import find_filters

    return {group.name: group.filters for group in find_filters(network)}
