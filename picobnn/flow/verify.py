# SPDX-License-Identifier: Apache-2.0
"""The equality chain: run executors on the same images and compare every step's output with the reference.

The reference (``sim.reference``) is the definition of the integer program; every other executor is compared with it,
value by value. "equal on N vectors" is all that is claimed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from picobnn.config import Config, ExecutorName
from picobnn.errors import ErrorId, PicobnnError
from picobnn.flow.compare import ExecutorResult, StepOutputs, compare_steps
from picobnn.flow.extras import has_train
from picobnn.flow.image import (
    MANIFEST,
    build,
    find_program,
    golden_vectors,
    load_program,
    make_image,
    make_plan_for,
    prefix_of,
)
from picobnn.flow.progress import Say, silent
from picobnn.flow.run_directory import RunDirectory
from picobnn.flow.train import load_data

if TYPE_CHECKING:
    from picobnn.codegen.program import Program

CHUNK_IMAGES = 500  # bounds the memory for the outputs of all steps
RunSteps = Callable[[npt.NDArray[np.uint8]], StepOutputs]


@dataclass(frozen=True, slots=True)
class VerifyOutcome:
    """``vectors`` images were offered; each result says how many its executor ran. ``accuracy`` is the reference's,
    a fraction, None without labels. ``skipped`` says why an executor did not run."""

    program: str
    model_hash: str
    vectors: int
    accuracy: float | None
    results: tuple[ExecutorResult, ...]
    skipped: dict[str, str]

    @property
    def mismatches(self) -> int:
        return sum(result.mismatches for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "mismatches": self.mismatches}

    def failure(self) -> PicobnnError | None:
        """E_MISMATCH naming the first difference; E_TOOL_MISSING or E_USAGE when nothing was compared at all."""
        for result in self.results:
            if result.first is not None:
                return PicobnnError(
                    ErrorId.MISMATCH,
                    f"{result.mismatches} of {result.vectors} images differ; first: {result.first}.",
                    where=result.executor,
                    remedy="Export and build again; if it stays, report it with model.bnn: executors must be equal.",
                )
        if not self.results and self.skipped:
            whys = "; ".join(f"{name}: {why}" for name, why in self.skipped.items())
            return PicobnnError(
                ErrorId.TOOL_MISSING,
                f"nothing was compared ({whys}).",
                where="verify",
                remedy="Run 'picobnn doctor'; it says what is missing.",
            )
        if not self.results:
            return PicobnnError(
                ErrorId.USAGE,
                "nothing was compared: the reference is what others are compared with.",
                where="verify",
                remedy="Name another executor with --on, for example host.",
            )
        return None

    def require_equal(self) -> None:
        """Raise :meth:`failure`, if there is one."""
        failure = self.failure()
        if failure is not None:
            raise failure


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What to compare. ``explicit``: executors were named, so one that cannot run is an error, not a skip.
    ``firmware``: an existing project folder instead of one generated here (one board only). ``port``: pyserial URL of
    the ``device`` executor."""

    executors: tuple[ExecutorName, ...]
    boards: tuple[str, ...]
    vectors: int
    emulator_vectors: int
    explicit: bool
    firmware: Path | None = None
    port: str | None = None


def request_of(config: Config, on: Sequence[str] = (), boards: Sequence[str] = ()) -> VerifyRequest:
    """The configured request, with executors and boards from the command line. Raises E_CONFIG_VALUE."""
    known = {name.value: name for name in ExecutorName}
    for name in on:
        if name not in known:
            raise PicobnnError(
                ErrorId.CONFIG_VALUE,
                f"there is no executor '{name}'.",
                where="--on",
                remedy=f"Choose from: {', '.join(known)}.",
            )
    return VerifyRequest(
        executors=tuple(known[name] for name in on) or config.verify.on,
        boards=tuple(boards) or config.verify.boards or (config.target.board,),
        vectors=config.verify.vectors,
        emulator_vectors=config.verify.emulator_vectors,
        explicit=bool(on),
    )


def verify(
    config: Config,
    request: VerifyRequest,
    *,
    run: RunDirectory | None = None,
    model: Path | None = None,
    say: Say = silent,
) -> VerifyOutcome:
    """Compare along the chain for the program of ``run`` or the file ``model``.

    Raises E_FILE_MISSING, E_BNN_*, E_DATA_FORMAT, and what an explicitly asked executor lacks. Differences are in the
    outcome; ``require_equal`` turns them into an error.
    """
    from picobnn.codegen.bnn_file import model_hash
    from picobnn.sim.reference import run_program

    program_path, golden_path = find_program(run, model)
    program = load_program(program_path)
    images, labels = _images(config, request, run, golden_path)
    executors, skipped = _executors(config, request, program, run)
    results: dict[str, ExecutorResult] = {}
    hits = 0
    emulated: list[StepOutputs] = []
    for start in range(0, len(images), CHUNK_IMAGES):
        chunk = images[start : start + CHUNK_IMAGES]
        expected = run_program(program, chunk)
        hits += _hits(expected[-1], labels[start : start + CHUNK_IMAGES])
        if start < request.emulator_vectors:
            emulated.append(expected)
        for name, run_steps in executors.items():
            began = time.perf_counter()
            got = run_steps(chunk)
            seconds = time.perf_counter() - began
            result = compare_steps(name, program, expected, got, first_image=start, seconds=seconds)
            results[name] = results[name].merged(result) if name in results else result
        say(f"compared {min(start + CHUNK_IMAGES, len(images)):,} of {len(images):,} images: {', '.join(results)}")
    firmware: list[Callable[[npt.NDArray[np.uint8], StepOutputs], ExecutorResult]] = []
    if ExecutorName.EMULATOR in request.executors and ExecutorName.EMULATOR.value not in skipped:
        firmware += [partial(_on_emulator, config, request, program, golden_path, run, name) for name in request.boards]
    if ExecutorName.DEVICE in request.executors:
        firmware.append(partial(_on_device, request, program))
    count = min(request.emulator_vectors, len(images))
    for compare in firmware:
        result = compare(images[:count], [np.concatenate(parts)[:count] for parts in zip(*emulated, strict=True)])
        results[result.executor] = result
        say(f"{result.executor}: {result.vectors} images, {result.mismatches} different, {result.seconds:.1f} s")
    return VerifyOutcome(
        program=str(program_path),
        model_hash=model_hash(program).hex(),
        vectors=len(images),
        accuracy=hits / len(images) if (labels >= 0).all() else None,
        results=tuple(results.values()),
        skipped=skipped,
    )


