# SPDX-License-Identifier: Apache-2.0
"""Everything that runs a program without a board.

``reference`` is the living definition of every integer step in numpy; ``executor`` the same, bit-sliced in Cython;
``hostc`` runs emitted sources on the host; ``qemu`` runs the firmware on an emulated board; ``cycles`` models its cost.
"""
