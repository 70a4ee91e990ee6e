# SPDX-License-Identifier: Apache-2.0
"""The command line: one file per verb, arguments in, printed result out."""

from picobnn.cli.app import main

__all__ = ["main"]
