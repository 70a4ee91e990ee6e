# SPDX-License-Identifier: Apache-2.0
"""``python -m picobnn``."""

import sys

from picobnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
