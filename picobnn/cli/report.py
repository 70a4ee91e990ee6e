# SPDX-License-Identifier: Apache-2.0
"""``picobnn report``."""

from __future__ import annotations

from picobnn.cli.common import Invocation
from picobnn.cli.options import RunOption

NAME = "report"


def invoke(call: Invocation, run: RunOption = None) -> None:
    """Collect a run's results into report.json and report.txt; budgets decide the exit code."""
    from picobnn.flow.report import report, report_text
    from picobnn.flow.run_directory import find_run

    directory = find_run(call.config, run)
    result = report(directory)
    call.finish(
        result,
        tables=[report_text(result).rstrip(), f"written: {directory.report_json}, {directory.report_text}"],
        next_command=f"picobnn profile --run {directory.path} --board microbit,mps2-an386,mps2-an505",
        failure=result.failure(call.config_over(directory.config)),
    )
