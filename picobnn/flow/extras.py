# SPDX-License-Identifier: Apache-2.0
"""Optional parts of an installation, asked for before they are imported."""

from __future__ import annotations

import importlib.util
import os

from picobnn.errors import ErrorId, PicobnnError


def has_train() -> bool:
    """Whether torch and safetensors are installed (nothing is imported)."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "safetensors"))


def require_train(verb: str) -> None:
    """Raise E_EXTRA_MISSING unless the ``train`` extra is installed; call it before torch is imported.

    OpenMP reads its wait policy when torch loads: passive waiting costs 3 % on an idle machine and keeps training from
    collapsing when another process takes a core. A policy that the user has set stays.
    """
    if not has_train():
        raise PicobnnError(
            ErrorId.EXTRA_MISSING,
            "PyTorch is not installed.",
            where=f"picobnn {verb}",
            remedy="pip install 'picobnn[train]' (README: the CPU build of PyTorch)",
        )
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
