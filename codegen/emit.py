# SPDX-License-Identifier: Apache-2.0
"""Plan -> C sources, through the templates of ``firmware_templates``.

Invariant: equal plans and options give equal bytes (no date, path or user), and templates decide nothing: what they
see is a view of numbers, names and lists made by ``_views.py``. Called by the flow; the files go to ``manifest.py``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jinja2

from picobnn.codegen._views import GoldenVector, ModelView, SelfTestView, model_view, self_test_view
from picobnn.codegen.manifest import SourceFile
from picobnn.codegen.plan import Plan
from picobnn.codegen.runtime_code import COMMON_RUNTIME, TRANSPOSE_RUNTIME
from picobnn.codegen.strategies import Strategy, find_strategy
from picobnn.codegen.targets import find_core
from picobnn.codegen.templates import template_environment
from picobnn.errors import ErrorId, PicobnnError
from picobnn.firmware_templates import template_text

__all__ = ["GoldenVector", "SourceFile", "render_model", "write_sources"]


def render_model(
    plan: Plan, prefix: str, golden: GoldenVector | None = None, command: str = "picobnn generate"
) -> tuple[SourceFile, ...]:
    """All C sources of a model: ``<prefix>.h``, ``<prefix>.c``, the weights, and the runtime files that it needs.

    Args:
        plan: from ``make_plan``.
        prefix: C identifier in front of every symbol; upper case in macros.
        golden: the vector of the self test; without one there is no self test.
        command: how the user asked, for the provenance block; no paths.

    Raises:
        PicobnnError: ``USAGE`` for a bad prefix, ``BAD_INPUT`` for a vector of the wrong shape.
    """
    strategies = {planned.strategy: find_strategy(planned.strategy) for planned in plan.steps}
    layers = kernel_renderer(strategies)
    model = model_view(plan, prefix, layers, command, has_self_test=golden is not None)
    tests = [] if golden is None else [self_test_view(plan, golden)]
    generated = {
        f"{prefix}.h": _render("model/model.h.j2", model),
        f"{prefix}.c": "".join(
            (
                _render("model/model.c.j2", model),
                _render("model/access.c.j2", model),
                *(_render("model/self_test.c.j2", model, test) for test in tests),
            )
        ),
        f"{prefix}_weights.h": _render("model/weights.h.j2", model),
        f"{prefix}_weights.c": _render("model/weights.c.j2", model),
    }
    target = find_core(plan.core)
    runtime = [*COMMON_RUNTIME, *(name for strategy in strategies.values() for name in strategy.runtime_files(target))]
    if any(planned.transpose_bytes for planned in plan.steps):
        runtime += TRANSPOSE_RUNTIME
    return (
        *(SourceFile(path, text) for path, text in generated.items()),
        *(SourceFile(name, runtime_text(name)) for name in sorted(set(runtime))),
    )


def kernel_renderer(strategies: dict[str, Strategy]) -> dict[str, jinja2.Template]:
    """The kernel template of each strategy, by name."""
    return {name: template_environment().get_template(f"kernels/{name}.c.j2") for name in strategies}


def runtime_text(name: str) -> str:
    """One file of ``firmware_templates/runtime``."""
    return template_text(f"runtime/{name}")


def write_sources(sources: Sequence[SourceFile], folder: Path) -> None:
    """Write all files into ``folder``, all or none.

    Other files that lie in the folder stay, and so does the folder itself: it may be anyone's working directory.
    Raises FILE_UNWRITABLE; USAGE when two files would have one name.
    """
    _refuse_equal_names(sources, folder)
    try:
        target = folder.resolve()
        is_new = not target.exists()
        home = target.parent if is_new else target
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=home) as name:
            staged = Path(name) / "new"
            for source in sources:
                path = staged / source.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(source.text.encode("utf-8"))
            if is_new:
                staged.rename(target)
            else:
                _replace_files([source.path for source in sources], staged, Path(name) / "old", target)
    except OSError as error:
        raise PicobnnError(
            ErrorId.FILE_UNWRITABLE,
            f"the sources cannot be written ({error.strerror or error}).",
            where=str(folder),
            remedy="Check the folder's permissions and free space.",
        ) from None


def _refuse_equal_names(sources: Sequence[SourceFile], folder: Path) -> None:
    """Names that differ in case only count as equal: some file systems hold only one of the two."""
    seen: set[str] = set()
    for source in sources:
        if source.path.casefold() in seen:
            raise PicobnnError(
                ErrorId.USAGE,
                f"two of the files would be called {source.path}.",
                where=str(folder),
                remedy="Choose another --prefix.",
            )
        seen.add(source.path.casefold())


def _replace_files(names: Sequence[str], staged: Path, kept: Path, folder: Path) -> None:
    """Move every staged file over the one in ``folder``; when one cannot be moved, put the earlier ones back."""
    begun: list[str] = []
    try:
        for name in names:
            if (folder / name).exists():
                (kept / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(folder / name, kept / name)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            begun.append(name)
            os.replace(staged / name, folder / name)
    except BaseException:
        for name in begun:
            if (kept / name).exists():
                os.replace(kept / name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
        raise


def _render(template: str, model: ModelView, self_test: SelfTestView | None = None) -> str:
    return template_environment().get_template(template).render(model=model, self_test=self_test)
