# SPDX-License-Identifier: Apache-2.0
"""Renders the firmware project around a generated model: ``generate --format make``.

The result is the board's start-up code, linker script and serial driver, the serial harness, a ``main.c`` and a
Makefile that needs nothing but make and an Arm compiler. The model's own files come from ``emit.py`` and stand
beside them. The same board and facts give the same bytes; no path, date or user is in them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from picobnn.codegen.c_text import comment_text, string_literal
from picobnn.codegen.emit import SourceFile
from picobnn.codegen.placement import HOT_SECTIONS, IN_FLASH, Placement, RamTable
from picobnn.codegen.plan import Layout, Plan
from picobnn.codegen.program import step_macs
from picobnn.codegen.targets import Board, MemoryRegion, Place, Tier
from picobnn.codegen.templates import template_environment
from picobnn.codegen.vocabulary import ElementKind, Shape
from picobnn.firmware_templates import FIELD_FORMATS, protocol_table, template_text

# Of the model's sources. A 32-64-128 convolutional network on an emulated Cortex-M4 takes fewer instructions than with
# -O3 (by 0.7 %) and less flash (by 1.4 KiB).
OPTIMIZATION = "-O2"

_BOARD_SOURCES = ("picobnn_startup.c", "picobnn_memory.c")
_HARNESS_SOURCES = (
    "picobnn_harness.c",
    "picobnn_harness_frame.c",
    "picobnn_harness_run.c",
    "picobnn_harness_timer.c",
    "picobnn_harness_upload.c",
)


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """A tensor as INFO tells it. ``size_bytes`` as stored; ``macs`` of the step that writes it, 0 for the image;
    INFO has 32 bits for them and tells the greatest number where they are more."""

    name: str
    element: ElementKind
    layout: Layout
    shape: Shape
    size_bytes: int
    macs: int


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """What the harness knows of a model: its name, the image, and the output of every step in order."""

    name: str
    image: TensorFacts
    steps: tuple[TensorFacts, ...]


def project_facts(plan: Plan) -> ProjectFacts:
    """The facts of a plan."""
    program = plan.program

    def facts(tensor: int, name: str, macs: int) -> TensorFacts:
        value, buffer = program.tensors[tensor], plan.buffers[tensor]
        return TensorFacts(name, value.kind, buffer.layout, value.shape, buffer.size_bytes, macs)

    return ProjectFacts(
        name=program.name,
        image=facts(0, program.input.name, 0),
        steps=tuple(facts(step.output, step.name, step_macs(program, step)) for step in program.steps),
    )


def message_offsets(fields: Sequence[Sequence[str]]) -> tuple[tuple[tuple[str, int], ...], int]:
    """Offset of each field of a message of ``protocol.toml``, and the size of the whole, in bytes."""
    offsets, size = [], 0
    for name, kind in fields:
        offsets.append((name, size))
        size += struct.calcsize(f"<{FIELD_FORMATS[kind]}")
    return tuple(offsets), size


def _hex(value: int) -> str:
    return f"0x{value:08X}"


def _region_view(region: MemoryRegion) -> dict[str, str]:
    return {"origin": _hex(region.origin), "size_bytes": str(region.size_bytes)}


def _board_view(board: Board) -> dict[str, Any]:
    return {
        "id": board.id,
        "name": board.name,
        "core_name": board.target.name,
        "compiler_flags": board.target.compiler_flags,
        "emulated": int(board.tier is Tier.EMULATED),
        "clock_hz": board.clock_hz,
        "stack_bytes": board.stack_bytes,
        "flash": _region_view(board.flash),
        "ram": _region_view(board.ram),
        "uart_base": _hex(board.uart.base),
        "uart_baud": board.uart.baud,
        "uart_enable_register": _hex(board.uart.enable_register),
        "uart_enable_mask": _hex(board.uart.enable_mask),
        "uart_flow_control": int(board.uart.flow_control),
        "max_payload_bytes": board.uart.max_payload_bytes,
    }


def _protocol_view() -> dict[str, Any]:
    table = protocol_table()
    constants = [(f"PROTOCOL_{key.upper()}", f"{value}u") for key, value in table["version"].items()]
    constants += [(f"LIMIT_{key.upper()}", f"0x{value:04X}u") for key, value in table["limits"].items()]
    for group in _CONSTANT_GROUPS:
        constants += [(f"{group.upper()}_{key}", f"0x{value:02X}u") for key, value in table[group].items()]
    messages = []
    for name, fields in table["message"].items():
        offsets, size = message_offsets(fields)
        upper = [(field.upper(), offset) for field, offset in offsets]
        messages.append({"name": name.upper(), "offsets": upper, "size_bytes": size})
    return {"constants": constants, "messages": messages}


_CONSTANT_GROUPS = (
    "frame",
    "command",
    "status",
    "capability",
    "timer",
    "reset_cause",
    "tensor",
    "info_kind",
    "run_flag",
    "element",
    "layout",
)


def _constant(group: str, member: Enum) -> str:
    return f"PICOBNN_{group}_{member.name}"


def _tensor_view(facts: TensorFacts) -> str:
    shape = facts.shape
    numbers = (shape.height, shape.width, shape.channels, facts.size_bytes, min(facts.macs, 2**32 - 1))
    return ", ".join(
        (
            string_literal(facts.name),
            _constant("ELEMENT", facts.element),
            _constant("LAYOUT", facts.layout),
            *(f"{number}u" for number in numbers),
        )
    )


def _model_view(prefix: str, facts: ProjectFacts) -> dict[str, Any]:
    return {
        "name": comment_text(facts.name),
        "prefix": prefix,
        "macro": prefix.upper(),
        "image": _tensor_view(facts.image),
        "steps": [_tensor_view(step) for step in facts.steps],
    }


def _placement_view(placement: Placement, tables: Sequence[RamTable]) -> dict[str, list[str]]:
    return {
        "hot_sections": [HOT_SECTIONS] if placement.hot_code is Place.RAM else [],
        "table_sections": [table.section for table in tables],
    }


def render_project(
    board: Board,
    prefix: str,
    facts: ProjectFacts,
    model_files: Sequence[SourceFile],
    placement: Placement = IN_FLASH,
    tables_in_ram: Sequence[RamTable] = (),
) -> tuple[SourceFile, ...]:
    """Every file of the project but the model's own. ``model_files`` are the files of ``render_model`` that stand in
    the same folder; their ``.c`` and ``.S`` files enter the Makefile. The linker script puts what ``placement`` and
    ``tables_in_ram`` (of ``placement.ram_tables``) say into RAM. The caller writes all with ``write_sources``."""
    environment = template_environment()
    uart = f"uart_{board.uart.driver.value}.c"
    copied = [
        *(f"board/{name}" for name in ("picobnn_board.h", *_BOARD_SOURCES, uart)),
        *(f"harness/{name}" for name in ("picobnn_harness.h", *_HARNESS_SOURCES)),
    ]
    sources = ["harness/picobnn_harness_model.c", *(path for path in copied if path.endswith(".c"))]
    views: dict[str, dict[str, Any]] = {
        "board": _board_view(board),
        "placement": _placement_view(placement, tables_in_ram),
        "model": _model_view(prefix, facts),
        "project": {
            "prefix": prefix,
            "optimization": OPTIMIZATION,
            "model_sources": sorted(file.path for file in model_files if file.path.endswith(".c")),
            "model_assembly": sorted(file.path for file in model_files if file.path.endswith(".S")),
            "board_sources": sorted(path for path in sources if path.startswith("board/")),
            "harness_sources": sorted(path for path in sources if path.startswith("harness/")),
        },
        **_protocol_view(),
    }
    rendered = {
        "Makefile": "project/Makefile.j2",
        "board/picobnn.ld": "board/picobnn.ld.j2",
        "board/picobnn_board_config.h": "board/picobnn_board_config.h.j2",
        "harness/picobnn_protocol.h": "harness/picobnn_protocol.h.j2",
        "harness/picobnn_harness_model.c": "harness/picobnn_harness_model.c.j2",
    }
    files = [SourceFile("main.c", template_text("project/main.c"))]
    files += [SourceFile(path, template_text(path)) for path in copied]
    files += [SourceFile(path, environment.get_template(name).render(views)) for path, name in rendered.items()]
    return tuple(sorted(files, key=lambda file: file.path))
