# SPDX-License-Identifier: Apache-2.0
"""Choose how much to prune so that a figure of the result meets a goal: flash, cycles, or the share removed.

Invariant: a prediction trains nothing, and a method runs at most twice: once as predicted, once corrected by what
the first run showed. Figures come in as functions, so that nothing here knows the compiler. Called by the ``prune``
verb.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from picobnn.errors import ErrorId, PicobnnError

WITHIN = 0.05
"""How far from the goal a result may lie, as a share of the goal."""

_NEIGHBOURS = 4  # how far round the bisection's answer is looked: figures are monotone but for words and kernels
_SWEEP = 16  # into how many parts the range is then cut: other kernels may bring their code or save it

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure to reach. ``what`` and ``unit`` name it in messages. Bytes, cycles, or a share."""

    what: str
    target: float
    unit: str = ""

    def off(self, figure: float) -> float:
        """Difference to the target, as a share of it; 0 is exact, negative is below."""
        return figure / self.target - 1

    def meets(self, figure: float) -> bool:
        return abs(self.off(figure)) <= WITHIN

    def show(self, figure: float) -> str:
        """The figure with its unit."""
        return f"{figure:,.0f} {self.unit}" if self.unit else f"{figure:.4g}"


@dataclass(frozen=True, slots=True, eq=False)
class Run(Generic[Result]):
    """What the setting ``step`` gave: the result, its figure, and the figure that was predicted for it."""

    step: int
    result: Result
    figure: float
    predicted: float


def find_step(predict: Callable[[int], float], least: int, most: int, aim: Aim) -> int:
    """The setting from ``least`` to ``most`` whose predicted figure is nearest to the target.

    Found for sure where ``predict`` rises or falls with the setting; where it does not (kernels change, and the code
    behind them), the settings of an even sweep are tried too. Raises PRUNING, naming the nearest figure that was found,
    when that misses the target by more than :data:`WITHIN`.
    """
    best, figure = _nearest(predict, least, most, aim)
    if not aim.meets(figure):
        raise PicobnnError(
            ErrorId.PRUNING, f"{aim.show(aim.target)}: no amount tried comes near; the nearest is {aim.show(figure)}.",
            where=aim.what, remedy=f"Ask for {aim.show(figure)}, or start from a wider or narrower network.",
        )  # fmt: skip
    return best


def _nearest(predict: Callable[[int], float], least: int, most: int, aim: Aim) -> tuple[int, float]:
    """By bisection, then among the neighbours of where it ends, then by an even sweep: the setting and its figure."""
    known: dict[int, float] = {}

    def figure(step: int) -> float:
        if step not in known:
            known[step] = predict(step)
        return known[step]

    low, high = least, most
    rising = figure(most) >= figure(least)
    while high - low > 1:
        middle = (low + high) // 2
        if (figure(middle) >= aim.target) == rising:
            high = middle
        else:
            low = middle

    def nearest() -> int:
        return min(known, key=lambda step: (abs(known[step] - aim.target), step))

    neighbours = range(max(least, low - _NEIGHBOURS), min(most, high + _NEIGHBOURS) + 1)
    sweep = (least + (most - least) * part // _SWEEP for part in range(1, _SWEEP))
    for step in (*neighbours, *sweep):
        if aim.meets(known[nearest()]):
            break
        figure(step)
    return nearest(), known[nearest()]


def reach(
    predict: Callable[[int], float],
    run: Callable[[int], tuple[Result, float]],
    least: int,
    most: int,
    aim: Aim,
) -> Run[Result]:
    """Run at the predicted setting; where the figure then misses the target, once more at one corrected by the ratio of
    the figure to its prediction. The nearer of the two: whether it meets the target is for the caller to say.

    Raises PRUNING like :func:`find_step` for the first setting.
    """
    first_step = find_step(predict, least, most, aim)
    predicted = predict(first_step)
    result, figure = run(first_step)
    first = Run(first_step, result, figure, predicted)
    if aim.meets(figure):
        return first
    step, predicted = _nearest(predict, least, most, Aim(aim.what, aim.target * predicted / figure, aim.unit))
    if step == first_step:
        return first
    result, figure = run(step)
    second = Run(step, result, figure, predicted)
    return min(first, second, key=lambda each: abs(aim.off(each.figure)))
