# SPDX-License-Identifier: Apache-2.0
"""Finding how much to prune for a figure: bisection, refusal with the nearest figure, one correction."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.pruning.quota import Scope, make_quota
from picobnn.trainer.pruning.reach import WITHIN, Aim, find_step, reach


@given(st.lists(st.integers(0, 50), min_size=2, max_size=60), st.booleans(), st.integers(1, 2000))
def test_the_nearest_setting_of_a_monotone_figure_is_found_or_named(
    steps: list[int], falling: bool, target: int
) -> None:
    figures = [1000 + sum(steps[: index + 1]) for index in range(len(steps))]
    figures = figures[::-1] if falling else figures
    nearest = min(figures, key=lambda figure: abs(figure - target))
    aim = Aim("bytes", target)
    if aim.meets(nearest):
        assert aim.meets(figures[find_step(figures.__getitem__, 0, len(figures) - 1, aim)])
        return
    with pytest.raises(PicobnnError) as caught:
        find_step(figures.__getitem__, 0, len(figures) - 1, aim)
    assert caught.value.error_id is ErrorId.PRUNING
    assert f"nearest is {aim.show(nearest)}" in caught.value.what


def test_figures_that_jump_with_the_kernels_are_swept() -> None:
    """Flash as ``domain`` gives it: few ones bring kernels with more code, still fewer others."""

    def predict(step: int) -> float:
        if step < 50 or step > 192:
            return 9_500 - 10 * step if step < 50 else 17_600
        return 13_500 - 15 * (step - 50)

    aim = Aim("bytes", 13_480)
    assert aim.meets(predict(find_step(predict, 0, 195, aim)))


def test_bisection_asks_few_times() -> None:
    asked: list[int] = []

    def predict(step: int) -> float:
        asked.append(step)
        return 10_000 - 10 * step

    assert abs(find_step(predict, 0, 900, Aim("bytes", 5000)) - 500) <= 25
    assert len(asked) <= 12


@pytest.mark.parametrize("bias", [0.8, 1.0, 1.3])
def test_a_wrong_prediction_is_corrected_once(bias: float) -> None:
    """The figure that a run gives is off by a factor: the second run, and only then, meets the target."""
    ran: list[int] = []

    def run(step: int) -> tuple[str, float]:
        ran.append(step)
        return f"result {step}", bias * (1000 - step)

    found = reach(lambda step: 1000.0 - step, run, 0, 900, Aim("bytes", 400))
    assert abs(found.figure / 400 - 1) <= WITHIN
    assert found.result == f"result {found.step}"
    assert len(ran) == (1 if bias == 1.0 else 2)


def test_of_two_misses_the_nearer_is_returned() -> None:
    figures = iter([600.0, 900.0])
    found = reach(lambda step: 1000.0 - step, lambda step: (step, next(figures)), 0, 900, Aim("bytes", 400))
    assert found.figure == 600.0


@given(st.lists(st.integers(2, 40), min_size=1, max_size=5), st.integers(0, 60))
def test_even_counts_sum_to_what_was_asked_and_shares_differ_by_one_filter(widths: list[int], wanted: int) -> None:
    filters = {f"conv{index}": width for index, width in enumerate(widths)}
    total = sum(widths)
    assume(wanted <= sum(width - 1 for width in widths))
    removed = make_quota(filters, filters, wanted / total, Scope.EVEN, 1).remove
    assert not isinstance(removed, int)
    assert sum(removed.values()) == wanted
    room = all(removed[name] < width - 1 for name, width in filters.items())
    for name, width in filters.items():
        assert removed[name] < width
        assert not room or abs(removed[name] - wanted * width / total) < 1 + 1e-9
