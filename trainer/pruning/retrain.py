# SPDX-License-Identifier: Apache-2.0
"""``fit`` as the step between two rounds of pruning. Called by the ``prune`` verb and ``bench/pruning.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.data import Dataset
from picobnn.trainer.fit import EpochCallback, FitOptions, fit
from picobnn.trainer.models import Network
from picobnn.trainer.pruning.schedule import Retrain
from picobnn.trainer.step import Objective, cross_entropy


def retrain_with(
    dataset: Dataset,
    options: FitOptions,
    *,
    on_epoch: Sequence[EpochCallback] = (),
    objective: Objective = cross_entropy,
) -> Retrain:
    """A retraining step that fits the compacted network; round n uses ``options.seed + n``.

    A checkpoint file in ``options`` gets the round's number into its name.
    """

    def retrain(model: nn.Module, number: int) -> nn.Module:
        if not isinstance(model, Network):
            raise PicobnnError(
                ErrorId.PRUNING, f"{type(model).__name__} is no picobnn network.", where="retraining",
                remedy="Retrain it with a function of your own.",
            )  # fmt: skip
        path = options.checkpoint
        round_path = None if path is None else path.with_name(f"{path.stem}-round{number}{path.suffix}")
        own = replace(options, seed=options.seed + number, checkpoint=round_path)
        fit(model, dataset, own, on_epoch=on_epoch, objective=objective)
        return model

    return retrain
