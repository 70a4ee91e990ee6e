# SPDX-License-Identifier: Apache-2.0
"""Emitted C on the host against the reference: every step of every plan, compiled together and sanitized."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from picobnn.codegen.emit import render_model
from picobnn.codegen.plan import Plan
from picobnn.sim.hostc import HostModel, build_library
from picobnn.sim.images import Images
from picobnn.sim.reference import run_program


def assert_host_c_equals_reference(plans: Sequence[Plan], batches: Sequence[Images]) -> None:
    """``batches``: the images of each plan."""
    models = [HostModel(plan, render_model(plan, f"m{index}"), f"m{index}") for index, plan in enumerate(plans)]
    executors = build_library(models, sanitize="undefined")
    for number, (plan, batch, executor) in enumerate(zip(plans, batches, executors, strict=True)):
        expected, found = run_program(plan.program, batch), executor.run_steps(batch)
        for planned, want, got in zip(plan.steps, expected, found, strict=True):
            said = f"program {number}, {planned.strategy}, {plan.program.steps[planned.step]}"
            assert got.dtype == want.dtype, said
            np.testing.assert_array_equal(got, want, err_msg=said)
