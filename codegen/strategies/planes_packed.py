# SPDX-License-Identifier: Apache-2.0
"""Strategy ``planes_packed``: the sums of ``planes`` from one bit of flash per weight.

A filter's bits become a list in RAM once for all blocks of 32 pixels that the scratch holds, so that expanding it costs
little where a map has several. Any two weight values. Flash: one bit per weight, each filter from a word on, and 2
bytes per filter, with zero padding 2 bytes per filter and class of border. Scratch: see ``_lists.py``.
"""

from picobnn.codegen.strategies._lists import ListSource, ListsStrategy

STRATEGY = ListsStrategy("planes_packed", ListSource.PACKED)
