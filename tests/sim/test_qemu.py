# SPDX-License-Identifier: Apache-2.0
"""Firmware on emulated boards, over its serial port: every board, faults, and random networks step by step."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.bnn_file import model_hash
from picobnn.codegen.emit import render_model
from picobnn.codegen.pack import store_tensor
from picobnn.codegen.project import project_facts
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import board_ids, load_board
from picobnn.errors import ErrorId, PicobnnError
from picobnn.harness.emulated import flash_emulated
from picobnn.harness.protocol import Capability, Command, Element, InfoKind, ResetCause, TensorId, TimerKind
from picobnn.harness.session import Session
from picobnn.harness.vectors import find_difference, run_image, run_images, trace_image
from picobnn.sim.qemu import EmulatedBoard
from picobnn.sim.reference import run_program
from picobnn.toolchain import BuiltFirmware
from tests.support.firmware import build_project, needs_emulator, stub_firmware
from tests.support.random_programs import TINY, random_images, random_program
from tests.support.stub_model import FACTS, IMAGE_BYTES, MODEL_HASH, PREFIX, stub_files, stub_images, stub_steps

pytestmark = [pytest.mark.qemu, needs_emulator]

CPU_PARTS = {"m0": 0xC20, "m3": 0xC23, "m4": 0xC24, "m7": 0xC27, "m33": 0xD21, "m55": 0xD22}


@pytest.fixture(scope="module")
def stub() -> BuiltFirmware:
    return stub_firmware("mps2-an386")


@pytest.fixture
def session(stub: BuiltFirmware) -> Iterator[Session]:
    with flash_emulated(load_board("mps2-an386"), stub.elf, model_hash=MODEL_HASH) as opened:
        yield opened


@pytest.mark.parametrize("board_id", board_ids())
def test_every_board_runs_the_model(board_id: str) -> None:
    board = load_board(board_id)
    built = stub_firmware(board_id)
    images = stub_images(8)
    with flash_emulated(board, built.elf, model_hash=MODEL_HASH) as session:
        hello = session.hello
        assert hello.build_id == built.build_id
        assert hello.model_hash == MODEL_HASH[:8]
        assert (hello.clock_hz, hello.max_payload) == (board.clock_hz, board.uart.max_payload_bytes)
        assert Capability.EMULATED in hello.capabilities
        assert hello.timer_kind is TimerKind.SYSTICK_EMULATED
        part = "m3" if board_id == "mps2-an385-v6m" else board.target.core.removeprefix("cortex-")
        assert hello.cpuid >> 4 & 0xFFF in (CPU_PARTS[part], 0xD20 | CPU_PARTS[part] & 0xF)
        assert (hello.boot_count, hello.reset_cause) == (1, ResetCause.COLD)
        logits = run_images(session, images)
        assert [row.astype("<i4").tobytes() for row in logits] == [stub_steps(image.tobytes())[1] for image in images]
        for image in images[:2]:
            assert find_difference(session, image.tobytes(), stub_steps(image.tobytes())) is None
        assert session.ping() == 0


def test_info_describes_the_model(session: Session) -> None:
    image = session.info(InfoKind.TENSOR, TensorId.IMAGE)
    assert (image.name, image.size_bytes, image.element, image.height, image.channels) == (
        "image",
        64,
        Element.UINT8,
        8,
        1,
    )
    step = session.info(InfoKind.STEP, 0)
    assert (step.name, step.element, step.size_bytes, step.macs) == ("sign", Element.BIT, 256, 64)
    assert session.info(InfoKind.TENSOR, TensorId.LOGITS) == session.info(InfoKind.STEP, 1)
    with pytest.raises(PicobnnError, match="NO_TENSOR"):
        session.info(InfoKind.STEP, 2)


@pytest.mark.parametrize("command", [Command.BAUD, Command.CLOCKCHK, Command.FAULT, Command.RESET])
def test_what_comes_later_is_unsupported(session: Session, command: Command) -> None:
    with pytest.raises(PicobnnError, match="UNSUPPORTED"):
        session.request(command)
    assert session.ping() == 0


def test_wrong_requests_get_their_status(session: Session) -> None:
    image = stub_images(1)[0].tobytes()
    with pytest.raises(PicobnnError, match="NOT_LOADED"):
        session.run()
    with pytest.raises(PicobnnError, match=r"SHAPE_MISMATCH \(detail 64\)"):
        session.upload(image[:-1])
    with pytest.raises(PicobnnError, match="BAD_LEN"):
        session.request(Command.RUN, b"\x00")
    session.upload(image)
    with pytest.raises(PicobnnError, match="BAD_ARG"):
        session.run(stop_after_step=2)
    with pytest.raises(PicobnnError, match="BAD_ARG"):
        session.run(repeats=0)
    with pytest.raises(PicobnnError, match="NOT_LOADED"):
        session.read(TensorId.LOGITS, 4)
    session.run()
    with pytest.raises(PicobnnError, match=r"OUT_OF_RANGE \(detail 16\)"):
        session.read(TensorId.LOGITS, 20)
    begin, _, end = session.upload_requests(image)
    session.request(*begin)
    with pytest.raises(PicobnnError, match="OUT_OF_RANGE"):
        session.request(*end)
    with pytest.raises(PicobnnError, match="NOT_LOADED"):
        session.run()


def test_a_run_can_stop_repeat_and_tell_its_times(session: Session) -> None:
    image = stub_images(1)[0].tobytes()
    bits, logits = stub_steps(image)
    session.upload(image)
    stopped = session.run(stop_after_step=0)
    assert (stopped.stopped, stopped.steps_run) == (True, 1)
    assert session.read(TensorId.STEP_OUTPUT, 256) == bits
    with pytest.raises(PicobnnError, match="NOT_LOADED"):
        session.read(TensorId.LOGITS, 16)
    done = session.run(warm_up=2, repeats=5, trace=True)
    assert (done.stopped, done.steps_run, done.repeats) == (False, 2, 5)
    times = session.stat()
    assert times.timer_kind is TimerKind.SYSTICK_EMULATED
    assert times.count == 5
    assert 0 < times.minimum <= times.sum // 5 <= times.maximum
    rows = session.layers()
    assert [row.count for row in rows] == [5, 5]
    assert sum(row.sum for row in rows) <= times.sum
    assert session.read(TensorId.LOGITS, 16) == logits
    assert session.read(TensorId.IMAGE, IMAGE_BYTES) == image


def test_damaged_frames_are_refused_and_the_session_goes_on(stub: BuiltFirmware) -> None:
    with EmulatedBoard(load_board("mps2-an386"), stub.elf) as emulator, Session.open(emulator.url) as session:
        image = stub_images(1)[0].tobytes()
        session._transport.write(b"text\x00" + b"\x05bad" + b"\x00" + bytes(9) + b"\xff" * 3000 + b"\x00")
        time.sleep(0.3)
        session._drain()
        assert run_image(session, image) == stub_steps(image)[1]
        assert session.ping() == 2


def test_a_planted_wrong_bit_is_found(tmp_path: Path) -> None:
    built = build_project(tmp_path, "microbit", PREFIX, FACTS, stub_files(wrong_pixel=37))
    image = stub_images(1)[0].tobytes()
    with flash_emulated(load_board("microbit"), built.elf) as session:
        difference = find_difference(session, image, stub_steps(image))
    assert difference is not None
    assert (difference.step, difference.offset_bytes) == (0, 37 * 4)
    assert difference.expected[148] ^ difference.actual[148] == 1


@pytest.mark.parametrize("board_id", ["microbit", "mps2-an386"])
def test_a_fault_in_the_model_restarts_and_is_told(board_id: str, tmp_path: Path) -> None:
    built = build_project(tmp_path, board_id, PREFIX, FACTS, stub_files(crashing=True))
    good = stub_images(1)[0].tobytes()
    with flash_emulated(load_board(board_id), built.elf) as session:
        assert run_image(session, good) == stub_steps(good)[1]
        with pytest.raises(PicobnnError, match=r"restarted .*cause: fault") as error:
            run_image(session, bytes([77]) * IMAGE_BYTES)
        assert error.value.error_id is ErrorId.DEVICE_FAULT
        assert (session.hello.boot_count, session.hello.reset_cause) == (2, ResetCause.FAULT)
        assert run_image(session, good) == stub_steps(good)[1]


def test_another_image_or_model_is_not_believed(stub: BuiltFirmware, tmp_path: Path) -> None:
    board = load_board("mps2-an386")
    with pytest.raises(PicobnnError) as error, flash_emulated(board, stub.elf, model_hash=bytes(32)):
        pass
    assert error.value.error_id is ErrorId.MODEL_MISMATCH


def test_an_image_for_another_core_is_an_emulator_failure(stub: BuiltFirmware) -> None:
    with pytest.raises(PicobnnError) as error, flash_emulated(load_board("microbit"), stub.elf):
        pass
    assert error.value.error_id in (ErrorId.EMULATOR_FAILED, ErrorId.NO_ANSWER)


def test_an_unknown_machine_says_what_qemu_said(stub: BuiltFirmware) -> None:
    board = load_board("mps2-an386")
    assert board.emulator is not None
    wrong = replace(board, emulator=replace(board.emulator, machine="mps9"))
    with pytest.raises(PicobnnError, match="unsupported machine type") as error, EmulatedBoard(wrong, stub.elf):
        pass
    assert error.value.error_id is ErrorId.EMULATOR_FAILED


def test_a_board_without_emulator_and_an_absent_image_are_named(stub: BuiltFirmware, tmp_path: Path) -> None:
    board = load_board("mps2-an386")
    with pytest.raises(PicobnnError) as error, EmulatedBoard(replace(board, emulator=None), stub.elf):
        pass
    assert error.value.error_id is ErrorId.EMULATOR_FAILED
    assert set(re.findall(r"[a-z0-9-]+[0-9]+[a-z0-9-]*", error.value.remedy)) <= set(board_ids())
    assert "mps2-an386" in error.value.remedy
    with pytest.raises(PicobnnError) as error, EmulatedBoard(board, tmp_path / "absent.elf"):
        pass
    assert error.value.error_id is ErrorId.FILE_MISSING


def alive(process_id: int) -> bool:
    """Whether the process runs; one that ended and whose parent has not asked yet does not."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ping_for_ever(session: Session) -> None:
    while True:
        session.ping()


