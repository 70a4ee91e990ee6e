# SPDX-License-Identifier: Apache-2.0
"""A session against the fake device: right answers through loss, damage, repetition and restarts, or a named error."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from picobnn.errors import ErrorId, PicobnnError
from picobnn.harness.emulated import confirm_firmware, confirm_model
from picobnn.harness.fake import FakeDevice, FakeModel, Faults
from picobnn.harness.frame import Frame, encode_frame
from picobnn.harness.protocol import (
    Capability,
    Command,
    FrameType,
    InfoKind,
    Status,
    TensorId,
    TimerKind,
)
from picobnn.harness.session import Session
from picobnn.harness.vectors import find_difference, run_image, run_images
from tests.support.stub_model import IMAGE_BYTES, MODEL_HASH, stub_images, stub_steps

MODEL = FakeModel(IMAGE_BYTES, (256, 16), stub_steps, MODEL_HASH)
IMAGES = stub_images(6)
LOCK_STEP = Capability.LAYER_TRACE


def make_session(device: FakeDevice) -> Session:
    return Session(device, where="fake", clock=device.clock)


def connected(faults: Faults | None = None, **options: object) -> tuple[Session, FakeDevice]:
    device = FakeDevice(MODEL, faults=faults, **options)  # type: ignore[arg-type]
    session = make_session(device)
    session.connect()
    return session, device


def expected_rows() -> list[list[int]]:
    return [list(memoryview(stub_steps(image.tobytes())[1]).cast("i")) for image in IMAGES]


def code_of(error: pytest.ExceptionInfo[PicobnnError]) -> ErrorId:
    return error.value.error_id


def test_hello_tells_what_the_device_is() -> None:
    session, _ = connected(build_id=bytes(range(20)))
    hello = session.hello
    assert hello.build_id == bytes(range(20))
    assert hello.model_hash == MODEL_HASH[:8]
    assert (hello.step_count, hello.boot_count, hello.timer_kind) == (2, 1, TimerKind.NONE)


def test_info_ping_and_unknown_command() -> None:
    session, _ = connected()
    assert session.ping() == 0
    assert session.info(InfoKind.TENSOR, TensorId.IMAGE).size_bytes == IMAGE_BYTES
    assert session.info(InfoKind.STEP, 0).name == "tensor0"
    with pytest.raises(PicobnnError) as error:
        session.request(Command.BAUD)
    assert code_of(error) is ErrorId.PROTOCOL


@pytest.mark.parametrize("capabilities", [LOCK_STEP, LOCK_STEP | Capability.FLOW_CONTROL], ids=("lock-step", "ahead"))
@pytest.mark.parametrize("max_payload", [32, 48, 256])
def test_images_give_the_models_results(capabilities: Capability, max_payload: int) -> None:
    session, _ = connected(capabilities=capabilities, max_payload=max_payload)
    done = []
    assert run_images(session, IMAGES, progress=lambda at, of: done.append((at, of))).tolist() == expected_rows()
    assert done == [(at + 1, 6) for at in range(6)]
    assert session.counters.resent == 0


def lossy(seed: int, rate: float, fault: Callable[[random.Random, int], bytes]) -> Callable[[bytes], bytes]:
    source = random.Random(seed)

    def mangle(data: bytes) -> bytes:
        return b"".join(fault(source, byte) if source.random() < rate else bytes([byte]) for byte in data)

    return mangle


FAULTS: dict[str, Callable[[random.Random, int], bytes]] = {
    "drop": lambda source, byte: b"",
    "flip": lambda source, byte: bytes([byte ^ 1 << source.randrange(8)]),
    "twice": lambda source, byte: bytes([byte, byte]),
    "insert": lambda source, byte: bytes([byte, source.randrange(256)]),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("capabilities", [LOCK_STEP, LOCK_STEP | Capability.FLOW_CONTROL], ids=("lock-step", "ahead"))
def test_results_are_right_on_a_bad_link(fault: str, seed: int, capabilities: Capability) -> None:
    faults = Faults()
    session, _ = connected(faults, capabilities=capabilities, max_payload=64)
    faults.to_device = lossy(seed, 0.003, FAULTS[fault])
    faults.to_host = lossy(seed + 100, 0.003, FAULTS[fault])
    assert run_images(session, IMAGES).tolist() == expected_rows()


def drop_first(count: int) -> Callable[[bytes], bytes]:
    left = [count]

    def mangle(data: bytes) -> bytes:
        left[0] -= 1
        return b"" if left[0] >= 0 else data

    return mangle


def test_a_lost_answer_is_repeated_and_not_executed_again() -> None:
    session, device = connected(capabilities=LOCK_STEP)
    session.upload(IMAGES[0].tobytes())
    device.faults.to_host = drop_first(2)
    session.run()
    assert device.executed.count(Command.RUN) == 1 or session.counters.resyncs == 1
    device.faults.to_host = drop_first(2)
    session.ping()
    assert device.executed.count(Command.PING) == 1
    assert session.counters.resent >= 2


def test_a_damaged_request_is_refused_and_sent_again() -> None:
    session, device = connected(capabilities=LOCK_STEP)
    flips = iter([True])
    device.faults.to_device = lambda data: data[:3] + bytes([data[3] ^ 4]) + data[4:] if next(flips, False) else data
    assert session.ping() == 1
    assert session.counters.naks == 1


def test_many_losses_end_in_a_fresh_greeting() -> None:
    session, device = connected(capabilities=LOCK_STEP)
    nonce = session.hello.nonce
    device.faults.to_host = drop_first(4)
    assert session.ping() == 0
    assert session.counters.resyncs == 1
    assert session.hello.nonce != nonce


def test_stale_answers_are_dropped() -> None:
    session, device = connected()
    ping = Frame(FrameType.RESPONSE, 200, Command.PING, 0, session.hello.nonce & 0xFFFF, bytes([9, 0, 0, 0]))
    device.say(encode_frame(ping) + b"boot text\r\n" + encode_frame(Frame(FrameType.RESPONSE, 2, 12, 0, 77, bytes(4))))
    assert session.ping() == 0
    assert session.counters.stale >= 2


@pytest.mark.parametrize("command", [Command.DATA, Command.RUN, Command.READ])
def test_a_restart_is_told_at_once(command: Command) -> None:
    session, device = connected(capabilities=LOCK_STEP)
    device.faults.restart_at = command
    before = device.clock()
    with pytest.raises(PicobnnError) as error:
        run_image(session, IMAGES[0].tobytes(), timeout_s=60.0)
    assert code_of(error) is ErrorId.DEVICE_FAULT
    assert "fault" in error.value.what
    assert device.clock() - before < 2.0
    assert run_images(session, IMAGES).tolist() == expected_rows()


@pytest.mark.parametrize("status", [Status.MODEL_FAULT, Status.ARENA_TOO_SMALL, Status.INTERNAL, Status.UNSUPPORTED])
def test_error_statuses_are_named(status: Status) -> None:
    session, _ = connected(Faults(status={Command.RUN: status}))
    with pytest.raises(PicobnnError, match=status.name) as error:
        run_image(session, IMAGES[0].tobytes())
    assert code_of(error) is (ErrorId.PROTOCOL if status is Status.UNSUPPORTED else ErrorId.DEVICE_FAULT)


def test_a_dead_port_gives_no_answer() -> None:
    device = FakeDevice(MODEL, faults=Faults(silent=True))
    with pytest.raises(PicobnnError) as error:
        make_session(device).connect()
    assert code_of(error) is ErrorId.NO_ANSWER
    assert device.clock() < 10.0


def test_a_port_that_talks_text_gives_no_answer() -> None:
    device = FakeDevice(MODEL, faults=Faults(silent=True))
    device.say(b">>> ")
    with pytest.raises(PicobnnError, match="4 bytes that are no frames") as error:
        make_session(device).connect()
    assert code_of(error) is ErrorId.NO_ANSWER


def test_a_link_that_damages_everything_is_called_noisy() -> None:
    device = FakeDevice(MODEL, faults=Faults(to_host=lambda data: data[:5] + b"\x01" + data[5:]))
    with pytest.raises(PicobnnError) as error:
        make_session(device).connect()
    assert code_of(error) is ErrorId.LINK_NOISY


def test_another_protocol_is_refused() -> None:
    device = FakeDevice(MODEL, major=2)
    with pytest.raises(PicobnnError, match="speaks protocol 2") as error:
        make_session(device).connect()
    assert code_of(error) is ErrorId.PROTOCOL


def test_another_model_is_refused() -> None:
    session, _ = connected()
    confirm_model(session, MODEL_HASH)
    confirm_model(session, None)
    with pytest.raises(PicobnnError) as error:
        confirm_model(session, bytes(32))
    assert code_of(error) is ErrorId.MODEL_MISMATCH
    with pytest.raises(PicobnnError) as error:
        confirm_firmware(session, bytes(range(20)), MODEL_HASH)
    assert code_of(error) is ErrorId.FLASH_VERIFY


def test_images_of_another_size_are_refused() -> None:
    session, _ = connected()
    with pytest.raises(PicobnnError, match="takes 64") as error:
        run_images(session, IMAGES[:, :4])
    assert code_of(error) is ErrorId.BAD_INPUT


def test_results_before_a_run_are_refused() -> None:
    session, _ = connected()
    with pytest.raises(PicobnnError, match="NOT_LOADED"):
        session.run()
    with pytest.raises(PicobnnError, match="NOT_LOADED"):
        session.read(TensorId.LOGITS, 16)


def test_equal_steps_have_no_difference() -> None:
    session, _ = connected()
    image = IMAGES[0].tobytes()
    assert find_difference(session, image, stub_steps(image)) is None
    assert session.stat().count == 1


@pytest.mark.parametrize(("step", "offset"), [(0, 132), (1, 5)])
def test_the_first_wrong_byte_is_found(step: int, offset: int) -> None:
    def wrong_steps(image: bytes) -> list[bytes]:
        outputs = [bytearray(output) for output in stub_steps(image)]
        outputs[step][offset] ^= 1
        return [bytes(output) for output in outputs]

    device = FakeDevice(FakeModel(IMAGE_BYTES, (256, 16), wrong_steps, MODEL_HASH), max_payload=64)
    session = make_session(device)
    image = IMAGES[0].tobytes()
    difference = find_difference(session, image, stub_steps(image))
    assert difference is not None
    assert (difference.step, difference.offset_bytes) == (step, offset)
    assert difference.expected[offset] ^ difference.actual[offset] == 1


def test_another_number_of_steps_is_another_model() -> None:
    session, _ = connected()
    image = IMAGES[0].tobytes()
    with pytest.raises(PicobnnError) as error:
        find_difference(session, image, stub_steps(image)[:1])
    assert code_of(error) is ErrorId.MODEL_MISMATCH


def test_waiting_for_the_start_sees_the_event() -> None:
    device = FakeDevice(MODEL)
    session = make_session(device)
    assert session.wait_for_start(1.0)
    assert not session.wait_for_start(1.0)
    assert device.clock() == 1.0
