# SPDX-License-Identifier: Apache-2.0
"""Which steps of a run are done, and with what: every result names what it was made from.

A step is done when its result says so of the very files that lie there now. Redoing a step removes what lies behind
it, so that figures of two networks never stand in one report.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from picobnn.config import Config, ExecutorName
from picobnn.errors import ErrorId, PicobnnError
from picobnn.files import read_bytes
from picobnn.flow.run_directory import RunDirectory


def digest(path: Path) -> str:
    """SHA-256 of a file, hex; empty when there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def read_result(path: Path) -> dict[str, Any] | None:
    """A result file of an earlier step, None when the step did not run. Raises E_DATA_FORMAT for a damaged one."""
    if not path.is_file():
        return None
    try:
        loaded = json.loads(read_bytes(path, remedy="Run the step again."))
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(loaded, dict):
        raise _damaged(path, "no JSON object")
    return loaded


def train_is_done(run: RunDirectory) -> bool:
    """The dense checkpoint is the one that ``train`` finished with."""
    result = read_result(run.train_result)
    return result is not None and result.get("checkpoint_sha256") == digest(run.dense_checkpoint) != ""


def prune_is_done(run: RunDirectory) -> bool:
    """The pruned checkpoint was made from this dense one, and met its goal if it had one."""
    result = read_result(run.prune_result)
    return (
        result is not None
        and (result.get("goal") or {}).get("met", True)
        and result.get("dense_sha256") == digest(run.dense_checkpoint)
        and result.get("checkpoint_sha256") == digest(run.pruned_checkpoint) != ""
    )


def export_is_done(run: RunDirectory) -> bool:
    """The program and its vectors were made from the checkpoint that would be exported now."""
    result = read_result(run.export_result)
    return (
        result is not None
        and result.get("checkpoint_sha256") == digest(run.network_checkpoint)
        and result.get("program_sha256") == digest(run.program) != ""
        and result.get("golden_sha256") == digest(run.golden) != ""
    )


def exported_hash(run: RunDirectory) -> str:
    """Model hash of the run's program, hex; empty before ``export``."""
    result = read_result(run.export_result)
    return "" if result is None else str(result.get("model_hash", ""))


def verify_is_done(run: RunDirectory, config: Config, boards: tuple[str, ...]) -> bool:
    """This program was found equal on every configured executor, board and vector."""
    result = read_result(run.verify_result)
    if result is None or result.get("model_hash") != exported_hash(run) or result.get("mismatches") != 0:
        return False
    compared = {entry["executor"]: entry["vectors"] for entry in result.get("results", ())}
    skipped = result.get("skipped", {})
    wanted = result.get("vectors", 0)
    if config.verify.vectors and wanted < config.verify.vectors:
        return False
    enough = {f"emulator:{board}": min(config.verify.emulator_vectors, wanted) for board in boards}
    needed: dict[str, int] = {}
    for name in config.verify.on:
        if name.value not in skipped and name is not ExecutorName.REFERENCE:
            needed |= enough if name is ExecutorName.EMULATOR else {name.value: wanted}
    return all(compared.get(executor, 0) >= count for executor, count in needed.items())


def profile_is_done(run: RunDirectory, boards: tuple[str, ...]) -> bool:
    """Every board has a profile of this program."""
    profiles = [read_result(run.profile(board)) for board in boards]
    return all(result is not None and result.get("model_hash") == exported_hash(run) != "" for result in profiles)


def forget_from_train(run: RunDirectory) -> None:
    """Remove the dense network and everything made from it."""
    forget_behind_train(run)
    for path in (run.dense_checkpoint, run.train_result, run.metrics):
        path.unlink(missing_ok=True)


def forget_behind_train(run: RunDirectory) -> None:
    """Remove what was made from the dense network."""
    forget_behind_prune(run)
    for path in (run.pruned_checkpoint, run.prune_result):
        path.unlink(missing_ok=True)


def forget_behind_prune(run: RunDirectory) -> None:
    """Remove the program and everything made from it; generated firmware stays and is checked by its manifest."""
    stale = (run.export_result, run.program, run.golden, run.analysis, run.verify_result, run.report_json)
    for path in (*stale, run.report_text, *run.path.glob("profile-*.json")):
        path.unlink(missing_ok=True)


def _damaged(path: Path, why: str) -> PicobnnError:
    return PicobnnError(
        ErrorId.DATA_FORMAT,
        f"not a result of picobnn ({why}).",
        where=str(path),
        remedy="Remove the file and run the step again.",
    )
