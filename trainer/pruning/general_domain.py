# SPDX-License-Identifier: Apache-2.0
"""Sparse binary weights in a general domain {alpha, beta}: few ones, two learned values per layer.

SBNN (Schiavone, Galati, Zuluaga; ECML PKDD 2023, arXiv 2306.13515); the penalty and its schedules as in the authors'
release, methods.md 3.3 to 3.5, and for few epochs a projection. Nothing leaves the network: weights become bits with
few ones, and the strategies that add selected words take time and flash by the number of ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.fit import StepCallback, StepRecord
from picobnn.trainer.layers import LogitScale, best_two_values
from picobnn.trainer.models import Network, hidden_layers, valued_layers
from picobnn.trainer.pruning.method import finish_masked, first_image
from picobnn.trainer.pruning.report import LayerOnes, PruningReport
from picobnn.trainer.pruning.statistics import reestimate_norms
from picobnn.trainer.pruning.structure import find_filters
from picobnn.trainer.pruning.training import Training
from picobnn.trainer.step import Objective, cross_entropy

PENALTY_SHARES = {0.50: 0.0, 0.25: 0.02, 0.10: 0.04, 0.05: 0.07, 0.04: 0.07, 0.03: 0.08, 0.02: 0.08, 0.01: 0.10}
"""gamma by expected share of ones, for CIFAR-10 (methods.md 3.5); between two of them the sparser one's is taken
(inferred)."""

MET_WITHIN = 1e-4
"""The penalty switches off at this distance from the goal (methods.md 3.4, CIFAR)."""

JUST_BELOW = -1e-6
"""Where a projected weight goes: on the other side of 0, near enough for its next gradients to bring it back."""

DEFAULT_VALUE_BITS = 4


@dataclass(frozen=True, slots=True)
class Ones:
    """The goal: ``share`` of all weight bits of the layers with two values that may be 1 (EC), above 0 and at most 0.5.

    ``penalty_share``: gamma, the part of the total loss that the penalty makes up while the goal is not met, 0 to below
    1; None: the release's. 0, or a share of 0.5, switches the penalty off. It is for training by the penalty only.
    """

    share: float
    penalty_share: float | None = None

    def __post_init__(self) -> None:
        gamma = self.penalty_share
        if not 0 < self.share <= 0.5 or (gamma is not None and not 0 <= gamma < 1):
            raise PicobnnError(
                ErrorId.PRUNING, f"{self.share:.3g} of the weights may be ones, with a penalty share of {gamma}.",
                where="share of ones", remedy="Give a share above 0 and at most 0.5, a penalty share from 0 below 1.",
            )  # fmt: skip

    @property
    def gamma(self) -> float:
        """The penalty's share of the loss."""
        if self.share == 0.5:
            return 0.0
        if self.penalty_share is not None:
            return self.penalty_share
        return next((gamma for share, gamma in PENALTY_SHARES.items() if share <= self.share), PENALTY_SHARES[0.01])


class _CountOnes(torch.autograd.Function):
    """Number of weights >= 0; the gradient of the count to each of them is 1/2, without a window."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.shape = weight.shape
        return (weight >= 0).sum(dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return (grad * 0.5).expand(ctx.shape)


def share_of_ones(weights: Sequence[Tensor]) -> Tensor:
    """r = ones / weights over all layers together, a scalar with the straight-through gradient 1 / (2 N)."""
    ones = torch.stack([_CountOnes.apply(weight) for weight in weights]).sum()
    return ones / sum(weight.numel() for weight in weights)


class Constraint:
    """An objective with the balanced penalty on the share of ones (methods.md 3.4).

    ``h = max(0, r - EC)``; the penalty is ``lambda * h`` with ``lambda = gamma * L / (h * (1 - gamma))`` taken as a
    constant, so that it is always the part gamma of the total, and 0 where h <= 1e-4. It pushes like 1 / h: weakly far
    from the goal. The release lets that take 500 epochs.
    """

    def __init__(self, goal: Ones, objective: Objective = cross_entropy) -> None:
        self._goal = goal
        self._objective = objective

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The objective with the penalty: loss and logits."""
        loss, logits = self._objective(model, images, labels)
        gamma = self._goal.gamma
        excess = share_of_ones([layer.weight for layer in valued_layers(model)]) - self._goal.share
        if gamma == 0 or float(excess.detach()) <= MET_WITHIN:
            return loss, logits
        weight = gamma * loss.detach() / (excess.detach() * (1 - gamma))
        return loss + weight * excess, logits


