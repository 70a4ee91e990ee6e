# SPDX-License-Identifier: Apache-2.0
"""The bill of a network: counts that can be done by hand."""

from __future__ import annotations

import json

from rich.console import Console

from picobnn.trainer.models import build_model
from picobnn.trainer.summary import summary


def test_fmnist_cnn_counts() -> None:
    model = build_model("fmnist_cnn").train()
    bill = summary(model, (1, 28, 28))
    assert [(row.name.rpartition(".")[2], row.weight_bits, row.macs, row.input_bits) for row in bill.rows] == [
        ("conv1", 288, 288 * 784, 8),
        ("conv2", 18_432, 18_432 * 196, 1),
        ("conv3", 73_728, 73_728 * 49, 1),
        ("dense", 62_720, 62_720, 1),
        ("logits", 0, 10, 32),
    ]
    assert bill.weight_bits == 155_168
    assert 13 <= bill.weight_kib <= 20
    assert bill.macs(8) == 225_792
    assert model.training, "the mode is kept"
    assert bill.rows[1].input_shape == (32, 14, 14)
    assert bill.rows[1].output_shape == (64, 14, 14)


def test_summary_prints_and_serializes() -> None:
    bill = summary(build_model("digits_cnn"), (1, 8, 8))
    assert json.loads(json.dumps(bill.as_dict()))["weight_bits"] == bill.weight_bits
    console = Console(width=120, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(bill)
    text = captured.get()
    assert "digits_cnn" in text
    assert "conv3" in text
    assert f"{bill.weight_bits:,}" in text


def test_float_twin_has_no_rows() -> None:
    assert summary(build_model("digits_cnn", {"float_twin": True}), (1, 8, 8)).rows == ()
