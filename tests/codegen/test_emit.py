# SPDX-License-Identifier: Apache-2.0
"""What the emitted sources promise: names, determinism, self test, weight check, atomic writing."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.bnn_file import model_hash
from picobnn.codegen.emit import GoldenVector, render_model, runtime_text, write_sources
from picobnn.codegen.plan import Kernels
from picobnn.codegen.runtime_code import COMMON_RUNTIME
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import STRATEGIES, Strategy
from picobnn.codegen.targets import CORES, find_core
from picobnn.errors import ErrorId, PicobnnError
from tests.support.small_programs import SMALL_PROGRAMS, input_conv2d, two_layers

M4 = find_core("m4")


def texts(name: str = "two_layers", prefix: str = "net") -> dict[str, str]:
    return {source.path: source.text for source in render_model(make_plan(SMALL_PROGRAMS[name], M4), prefix)}


def test_only_needed_runtime_files_are_emitted() -> None:
    assert set(texts("input_conv2d")) == {
        "net.h",
        "net.c",
        "net_weights.h",
        "net_weights.c",
        "picobnn_conv2d.h",
        "picobnn_direct.c",
        "picobnn_direct.h",
        "picobnn_runtime.c",
        "picobnn_runtime.h",
    }
    assert "picobnn_xnor.c" in texts("two_layers")


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_every_runtime_file_comes_with_what_it_includes(strategy: Strategy) -> None:
    for target in CORES:
        files = {*COMMON_RUNTIME, *strategy.runtime_files(target)}
        wanted = {name for file in files for name in re.findall(r'^#include "(.*)"', runtime_text(file), re.MULTILINE)}
        assert "picobnn_runtime.h" in wanted
        assert {strategy.header, *wanted} <= files, target


def test_equal_plans_give_equal_bytes() -> None:
    assert texts() == texts()


def test_every_file_is_mit_0_and_says_where_it_comes_from() -> None:
    for path, text in texts().items():
        assert "SPDX-License-Identifier: MIT-0" in text.splitlines()[0], path
        assert not re.search(r"20\d\d-\d\d|/home|/tmp", text), path
    assert model_hash(two_layers()).hex()[:16] in texts()["net.c"]


def test_no_float_heap_or_stdio() -> None:
    for path, text in texts().items():
        code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        assert not re.search(r"\b(float|double|malloc|free|printf|memcpy|memset|__builtin_popcount)\b", code), path
        includes = set(re.findall(r"#include <(.*)>", code))
        assert includes <= {"stdint.h", "stddef.h"}, path


@pytest.mark.parametrize("prefix", ["", "1net", "my-net", "for", "_net", "picobnn_x", "näh", "a b"])
def test_a_bad_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(PicobnnError) as caught:
        render_model(make_plan(two_layers(), M4), prefix)
    assert caught.value.error_id is ErrorId.USAGE


def test_names_from_people_cannot_break_the_code() -> None:
    program = two_layers()
    first = dataclasses.replace(program.steps[0], name="a*/b\n??/", source="x */ int evil; /*")
    second = dataclasses.replace(program.steps[1], name="a*/b\n??/")
    program = dataclasses.replace(program, steps=(first, second), name="n*/ame")
    sources = {source.path: source.text for source in render_model(make_plan(program, M4), "net")}
    code = re.sub(r"/\*.*?\*/", "", sources["net.c"], flags=re.DOTALL)
    assert "evil" not in code
    assert "net_a__b_____weights" in sources["net_weights.c"]
    assert "net_step1_a__b_____weights" in sources["net_weights.c"]


def test_the_self_test_is_emitted_on_demand_only() -> None:
    program = two_layers()
    plan = make_plan(program, M4)
    assert "self_test" not in texts()["net.h"] + texts()["net.c"]
    image = np.zeros((6, 6, 1), np.uint8)
    sources = {s.path: s.text for s in render_model(plan, "net", GoldenVector(image, np.zeros(3, np.int32)))}
    assert "net_self_test" in sources["net.h"]
    with pytest.raises(PicobnnError) as caught:
        render_model(plan, "net", GoldenVector(image, np.zeros(4, np.int32)))
    assert caught.value.error_id is ErrorId.BAD_INPUT


def test_logits_exist_only_where_the_result_is_int32() -> None:
    assert "net_logits" in texts("two_layers")["net.h"]
    assert "net_logits" not in texts("input_conv2d")["net.h"]
    assert "net_output" in texts("input_conv2d")["net.h"]


def test_options_stand_in_the_provenance() -> None:
    plan = make_plan(input_conv2d(), M4, kernels=Kernels.AUTO)
    head = render_model(plan, "net", command="picobnn generate --kernels auto")[0].text
    assert "kernels auto" in head
    assert "command  picobnn generate --kernels auto" in head


def test_writing_replaces_and_keeps_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "firmware"
    sources = render_model(make_plan(two_layers(), M4), "net")
    write_sources(sources, folder)
    (folder / "mine.c").write_text("int mine;\n")
    (folder / "net.c").write_text("damaged")
    write_sources(sources, folder)
    assert (folder / "mine.c").is_file()
    assert {source.path: source.text for source in sources} == {
        path.name: path.read_text() for path in folder.iterdir() if path.name != "mine.c"
    }
    assert [path.name for path in tmp_path.iterdir()] == ["firmware"]


def test_writing_where_nobody_may_leaves_nothing(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    with pytest.raises(PicobnnError) as caught:
        write_sources(render_model(make_plan(two_layers(), M4), "net"), blocker / "firmware")
    assert caught.value.error_id is ErrorId.FILE_UNWRITABLE
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