def test_the_emulator_ends_with_its_context_and_at_its_deadline(stub: BuiltFirmware) -> None:
    board = load_board("mps2-an386")
    with EmulatedBoard(board, stub.elf) as emulator:
        process_id = emulator.process_id
        assert alive(process_id)
    assert not alive(process_id)
    with EmulatedBoard(board, stub.elf, lifetime_s=0.5) as emulator, Session.open(emulator.url) as session:
        with pytest.raises(PicobnnError) as error:
            ping_for_ever(session)
        assert error.value.error_id is ErrorId.DISCONNECTED
        with pytest.raises(PicobnnError, match="QEMU ended") as error:
            emulator.check(grace_s=2.0)
        assert error.value.error_id is ErrorId.EMULATOR_FAILED


def test_the_emulator_outlives_the_thread_that_started_it(stub: BuiltFirmware) -> None:
    emulator = EmulatedBoard(load_board("mps2-an386"), stub.elf)
    starter = threading.Thread(target=emulator.__enter__)
    starter.start()
    starter.join()
    try:
        time.sleep(0.5)
        emulator.check()
        with Session.open(emulator.url, start_wait_s=10.0) as opened:
            assert opened.ping() == 0
    finally:
        emulator.close()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
def test_the_emulator_ends_with_a_killed_interpreter(stub: BuiltFirmware) -> None:
    lines = (
        "import os, signal, sys, threading",
        "from pathlib import Path",
        "from picobnn.codegen.targets import load_board",
        "from picobnn.sim.qemu import EmulatedBoard",
        "emulator = EmulatedBoard(load_board('mps2-an386'), Path(sys.argv[1]))",
        "emulator.__enter__()",
        "print(emulator.process_id, flush=True)",
        "os.kill(os.getpid(), signal.SIGKILL)",
    )
    result = subprocess.run([sys.executable, "-c", "\n".join(lines), stub.elf], capture_output=True, text=True)
    process_id = int(result.stdout)
    deadline = time.monotonic() + 10.0
    while alive(process_id) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(process_id)


