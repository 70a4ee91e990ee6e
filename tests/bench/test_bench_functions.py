# SPDX-License-Identifier: Apache-2.0
"""The benchmarks' functions on little work: programs are valid, fits are exact where they can be, rows are complete."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from calibrate import Sample, fit
from calibration_layers import CHAINS, chain_program
from kernels import merge, result_key, run_workload, table
from networks import NETWORKS, network_program
from workloads import WORKLOADS, domain_of, half_ones_image, layer_program

from picobnn.codegen.plan import Kernels
from picobnn.codegen.program import step_macs, verify_program
from picobnn.codegen.strategies import CostTerm
from picobnn.sim.reference import run_program
from tests.support.firmware import needs_emulator


@pytest.mark.parametrize("name", WORKLOADS)
def test_workloads_are_programs_with_the_macs_of_their_shape(name: str) -> None:
    program, layer = layer_program(WORKLOADS[name]), WORKLOADS[name]
    verify_program(program)
    taps = max(1, layer.kernel) ** 2 * layer.channels // layer.groups
    assert step_macs(program, program.steps[-1]) == layer.height * layer.width * taps * layer.filters


def test_a_workload_sees_half_ones_and_repeats() -> None:
    program = layer_program(WORKLOADS["b"])
    image = half_ones_image(program)
    assert abs(run_program(program, image[None])[0].mean() - 0.5) < 0.01
    again = layer_program(WORKLOADS["b"])
    np.testing.assert_array_equal(program.steps[-1].weights, again.steps[-1].weights)


@pytest.mark.parametrize(("density", "shift"), [(0.5, 1), (0.25, 2), (0.125, 3), (0.05, 4)])
def test_sparse_weights_have_a_mean_near_zero(density: float, shift: int) -> None:
    assert (domain_of(density).shift, domain_of(density).ratio) == (shift, -1)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_programs(name: str) -> None:
    verify_program(network_program(name))


def test_calibration_programs_say_how_dense_their_maps_are() -> None:
    program, image = chain_program(8)
    assert len(CHAINS) > 8
    assert len(program.statistics) == len(program.steps)
    assert program.statistics[0].ones == run_program(program, image[None])[0].sum()


def test_a_fit_finds_the_coefficients_that_made_the_costs() -> None:
    rng = np.random.default_rng(1)
    rows = []
    for calls, words in rng.integers(1, 50, (12, 2)):
        terms = (CostTerm.always("call", calls), CostTerm.always("word", words), CostTerm.always("never", 0))
        rows.append(Sample("layer", terms, int(30 * calls + 4 * words)))
    coefficients, errors = fit(rows)
    assert coefficients == pytest.approx({"call": 30.0, "word": 4.0, "never": 0.0}, abs=1e-3)
    assert np.abs(errors).max() < 1e-6


def test_results_are_merged_by_core_and_choice(tmp_path: Path) -> None:
    path = tmp_path / "kernels.json"
    common = {
        "core": "cortex-m4",
        "strategy": None,
        "kernels": "xnor",
        "optimize": "speed",
        "density": 0.5,
        "domain": None,
    }
    merge(path, result_key(common), {**common, "workloads": {"a": {"cycles": 1}}})
    merge(path, result_key(common), {**common, "workloads": {"b": {"cycles": 2}}})
    assert '"cortex-m4, xnor"' in path.read_text()
    assert '"a"' in path.read_text()


@needs_emulator
@pytest.mark.qemu
def test_a_workload_runs_and_equals_the_reference() -> None:
    row = run_workload("m4", "d", kernels=Kernels.XNOR)
    assert row["verified"]
    assert row["strategy"] == "xnor"
    assert row["cycles_per_32_macs"] <= 12.0
    assert row["table_bytes"] == 1024 * 256 // 8 + 2 * 256 + 256 // 8
    assert "d dense 1024-256" in table({"d": row})
