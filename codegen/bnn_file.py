# SPDX-License-Identifier: Apache-2.0
"""The `.bnn` file: one integer program as bytes. Byte by byte in docs/bnn-format.md.

Invariant: the same program gives the same bytes, and reading accepts exactly what writing makes; a damaged file ends
in a PicobnnError, never in a partly loaded program. Called by every verb that stores or loads a model.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from picobnn.codegen.bnn_header import (
    COMMON_STEP_KEYS,
    KEPT,
    STEP_KEYS,
    EpilogueKind,
    HeaderReader,
    Op,
    Record,
    canonical_json,
    header_record,
)
from picobnn.codegen.pack import pack_bits, unpack_bits
from picobnn.codegen.program import (
    BinaryConv2dStep,
    BinaryDenseStep,
    Density,
    InputConv2dStep,
    Program,
    Step,
    Tensor,
    verify_program,
)
from picobnn.codegen.vocabulary import BitArray, Epilogue, Int32Array, PadMode, Pool, PoolStage, Scale, Threshold
from picobnn.errors import ErrorId, PicobnnError
from picobnn.files import read_bytes, write_bytes

MAGIC = b"PBNN"
VERSION = 1
PREFIX = struct.Struct("<4sHI")  # magic, version, header bytes
TRAILER_BYTES = 32
ALIGNMENT = 8
MAX_FILE_BYTES = 64 * 2**20
"""Far above what a microcontroller holds: a bigger file is refused before anything of it is kept."""


def program_to_bytes(program: Program) -> bytes:
    """The whole file. Raises what :func:`verify_program` raises."""
    verify_program(program)
    body = _body(program, named=True)
    return body + hashlib.sha256(body).digest()


def program_from_bytes(data: bytes, where: str) -> Program:
    """The verified program of a whole file; ``where`` names it in errors.

    Raises:
        PicobnnError: BNN_FORMAT, BNN_VERSION or BNN_CHECKSUM for a file that is not as written; PROGRAM_INVALID for a
            well-formed file whose program breaks a rule.
    """
    reader = HeaderReader(where)
    if len(data) < PREFIX.size + TRAILER_BYTES or data[:4] != MAGIC:
        reader.fail(f"this is not a .bnn file: {len(data)} bytes that begin with {data[:4]!r}.")
    _, version, header_bytes = PREFIX.unpack_from(data)
    if version != VERSION:
        raise PicobnnError(
            ErrorId.BNN_VERSION,
            f"the file has format version {version}, this picobnn reads version {VERSION}.",
            where=where,
            remedy="Export the model again with this picobnn, or read the file with the one that wrote it.",
        )
    body = data[:-TRAILER_BYTES]
    if hashlib.sha256(body).digest() != data[-TRAILER_BYTES:]:
        raise PicobnnError(
            ErrorId.BNN_CHECKSUM,
            "the checksum is wrong: the file is damaged or cut off.",
            where=where,
            remedy="Copy the file again, or export the model again.",
        )
    if header_bytes > len(body) - PREFIX.size:
        reader.fail(f"the header claims {header_bytes} of {len(body) - PREFIX.size} bytes.")
    header = reader.parse(body[PREFIX.size : PREFIX.size + header_bytes])
    program = _read_program(reader, header, _Blobs(reader, body, PREFIX.size + header_bytes))
    try:
        verify_program(program)
    except PicobnnError as error:
        raise PicobnnError(
            error.error_id, error.what, where=f"{where}: {error.where}", remedy="Export the model again."
        ) from None
    return program


def write_bnn(program: Program, path: Path) -> None:
    """Write the file whole or not at all. Raises FILE_UNWRITABLE, BNN_FORMAT for one that nobody would read, and what
    :func:`verify_program` raises."""
    data = program_to_bytes(program)
    _refuse_size(len(data), str(path), "Make the network smaller.")
    write_bytes(path, data)


def read_bnn(path: Path) -> Program:
    """Load a file. Raises FILE_MISSING and what :func:`program_from_bytes` raises."""
    remedy = "Name a model.bnn that picobnn export wrote."
    if path.is_file():
        _refuse_size(path.stat().st_size, str(path), remedy)
    data = read_bytes(path, remedy="Make it with: picobnn export", at_most=MAX_FILE_BYTES + 1)
    _refuse_size(len(data), str(path), remedy)
    return program_from_bytes(data, str(path))


def _refuse_size(size_bytes: int, where: str, remedy: str) -> None:
    if size_bytes > MAX_FILE_BYTES:
        raise PicobnnError(
            ErrorId.BNN_FORMAT,
            f"a .bnn file has at most {MAX_FILE_BYTES:,} bytes, this one has {size_bytes:,} or more.",
            where=where,
            remedy=remedy,
        )


def model_hash(program: Program) -> bytes:
    """SHA-256 (32 bytes) of the file's bytes in front of the trailer, with all names, sources and the statistics left
    out of the header. Firmware and program are the same model when these agree."""
    return hashlib.sha256(_body(program, named=False)).digest()


def _body(program: Program, *, named: bool) -> bytes:
    header = canonical_json(header_record(program, named=named))
    body = bytearray(PREFIX.pack(MAGIC, VERSION, len(header)) + header)
    for step in program.steps:
        kept = None if isinstance(step, InputConv2dStep) else step.kept
        masks = [] if kept is None else [pack_bits(kept)]
        for blob in (pack_bits(step.weights), *masks, *_epilogue_blobs(step.epilogue)):
            body += bytes(-len(body) % ALIGNMENT) + blob
    body += bytes(-len(body) % ALIGNMENT)
    return bytes(body)


def _epilogue_blobs(epilogue: Epilogue) -> tuple[bytes, bytes]:
    if isinstance(epilogue, Scale):
        return epilogue.multiplier.astype("<i4").tobytes(), epilogue.bias.astype("<i4").tobytes()
    return epilogue.thresholds.astype("<i4").tobytes(), pack_bits(epilogue.flip)


@dataclass(slots=True)
class _Blobs:
    """Hands out the arrays behind the header in file order; every byte must be claimed, padding must be 0."""

    reader: HeaderReader
    body: bytes
    position: int

    def bits(self, extent: tuple[int, ...], label: str) -> BitArray:
        count = 1
        for side in extent:
            count *= side
        data = self._take((count + 7) // 8, label)
        if count % 8 and data[-1] >> count % 8:
            self.reader.fail(f"the padding bits of {label} are not 0.")
        return unpack_bits(data, extent)

    def int32(self, count: int, label: str) -> Int32Array:
        return np.frombuffer(self._take(4 * count, label), "<i4").astype(np.int32)

    def finish(self) -> None:
        self._align("the end")
        if self.position != len(self.body):
            self.reader.fail(f"{len(self.body) - self.position} bytes behind the last tensor.")

    def _take(self, size: int, label: str) -> bytes:
        self._align(label)
        if size > len(self.body) - self.position:
            self.reader.fail(f"{label} need {size} bytes, {max(0, len(self.body) - self.position)} are left.")
        self.position += size
        return self.body[self.position - size : self.position]

    def _align(self, label: str) -> None:
        end = self.position + -self.position % ALIGNMENT
        if end > len(self.body) or any(self.body[self.position : end]):
            self.reader.fail(f"the padding in front of {label} is missing or not 0.")
        self.position = end


def _read_program(reader: HeaderReader, header: Record, blobs: _Blobs) -> Program:
    reader.record(header, "header", {"input_zero_point", "name", "statistics", "steps", "tensors"})
    tensors = []
    for label, record in reader.records(header["tensors"], "tensors"):
        reader.record(record, label, {"kind", "name", "shape"})
        name, shape = reader.text(record["name"], f"{label}.name"), reader.shape(record["shape"], f"{label}.shape")
        tensors.append(Tensor(name, shape, reader.kind(record["kind"], f"{label}.kind")))
    statistics = []
    for label, record in reader.records(header["statistics"], "statistics"):
        reader.record(record, label, {"ones", "tensor", "total"})
        tensor, ones, total = (reader.integer(record[key], f"{label}.{key}") for key in ("tensor", "ones", "total"))
        statistics.append(Density(tensor, ones, total))
    steps = [_read_step(reader, record, label, blobs) for label, record in reader.records(header["steps"], "steps")]
    blobs.finish()
    return Program(
        reader.text(header["name"], "name"),
        reader.integer(header["input_zero_point"], "input_zero_point"),
        tuple(tensors),
        tuple(steps),
        tuple(statistics),
    )


def _read_step(reader: HeaderReader, record: Record, label: str, blobs: _Blobs) -> Step:
    op = reader.choice(record.get("op"), f"{label}.op", Op)
    has_kept = op is not Op.INPUT_CONV2D and KEPT in record
    reader.record(record, label, COMMON_STEP_KEYS | STEP_KEYS[op] | ({KEPT} if has_kept else set()))
    if has_kept and record[KEPT] is not True:
        reader.fail(f"{label}.{KEPT} is not true.")
    name, source = (reader.text(record[key], f"{label}.{key}") for key in ("name", "source"))
    reads, writes = (reader.integer(record[key], f"{label}.{key}") for key in ("input", "output"))
    extent = reader.extent(record["weights"], f"{label}.weights", 4)
    weights = blobs.bits(extent, f"{label}.weights")
    kept = blobs.bits(extent, f"{label}.{KEPT}") if has_kept else None
    epilogue = _read_epilogue(reader, record, label, blobs, len(weights))
    if op is Op.BINARY_DENSE:
        domain = reader.domain(record["domain"], f"{label}.domain")
        return BinaryDenseStep(name, source, reads, writes, weights, epilogue, domain, kept)
    window = reader.window(record["window"], f"{label}.window")
    pool = None
    if record["pool"] is not None:
        parts = reader.record(record["pool"], f"{label}.pool", {"stage", "window"})
        stage = reader.choice(parts["stage"], f"{label}.pool.stage", PoolStage)
        pool = Pool(reader.window(parts["window"], f"{label}.pool.window"), stage)
    if op is Op.INPUT_CONV2D:
        return InputConv2dStep(name, source, reads, writes, weights, window, pool, epilogue)
    pad_mode = reader.choice(record["pad_mode"], f"{label}.pad_mode", PadMode)
    domain = reader.domain(record["domain"], f"{label}.domain")
    groups = reader.integer(record["groups"], f"{label}.groups")
    return BinaryConv2dStep(
        name, source, reads, writes, weights, window, pad_mode, pool, epilogue, domain, groups, kept
    )


def _read_epilogue(reader: HeaderReader, record: Record, label: str, blobs: _Blobs, outputs: int) -> Epilogue:
    if reader.choice(record["epilogue"], f"{label}.epilogue", EpilogueKind) is EpilogueKind.SCALE:
        return Scale(blobs.int32(outputs, f"{label}.multiplier"), blobs.int32(outputs, f"{label}.bias"))
    thresholds = blobs.int32(outputs, f"{label}.thresholds")
    return Threshold(thresholds, blobs.bits((outputs,), f"{label}.flip"))
