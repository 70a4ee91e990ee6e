# SPDX-License-Identifier: Apache-2.0
"""Trained network -> ``model.bnn`` (the integer program) and ``golden.npz`` (vectors with the reference's outputs)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from picobnn.config import Config
from picobnn.files import write_json
from picobnn.flow.extras import require_train
from picobnn.flow.run_directory import RunDirectory
from picobnn.flow.state import digest, exported_hash, forget_behind_prune
from picobnn.flow.train import load_data
from picobnn.flow.vectors import Vectors, write_vectors

if TYPE_CHECKING:
    from picobnn.codegen.program import Program
    from picobnn.trainer.models import Network

GOLDEN_VECTORS = 256


@dataclass(frozen=True, slots=True)
class ExportOutcome:
    """What was written. ``weight_bits`` counts the network's binary weights, unpadded."""

    program: str
    golden: str
    model_hash: str
    steps: int
    weight_bits: int
    file_bytes: int
    golden_vectors: int
    checkpoint_sha256: str
    program_sha256: str
    golden_sha256: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def export(
    config: Config, run: RunDirectory, checkpoint: Path | None = None, *, dump: Callable[[str, str], None] | None = None
) -> ExportOutcome:
    """Export ``checkpoint`` (the run's pruned one when there is one) into the run folder; results of another program
    that lie there are removed. ``dump`` is told (pass, text of the graph) after every pass of the compiler.

    Raises E_EXTRA_MISSING, E_FILE_MISSING, E_CHECKPOINT, E_UNSUPPORTED_LAYER, E_UNSUPPORTED_FEATURE, E_NOT_MONOTONE.
    """
    require_train("export")
    from picobnn.codegen.bnn_file import model_hash, write_bnn

    source = checkpoint or run.network_checkpoint
    network = load_network(source)
    test = load_data(config).test
    images, labels = test.images[:GOLDEN_VECTORS], test.labels[:GOLDEN_VECTORS]
    program, logits = export_program(network, config.model.name, images, dump=dump)
    if model_hash(program).hex() != exported_hash(run):
        forget_behind_prune(run)
    write_bnn(program, run.program)
    write_vectors(run.golden, Vectors(images, labels, logits))
    outcome = ExportOutcome(
        program=str(run.program),
        golden=str(run.golden),
        model_hash=model_hash(program).hex(),
        steps=len(program.steps),
        weight_bits=sum(step.weights.size for step in program.steps),
        file_bytes=run.program.stat().st_size,
        golden_vectors=len(images),
        checkpoint_sha256=digest(source),
        program_sha256=digest(run.program),
        golden_sha256=digest(run.golden),
    )
    write_json(run.export_result, outcome.as_dict())
    return outcome


def load_network(checkpoint: Path) -> Network:
    """The network of a checkpoint, in eval mode. Raises E_FILE_MISSING, E_CHECKPOINT."""
    from picobnn.trainer.checkpoint import read_checkpoint, restore_model

    return restore_model(read_checkpoint(checkpoint), where=str(checkpoint))


def export_program(
    network: Network,
    name: str,
    images: npt.NDArray[np.uint8],
    *,
    dump: Callable[[str, str], None] | None = None,
) -> tuple[Program, npt.NDArray[np.int32]]:
    """The network's integer program with densities counted on ``images``, and its logits on them, int32 (N, O)."""
    from picobnn.codegen.lower import compile_graph
    from picobnn.codegen.program import Density
    from picobnn.codegen.text import graph_text
    from picobnn.codegen.vocabulary import ElementKind, Shape
    from picobnn.sim.reference import run_program
    from picobnn.trainer.export import to_graph

    channels, height, width = network.input_shape
    graph = to_graph(network, Shape(height, width, channels), name)
    program = compile_graph(graph, dump=None if dump is None else lambda stage, g: dump(stage, graph_text(g)))
    outputs = run_program(program, images)
    densities = tuple(
        Density(step.output, int(output.sum(dtype=np.int64)), output.size)
        for step, output in zip(program.steps, outputs, strict=True)
        if program.tensors[step.output].kind is ElementKind.BIT
    )
    logits = outputs[-1].reshape(len(images), -1).astype(np.int32)
    return replace(program, statistics=densities), logits
