# SPDX-License-Identifier: Apache-2.0
"""Board records, read from ``boards/<id>.toml``."""