def _images(
    config: Config, request: VerifyRequest, run: RunDirectory | None, golden: Path
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The held-out images of the data set for a run, the golden vectors for a stored model."""
    if run is not None and has_train():
        test = load_data(config).test
        images, labels = test.images, test.labels
    else:
        vectors = golden_vectors(golden)
        if vectors is None:
            raise PicobnnError(
                ErrorId.FILE_MISSING,
                "there are no vectors to compare on.",
                where=str(golden),
                remedy="Put golden.npz beside the model; 'picobnn export' writes both.",
            )
        images, labels = vectors.images, vectors.labels
    count = request.vectors or len(images)
    return images[:count], labels[:count]


def _executors(
    config: Config, request: VerifyRequest, program: Program, run: RunDirectory | None
) -> tuple[dict[str, RunSteps], dict[str, str]]:
    """What runs on this machine, by name, and why the rest does not."""
    makers: dict[ExecutorName, Callable[[], RunSteps]] = {
        ExecutorName.TORCH: lambda: _torch_executor(program, run),
        ExecutorName.CYTHON: lambda: _cython_executor(program),
        ExecutorName.HOST: lambda: _host_executor(config, request, program),
    }
    executors: dict[str, RunSteps] = {}
    skipped: dict[str, str] = {}
    for name in request.executors:
        try:
            if name in makers:
                executors[name.value] = makers[name]()
            elif name is ExecutorName.EMULATOR:
                _require_emulator()
        except PicobnnError as error:
            absent = error.error_id in (ErrorId.EXTRA_MISSING, ErrorId.TOOL_MISSING, ErrorId.FILE_MISSING)
            if request.explicit or not absent:
                raise
            skipped[name.value] = f"{error.what} {error.remedy}"
    return executors, skipped


def _torch_executor(program: Program, run: RunDirectory | None) -> RunSteps:
    from picobnn.flow.export import load_network
    from picobnn.flow.extras import require_train

    require_train("verify")
    if run is None:
        raise PicobnnError(
            ErrorId.FILE_MISSING,
            "a stored model has no checkpoint.",
            where="torch executor",
            remedy="Verify a run folder to include PyTorch.",
        )
    network = load_network(run.network_checkpoint)
    sources = [step.source for step in program.steps]

    def run_steps(images: npt.NDArray[np.uint8]) -> StepOutputs:
        from picobnn.trainer.export import module_outputs

        outputs = module_outputs(network, images, sources)
        return [outputs[source] for source in sources]

    return run_steps


def _cython_executor(program: Program) -> RunSteps:
    from picobnn.sim.executor import CythonExecutor

    return CythonExecutor(program).run_steps


def _host_executor(config: Config, request: VerifyRequest, program: Program) -> RunSteps:
    from picobnn.codegen.emit import render_model
    from picobnn.codegen.targets import load_board
    from picobnn.sim.hostc import HostModel, build_library

    plan = make_plan_for(program, load_board(request.boards[0]).target, config)
    prefix = prefix_of(program, config)
    (executor,) = build_library([HostModel(plan, render_model(plan, prefix), prefix)])
    return executor.run_steps


def _require_emulator() -> None:
    from picobnn.toolchain import find_tool

    for tool in ("make", "arm-none-eabi-gcc", "qemu-system-arm"):
        find_tool(tool)


def _on_emulator(
    config: Config,
    request: VerifyRequest,
    program: Program,
    golden: Path,
    run: RunDirectory | None,
    board: str,
    images: npt.NDArray[np.uint8],
    expected: StepOutputs,
) -> ExecutorResult:
    import tempfile

    from picobnn.flow.emulator import compare_on_emulator

    if request.firmware is not None:
        if not (request.firmware / MANIFEST).is_file():
            raise PicobnnError(
                ErrorId.FILE_MISSING,
                "this is no generated project.",
                where=str(request.firmware),
                remedy="Run 'picobnn generate' first.",
            )
        return compare_on_emulator(build(request.firmware), program, images, expected)
    vectors = golden_vectors(golden)
    if run is not None:
        image = make_image(program, run.firmware(board), board, config, vectors)
        return compare_on_emulator(image, program, images, expected)
    with tempfile.TemporaryDirectory(prefix="picobnn-verify-") as folder:
        image = make_image(program, Path(folder) / board, board, config, vectors)
        return compare_on_emulator(image, program, images, expected)


def _on_device(
    request: VerifyRequest, program: Program, images: npt.NDArray[np.uint8], expected: StepOutputs
) -> ExecutorResult:
    from picobnn.flow.emulator import compare_on_device

    if request.port is None:
        raise PicobnnError(
            ErrorId.USAGE, "the device executor needs a port.", where="verify --on device", remedy="Give --port URL."
        )
    return compare_on_device(request.port, program, images, expected)


def _hits(logits: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> int:
    """Images whose largest logit is the label's; argmax takes the lower index at ties."""
    return int((logits.reshape(len(labels), -1).argmax(axis=1) == labels).sum())
