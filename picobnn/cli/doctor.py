# SPDX-License-Identifier: Apache-2.0
"""``picobnn doctor``."""

from __future__ import annotations

from picobnn.cli.common import Invocation

NAME = "doctor"


def invoke(call: Invocation) -> None:
    """Show what is there, what is missing, and the command that gets it."""
    from picobnn.flow.doctor import doctor

    result = doctor()
    lines = [
        f"{'ok' if check.found else 'missing':<8} {check.name:<18} {check.detail}  ({check.needed_for})"
        for check in result.checks
    ]
    remedies = [f"to get {check.name}: {check.remedy}" for check in result.checks if not check.found]
    call.finish(result, tables=[*lines, *remedies], next_command="picobnn demo")
