# SPDX-License-Identifier: Apache-2.0
"""The compiler: graph -> integer program -> plan -> C sources. No torch here or below."""
