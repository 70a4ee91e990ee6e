# SPDX-License-Identifier: Apache-2.0
"""A run folder of a tiny digits network, trained for one epoch: what the flow and the command line are tested on."""

from __future__ import annotations

import shutil
from pathlib import Path

from picobnn.config import Config, load_config
from picobnn.flow.export import export
from picobnn.flow.prune import prune
from picobnn.flow.run_directory import RunDirectory, create_run
from picobnn.flow.train import train

OVERRIDES = (
    "model.widths=[6, 9, 8]",
    "train.epochs=1",
    "train.threads=1",
    "prune.epochs=1",
    "verify.emulator_vectors=5",
    "verify.vectors=40",
)
HAVE_FIRMWARE = all(shutil.which(tool) for tool in ("make", "arm-none-eabi-gcc", "qemu-system-arm", "cc"))


def small_config(*overrides: str) -> Config:
    """The configuration of the tiny network."""
    return load_config(None, [*OVERRIDES, *overrides])


def make_small_run(folder: Path) -> RunDirectory:
    """Train, prune and export into ``folder``."""
    config = small_config()
    run = create_run(config, path=folder)
    train(config, run)
    prune(config, run)
    export(config, run)
    return run
