# SPDX-License-Identifier: Apache-2.0
"""Trains binary networks with PyTorch: layers, networks, data sets, the fit loop, pruning and export.

PyTorch lives in this room only. Importing this package imports nothing; import the module that holds what you need,
for example ``from picobnn.trainer.fit import fit``.
"""
