# SPDX-License-Identifier: Apache-2.0
"""Where a run's artefacts lie: ``runs/<model>/<time>/`` and the names inside it.

The only place that knows these names; every verb finds its input and puts its output through :class:`RunDirectory`.
"""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picobnn import __version__
from picobnn.config import Config, config_toml, load_config
from picobnn.errors import ErrorId, PicobnnError
from picobnn.files import write_json, write_text

RUNS = Path("runs")
_HARMLESS = frozenset({"train.threads", "train.device", "data.root"})  # they do not change what is computed


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One run. The properties are paths; whether a file exists says whether its step is done."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "picobnn.toml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def dense_checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def train_result(self) -> Path:
        return self.path / "train.json"

    @property
    def pruned_checkpoint(self) -> Path:
        return self.path / "pruned.safetensors"

    @property
    def prune_result(self) -> Path:
        return self.path / "prune.json"

    @property
    def export_result(self) -> Path:
        return self.path / "export.json"

    @property
    def program(self) -> Path:
        return self.path / "model.bnn"

    @property
    def golden(self) -> Path:
        return self.path / "golden.npz"

    @property
    def analysis(self) -> Path:
        return self.path / "analysis.json"

    @property
    def verify_result(self) -> Path:
        return self.path / "verify.json"

    @property
    def report_json(self) -> Path:
        return self.path / "report.json"

    @property
    def report_text(self) -> Path:
        return self.path / "report.txt"

    def firmware(self, board: str) -> Path:
        """Generated sources for ``board``; ``make`` builds into its ``build/``."""
        return self.path / "firmware" / board

    def profile(self, board: str) -> Path:
        return self.path / f"profile-{board}.json"

    @property
    def has_network(self) -> bool:
        """Whether anything was made here yet."""
        return any(path.is_file() for path in (self.dense_checkpoint, self.pruned_checkpoint, self.program))

    @property
    def network_checkpoint(self) -> Path:
        """The checkpoint that ``export`` takes: the pruned one when there is one. Raises E_FILE_MISSING."""
        for candidate in (self.pruned_checkpoint, self.dense_checkpoint):
            if candidate.is_file():
                return candidate
        raise PicobnnError(
            ErrorId.FILE_MISSING,
            "the run has no checkpoint.",
            where=str(self.path),
            remedy="Run 'picobnn train' first.",
        )

    def require(self, path: Path, verb: str) -> Path:
        """``path`` if it exists, else E_FILE_MISSING naming the verb that makes it."""
        if path.exists():
            return path
        raise PicobnnError(
            ErrorId.FILE_MISSING, "the run has no such file.", where=str(path), remedy=f"Run 'picobnn {verb}' first."
        )


def create_run(config: Config, root: Path = RUNS, path: Path | None = None) -> RunDirectory:
    """Make the folder (``path``, or a new one under ``root/<model>``), and write the resolved configuration and the
    environment into it."""
    if path is None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        path = root / config.model.name / stamp
        attempt = 1
        while path.exists():
            attempt += 1
            path = root / config.model.name / f"{stamp}-{attempt}"
    run = RunDirectory(path)
    write_text(run.config, config_toml(config))
    write_json(run.environment, _environment())
    return run


def open_run(config: Config, path: Path | None, root: Path = RUNS) -> RunDirectory:
    """The run folder ``path``, made if it is not there, or a new one."""
    return RunDirectory(path) if path is not None and path.is_dir() else create_run(config, root, path)


def find_run(config: Config, path: Path | None = None, root: Path = RUNS) -> RunDirectory:
    """``path``, or the newest run of the configured model. Raises E_FILE_MISSING."""
    if path is None:
        folder = root / config.model.name
        candidates = [run.path for run in map(RunDirectory, sorted(folder.glob("*"))) if run.has_network]
        if not candidates:
            raise PicobnnError(
                ErrorId.FILE_MISSING,
                f"there is no run of '{config.model.name}'.",
                where=str(folder),
                remedy="Run 'picobnn train' first, or name a run folder with --run.",
            )
        path = candidates[-1]
    if not path.is_dir():
        raise PicobnnError(
            ErrorId.FILE_MISSING, "there is no such run folder.", where=str(path), remedy="Name a folder under runs/."
        )
    return RunDirectory(path)


def write_config(run: RunDirectory, config: Config) -> None:
    """Store ``config`` as the run's own. Raises E_CONFIG_VALUE when it contradicts the network that the run holds."""
    if run.config.is_file() and run.has_network:
        stored = load_config(run.config)
        for section in ("model", "data", "train"):
            old, new = getattr(stored, section).model_dump(), getattr(config, section).model_dump()
            for key in old:
                if old[key] != new[key] and f"{section}.{key}" not in _HARMLESS:
                    raise PicobnnError(
                        ErrorId.CONFIG_VALUE,
                        f"{section}.{key} is {new[key]!r}, the run's network was made with {old[key]!r}.",
                        where=str(run.path),
                        remedy="Start a new run with 'picobnn train', or leave the key as it was.",
                    )
    write_text(run.config, config_toml(config))


def _environment() -> dict[str, Any]:
    return {
        "picobnn": __version__,
        "python": sys.version.split()[0],
        "machine": platform.machine(),
        "system": platform.system(),
    }