class Ramp:
    """A step callback that keeps the share of ones at or below a moving limit, by projection (inferred).

    The limit falls from the share found at the first step to the goal over the part ``length`` of the steps, fast at
    first: what is above the goal shrinks with the third power of what is left of the ramp, as in gradual pruning (Zhu,
    Gupta; 2017, arXiv 1710.01878, equation 1). After each step the weights become the nearest ones that meet the limit:
    of all layers together the least weights >= 0 go just below 0. Compared with the penalty under the same ramp on
    ``fmnist_cnn`` at a tenth of ones, 5 epochs: a point more accurate, and on the goal instead of an eighth below it.
    """

    def __init__(self, goal: Ones, length: float) -> None:
        self._goal = goal.share
        self._length = length
        self._first: float | None = None

    def __call__(self, model: Network, place: StepRecord) -> None:
        weights = [layer.weight for layer in valued_layers(model)]
        total = sum(weight.numel() for weight in weights)
        ones = sum(int((weight >= 0).sum()) for weight in weights)
        self._first = ones / total if self._first is None else self._first
        left = max(0.0, 1 - (place.step + 1) / (place.steps * self._length))
        share = self._goal + left**3 * max(0.0, self._first - self._goal)
        keep_largest(weights, int(share * total))


@torch.no_grad()
def keep_largest(weights: Sequence[Tensor], count: int) -> None:
    """Project onto at most ``count`` weights >= 0 in all tensors together: the least of them become JUST_BELOW."""
    flat = torch.cat([weight.flatten() for weight in weights])
    excess = int((flat >= 0).sum()) - count
    if excess <= 0:
        return
    positions = (flat >= 0).nonzero().flatten()
    flat[positions[torch.topk(flat[positions], excess, largest=False, sorted=False).indices]] = JUST_BELOW
    for weight, values in zip(weights, flat.split([weight.numel() for weight in weights]), strict=True):
        weight.copy_(values.view_as(weight))


