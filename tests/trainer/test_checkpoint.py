# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: exact round trip, equal bytes, damaged files refused, nothing half-written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import safetensors.torch
import torch

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.checkpoint import checkpoint_of, read_checkpoint, restore_model, write_checkpoint
from picobnn.trainer.models import build_model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    model = build_model("digits_cnn", {"widths": [4, 5, 6]})
    model(torch.randint(0, 256, (9, 1, 8, 8), dtype=torch.uint8))
    file = tmp_path / "run" / "checkpoint.safetensors"
    write_checkpoint(checkpoint_of(model, {"note": "x"}), file)
    return file


def test_round_trip(path: Path) -> None:
    checkpoint = read_checkpoint(path)
    assert checkpoint.metadata == {"note": "x"}
    assert checkpoint.config["widths"] == [4, 5, 6]
    model = restore_model(checkpoint)
    assert not model.training
    state = model.state_dict()
    assert set(state) == set(checkpoint.weights)
    assert all(torch.equal(state[key], value) for key, value in checkpoint.weights.items())


def test_same_state_same_bytes(path: Path) -> None:
    again = path.with_name("again.safetensors")
    write_checkpoint(read_checkpoint(path), again)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_truncated(path: Path, cut: int) -> None:
    path.write_bytes(path.read_bytes()[:cut])
    _refused(path, ErrorId.CHECKPOINT)


@pytest.mark.parametrize("position", [-1, -500])
def test_flipped_bit(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 4
    path.write_bytes(data)
    _refused(path, ErrorId.CHECKPOINT)


def test_foreign_and_absent_files(path: Path) -> None:
    safetensors.torch.save_file({"x": torch.zeros(2)}, path)
    _refused(path, ErrorId.CHECKPOINT)
    path.unlink()
    _refused(path, ErrorId.FILE_MISSING)


def _refused(path: Path, error: ErrorId) -> None:
    with pytest.raises(PicobnnError) as caught:
        read_checkpoint(path)
    assert caught.value.error_id is error
    assert caught.value.where == str(path)


def test_weights_of_another_network(path: Path) -> None:
    checkpoint = read_checkpoint(path)
    checkpoint.config["widths"] = [4, 5, 7]
    with pytest.raises(PicobnnError) as caught:
        restore_model(checkpoint)
    assert caught.value.error_id is ErrorId.CHECKPOINT


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full_disk(source: Path, target: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(PicobnnError) as caught:
        write_checkpoint(checkpoint_of(build_model("digits_cnn")), path)
    assert caught.value.error_id is ErrorId.FILE_UNWRITABLE
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
