# SPDX-License-Identifier: Apache-2.0
"""picobnn turns pruned binary neural networks into Cortex-M firmware and shows that the firmware computes exactly
what the trained network computes."""

__version__ = "0.1.0"
