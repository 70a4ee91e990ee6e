# SPDX-License-Identifier: Apache-2.0
"""The files that end up in firmware, as data, and the table of the serial protocol that both of its ends are made from.

Invariant: imports nothing of picobnn. The compiler renders the files; it and the harness read the protocol.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any

FIELD_FORMATS = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "bytes8": "8s", "bytes20": "20s"}
"""Kinds of the fields of a message, as formats of :mod:`struct`, little endian without padding."""


def template_text(path: str) -> str:
    """One file of this folder, by its path from here. Raises FileNotFoundError: paths are picobnn's own."""
    return (resources.files("picobnn.firmware_templates") / path).read_text(encoding="utf-8")


@cache
def protocol_table() -> dict[str, Any]:
    """The parsed ``harness/protocol.toml``; do not change it."""
    return tomllib.loads(template_text("harness/protocol.toml"))
