# SPDX-License-Identifier: Apache-2.0
"""How a flow function reports progress: one line of text at a time, to whoever asked."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]


def silent(_text: str) -> None:
    """The ``say`` of callers that want no progress."""
