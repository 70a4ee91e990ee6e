# SPDX-License-Identifier: Apache-2.0
"""The benchmarks are scripts: they import each other by name, as Python does for files of one folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
