# SPDX-License-Identifier: Apache-2.0
"""The chain of verbs over one run folder: ``run``, and ``demo``, which is ``run`` on the embedded default.

A step whose result file is there is not done again, unless it lies at or behind ``start``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picobnn.config import Config, parse_config
from picobnn.errors import ErrorId, PicobnnError
from picobnn.files import write_json
from picobnn.flow.image import golden_vectors, load_program, make_image
from picobnn.flow.profile import ProfileOutcome, profile_image
from picobnn.flow.progress import Say, silent
from picobnn.flow.report import Report, report
from picobnn.flow.run_directory import RunDirectory, write_config
from picobnn.flow.state import (
    export_is_done,
    forget_from_train,
    profile_is_done,
    prune_is_done,
    read_result,
    train_is_done,
    verify_is_done,
)
from picobnn.flow.steps import ChainStep
from picobnn.flow.vectors import read_vectors
from picobnn.flow.verify import request_of, verify

DEMO_BOARDS = ("microbit", "mps2-an385", "mps2-an386", "mps2-an505")  # Cortex-M0, M3, M4, M33


@dataclass(frozen=True, slots=True)
class ChainOutcome:
    """The steps that ran and those whose result was there."""

    run: str
    done: tuple[str, ...]
    kept: tuple[str, ...]
    report: Report | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "done": list(self.done),
            "kept": list(self.kept),
            "report": None if self.report is None else self.report.as_dict(),
        }


def run_chain(
    config: Config,
    run: RunDirectory,
    *,
    start: ChainStep | None = None,
    until: ChainStep = ChainStep.REPORT,
    say: Say = silent,
    show_progress: bool = False,
) -> ChainOutcome:
    """Run the steps up to ``until``; from ``start`` on they are done again. Raises what the steps raise, E_MISMATCH
    when executors differ, E_USAGE when ``until`` comes before ``start``."""
    write_config(run, config)
    order = list(ChainStep)
    if start is not None and order.index(until) < order.index(start):
        raise PicobnnError(
            ErrorId.USAGE, f"'{until.value}' comes before '{start.value}'.", where="--until", remedy="Swap them."
        )
    first_forced = len(order) if start is None else order.index(start)
    state = _State(config, run, say, show_progress)
    done, kept = [], []
    for index, step in enumerate(order[: order.index(until) + 1]):
        if index < first_forced and state.is_done(step):
            kept.append(step.value)
            continue
        began = time.perf_counter()
        if index == first_forced:
            state.restart(step)
        state.steps[step]()
        done.append(step.value)
        say(f"{step.value}: {time.perf_counter() - began:.1f} s")
    return ChainOutcome(str(run.path), tuple(done), tuple(kept), state.report)


class _State:
    """The steps bound to one run."""

    def __init__(self, config: Config, run: RunDirectory, say: Say, show_progress: bool) -> None:
        self.config = config
        self.run = run
        self.say = say
        self.show_progress = show_progress
        self.boards = config.verify.boards or (config.target.board,)
        self.report: Report | None = None
        self.steps: dict[ChainStep, Callable[[], None]] = {
            ChainStep.TRAIN: self._train,
            ChainStep.PRUNE: self._prune,
            ChainStep.EXPORT: self._export,
            ChainStep.BUILD: self._build,
            ChainStep.VERIFY: self._verify,
            ChainStep.PROFILE: self._profile,
            ChainStep.REPORT: self._report,
        }

    def is_done(self, step: ChainStep) -> bool:
        """Whether the step's result was made from what lies there now."""
        checks: dict[ChainStep, Callable[[], bool]] = {
            ChainStep.TRAIN: lambda: train_is_done(self.run),
            ChainStep.PRUNE: lambda: prune_is_done(self.run),
            ChainStep.EXPORT: lambda: export_is_done(self.run),
            ChainStep.VERIFY: lambda: verify_is_done(self.run, self.config, self.boards),
            ChainStep.PROFILE: lambda: profile_is_done(self.run, self.boards),
        }
        return step in checks and checks[step]()

    def restart(self, step: ChainStep) -> None:
        """Forget what a step that is done again would otherwise go on with."""
        if step is ChainStep.TRAIN:
            forget_from_train(self.run)

    def _train(self) -> None:
        from picobnn.flow.train import train

        result = train(self.config, self.run, show_progress=self.show_progress)
        self.say(f"dense network: test accuracy {result.test_accuracy:.4f}")

    def _prune(self) -> None:
        from picobnn.flow.prune import prune

        result = prune(self.config, self.run, show_progress=self.show_progress)
        self.say(f"pruned {result.filters_removed:.1%} of filters: test accuracy {result.test_accuracy:.4f}")
        failure = result.failure()
        if failure is not None:
            raise failure

    def _export(self) -> None:
        from picobnn.flow.export import export

        self.say(f"model hash {export(self.config, self.run).model_hash[:16]}")

    def _build(self) -> None:
        if not _can_build(self.say):
            return
        program, vectors = load_program(self.run.program), golden_vectors(self.run.golden)
        for board in self.boards:
            make_image(program, self.run.firmware(board), board, self.config, vectors)

    def _verify(self) -> None:
        result = verify(self.config, request_of(self.config), run=self.run, say=self.say)
        write_json(self.run.verify_result, result.as_dict())
        for name, why in result.skipped.items():
            self.say(f"{name} skipped: {why}")
        result.require_equal()

    def _profile(self) -> None:
        if _can_build(self.say, emulator=True):
            profile_boards(self.config, self.run.program, self.run.golden, self.boards, self.run, say=self.say)

    def _report(self) -> None:
        self.report = report(self.run)


