# SPDX-License-Identifier: Apache-2.0
"""Generated C on the host: emitted sources compiled into a shared library and called over batches of images.

Invariant: what runs is the emitted text, byte for byte, under the warning flags that the project promises; the only
addition is ``hostc_driver.c``, which loops over images. Assembly is for other cores and is left out: the portable C of
the same kernel runs. A library serves one process, one call at a time.
"""

from __future__ import annotations

import ctypes
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from picobnn.codegen.manifest import SourceFile
from picobnn.codegen.pack import load_tensor
from picobnn.codegen.plan import Layout, Plan
from picobnn.codegen.vocabulary import Shape
from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.images import check_images
from picobnn.toolchain import find_tool, run_tool

COMPILER = "cc"
WARNING_FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
GUARD_BYTES = 64
STATUS_DAMAGED_GUARD = 100

StepOutput = npt.NDArray[np.uint8] | npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class HostModel:
    """One model of a library: its plan, and the sources that ``render_model(plan, prefix)`` gave."""

    plan: Plan
    sources: tuple[SourceFile, ...]
    prefix: str


def build_library(
    models: Sequence[HostModel], *, workdir: Path | None = None, sanitize: str | None = None, optimization: str = "-O2"
) -> tuple[HostExecutor, ...]:
    """Compile all models into one library, one executor each; files of the same name must be the same in all of them.

    Args:
        models: prefixes must differ.
        workdir: keeps sources and library there; without it a temporary folder, removed after loading.
        sanitize: for ``-fsanitize=``, e.g. ``undefined``; a finding ends the process.
        optimization: of the host compiler.

    Raises:
        PicobnnError: TOOL_MISSING without a C compiler; TOOL_FAILED with the compiler's words; USAGE when two models
            share a prefix.
    """
    find_tool(COMPILER)
    sources: dict[str, str] = {}
    for model in models:
        for source in model.sources:
            if sources.setdefault(source.path, source.text) != source.text:
                raise PicobnnError(
                    ErrorId.USAGE,
                    f"two models bring different files '{source.path}'.",
                    where="host library",
                    remedy="Give every model its own prefix.",
                )
    sources["hostc_driver.c"] = files("picobnn.sim").joinpath("hostc_driver.c").read_text(encoding="utf-8")
    if workdir is None:
        with tempfile.TemporaryDirectory(prefix="picobnn-hostc-") as folder:
            library = _compile(sources, Path(folder), sanitize, optimization)
    else:
        workdir.mkdir(parents=True, exist_ok=True)
        library = _compile(sources, workdir, sanitize, optimization)
    lock = threading.Lock()
    return tuple(HostExecutor(model, library, lock) for model in models)


def _compile(sources: dict[str, str], folder: Path, sanitize: str | None, optimization: str) -> ctypes.CDLL:
    for path, text in sources.items():
        (folder / path).write_text(text, encoding="utf-8")
    library = folder / "models.so"
    flags = [*WARNING_FLAGS, optimization, "-fPIC", "-shared", "-DPICOBNN_LAYER_HOOK", "-I."]
    if sanitize is not None:
        flags += [f"-fsanitize={sanitize}", "-fno-sanitize-recover=all", "-g"]
    names = sorted(path for path in sources if path.endswith(".c"))
    run_tool([COMPILER, *flags, *names, "-o", library.name], where="host C", cwd=folder)
    return ctypes.CDLL(str(library.resolve()))


class HostExecutor:
    """One model of a loaded library, behind the interface of this room's executors. Made by :func:`build_library`."""

    def __init__(self, model: HostModel, library: ctypes.CDLL, lock: threading.Lock) -> None:
        self.plan = model.plan
        self.program = model.plan.program
        self._lock = lock
        self._call = library.picobnn_host_run
        self._call.restype = ctypes.c_int
        self._functions = [
            ctypes.cast(getattr(library, f"{model.prefix}_{verb}"), ctypes.c_void_p)
            for verb in ("run", "input", "output")
        ]
        self._arena_bytes = model.plan.arena_bytes
        words = (self._arena_bytes + GUARD_BYTES) // 4
        self._arena = np.full(words, 0xA5A5A5A5, np.uint32)
        buffers = [model.plan.buffers[step.output] for step in self.program.steps]
        self._layouts = [(buffer.layout, buffer.size_bytes) for buffer in buffers]
        self._shapes = [self.program.tensors[step.output].shape for step in self.program.steps]

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
        """int32 (N, elements of the last output): logits, or bits as 0/1. Raises BAD_INPUT for a wrong batch."""
        layout, _ = self._layouts[-1]
        results, _ = self._run(check_images(self.program, images), traced=False)
        outputs = _unpack(results, self._shapes[-1], layout)
        return outputs.reshape(len(outputs), self._shapes[-1].elements).astype(np.int32)

    def run_steps(self, images: npt.NDArray[np.uint8]) -> list[StepOutput]:
        """Every step's output through the layer hook: uint8 0/1 or int32, (N, H, W, O)."""
        _, trace = self._run(check_images(self.program, images), traced=True)
        outputs, begin = [], 0
        for (layout, size), shape in zip(self._layouts, self._shapes, strict=True):
            outputs.append(_unpack(trace[:, begin : begin + size], shape, layout))
            begin += size
        return outputs

    def _run(
        self, images: npt.NDArray[np.uint8], *, traced: bool
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Bytes as stored: the results (N, bytes), and all steps' outputs (N, bytes) or nothing."""
        count = len(images)
        results = np.zeros((count, self._layouts[-1][1]), np.uint8)
        trace = np.zeros((count, sum(size for _, size in self._layouts) if traced else 0), np.uint8)
        with self._lock:
            status = self._call(
                *self._functions,
                _pointer(self._arena),
                ctypes.c_size_t(self._arena_bytes),
                ctypes.c_size_t(GUARD_BYTES),
                _pointer(images),
                ctypes.c_size_t(self.program.input.shape.elements),
                ctypes.c_size_t(count),
                _pointer(results),
                ctypes.c_size_t(results.shape[1]),
                _pointer(trace) if traced else None,
            )
        if status != 0:
            damaged = status == STATUS_DAMAGED_GUARD
            raise PicobnnError(
                ErrorId.PLAN_INVALID,
                "the model wrote behind its arena." if damaged else f"the model returned status {status}.",
                where=self.program.name,
                remedy="Report this: the plan or a kernel is wrong.",
            )
        return results, trace


def _pointer(array: npt.NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _unpack(rows: npt.NDArray[np.uint8], shape: Shape, layout: Layout) -> StepOutput:
    """Stored tensors (N, bytes) -> (N, H, W, C); but for planes, N maps are stored like one map N times as high."""
    if not len(rows):
        nothing = np.zeros((0, shape.height, shape.width, shape.channels), np.uint8)
        return nothing.astype(np.int32) if layout is Layout.HWC_INT32 else nothing
    if layout is Layout.PIXEL_PLANES:
        return np.stack([load_tensor(row.tobytes(), shape, layout).astype(np.uint8) for row in rows])
    tall = Shape(len(rows) * shape.height, shape.width, shape.channels)
    values = load_tensor(np.ascontiguousarray(rows).tobytes(), tall, layout)
    values = values.reshape(len(rows), shape.height, shape.width, shape.channels)
    return values.astype(np.int32) if layout is Layout.HWC_INT32 else values.astype(np.uint8)
