# SPDX-License-Identifier: Apache-2.0
"""One protocol: protocol.toml, the Python constants, the rendered C header and the page in docs/ agree."""

from __future__ import annotations

import re
from dataclasses import fields
from enum import IntEnum, IntFlag

import pytest

from picobnn.codegen.plan import Layout
from picobnn.codegen.project import render_project
from picobnn.codegen.targets import load_board
from picobnn.codegen.vocabulary import ElementKind
from picobnn.firmware_templates import protocol_table
from picobnn.harness import protocol
from picobnn.harness.protocol import (
    Capability,
    Command,
    Element,
    FrameType,
    Hello,
    InfoKind,
    LayerRow,
    ResetCause,
    RunFlag,
    Status,
    TensorId,
    TensorLayout,
    TimerKind,
    message_struct,
    pack_message,
    unpack_message,
)
from tests.support.stub_model import FACTS, PREFIX, stub_files
from tests.support.tree import ROOT

GROUPS: dict[str, type[IntEnum] | type[IntFlag]] = {
    "frame": FrameType,
    "command": Command,
    "status": Status,
    "capability": Capability,
    "timer": TimerKind,
    "reset_cause": ResetCause,
    "tensor": TensorId,
    "info_kind": InfoKind,
    "run_flag": RunFlag,
    "element": Element,
    "layout": TensorLayout,
}


@pytest.mark.parametrize("group", GROUPS)
def test_python_enums_are_those_of_the_table(group: str) -> None:
    members = {name: member.value for name, member in GROUPS[group].__members__.items() if name != "NONE" or member}
    table = {name: value for name, value in protocol_table()[group].items() if name != "NONE" or value}
    assert members == table


def test_table_has_no_other_groups() -> None:
    assert set(protocol_table()) == {*GROUPS, "version", "limits", "message"}


def test_python_limits_are_those_of_the_table() -> None:
    table = protocol_table()
    assert table["version"] == {"major": protocol.PROTOCOL_MAJOR, "minor": protocol.PROTOCOL_MINOR}
    assert table["limits"] == {
        "minimum_payload": protocol.MINIMUM_PAYLOAD,
        "no_step": protocol.NO_STEP,
        "resync_zeros": protocol.RESYNC_ZEROS,
    }


def test_records_have_the_fields_of_their_messages() -> None:
    def names(message: str) -> list[str]:
        return [name for name, _ in protocol_table()["message"][message]]

    assert [field.name for field in fields(Hello)] == names("hello_reply")
    assert [field.name for field in fields(LayerRow)] == names("layer_row")


def test_elements_and_layouts_are_those_of_the_compiler() -> None:
    assert {element.name for element in Element} == {kind.name for kind in ElementKind}
    assert {layout.name for layout in TensorLayout} == {layout.name for layout in Layout}


def test_messages_round_trip() -> None:
    values = {"tensor": 1, "transfer": 2, "total": 3, "crc": 0xDEADBEEF}
    packed = pack_message("begin_request", **values)
    assert packed == bytes.fromhex("0102 03000000 efbeadde")
    assert unpack_message("begin_request", packed) == values


def header_constants() -> dict[str, int]:
    model = stub_files()
    files = render_project(load_board("microbit"), PREFIX, FACTS, model)
    header = next(file.text for file in files if file.path == "harness/picobnn_protocol.h")
    found = re.findall(r"#define PICOBNN_(\w+) (0x[0-9A-F]+|\d+)u", header)
    return {name: int(value, 0) for name, value in found}


def test_the_header_has_every_constant() -> None:
    constants = header_constants()
    for group, enum in GROUPS.items():
        for name, value in protocol_table()[group].items():
            assert constants[f"{group.upper()}_{name}"] == value == enum[name].value
    for name in protocol_table()["message"]:
        assert constants[f"{name.upper()}_BYTES"] == message_struct(name).size
    assert constants["HELLO_REPLY_BUILD_ID"] == message_struct("hello_reply").size - 28


def test_the_page_names_every_command_status_and_field() -> None:
    page = (ROOT / "docs" / "serial-protocol.md").read_text(encoding="utf-8")
    for group in ("command", "status", "capability", "timer", "reset_cause"):
        for name, value in protocol_table()[group].items():
            assert re.search(rf"\|[^|\n]*\b0?x?0*{value:X}\b[^|\n]*\| *`?{name}`? *\|", page), f"{group} {name}"
    for message, layout in protocol_table()["message"].items():
        for field, _ in layout:
            assert f"`{field}`" in page or field == "reserved", f"{message}.{field}"