def test_instruction_counts_repeat_exactly(stub: BuiltFirmware) -> None:
    image = stub_images(1)[0].tobytes()
    sums = set()
    for _ in range(2):
        with flash_emulated(load_board("mps2-an386"), stub.elf, icount=True) as session:
            session.upload(image)
            session.run(repeats=3)
            sums.add(session.stat().minimum)
    assert max(sums) - min(sums) <= 30  # one instruction is 25.6 ticks; only the phase of a tick may differ


@pytest.mark.parametrize(
    ("board_id", "seed"), [("microbit", 1), ("mps2-an385", 2), ("mps2-an505", 3), ("mps3-an547", 4)]
)
def test_random_networks_are_equal_in_every_step(board_id: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(rng, TINY)
    board = load_board(board_id)
    plan = make_plan(program, board.target)
    built = build_project(tmp_path, board_id, "net", project_facts(plan), render_model(plan, "net"))
    images = random_images(rng, program, 6)
    outputs = run_program(program, images)
    layouts = [plan.buffers[step.output].layout for step in program.steps]
    with flash_emulated(board, built.elf, model_hash=model_hash(program)) as session:
        for number, image in enumerate(images):
            stored = [store_tensor(step[number], layout) for step, layout in zip(outputs, layouts, strict=True)]
            assert find_difference(session, image.tobytes(), stored) is None
            assert run_image(session, image.tobytes()) == stored[-1]
            assert len(trace_image(session, image.tobytes())) == len(program.steps)


@pytest.mark.slow
@pytest.mark.parametrize("board_id", board_ids())
@pytest.mark.parametrize("seed", range(10, 13))
def test_many_random_networks_are_equal(board_id: str, seed: int, tmp_path: Path) -> None:
    test_random_networks_are_equal_in_every_step(board_id, seed, tmp_path)
