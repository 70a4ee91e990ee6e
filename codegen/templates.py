# SPDX-License-Identifier: Apache-2.0
"""How templates are rendered: one jinja environment, strict about what is missing. Called by ``emit.py`` and
``project.py``."""

from __future__ import annotations

from functools import cache

import jinja2

from picobnn.firmware_templates import template_text


@cache
def template_environment() -> jinja2.Environment:
    """Templates of ``firmware_templates``, by their path there."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(template_text),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
