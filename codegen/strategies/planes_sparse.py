# SPDX-License-Identifier: Apache-2.0
"""Strategy ``planes_sparse``: the sums of ``planes`` for any two weight values and for removed weights (ternary).

Time is that of the words that filters add: the set weights, or the clear ones where those are fewer; of ternary filters
all weights that are kept. Flash: 2 bytes per word added, in groups of 8, and 8 bytes per filter, with zero padding 2
bytes per filter and class of border. Scratch: see ``_lists.py``.
"""

from picobnn.codegen.strategies._lists import ListSource, ListsStrategy

STRATEGY = ListsStrategy("planes_sparse", ListSource.LISTED)
