# SPDX-License-Identifier: Apache-2.0
"""The bench of the pruning methods: arithmetic of its report on rows made by hand, its results file, one real cell."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from methods import ROW_MINUTES, estimated_minutes, main, to_do
from methods_cells import CURVE_POINTS, all_cells, all_tables
from methods_directions import accuracy_at, directions, slope, unsteadiness
from methods_lab import RECIPES
from methods_report import TAUGHT, draw, pays, report_text
from methods_rows import merge_rows, read_rows
from methods_tables import fastest

from picobnn.errors import PicobnnError
from tests.support.firmware import needs_emulator

DIGITS = RECIPES["digits_cnn"]
HEADER = {"network": "made by hand"}


def _row(method: str, setting: str, seed: int, accuracy: float, **changes: Any) -> dict[str, Any]:
    row = {
        "method": method, "setting": setting, "seed": seed, "accuracy": accuracy, "val_accuracy": accuracy,
        "pfr": 0.0, "pcr": 0.0, "density": 0.5, "weight_bytes": 900, "flash_bytes": 1000, "ram_bytes": 10,
        "cycles": {"cortex-m0plus": 2000, "cortex-m4": 1000}, "seconds": 1.0, "cpu_seconds": 60.0,
        "firmware_cpu_seconds": 30.0, "commit": "0" * 40, "optimize": "speed",
    }  # fmt: skip
    return {**row, **changes}


def _direction(rows: list[dict[str, Any]], what: str) -> Any:
    return next(each for each in directions(rows) if each.what == what)


def _at(cycles: int) -> dict[str, int]:
    return {"cortex-m0plus": 2 * cycles, "cortex-m4": cycles}


def test_a_direction_is_a_mean_of_paired_differences_with_two_standard_errors() -> None:
    gaps = (0.01, 0.02, 0.03)
    rows = [_row("gates", "0.35", seed, 0.8 + gap) for seed, gap in enumerate(gaps)]
    rows += [_row("random", "0.35", seed, 0.8) for seed in range(3)]
    rows += [_row("random", "0.5", 0, 0.1)]
    found = _direction(rows, "gates beat random deletion")
    assert found.differences == pytest.approx(gaps)
    assert found.mean == pytest.approx(0.02)
    assert found.two_errors == pytest.approx(2 * 0.01 / math.sqrt(3))
    assert found.verdict == "reproduced"
    worse = [{**row, "accuracy": 1 - row["accuracy"]} for row in rows]
    assert _direction(worse, "gates beat random deletion").verdict == "not reproduced"
    assert _direction(rows[:2] + rows[3:], "gates beat random deletion").verdict == "too few seeds"
    assert _direction(rows[:1], "gates beat random deletion").differences == ()


def test_differences_within_two_errors_are_not_reproduced() -> None:
    rows = [_row("ising", "0.5", seed, 0.8 + gap) for seed, gap in enumerate((-0.02, 0.03, 0.02))]
    rows += [_row("ising-control", "0.5", seed, 0.8) for seed in range(3)]
    assert _direction(rows, "ising beats its control").mean > 0
    assert _direction(rows, "ising beats its control").verdict == "not reproduced"


def test_cost_counts_gates_between_30_and_40_percent() -> None:
    rows = [_row("dense", "-", seed, 0.9) for seed in range(3)]
    rows += [_row("gates", "0.35", seed, 0.885 + seed / 1000, pfr=0.35) for seed in range(3)]
    rows += [_row("gates", "0.5", seed, 0.5, pfr=0.5) for seed in range(3)]
    found = _direction(rows, "gates at 30-40 % of the filters cost at most 2 points")
    assert found.differences == pytest.approx((0.005, 0.006, 0.007))
    assert found.verdict == "reproduced"


def test_distillation_is_steadier_where_the_curve_of_gate_training_is_smoother() -> None:
    """A trend counts little, jumps count; whatever the accuracy at the end."""
    jumping, smooth = [[0.5, 0.7, 0.5, 0.7], [0.5, 0.7, 0.5, 0.7]], [[0.5, 0.5, 0.5, 0.5], [0.6, 0.61, 0.62, 0.63]]
    assert unsteadiness({"gate_curve": jumping}) == pytest.approx(math.sqrt(0.02))
    assert unsteadiness({"gate_curve": smooth}) == pytest.approx(0.005)
    rows = [_row("gates", "0.35", seed, 0.8, gate_curve=smooth) for seed in range(3)]
    rows += [_row("gates-alone", "0.35", seed, 0.9, gate_curve=jumping) for seed in range(3)]
    found = _direction(rows, "distillation steadies the training of gates")
    assert found.differences == pytest.approx((math.sqrt(0.02) - 0.005,) * 3)
    assert found.verdict == "reproduced"


def test_two_values_are_compared_at_equal_shares_only() -> None:
    rows = []
    for setting, gap in (("0.5", 0.0), ("0.25", 0.01), ("0.125", 0.02)):
        share = float(setting)
        for seed in range(3):
            rows.append(_row("domain", setting, seed, 0.8 + gap, density=share))
            rows.append(_row("domain-symmetric", setting, seed, 0.8, density=share))
    assert _direction(rows, "{alpha, beta} beats +-a").differences == pytest.approx((0.015,) * 3)
    assert _direction(rows, "the gap grows with sparsity").differences == pytest.approx((0.01,) * 3)
    rows[-1]["density"] = 0.2
    beats = _direction(rows, "{alpha, beta} beats +-a")
    assert beats.differences == pytest.approx((0.015, 0.015, 0.01))
    assert "0.125/2 (0.125, 0.200)" in beats.note


def test_the_coefficient_is_chosen_on_validation_images() -> None:
    rows = [_row("binary-l2", "0.1", seed, 0.95, val_accuracy=0.80) for seed in range(3)]
    rows += [_row("binary-l2", "0.01", seed, 0.85, val_accuracy=0.90) for seed in range(3)]
    rows += [_row("deterministic", "-", seed, 0.84) for seed in range(3)]
    found = _direction(rows, "Binary-L2 beats deterministic binarization")
    assert found.differences == pytest.approx((0.01,) * 3)
    assert "lam 0.01" in found.note


def test_narrower_networks_are_met_at_equal_cycles() -> None:
    curve = [_row("dense", "-", 0, 0.9, cycles=_at(1000)), _row("narrower", "0.5", 0, 0.8, cycles=_at(500))]
    assert accuracy_at(750, curve) == pytest.approx(0.85)
    assert accuracy_at(1000, curve) == pytest.approx(0.9)
    assert accuracy_at(499, curve) is None
    rows = [*curve, _row("gates", "0.35", 0, 0.87, cycles=_at(750)), _row("gates", "0.35", 1, 0.87, cycles=_at(750))]
    found = _direction(rows, "gates 0.35 beats a narrower network")
    assert found.differences == pytest.approx((0.02,))
    assert found.note.startswith("1 seeds outside")


def test_what_pays_is_relative_to_the_dense_network_of_the_seed() -> None:
    rows = []
    for seed, unit in ((0, 1000), (1, 2000)):
        rows.append(_row("dense", "-", seed, 0.9, cycles=_at(unit), flash_bytes=unit))
        rows.append(_row("gates", "0.35", seed, 0.88 + 0.02 * seed, cycles=_at(unit // 2), flash_bytes=unit * 6 // 10))
        small = {"optimize": "balanced", "flash_bytes": unit // 4, "cycles": _at(unit * 2)}
        rows.append(_row("gates", "0.35", seed, 0.88 + 0.02 * seed, **small))
    fast, balanced = (
        next(x for x in pays(rows) if x.method == "gates" and x.optimize == o) for o in ("speed", "balanced")
    )
    assert (fast.drop, fast.cycles, fast.flash, fast.seeds) == pytest.approx((0.01, 0.5, 0.6, 2))
    assert (balanced.cycles, balanced.flash) == pytest.approx((2.0, 0.25))
    assert fast.within(0.65, 0.7)
    assert not fast.within(0.4, 1.2)
    assert len(fastest(rows)) == 4
    text = report_text(rows)
    assert (
        "gates: <= 0.65x cycles and <= 0.7x flash at <= 1.5 points: met by gates 0.35 (speed), 2 seeds (too few)"
        in text
    )
    assert "some method, fast: <= 0.4x cycles and <= 1.2x flash at <= 1.5 points: not met" in text


def test_flash_is_relative_to_the_smaller_of_the_dense_plans() -> None:
    rows = [_row("dense", "-", 0, 0.9, cycles=_at(1000), flash_bytes=2000)]
    rows.append(_row("dense", "-", 0, 0.9, cycles=_at(1010), flash_bytes=1500, optimize="balanced"))
    rows.append(_row("dense", "-", 0, 0.9, cycles=_at(9000), flash_bytes=900, optimize="flash 0.7x"))
    rows.append(_row("gates", "0.35", 0, 0.9, cycles=_at(500), flash_bytes=750))
    (gates,) = [each for each in pays(rows) if each.method == "gates"]
    assert (gates.cycles, gates.flash) == (0.5, 0.5)


def test_a_kind_of_plan_that_a_seed_lacks_is_not_counted() -> None:
    rows = [_row("dense", "-", seed, 0.9) for seed in (0, 1)]
    rows += [_row("gates", "0.35", seed, 0.9, cycles=_at(500)) for seed in (0, 1)]
    rows += [_row("gates", "0.35", seed, 0.9, cycles=_at(700), optimize="balanced") for seed in (0, 1)]
    rows.append(_row("gates", "0.35", 1, 0.9, cycles=_at(600), optimize="flash 0.7x"))
    gates = {each.optimize: each for each in pays(rows) if each.method == "gates"}
    assert (gates["speed"].cycles, gates["speed"].seeds) == (0.5, 2)
    assert (gates["balanced"].cycles, gates["balanced"].seeds) == (0.7, 2)
    assert "flash 0.7x" not in gates


def test_slope() -> None:
    assert slope([(1, 1), (2, 3), (3, 5)]) == pytest.approx(2)
    assert slope([(1, 1)]) is None


def test_rows_are_merged_by_cell(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    both = [_row("gates", "0.35", 0, 0.1), _row("gates", "0.35", 0, 0.1, optimize="balanced")]
    merge_rows(path, HEADER, both)
    merge_rows(path, HEADER, [_row("dense", "-", 0, 0.2)])
    merge_rows(path, HEADER, [_row("gates", "0.35", 0, 0.3)])
    assert [(row["method"], row["accuracy"]) for row in read_rows(path, HEADER)] == [("dense", 0.2), ("gates", 0.3)]
    assert [file.name for file in tmp_path.iterdir()] == ["rows.json"]
    with pytest.raises(PicobnnError):
        read_rows(path, {"network": "another"})


def test_all_seeds_of_a_table_come_before_the_next_and_what_has_a_row_is_not_run_again() -> None:
    tables = all_tables(DIGITS)
    cells = all_cells(DIGITS)
    assert len({cell.key for cell in cells}) == len(cells)
    everything = to_do(tables, [0, 1], [])
    assert [(cell.key, seed) for cell, seed in everything[:4]] == [
        (("dense", "-"), 0), (("dense", "-"), 1), (("domain", "0.1"), 0), (("domain-symmetric", "0.1"), 0)
    ]  # fmt: skip
    assert {(*cell.key, seed) for cell, seed in everything} == {(*cell.key, seed) for cell in cells for seed in (0, 1)}
    assert len(everything) == 2 * len(cells)
    rest = to_do(tables, [0, 1], [_row("dense", "-", 0, 0.5), _row("gates", "0.35", 1, 0.5)])
    missing = {(*cell.key, seed) for cell, seed in everything} - {(*cell.key, seed) for cell, seed in rest}
    assert missing == {("dense", "-", 0), ("gates", "0.35", 1)}


def test_estimates_learn_from_rows() -> None:
    cells = {cell.key: cell for cell in all_cells(DIGITS)}
    gates, dense = cells["gates", "0.35"], _row("dense", "-", 0, 0.5, cpu_seconds=60.0 * (DIGITS.start + DIGITS.after))
    first_guess = gates.effort * DIGITS.epoch_minutes + ROW_MINUTES
    assert estimated_minutes(gates, [], DIGITS) == first_guess
    assert estimated_minutes(gates, [dense], DIGITS) == gates.effort + 0.5  # a minute per epoch, half of one for images
    own = [_row("gates", "0.35", 1, 0.5, cpu_seconds=600.0)]
    assert estimated_minutes(gates, own, DIGITS) == 10.5


def test_too_little_time_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = ["--results", str(tmp_path / "rows.json"), "--keep", str(tmp_path / "keep")]
    assert main(["--network", "digits_cnn", "--minutes", "0.01", "--threads", "1", *paths]) == 0
    assert "stopped before dense" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw([_row("dense", "-", 0, 0.9), _row("gates", "0.35", 0, 0.8)], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


@needs_emulator
@pytest.mark.qemu
@pytest.mark.slow
def test_a_cell_is_trained_linked_and_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("methods._commit", lambda: "a" * 40)
    results = tmp_path / "rows.json"
    given = ["--network", "digits_cnn", "--seeds", "0", "--threads", "1", "--only", "dense", "random", "gates", *TAUGHT]
    given += ["--results", str(results), "--keep", str(tmp_path / "keep")]
    assert main(given) == 0
    stored = json.loads(results.read_text())
    rows = {(row["method"], row["setting"]): row for row in fastest(stored["rows"])}
    assert {method for method, _ in rows} == {"dense", "random", "gates", *TAUGHT}
    assert rows["gates-taught", "4-8-4"]["widths"] == [4, 8, 4]
    assert rows["domain-taught", "0.05-of-8-16-12"]["density"] <= 0.05
    assert {setting for method, setting in rows if method == "random"} == {"0.35", "0.5"}
    assert [len(layer) for layer in rows["gates", "0.35"]["gate_curve"]] == [CURVE_POINTS] * len(DIGITS.widths)
    assert "gate_curve" not in rows["random", "0.35"]
    dense, small = rows["dense", "-"], rows["random", "0.5"]
    assert dense["pfr"] == dense["pcr"] == 0
    assert small["pfr"] == 0.4  # whole bytes of channels: 8, 8 and 8 of 8, 16 and 16
    assert 0 < small["pcr"] < 1
    for name in ("weight_bytes", "flash_bytes", "ram_bytes"):
        assert 0 < small[name] < dense[name]
    for core, image in small["images"].items():
        assert image["cycles"] == small["cycles"][core] < dense["cycles"][core]
    capsys.readouterr()
    before = results.read_bytes()
    assert main([*given, "--minutes", "0.01"]) == 0
    assert capsys.readouterr().out == ""
    assert results.read_bytes() == before
    stale = {**stored, "rows": [{**row, "commit": "0" * 40} for row in stored["rows"]]}
    results.write_text(json.dumps(stale))
    assert main([*given, "--again"]) == 0
    again = json.loads(results.read_text())["rows"]
    spent = {"firmware_cpu_seconds": 0.0}
    assert [{**row, **spent} for row in again] == [{**row, **spent} for row in stored["rows"]]
    capsys.readouterr()
    assert main([*given, "--again"]) == 0
    assert capsys.readouterr().out == ""
