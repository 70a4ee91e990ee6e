# SPDX-License-Identifier: Apache-2.0
"""See the room's modules."""