@dataclass(frozen=True, slots=True)
class ProfilesOutcome:
    """The boards asked for."""

    profiles: tuple[ProfileOutcome, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"profiles": [profile.as_dict() for profile in self.profiles]}


def profile_boards(
    config: Config,
    program_path: Path,
    golden: Path,
    boards: Sequence[str],
    run: RunDirectory | None,
    *,
    say: Say = silent,
) -> ProfilesOutcome:
    """Profile a program on boards, one image each; with a run, images and results go into its folder.

    Raises E_FILE_MISSING without golden vectors, and what building and the emulator raise.
    """
    program, vectors = load_program(program_path), read_vectors(golden)
    profiles = []
    with tempfile.TemporaryDirectory(prefix="picobnn-profile-") as temporary:
        for board in boards:
            folder = Path(temporary) / board if run is None else run.firmware(board)
            image = make_image(program, folder, board, config, vectors)
            profile = profile_image(image, program, vectors.images[0])
            profiles.append(profile)
            say(f"{board}: {profile.instructions:,} instructions counted")
            if run is not None:
                write_json(run.profile(board), profile.as_dict())
    return ProfilesOutcome(tuple(profiles))


def _can_build(say: Say, *, emulator: bool = False) -> bool:
    from picobnn.toolchain import find_tool

    try:
        for tool in ("make", "arm-none-eabi-gcc", *(("qemu-system-arm",) if emulator else ())):
            find_tool(tool)
    except PicobnnError as error:
        say(f"firmware skipped: {error.what} {error.remedy}")
        return False
    return True


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """What ``demo --json`` prints. ``vectors`` and ``mismatches`` are per executor; the reference is compared with
    PyTorch, the others with the reference; the emulator's vectors ran on each of the boards. Sizes are of the
    configured board's image, ``cycles`` modelled per core (None where the tools are missing)."""

    run: str
    accuracy: dict[str, float]
    filters_removed: float
    vectors: dict[str, int]
    mismatches: dict[str, int]
    cycles: dict[str, int | None]
    flash_bytes: int | None
    ram_bytes: int | None
    skipped: dict[str, str]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        from dataclasses import asdict

        return asdict(self)


def demo_config(config: Config) -> Config:
    """The demo: the digits network with the boards of four cores, every held-out digit."""
    document = config.model_dump(mode="json", exclude_none=True)
    document["verify"] |= {"boards": list(config.verify.boards or DEMO_BOARDS), "vectors": 0}
    return parse_config(document, "demo")


def demo(config: Config, run: RunDirectory, *, say: Say = silent, show_progress: bool = False) -> DemoOutcome:
    """Train, prune, compile, compare, run and count the digits network. ``config`` comes from :func:`demo_config`."""
    from picobnn.codegen.targets import load_board

    began = time.perf_counter()
    run_chain(config, run, say=say, show_progress=show_progress)
    seconds = round(time.perf_counter() - began, 1)
    results = {path: read_result(path) or {} for path in (run.train_result, run.prune_result, run.verify_result)}
    train, prune, verified = results.values()
    profiles = {board: read_result(run.profile(board)) for board in config.verify.boards}
    target = profiles.get(config.target.board)
    by_executor = {result["executor"]: result for result in verified["results"]}
    emulated = [result for name, result in by_executor.items() if name.startswith("emulator")]
    counted = {"reference": by_executor.get("torch")} | {name: by_executor.get(name) for name in ("cython", "host")}
    vectors = {name: result["vectors"] for name, result in counted.items() if result is not None}
    mismatches = {name: result["mismatches"] for name, result in counted.items() if result is not None}
    if emulated:
        vectors["emulator"] = min(result["vectors"] for result in emulated)
        mismatches["emulator"] = sum(result["mismatches"] for result in emulated)
    return DemoOutcome(
        run=str(run.path),
        accuracy={"dense": train["test_accuracy"], "pruned": prune["test_accuracy"]},
        filters_removed=prune["filters_removed"],
        vectors=vectors,
        mismatches=mismatches,
        cycles={
            load_board(board).target.core: None if profile is None else profile["cycles"]
            for board, profile in profiles.items()
        },
        flash_bytes=None if target is None else target["build"]["flash_bytes"],
        ram_bytes=None if target is None else target["build"]["ram_bytes"],
        skipped=verified["skipped"],
        seconds=seconds,
    )
