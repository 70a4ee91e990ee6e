# SPDX-License-Identifier: Apache-2.0
"""The Ising energy of a choice of filters: redundant kernels cost, and so do filters whose maps say nothing.

IPruning (Salehinejad and Valaee, arXiv 2102.05437) as in methods.md 2.3: the coefficients read in the authors' code,
with the intent restored where the code slips (2.8: kernels are not scrambled, a state is scored with its own bits,
histograms are distributions) and the choices of 2.9. No labels are used. Called by ``ising``.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import torch
from torch import Tensor

from picobnn.trainer.estimators import hard_sign

BINS = 256
SINGULAR = 1e-4
"""Share of the mean variance added to the diagonal of every covariance (methods.md 2.9)."""

FLOOR_PENALTY = 1e5


class Redundancy(Enum):
    """What makes two kernels alike: Gaussians fitted to their latent weights, or equal bits."""

    GAUSSIAN = "gaussian"
    HAMMING = "hamming"


def redundancy(weight: Tensor, measure: Redundancy) -> Tensor:
    """K float64 (O, O), symmetric, 0 on the diagonal and for equal kernels, 1/2 for the layer's most different pair.

    ``weight``: latent, (O, I, ky, kx) or (O, I). The release computes one direction and averages with the transpose,
    so that K ends at 1/2; here both directions are computed and the range is kept. All 0 where all kernels are alike.
    """
    differences = _gaussian(weight) if measure is Redundancy.GAUSSIAN else _hamming(weight)
    differences.fill_diagonal_(0.0)
    largest = float(differences.max())
    return differences / (2 * largest) if largest > 0 else differences


def _gaussian(weight: Tensor) -> Tensor:
    """Symmetrised KL divergence of all pairs; kernel o is I samples in R^d, d = ky * kx.

    ``KL(i||j) = 1/2 [tr(S_j^-1 S_i) + (mu_j - mu_i)' S_j^-1 (mu_j - mu_i) + ln(|S_j| / |S_i|) - d]``; the logarithms
    cancel in the sum of both directions. A covariance gets ``1e-4 * trace / d`` on its diagonal; one without variance
    (a single input channel) takes the layer's mean for that, or 1 where no kernel has any: the divergence is then the
    squared distance of the kernels (inferred).
    """
    samples = weight.detach().double().flatten(2) if weight.dim() > 2 else weight.detach().double()[:, :, None]
    count, dimensions = samples.shape[1], samples.shape[2]
    mean = samples.mean(1)
    centred = samples - mean[:, None]
    covariance = centred.mT @ centred / max(1, count - 1)
    trace = covariance.diagonal(dim1=1, dim2=2).sum(1)
    spare = float(trace.mean()) or dimensions / SINGULAR
    ridge = SINGULAR / dimensions * torch.where(trace > 0, trace, spare)
    covariance += ridge[:, None, None] * torch.eye(dimensions, dtype=torch.float64, device=weight.device)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(covariance))
    # [i, j] = tr(P_j (S_i + mu_i mu_i')) - 2 mu_i' P_j mu_j + mu_j' P_j mu_j
    moment = covariance + mean[:, :, None] * mean[:, None, :]
    pulled = (inverse @ mean[:, :, None])[:, :, 0]
    terms = moment.flatten(1) @ inverse.flatten(1).T - 2 * mean @ pulled.T + (mean * pulled).sum(1)
    return ((terms + terms.T) / 2 - dimensions).div_(2).clamp_(min=0.0)


def _hamming(weight: Tensor) -> Tensor:
    """Share of differing bits of all pairs of sign kernels, 0 to 1."""
    signs = hard_sign(weight.detach()).flatten(1).double()
    return (1 - signs @ signs.T / signs.shape[1]) / 2


def map_entropy(maps: Tensor) -> Tensor:
    """q float64 (O,): entropy of each filter's batch-mean map over the layer's largest, 0 to 1; 0 for a constant map.

    ``maps``: what the sign gets, (N, O, H, W) or (N, O). Min-max scaled over the layer to 256 bins; the histogram is
    divided by its sum (the release divides by its maximum). A filter with one position per image, a dense unit say,
    has its values over the batch in place of a mean map (inferred: one mean value has no entropy).
    """
    values = maps.detach().double().flatten(2) if maps.dim() > 2 else maps.detach().double()[:, :, None]
    values = values.mean(0) if values.shape[2] > 1 else values[:, :, 0].T
    low, high = values.min(), values.max()
    bins = ((values - low) / (high - low).clamp_min(torch.finfo(torch.float64).tiny) * BINS).long().clamp_(0, BINS - 1)
    counts = torch.zeros(len(values), BINS, dtype=torch.float64, device=values.device)
    counts.scatter_add_(1, bins, torch.ones_like(values))
    entropy = torch.special.entr(counts / values.shape[1]).sum(1)
    largest = float(entropy.max())
    return entropy / largest if largest > 0 else entropy


def couplings(
    within: Sequence[Tensor], edges: Sequence[tuple[int, int, Tensor]], fixed: int = 0, unconnected: float = -1.0
) -> Tensor:
    """B float64 (D + fixed, D + fixed): ``K - 1`` in each layer, ``q - 1`` from layer to layer, else ``unconnected``.

    ``within``: K per layer. ``edges``: (source layer, target layer, q of the source); a target equal to
    ``len(within)`` is the fixed entries at the end, the classes. Edges have one direction: the entry across the
    diagonal is an unconnected one.
    """
    sizes = [len(each) for each in within] + [fixed]
    starts = [sum(sizes[:number]) for number in range(len(sizes) + 1)]
    matrix = torch.full((starts[-1], starts[-1]), unconnected, dtype=torch.float64)
    for number, alike in enumerate(within):
        matrix[starts[number] : starts[number + 1], starts[number] : starts[number + 1]] = alike.cpu() - 1
    for source, target, activity in edges:
        matrix[starts[source] : starts[source + 1], starts[target] : starts[target + 1]] = activity.cpu()[:, None] - 1
    return matrix


class IsingEnergy:
    """``E(s) = -s'Bs - linear * sum(s) + 1e5 * D * max(0, keep_floor - kept share of the parameters)``.

    ``couplings``: B; its last entries are the ``fixed`` ones, which every state has set (class entries in the release).
    ``linear``: None is the release's ``-sum(B) / D``, which puts the lowest energy of equal couplings at D / 2 kept:
    "half is pruned" is built in, not found. :meth:`linear_for` gives the coefficient of another number.
    ``sizes`` (D,): parameters of each filter, for the floor.
    """

    def __init__(
        self,
        couplings: Tensor,
        *,
        linear: float | None = None,
        sizes: Tensor | None = None,
        keep_floor: float = 0.1,
        fixed: int = 0,
    ) -> None:
        self.couplings = couplings
        total = len(couplings)
        self.linear = float(-couplings.sum() / total) if linear is None else linear
        self._bits = total - fixed
        self._keep_floor = keep_floor
        weights = torch.ones(self._bits, dtype=torch.float64) if sizes is None else sizes.double()
        self._shares = weights / weights.sum()

    def __call__(self, states: Tensor) -> Tensor:
        """States (NS, D) of 0 and 1, without the fixed entries, to energies float64 (NS,)."""
        whole = self._whole(states)
        pairs = ((whole @ self.couplings) * whole).sum(1)
        missing = (self._keep_floor - states.double() @ self._shares).clamp(min=0.0)
        return -pairs - self.linear * whole.sum(1) + FLOOR_PENALTY * whole.shape[1] * missing

    def flips(self, state: Tensor) -> Tensor:
        """What E changes, floor aside, when each bit of ``state`` (D,) alone is flipped: float64 (D,)."""
        whole = self._whole(state[None])[0]
        both = self.couplings @ whole + whole @ self.couplings
        step = 1 - 2 * whole
        return (-step * (both + self.linear) - self.couplings.diagonal())[: self._bits]

    def _whole(self, states: Tensor) -> Tensor:
        return torch.nn.functional.pad(states.double(), (0, len(self.couplings) - self._bits), value=1.0)


def linear_for(couplings: Tensor, kept: float, fixed: int = 0) -> float:
    """The linear coefficient that puts the lowest energy at ``kept`` filters when all couplings equal their mean.

    With mean coupling -c, ``E = c k^2 - linear * k`` is lowest at ``k = linear / (2 c)``; k counts the fixed entries.
    """
    return float(-2 * couplings.mean() * (kept + fixed))
