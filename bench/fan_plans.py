# SPDX-License-Identifier: Apache-2.0
"""Plans of fans: programs of one input layer that makes bits, and layers that all read the image or those bits."""

from __future__ import annotations

from collections.abc import Sequence

from picobnn.codegen.plan import Buffer, Kernels, Layout, Optimize, Plan, PlannedStep, layout_bytes
from picobnn.codegen.program import Program
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.targets import Target

ALIGNMENT = 8


def plan_fan(program: Program, names: Sequence[str], target: Target) -> Plan:
    """The plan: the bits are transposed anew where a step wants planes of them."""
    last = len(program.steps) - 1
    image, bits = program.tensors[0].shape.elements, layout_bytes(Layout.CHANNEL_WORDS, program.tensors[1].shape)
    bits_offset = _aligned(image)
    shared = bits_offset + _aligned(bits)
    buffers = [Buffer(0, Layout.HWC_BYTES, image, 0, 0, last)]
    buffers.append(Buffer(1, Layout.CHANNEL_WORDS, bits, bits_offset, 0, last))
    direct = find_strategy("direct").scratch_bytes(program.steps[0], program, target)
    steps = [PlannedStep(0, "direct", direct, shared, Layout.HWC_BYTES)]
    end = shared + direct
    for index, (step, name) in enumerate(zip(program.steps[1:], names, strict=True), start=1):
        strategy = find_strategy(name)
        reads, writes = strategy.input_layout(step), strategy.output_layout(step)
        copied = layout_bytes(reads, program.tensors[step.input].shape) if reads is Layout.PIXEL_PLANES else 0
        output = layout_bytes(writes, program.tensors[step.output].shape)
        scratch = strategy.scratch_bytes(step, program, target)
        offsets = [shared, shared + _aligned(copied), shared + _aligned(copied) + _aligned(output)]
        buffers.append(Buffer(step.output, writes, output, offsets[1], index, index))
        steps.append(PlannedStep(index, name, scratch, offsets[2], reads, copied, shared if copied else 0))
        end = max(end, offsets[2] + scratch)
    return Plan(program, target.core, Kernels.AUTO, Optimize.SPEED, tuple(steps), tuple(buffers), _aligned(end))


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT
