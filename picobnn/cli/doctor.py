# SPDX-License-Identifier: Apache-2.0
"""``picobnn doctor``."""

from __future__ import annotations

from picobnn.cli.common import Invocation, make_table

NAME = "doctor"


def invoke(call: Invocation) -> None:
    """Show what is there, what is missing, and the command that gets it."""
    from picobnn.flow.doctor import doctor

    result = doctor()
    rows = [("ok" if c.found else "missing", c.name, c.detail, c.needed_for) for c in result.checks]
    table = make_table("", ("", "what", "found", "needed for"), rows)
    for column in table.columns:
        column.justify = "left"
    remedies = [f"{check.name}: {check.remedy}" for check in result.checks if not check.found]
    call.finish(result, tables=[table, *remedies], next_command="picobnn demo")
