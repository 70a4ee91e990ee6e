# SPDX-License-Identifier: Apache-2.0
"""Each verb as one typed function, for the command line and for Python alike.

A flow function takes a resolved configuration or paths, returns a frozen result with ``as_dict()``, reports progress
through a ``say`` callable, and imports the rooms it needs inside itself, so that ``picobnn --help`` loads no torch.
"""
