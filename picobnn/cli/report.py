# SPDX-License-Identifier: Apache-2.0
"""``picobnn report``."""

from __future__ import annotations

from picobnn.cli.common import Invocation
from picobnn.cli.options import RunOption

NAME = "report"


def invoke(call: Invocation, run: RunOption = None) -> None:
    """Collect a run's results into report.json and report.txt; budgets decide the exit code."""
    from picobnn.flow.report import report, report_text, require_budget
    from picobnn.flow.run_directory import find_run

    directory = find_run(call.config, run)
    result = report(directory)
    if not call.json:
        print(report_text(result), end="")
        call.say(f"written: {directory.report_json}, {directory.report_text}")
    else:
        call.finish(result)
    require_budget(result, call.config)
