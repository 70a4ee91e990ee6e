# SPDX-License-Identifier: Apache-2.0
"""One op per file: ``verify`` (may this node become a step) and ``lower`` (node -> program step). Called by
``lower.py``. The stems are those of ``sim/reference`` and ``tests/ops``.
"""