class GeneralDomain:
    """Learned {alpha, beta} per layer under a global share of ones. ``value_bits``: of rho's grid (kernels.md 7).

    ``head``: the last layer too, whose inputs are bits like those of the hidden ones. Inferred: the release leaves out
    the first and the last layer, which are real there (methods.md 3.4).
    ``symmetric``: keep phi at 0, that is -a and +a: the control that the two values must beat at equal shares.
    ``closed_form``: start each layer from the two values nearest to its latent weights with the bits they have, not
    from -1 and +1, and learn them from there on (methods.md 3.3, there from memory; 3.8 for networks trained before).
    ``ramp``: part of the steps, to 1, over which the limit of :class:`Ramp` falls; 0: the penalty of
    :class:`Constraint` instead, as published. ``after_step``: what else the training does after each step, behind the
    ramp's, for combinations.
    """

    name: ClassVar[str] = "domain"

    def __init__(
        self,
        value_bits: int = DEFAULT_VALUE_BITS,
        *,
        symmetric: bool = False,
        head: bool = False,
        closed_form: bool = False,
        ramp: float = 0.5,
        after_step: Sequence[StepCallback] = (),
    ) -> None:
        if symmetric and closed_form:
            raise PicobnnError(
                ErrorId.PRUNING, "values that stay -a and +a have no closed form to start from.", where=self.name,
                remedy="Use symmetric or closed_form: batch norm takes out a.",
            )  # fmt: skip
        if not 0 <= ramp <= 1:
            raise PicobnnError(
                ErrorId.PRUNING, f"a ramp over {ramp:.3g} of the steps does not end at the goal.", where=self.name,
                remedy="Give a part of the steps from 0 to 1; 0 trains by the published penalty.",
            )  # fmt: skip
        self._closed_form = closed_form
        self._value_bits = value_bits
        self._symmetric = symmetric
        self._head = head
        self._ramp = ramp
        self._after_step = after_step

    def prepare(self, model: nn.Module) -> None:
        """tau = 1, phi = 0 in every hidden layer, with ``head`` in the last: the -1/+1 network, its sums and their
        statistics times 2**(k - 1).

        With ``closed_form`` other values, which no statistics fit before :meth:`run`.
        """
        if not isinstance(model, Network) or not hidden_layers(model):
            raise PicobnnError(
                ErrorId.PRUNING, "there are no hidden binary layers.", where=type(model).__name__,
                remedy="Use a network of picobnn.trainer.models, not its float twin.",
            )  # fmt: skip
        had_values = {layer for layer in valued_layers(model) if layer.values is not None}
        model.learn_values(self._value_bits, head=self._head)
        layers = valued_layers(model)
        fresh = set(layers) - had_values
        norms = [norm for group in find_filters(model) if group.layer in fresh for norm in group.norms]
        if layers[-1] in fresh and len(layers) > len(hidden_layers(model)):
            norms += [module.norm for module in model.modules() if isinstance(module, LogitScale)]
        for norm in norms:
            if norm.running_mean is not None and norm.running_var is not None:
                norm.running_mean *= 2.0 ** (self._value_bits - 1)
                norm.running_var *= 4.0 ** (self._value_bits - 1)
        for layer in layers:
            assert layer.values is not None  # learn_values() has just made them
            if self._symmetric:
                layer.values.phi.requires_grad_(False)
            if self._closed_form:
                layer.values.start_from(*best_two_values(layer.weight, int((layer.weight >= 0).sum())))

    def run(self, model: nn.Module, goal: Ones, training: Training) -> None:
        """Train weights and values together with the options of ``training``. The share that was reached is in the
        report: by the penalty it lies above the goal when the penalty share is too small or training too short.

        PRUNING when the goal has a penalty share and a ramp does the penalty's work.
        """
        if self._ramp > 0 and goal.penalty_share is not None:
            raise PicobnnError(
                ErrorId.PRUNING, "a ramp keeps the share of ones without a penalty.", where=self.name,
                remedy="Give no penalty_share, or ramp=0 to train by the penalty.",
            )  # fmt: skip
        self._image = first_image(training.batches)
        if self._closed_form:
            reestimate_norms(model, training.batches)
        if self._ramp > 0:
            callbacks: list[StepCallback] = [Ramp(goal, self._ramp), *self._after_step]
            training.fit(model, after_step=callbacks)
        else:
            training.fit(model, objective=Constraint(goal, training.objective), after_step=self._after_step)
        # Values move in whole steps of their grid. Running statistics lag behind a late one: .834 instead of .897 of
        # the validation images were seen on fmnist_cnn at a share of .05.
        reestimate_norms(model, training.batches)

    def finish(self, model: nn.Module) -> tuple[nn.Module, PruningReport]:
        """A copy, compacted where masks of an earlier method remove channels; the values are integers already."""
        small, report = finish_masked(self.name, deepcopy(model), self._image)
        return small, replace(report, ones=count_ones(small))


def count_ones(model: nn.Module) -> tuple[LayerOnes, ...]:
    """Weight bits and ones, with the domain, of every hidden binary layer and of a last one with two learned values."""
    named: dict[nn.Module, str] = {module: name for name, module in model.named_modules()}
    return tuple(
        LayerOnes(
            name=named[layer],
            ones=int((layer.weight >= 0).sum()),
            total=layer.weight.numel(),
            shift=1 if layer.values is None else int(layer.values.shift),
            ratio=-1 if layer.values is None else layer.values.ratio,
        )
        for layer in valued_layers(model)
    )
