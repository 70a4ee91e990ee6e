# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: the rooms of the house depend on each other in one direction only.

Bottom (``picobnn.errors`` and the other single modules of the front door, ``firmware_templates``) imports no room.
``codegen`` -> bottom. ``sim`` -> bottom and the grammars of ``codegen``. ``harness`` -> bottom, manifest, targets and
the emulator. ``trainer`` -> bottom; only its ``export`` meets ``codegen.ir``. ``flow`` -> everything, inside the
function that needs it. ``cli`` -> ``flow``. Nothing imports ``cli`` or ``tests``.
"""

from __future__ import annotations

import pytest

from tests.support.tree import FOLDERS, ROOMS, Import, imports_of, module_name, repository_files, text_of

BOTTOM = (
    "picobnn.__version__",
    "picobnn.errors",
    "picobnn.config",
    "picobnn.files",
    "picobnn.map_file",
    "picobnn.toolchain",
    "picobnn.firmware_templates",
)
# vocabulary holds the words (shapes, windows, enums) that the grammars ir.py and program.py are written in.
SIM_SEES = tuple(f"picobnn.codegen.{part}" for part in ("program", "plan", "pack", "manifest", "targets", "vocabulary"))
HARNESS_SEES = ("picobnn.codegen.manifest", "picobnn.codegen.targets", "picobnn.sim.qemu")
EXPORT_SEES = ("picobnn.codegen.ir", "picobnn.codegen.vocabulary")

# (package, what it may import of ours), the first match counts.
RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("picobnn.codegen", (*BOTTOM, "picobnn.codegen")),
    ("picobnn.sim", (*BOTTOM, "picobnn.sim", *SIM_SEES)),
    ("picobnn.harness", (*BOTTOM, "picobnn.harness", *HARNESS_SEES)),
    ("picobnn.trainer.export", (*BOTTOM, "picobnn.trainer", *EXPORT_SEES)),
    ("picobnn.trainer", (*BOTTOM, "picobnn.trainer")),
    ("picobnn.firmware_templates", ()),
    ("picobnn.flow", (*BOTTOM, "picobnn.flow", *(f"picobnn.{room}" for room in ROOMS))),
    ("picobnn.cli", (*BOTTOM, "picobnn.cli", "picobnn.flow")),
    ("picobnn.__main__", ("picobnn.cli",)),
    ("picobnn.errors", ()),
    ("picobnn.config", BOTTOM),
    ("picobnn.files", BOTTOM),
    ("picobnn.map_file", BOTTOM),
    ("picobnn.toolchain", BOTTOM),
    ("picobnn", (*BOTTOM, "picobnn.flow")),
)


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def violations(module: str, found: list[Import]) -> list[str]:
    """What is wrong with the imports of ``module``, one sentence each."""
    allowed = next(names for package, names in RULES if within(module, (package,)))
    wrong = []
    for each in found:
        said = f"{module}:{each.line} imports {each.module}"
        eager = not (each.lazy or each.typing_only)
        if each.level:
            wrong.append(f"{said} relatively")
        elif within(each.module, ("tests", *ROOMS)):
            wrong.append(f"{said}, which is no package of ours")
        elif within(each.module, ("picobnn",)):
            if not within(each.module, allowed):
                wrong.append(said)
            elif within(module, ("picobnn.flow",)) and eager and not within(each.module, (*BOTTOM, "picobnn.flow")):
                wrong.append(f"{said} outside the function that needs it")
        elif within(each.module, ("torch", "safetensors")) and not within(module, ("picobnn.trainer",)):
            if eager or not within(module, ("picobnn.flow",)):
                wrong.append(f"{said}: PyTorch is at home in trainer/")
        elif within(each.module, ("matplotlib",)) and eager:
            wrong.append(f"{said} outside a function")
    return wrong


def sources() -> list[str]:
    names = [name for name in repository_files() if name.endswith((".py", ".pyx", ".pxd"))]
    return [name for name in names if name.split("/")[0] in FOLDERS]


def test_every_import_follows_the_rules() -> None:
    wrong = [text for name in sources() for text in violations(module_name(name), imports_of(name, text_of(name)))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("picobnn.codegen.lower", "from picobnn.sim import reference"),
        ("picobnn.codegen.lower", "import picobnn.trainer"),
        ("picobnn.sim.executor", "from picobnn.codegen import emit"),
        ("picobnn.sim.executor", "from picobnn.codegen.lower import compile_graph"),
        ("picobnn.harness.session", "from picobnn.sim.executor import best_executor"),
        ("picobnn.trainer.fit", "from picobnn.codegen.ir import Graph"),
        ("picobnn.trainer.export.linear", "from picobnn.codegen.program import Program"),
        ("picobnn.flow.train", "from picobnn.trainer.fit import fit"),
        ("picobnn.flow.train", "def f():\n    from picobnn.cli import main"),
        ("picobnn.cli.train", "def f():\n    from picobnn.trainer.fit import fit"),
        ("picobnn.errors", "from picobnn.config import Config"),
        ("picobnn.firmware_templates", "from picobnn.errors import ErrorId"),
        ("picobnn.codegen.lower", "from .ir import Graph"),
        ("picobnn.codegen.lower", "from tests.support import tree"),
        ("picobnn.codegen.lower", "import sim.reference"),
        ("picobnn.codegen.lower", "def f():\n    import torch"),
        ("picobnn.flow.train", "import torch.nn"),
        ("picobnn.flow.report", "from matplotlib import pyplot"),
    ],
)
def test_a_broken_rule_is_found(module: str, statement: str) -> None:
    assert violations(module, imports_of("planted.py", statement))


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("picobnn.codegen.lower", "from picobnn.codegen.ir import Graph"),
        ("picobnn.codegen.emit", "from picobnn import __version__"),
        ("picobnn.sim.executor", "from picobnn.codegen.program import Program"),
        ("picobnn.harness.session", "from picobnn.sim.qemu import EmulatedBoard"),
        ("picobnn.trainer.export.linear", "from picobnn.codegen.ir import Graph"),
        ("picobnn.flow.train", "def f():\n    import torch\n    from picobnn.trainer.fit import fit"),
        ("picobnn.flow.train", "if TYPE_CHECKING:\n    from picobnn.trainer.fit import Result"),
        ("picobnn.cli.train", "from picobnn.cli.common import verb"),
    ],
)
def test_what_the_rules_allow_passes(module: str, statement: str) -> None:
    assert not violations(module, imports_of("planted.py", statement))


def test_cython_imports_are_seen() -> None:
    found = imports_of("sim/_x.pyx", "from libc.stdint cimport uint32_t\ncimport cython\nfrom .y import z\n")
    assert [(each.module, each.level) for each in found] == [("libc.stdint.uint32_t", 0), ("cython", 0), ("y.z", 1)]
    assert violations("picobnn.sim._x", found)
