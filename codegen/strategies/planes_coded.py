# SPDX-License-Identifier: Apache-2.0
"""Strategy ``planes_coded``: the sums of ``planes_sparse`` from the Rice codes of the gaps between the words added.

The generator takes the parameter that suits the layer; a filter's codes become a list in RAM once for all blocks of 32
pixels that the scratch holds. Flash: near the entropy of the weights (0.5 bits per weight at one one in ten), and 4
bytes per filter, with zero padding 2 bytes per filter and class of border. Scratch: see ``_lists.py``.
"""

from picobnn.codegen.strategies._lists import ListSource, ListsStrategy

STRATEGY = ListsStrategy("planes_coded", ListSource.CODED)
