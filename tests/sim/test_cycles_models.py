# SPDX-License-Identifier: Apache-2.0
"""Decoding and the core models on single blocks, without an emulator. Encodings are the assembler's."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.cycles import MODELS, CycleModel, Instruction, Kind, find_model
from picobnn.sim.cycles.decode import decode_block
from picobnn.sim.cycles.objdump import parse_line
from tests.support.cycle_kernels import V6M_KERNELS
from tests.support.cycle_kernels_v7m import MVE_KERNELS, V7M_KERNELS


def block(halfwords: str, address: int = 0) -> tuple[Instruction, ...]:
    """``halfwords`` as objdump prints them."""
    return decode_block(b"".join(int(word, 16).to_bytes(2, "little") for word in halfwords.split()), address)


def model(core: str) -> CycleModel:
    found = find_model(core)
    assert found is not None
    return found


LDR_R1_R0 = "6801"  # ldr r1, [r0]
LDR_R2_R0 = "6802"
LDR_R3_R0 = "6803"
LDR_R3_R1 = "680b"  # ldr r3, [r1]
LDR_R2_R0_POST = "f850 2b04"  # ldr r2, [r0], #4
LDR_R3_R1_POST = "f851 3b04"
LDR_R3_R0_POST = "f850 3b04"
STR_R2_R0 = "6002"
STR_R2_R1 = "600a"
STR_R2_R0_R3 = "50c2"  # str r2, [r0, r3]
STR_R2_R0_POST = "f840 2b04"
ADDS_R0_1 = "3001"
NOP = "bf00"
BX_LR = "4770"
BNE_BACK = "d1fc"  # bne .-4
B_BACK = "e7fc"


@pytest.mark.parametrize(
    ("halfwords", "kind", "facts"),
    [
        (BX_LR, Kind.BRANCH_REGISTER, {"writes_pc": True, "ends_block": True}),
        ("4718", Kind.BRANCH_REGISTER, {"reads": frozenset({"r3"})}),  # bx r3
        ("469f", Kind.BRANCH_REGISTER, {"writes_pc": True}),  # mov pc, r3
        ("bd10", Kind.LOAD_MULTIPLE, {"transfers": 2, "writes_pc": True}),  # pop {r4, pc}
        ("b510", Kind.STORE_MULTIPLE, {"transfers": 2, "writes_pc": False}),  # push {r4, lr}
        ("c80e", Kind.LOAD_MULTIPLE, {"transfers": 3, "writeback": True}),  # ldm r0!, {r1, r2, r3}
        ("e92d 43f0", Kind.STORE_MULTIPLE, {"transfers": 7}),  # stmdb sp!, {r4-r9, lr}
        ("e9d2 0102", Kind.LOAD_DOUBLE, {"address_registers": frozenset({"r2"})}),  # ldrd r0, r1, [r2, #8]
        (LDR_R2_R0_POST, Kind.LOAD, {"writeback": True, "address_registers": frozenset({"r0"})}),
        (STR_R2_R0_R3, Kind.STORE, {"register_offset": True, "reads": frozenset({"r0", "r2", "r3"})}),
        ("fb01 3002", Kind.MULTIPLY_ADD, {"accumulators": frozenset({"r3"})}),  # mla r0, r1, r2, r3
        ("fb71 f002", Kind.MULTIPLY, {}),  # usad8 r0, r1, r2
        ("fb71 3002", Kind.MULTIPLY_ADD, {"accumulators": frozenset({"r3"})}),  # usada8 r0, r1, r2, r3
        ("fbe2 0103", Kind.MULTIPLY_ADD_LONG, {"accumulators": frozenset({"r0", "r1"})}),  # umlal r0, r1, r2, r3
        ("fbb1 f0f2", Kind.DIVIDE, {}),  # udiv r0, r1, r2
        ("fa81 f042", Kind.DSP, {}),  # uadd8 r0, r1, r2
        ("ea81 00c2", Kind.ALU, {"shifted_register": "r2"}),  # eor r0, r1, r2, lsl #3
        ("ea4f 00c1", Kind.ALU, {"shifted_register": None}),  # lsl.w r0, r1, #3
        ("f003 3c0f", Kind.ALU, {"shifted_constant": False}),  # and ip, r3, #0x0f0f0f0f
        ("f403 4c7f", Kind.ALU, {"shifted_constant": True}),  # and ip, r3, #0xff00
        ("4288", Kind.ALU, {"sets_flags": True}),  # cmp r0, r1
        ("bf08", Kind.IF_THEN, {"conditional": False}),  # it eq
        ("e8df f000", Kind.TABLE_BRANCH, {"ends_block": True}),  # tbb [pc, r0]
        (NOP, Kind.NOP, {}),
        ("f3bf 8f4f", Kind.SYSTEM, {}),  # dsb
        ("ee80 0a00", Kind.FLOAT_LONG, {}),  # vdiv.f32 s0, s0, s0
        ("ed90 0a00", Kind.FLOAT_TRANSFER, {}),  # vldr s0, [r0]
        ("ecb0 0a04", Kind.FLOAT_TRANSFER_MULTIPLE, {"transfers": 4}),  # vldmia r0!, {s0-s3}
        ("ee20 0a00", Kind.FLOAT, {}),  # vmul.f32 s0, s0, s0
        ("eea0 0a00", Kind.FLOAT_MULTIPLY_ADD, {}),  # vfma.f32 s0, s0, s0
    ],
)
def test_decoded_operands(halfwords: str, kind: Kind, facts: dict[str, object]) -> None:
    (instruction,) = block(halfwords)
    assert instruction.kind is kind
    assert {name: getattr(instruction, name) for name in facts} == facts


@pytest.mark.parametrize(
    ("halfwords", "target", "conditional"),
    [
        (BNE_BACK, 0x1000 - 4, True),
        (B_BACK, 0x1000 - 4, False),
        ("b110", 0x1000 + 8, True),  # cbz r0, .+8
        ("f47f affe", 0x1000, True),  # bne.w .
        ("f7ff fffe", 0x1000, False),  # bl .
    ],
)
def test_direct_targets(halfwords: str, target: int, conditional: bool) -> None:
    (instruction,) = block(halfwords, 0x1000)
    assert (instruction.target, instruction.conditional, instruction.ends_block) == (target, conditional, True)


@settings(deadline=None, max_examples=200)
@given(code=st.binary(min_size=2, max_size=64))
def test_every_byte_belongs_to_one_instruction(code: bytes) -> None:
    whole = code[: len(code) // 2 * 2]
    instructions = decode_block(whole, 0x8000)
    assert [part.address for part in instructions[1:]] == [part.end for part in instructions[:-1]]
    assert sum(part.size for part in instructions) == len(whole)
    for found in MODELS:
        assert found.block_cycles(instructions) >= 1
        assert found.taken_cycles(instructions, instructions[0]) >= 0


@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m4"])
@pytest.mark.parametrize(
    ("halfwords", "cycles"),
    [
        (f"{LDR_R1_R0} {LDR_R2_R0} {LDR_R3_R0}", 4),  # 2, then pipelined
        (f"{LDR_R1_R0} {LDR_R3_R1}", 4),  # the address is loaded
        (f"{LDR_R1_R0} {STR_R2_R0}", 2),  # the store hides under the load
        (f"{LDR_R1_R0} {STR_R2_R1}", 3),  # its address is loaded
        (f"{STR_R2_R0} {STR_R2_R0}", 2),
        (f"{STR_R2_R0} {LDR_R1_R0}", 4),  # a store in front of a load
        (STR_R2_R0_R3, 2),
        (f"{LDR_R1_R0} {STR_R2_R0_R3}", 3),
        (f"{STR_R2_R0_R3} {LDR_R1_R0}", 4),
        (f"{STR_R2_R0_POST} {STR_R2_R0_POST}", 3),  # the same base, updated twice
        (f"{ADDS_R0_1} {LDR_R1_R0}", 4),  # the address is computed just before
        (f"{ADDS_R0_1} {NOP} {LDR_R1_R0}", 4),
        ("b5f0", 6),  # push {r4-r7, lr}: 1+5
        ("bdf0", 7),  # pop {r4-r7, pc}: 1+5+P
        ("e9d2 0102", 3),  # ldrd
        ("f8d0 f000", 5),  # ldr.w pc, [r0]
        ("e8df f000", 6),  # tbb
        ("fbb1 f0f2", 7),  # udiv
        ("4288 bf08 4608", 2),  # cmp; it eq folded; moveq
        ("ebb0 0f01 bf08 4608", 3),  # cmp.w; it eq; moveq
    ],
)
def test_m3_and_m4_blocks(core: str, halfwords: str, cycles: int) -> None:
    assert model(core).block_cycles(block(halfwords)) == cycles


@pytest.mark.parametrize(
    ("halfwords", "m3", "m4"),
    [
        (f"{LDR_R2_R0_POST} {LDR_R3_R1_POST}", 4, 3),  # the M3 never overlaps updates of a base
        (f"{LDR_R2_R0_POST} {LDR_R3_R0_POST}", 4, 4),  # nobody on the same base
        (f"{LDR_R2_R0_POST} {LDR_R3_R0}", 3, 3),  # a plain load behind one does overlap
        (f"{LDR_R1_R0} {STR_R2_R0_POST}", 3, 2),
        ("fb01 3002", 2, 1),  # mla
        ("fba0 2301", 4, 1),  # umull
        ("fbe2 0103", 5, 1),  # umlal
    ],
)
def test_m3_and_m4_differ(halfwords: str, m3: int, m4: int) -> None:
    assert (model("m3").block_cycles(block(halfwords)), model("m4").block_cycles(block(halfwords))) == (m3, m4)


def test_taken_branch_of_m4_pays_for_an_unaligned_wide_target() -> None:
    branch, m4 = block(BNE_BACK, 0x100), model("m4")
    narrow, wide = block(NOP, 2)[0], block("f100 0001", 2)[0]  # add.w r0, r0, #1
    assert m4.taken_cycles(branch, narrow) == 1
    assert m4.taken_cycles(branch, wide) == 2
    assert m4.taken_cycles(branch, block("f100 0001", 4)[0]) == 1
    assert m4.taken_cycles(branch, None) == 1
    assert m4.taken_cycles(block(BX_LR), wide) == 1
    assert m4.taken_cycles(block(BX_LR), narrow) == 0


@pytest.mark.parametrize(
    ("core", "branch", "call", "register", "pop_pc", "system"),
    [("m0", 3, 4, 3, 4, 4), ("m0plus", 2, 3, 2, 3, 3)],
)
def test_v6m_table(core: str, branch: int, call: int, register: int, pop_pc: int, system: int) -> None:
    chosen = model(core)
    assert chosen.block_cycles(block(BNE_BACK)) + chosen.taken_cycles(block(BNE_BACK), None) == branch
    assert chosen.block_cycles(block(BNE_BACK)) == 1
    assert chosen.block_cycles(block("f7ff fffe")) == call
    assert chosen.block_cycles(block(BX_LR)) == register
    assert chosen.block_cycles(block("bdf0")) == pop_pc + 5
    assert chosen.block_cycles(block("f3bf 8f4f")) == system
    assert chosen.block_cycles(block(f"{LDR_R1_R0} {LDR_R3_R1} {STR_R2_R0}")) == 6
    assert chosen.block_cycles(block("4348")) == 1  # muls r0, r1


@pytest.mark.parametrize(
    ("halfwords", "straight", "taken"),
    [
        (f"{ADDS_R0_1} {BNE_BACK}", 1, 3),  # beside what sets the flags: 0 not taken, 2 taken
        (f"4618 {BNE_BACK}", 1, 2),  # beside mov r0, r3: 0 not taken, 1 taken
        (f"f100 0001 {BNE_BACK}", 2, 3),  # behind 32 bits: 1 not taken, 2 taken
        (f"{ADDS_R0_1} {B_BACK}", 2, 3),
        (f"c80e {BNE_BACK}", 3, 4),  # ldm r0!, {r1, r2, r3}
    ],
)
def test_m33_branches(halfwords: str, straight: int, taken: int) -> None:
    branch, m33 = block(halfwords), model("m33")
    assert m33.block_cycles(branch) == straight
    assert m33.block_cycles(branch) + m33.taken_cycles(branch, None) == taken


@pytest.mark.parametrize(
    ("halfwords", "cycles"),
    [
        (f"{LDR_R1_R0} 1c4a", 3),  # adds r2, r1, #1 waits for the load
        (f"{LDR_R1_R0} 6041", 2),  # str r1, [r0, #4] does not
        (f"{LDR_R1_R0} fb02 1003", 2),  # mla r0, r2, r3, r1: the accumulator comes later
        (f"{LDR_R1_R0} fb01 2003", 3),  # mla r0, r1, r3, r2
        ("ea81 00c2 1c42", 3),  # eor r0, r1, r2, lsl #3; adds r2, r0, #1
        ("e9d2 0102", 2),  # ldrd
        ("6800 1c42", 3),  # ldr r0, [r0]; adds r2, r0, #1
        (f"{LDR_R2_R0_POST} {LDR_R3_R0}", 2),  # an updated base is there at once
        ("fbb1 f0f2", 6),  # udiv
        ("fb00 f201 1c51", 3),  # mul r2, r0, r1; adds r1, r2, #1 waits
        ("b5f0", 5),  # push {r4-r7, lr}
    ],
)
def test_m33_latencies(halfwords: str, cycles: int) -> None:
    assert model("m33").block_cycles(block(halfwords)) == cycles


@pytest.mark.parametrize(
    ("halfwords", "cycles"),
    [
        ("3001 3101", 1),  # adds r0; adds r1
        ("3001 3001", 2),  # a chain
        (f"{LDR_R1_R0} {LDR_R2_R0}", 1),
        (f"{STR_R2_R0} {STR_R2_R0}", 2),  # one store a cycle
        ("fb00 f201 fb00 f301", 2),  # mul; mul
        ("ea81 00c2 ea81 03c2", 2),  # one shifter
        ("fa81 f042 ea83 02c4", 1),  # uadd8 spares the shifter
        ("fa91 f0a1 ea83 02c4", 2),  # rbit does not
        ("b5f0", 3),  # push of 5: two a cycle
        ("fbb1 f0f2", 9),  # udiv
        ("7801 1c4a", 3),  # ldrb; its consumer waits
        (f"{LDR_R1_R0} 1c4a", 2),  # ldr; adds r2, r1, #1 a cycle later
        (f"{LDR_R1_R0} {LDR_R3_R1}", 3),  # the address is loaded: a cycle more
        (f"{ADDS_R0_1} {LDR_R1_R0}", 2),  # an address made by ADD is there at once
        (f"4048 {LDR_R2_R0}", 3),  # eors r0, r1; one made by EOR is not
        ("fb00 f201 1c51", 3),  # mul; its consumer waits
        (f"{LDR_R1_R0} {STR_R2_R0}", 1),  # a load and a store
        ("e9d2 0102 1c42", 2),  # ldrd stands alone; adds r2, r0, #1
        (f"3001 3101 {NOP}", 2),  # two a cycle
    ],
)
def test_m7_pairing(halfwords: str, cycles: int) -> None:
    assert model("m7").block_cycles(block(halfwords)) == cycles


@pytest.mark.parametrize(
    ("line", "kind", "facts"),
    [
        ("       8:\tecb1 1f04 \tvldrw.u32\tq0, [r1], #16", Kind.VECTOR_TRANSFER, {"size": 4, "ends_block": False}),
        ("1000001c:\tff00 0152 \tveor\tq0, q0, q1", Kind.VECTOR, {"address": 0x1000001C}),
        ("      38:\tee30 0b10 \tvmov.32\tr0, d0[1]", Kind.VECTOR, {}),
        ("      54:\tf020 e801 \tvctp.32\tr0", Kind.VECTOR, {}),
        ("      54:\ted90 0b00 \tvldr\td0, [r0]", Kind.FLOAT_TRANSFER, {}),
        ("      54:\tee30 0a00 \tvadd.f32\ts0, s0, s0", Kind.FLOAT, {}),
        ("       4:\ted2d 8b10 \tvpush\t{d8-d15}", Kind.FLOAT_TRANSFER_MULTIPLE, {"transfers": 8}),
        ("      64:\tf042 c809 \twls\tlr, r2, 7a <f+0x7a>", Kind.LOOP_START, {"target": 0x7A, "ends_block": True}),
        ("      68:\tf040 e001 \tdls\tlr, r0", Kind.LOOP_START, {"target": None}),
        ("      76:\tf00f c807 \tle\tlr, 6c <f+0x6c>", Kind.LOOP_END, {"target": 0x6C, "ends_block": True}),
        ("      94:\td0f5      \tbeq.n\t82 <f+0x82>", Kind.BRANCH, {"target": 0x82, "size": 2, "conditional": True}),
        ("      96:\tf7ff fffe \tbl\t1000 <f>", Kind.CALL, {"target": 0x1000}),
        ("      9a:\t4770      \tbx\tlr", Kind.BRANCH_REGISTER, {"writes_pc": True}),
        ("      9a:\t4770      \tbxeq\tlr", Kind.BRANCH_REGISTER, {}),
        ("      9a:\t469f      \tmov\tpc, r3", Kind.BRANCH_REGISTER, {"writes_pc": True}),
        ("      ac:\t4803      \tldr\tr0, [pc, #12]\t@ (bc <f+0xbc>)", Kind.LOAD, {"writes_pc": False}),
        ("      ae:\tf8d0 f000 \tldr.w\tpc, [r0]", Kind.LOAD, {"writes_pc": True}),
        (
            "      b6:\te8bd 9ff0 \tldmia.w\tsp!, {r4-r6, sl, pc}",
            Kind.LOAD_MULTIPLE,
            {"transfers": 5, "writes_pc": True},
        ),
        ("      b6:\te92d 5ff0 \tstmdb\tsp!, {r4, lr}", Kind.STORE_MULTIPLE, {"transfers": 2, "writes_pc": False}),
        ("      82:\tea51 8002 \tcsel\tr0, r1, r2, eq", Kind.ALU, {}),
        ("      82:\tea51 8002 \t\t\t@ <UNDEFINED> instruction: 0xea518002", Kind.UNKNOWN, {"size": 4}),
    ],
)
def test_lines_of_objdump(line: str, kind: Kind, facts: dict[str, object]) -> None:
    instruction = parse_line(line)
    assert instruction is not None
    assert instruction.kind is kind
    assert {name: getattr(instruction, name) for name in facts} == facts


@pytest.mark.parametrize("line", ["10000000 <f>:", "  a0:\t12345678 \t.word\t0x12345678", "", "Disassembly of section"])
def test_other_lines_of_objdump_are_no_instructions(line: str) -> None:
    assert parse_line(line) is None


def test_unknown_code_costs_one_cycle_everywhere() -> None:
    (unknown,) = block("ffff ffff")
    assert unknown.kind is Kind.UNKNOWN
    assert [found.block_cycles((unknown,)) for found in MODELS] == [1] * len(MODELS)


def test_bands_and_cores() -> None:
    bands = {found.core: found.error_band_percent for found in MODELS}
    assert bands == {
        "cortex-m0": 5,
        "cortex-m0plus": None,
        "cortex-m3": 5,
        "cortex-m4": 5,
        "cortex-m33": 10,
        "cortex-m7": 25,
        "cortex-m55": None,
    }
    assert {core for kernel in V6M_KERNELS + V7M_KERNELS + MVE_KERNELS for core in kernel.cycles} == set(bands)


def test_unknown_core() -> None:
    with pytest.raises(PicobnnError) as caught:
        find_model("cortex-m99")
    assert caught.value.error_id is ErrorId.UNKNOWN_CORE
