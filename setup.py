# SPDX-License-Identifier: Apache-2.0
"""Build recipe: only what pyproject.toml cannot say (which folder is which package, and the extensions).

Folder ``x/`` is package ``picobnn.x``. The committed links below ``picobnn/`` show editors and type checkers the same
tree; they are left out of the walk, or every file would be found twice. Without a C compiler, or with PICOBNN_PURE=1,
the install is pure Python and the simulator falls back to numpy, with a warning.
"""

import os
from pathlib import Path

from setuptools import Extension, find_packages, setup

ROOMS = ("trainer", "codegen", "firmware_templates", "sim", "harness")


def packages() -> list[str]:
    """Every package of the distribution, each once."""
    found = find_packages(".", include=["picobnn", "picobnn.*"])
    front = [name for name in found if name == "picobnn" or name.split(".")[1] not in ROOMS]
    inner = [name for room in ROOMS for name in (room, *(f"{room}.{sub}" for sub in find_packages(room)))]
    return front + [f"picobnn.{name}" for name in inner]


def extensions() -> list[Extension]:
    """The Cython extensions, one per ``sim/_<family>.pyx``. Optional: a failed compile leaves a pure install."""
    sources = sorted(Path("sim").glob("_*.pyx"))
    if os.environ.get("PICOBNN_PURE", "0") not in ("", "0") or not sources:
        return []
    from Cython.Build import cythonize

    modules = [
        Extension(
            f"picobnn.sim.{source.stem}",
            [str(source)],
            depends=sorted(str(path) for path in Path("sim").glob("*.h")),
            include_dirs=["sim"],
            extra_compile_args=[] if os.name == "nt" else ["-O3"],
        )
        for source in sources
    ]
    directives = {"language_level": "3"}
    result: list[Extension] = cythonize(modules, build_dir="build/cython", compiler_directives=directives, quiet=True)
    for module in result:  # cythonize makes new ones and forgets the flag
        module.optional = True
    return result


setup(
    packages=packages(),
    package_dir={"picobnn": "picobnn", **{f"picobnn.{room}": room for room in ROOMS}},
    ext_modules=extensions(),
)
