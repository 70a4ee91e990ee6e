# SPDX-License-Identifier: Apache-2.0
"""Text that people chose (names of models and layers, module paths, commands) in a form that is safe inside C.

Invariant: whatever the text, a comment stays one comment and a string one string, also where the compiler replaces
trigraphs. Every renderer of C passes such text through here.
"""

from __future__ import annotations

import re


def comment_text(text: str) -> str:
    """Text for one line inside ``/* */``: cannot end or nest the comment, end the line, or form a trigraph.

    The caller puts a blank in front of it and behind it.
    """
    plain = re.sub(r"[^\x20-\x7e]", "?", text).replace("\\", "_")
    return re.sub(r"\?(?=\?)", "? ", plain.replace("*/", "* /").replace("/*", "/ *"))


def string_literal(text: str) -> str:
    """Text as a C string literal; quotes, backslashes and question marks become ``_``, as does all but plain ASCII."""
    plain = "".join(char if char.isascii() and char.isprintable() and char not in '"\\?' else "_" for char in text)
    return f'"{plain}"'
