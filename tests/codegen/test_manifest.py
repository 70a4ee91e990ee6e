# SPDX-License-Identifier: Apache-2.0
"""The manifest says what was generated, reads back equal, and refuses anything else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from picobnn.codegen.emit import render_model
from picobnn.codegen.manifest import Manifest, build_manifest, read_manifest, write_manifest
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import find_core
from picobnn.errors import ErrorId, PicobnnError
from tests.support.small_programs import two_layers


@pytest.fixture
def manifest() -> Manifest:
    plan = make_plan(two_layers(), find_core("m4"))
    return build_manifest(plan, "net", render_model(plan, "net"))


def test_it_reads_back_equal(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    write_manifest(manifest, path)
    assert read_manifest(path) == manifest
    assert path.read_text() == manifest.to_json()


def test_it_says_what_was_generated(manifest: Manifest) -> None:
    plan = make_plan(two_layers(), find_core("m4"))
    sources = {source.path: source for source in render_model(plan, "net")}
    for file in manifest.files:
        assert file.sha256 == hashlib.sha256(sources[file.path].text.encode()).hexdigest()
    assert len(manifest.files) == len(sources)
    assert manifest.arena_bytes == plan.arena_bytes
    assert [step.op for step in manifest.steps] == ["input_conv2d", "binary_dense"]
    assert [step.fan_in for step in manifest.steps] == [9, 45]
    dense = manifest.steps[1]
    assert [table.symbol for table in dense.tables] == [
        "net_dense1_weights",
        "net_dense1_multipliers",
        "net_dense1_biases",
    ]
    assert [table.size_bytes for table in dense.tables] == [24, 12, 12]
    weights = sources["net_weights.c"].text
    assert all(f" {table.symbol}[" in weights for step in manifest.steps for table in step.tables)


def damaged(manifest: Manifest, **changes: Any) -> str:
    return json.dumps(json.loads(manifest.to_json()) | changes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"surprise": 1}, "surprise"),
        ({"arena_bytes": "96"}, "arena_bytes"),
        ({"steps": [{}]}, "steps.0"),
        ({"kernels": "fast"}, "kernels"),
        ({"format": 2}, "format 2"),
    ],
)
def test_a_wrong_field_is_named(manifest: Manifest, tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(damaged(manifest, **changes))
    with pytest.raises(PicobnnError, match=field) as caught:
        read_manifest(path)
    assert caught.value.error_id is ErrorId.MANIFEST


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": 1}'])
def test_what_is_no_manifest_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(data)
    with pytest.raises(PicobnnError) as caught:
        read_manifest(path)
    assert caught.value.error_id is ErrorId.MANIFEST


def test_an_absent_manifest_is_said(tmp_path: Path) -> None:
    with pytest.raises(PicobnnError) as caught:
        read_manifest(tmp_path / "manifest.json")
    assert caught.value.error_id is ErrorId.FILE_MISSING
