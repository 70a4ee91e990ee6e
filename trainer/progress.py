# SPDX-License-Identifier: Apache-2.0
"""Shows a running fit on stderr: a bar on a terminal, one plain line per epoch elsewhere. Called by fit."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class ProgressView(Protocol):
    """What fit tells while it runs."""

    def step(self) -> None:
        """One optimizer step is done."""

    def epoch(self, line: str) -> None:
        """An epoch is done; ``line`` says how it went."""


class _Lines:
    def __init__(self, show: bool) -> None:
        self._show = show

    def step(self) -> None:
        return None

    def epoch(self, line: str) -> None:
        if self._show:
            print(line, file=sys.stderr, flush=True)


class _Bar(AbstractContextManager["_Bar"]):
    def __init__(self, total_steps: int, done: int, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("training", total=total_steps, completed=done)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self) -> None:
        self._progress.advance(self._task)

    def epoch(self, line: str) -> None:
        self._progress.console.print(line, highlight=False)


def progress_view(show: bool, total_steps: int, done: int = 0) -> AbstractContextManager[ProgressView]:
    """The view for this process: silent unless ``show``, a bar when stderr is a terminal, lines otherwise."""
    console = Console(stderr=True)
    if show and console.is_terminal:
        return _Bar(total_steps, done, console)
    return nullcontext(_Lines(show))
