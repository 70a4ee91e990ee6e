# SPDX-License-Identifier: Apache-2.0
"""Chooses number format and memory format of training by timing real steps on this machine.

bfloat16 with channels-last is three times as fast as float32 where the CPU multiplies bfloat16, and slower where it
does not; no table knows. Timing works on a copy, so weights and random state stay as they were. Called by fit.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from picobnn.trainer.step import EXECUTIONS, Execution, MemoryFormat, Precision, make_optimizer, training_step

WARMUP_STEPS = 2
MIN_ROUNDS = 5
MAX_ROUNDS = 12
BUDGET_SECONDS = 5.0
NEAR_BEST = 0.97  # of two executions this close the plainer one is taken, so that small networks repeat bit for bit

PREFERENCE: tuple[Execution, ...] = tuple(
    Execution(precision, memory_format)
    for precision in (Precision.FLOAT32, Precision.BFLOAT16)
    for memory_format in (MemoryFormat.CHANNELS_LAST, MemoryFormat.CONTIGUOUS)
)


def images_per_second(
    model: nn.Module, images: Tensor, labels: Tensor, executions: tuple[Execution, ...] = EXECUTIONS
) -> dict[Execution, float]:
    """Training throughput of each execution on one batch: the best of several interleaved rounds of one step each.

    Interleaving spreads a disturbance of the machine over all candidates. Takes at most about BUDGET_SECONDS.
    """
    steps = {execution: _trial(model, images, labels, execution) for execution in executions}
    with torch.random.fork_rng(devices=[]):
        for _ in range(WARMUP_STEPS):
            for step in steps.values():
                step()
        best = {execution: float("inf") for execution in executions}
        started = time.perf_counter()
        for round_number in range(MAX_ROUNDS):
            if round_number >= MIN_ROUNDS and time.perf_counter() - started > BUDGET_SECONDS:
                break
            for execution, step in steps.items():
                best[execution] = min(best[execution], step())
    return {execution: len(images) / seconds for execution, seconds in best.items()}


def _trial(model: nn.Module, images: Tensor, labels: Tensor, execution: Execution) -> Callable[[], float]:
    candidate = copy.deepcopy(model).train()
    execution.prepare(candidate)
    optimizer = make_optimizer(candidate, 1e-4)

    def step() -> float:
        started = time.perf_counter()
        training_step(candidate, optimizer, images, labels, execution)
        if images.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    return step


def choose_execution(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    precision: Precision | None = None,
    memory_format: MemoryFormat | None = None,
) -> Execution:
    """The fastest execution on this machine, or one within 3 % of it that stands earlier in PREFERENCE.

    A ``precision`` or ``memory_format`` given is kept; when both are, nothing is timed.
    """
    candidates = tuple(
        execution
        for execution in PREFERENCE
        if precision in (None, execution.precision) and memory_format in (None, execution.memory_format)
    )
    if len(candidates) == 1:
        return candidates[0]
    return near_best(images_per_second(model, images, labels, candidates))


def near_best(rates: Mapping[Execution, float]) -> Execution:
    """The first of PREFERENCE whose rate is at least NEAR_BEST of the highest."""
    enough = NEAR_BEST * max(rates.values())
    return next(execution for execution in PREFERENCE if rates.get(execution, 0.0) >= enough)
