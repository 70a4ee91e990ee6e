# SPDX-License-Identifier: Apache-2.0
"""The steps of the chain, in a module of their own so that the command line can name them without loading it."""

from __future__ import annotations

from enum import Enum


class ChainStep(str, Enum):
    """The steps in order."""

    TRAIN = "train"
    PRUNE = "prune"
    EXPORT = "export"
    BUILD = "build"
    VERIFY = "verify"
    PROFILE = "profile"
    REPORT = "report"
