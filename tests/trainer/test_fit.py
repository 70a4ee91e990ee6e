# SPDX-License-Identifier: Apache-2.0
"""The fit loop: it learns, repeats bit for bit, resumes bit for bit, survives interruption, and chooses by timing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.checkpoint import checkpoint_of, read_checkpoint, restore_model, write_checkpoint
from picobnn.trainer.data import Dataset
from picobnn.trainer.evaluate import evaluate, images_tensor, predict
from picobnn.trainer.fit import EpochRecord, FitOptions, FitResult, StepRecord, fit, metrics_writer, seed_everything
from picobnn.trainer.layers import BinaryWeightLayer
from picobnn.trainer.models import Network, build_model
from picobnn.trainer.schedule import learning_rate_at
from picobnn.trainer.step import EXECUTIONS, Execution, MemoryFormat, Precision, cross_entropy
from picobnn.trainer.throughput import choose_execution, images_per_second, near_best

_SMALL = {"widths": [8, 12, 12]}
_PINNED = FitOptions(
    epochs=4, batch_size=64, precision=Precision.FLOAT32, memory_format=MemoryFormat.CHANNELS_LAST, threads=1
)


@pytest.fixture(scope="module")
def few(digits: Dataset) -> Dataset:
    """Enough to see that bits agree."""
    return replace(digits, train=digits.train.take(slice(0, 320)), val=digits.val.take(slice(0, 40)))


def _train(dataset: Dataset, options: FitOptions, stop_after: int | None = None) -> tuple[Network, FitResult]:
    seed_everything(options.seed)
    model = build_model("digits_cnn", _SMALL)

    def stop(record: EpochRecord) -> None:
        if record.epoch == stop_after:
            raise KeyboardInterrupt

    return model, fit(model, dataset, options, on_epoch=[stop])


def _same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def test_digits_are_learnt(digits: Dataset) -> None:
    options = replace(_PINNED, epochs=20)
    seed_everything(options.seed)
    model = build_model("digits_cnn")
    result = fit(model, digits, options)
    assert not model.training
    assert evaluate(model, digits.test.images, digits.test.labels) >= 0.96
    assert result.val_accuracy >= 0.95
    assert result.records[0].loss > result.records[-1].loss
    for layer in model.modules():
        if isinstance(layer, BinaryWeightLayer):
            assert float(layer.weight.detach().abs().max()) <= 1.0


def test_same_seed_same_bits_and_another_seed_another_network(few: Dataset) -> None:
    short = replace(_PINNED, epochs=2)
    first, second = (_train(few, short)[0].state_dict() for _ in range(2))
    assert _same(first, second)
    assert not _same(first, _train(few, replace(short, seed=1))[0].state_dict())


@pytest.mark.parametrize("execution", EXECUTIONS, ids=str)
def test_interrupted_and_resumed_equals_uninterrupted(few: Dataset, tmp_path: Path, execution: Execution) -> None:
    options = replace(_PINNED, precision=execution.precision, memory_format=execution.memory_format)
    whole, whole_result = _train(few, options)
    path = tmp_path / "checkpoint.safetensors"
    resumable = replace(options, checkpoint=path, resume=True, precision=None, memory_format=None)
    with pytest.raises(KeyboardInterrupt):
        _train(few, replace(options, checkpoint=path), stop_after=2)
    torch.manual_seed(999)
    model = build_model("digits_cnn", _SMALL)
    result = fit(model, few, resumable)
    assert result.execution == execution
    assert _same(model.state_dict(), whole.state_dict())
    assert [record.loss for record in result.records] == [record.loss for record in whole_result.records]
    assert _same(restore_model(read_checkpoint(path)).state_dict(), whole.state_dict())


def test_interrupted_in_the_first_epoch_leaves_a_valid_checkpoint(few: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    options = replace(_PINNED, epochs=1, checkpoint=path, resume=True)
    steps = 0

    def interrupt(model: Network, place: StepRecord) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise KeyboardInterrupt

    seed_everything(options.seed)
    model = build_model("digits_cnn", _SMALL)
    with pytest.raises(KeyboardInterrupt):
        fit(model, few, options, after_step=[interrupt])
    assert read_checkpoint(path).metadata["epoch"] == 0
    fit(model, few, options)
    assert _same(model.state_dict(), _train(few, replace(_PINNED, epochs=1))[0].state_dict())


def test_frozen_parameters_stay_and_an_objective_replaces_the_loss(few: Dataset) -> None:
    seed_everything(0)
    model = build_model("digits_cnn", _SMALL)
    model.layers.conv2.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.named_parameters()}
    places: list[StepRecord] = []

    def half(network: torch.nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        loss, logits = cross_entropy(network, images, labels)
        return 0.5 * loss, logits

    options = replace(_PINNED, epochs=2)
    result = fit(model, few, options, objective=half, after_step=[lambda _, place: places.append(place)])
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert changed == set(before) - {"layers.conv2.weight"}
    assert [place.step for place in places] == list(range(places[0].steps))
    assert places[-1].learning_rate == result.records[-1].learning_rate
    seed_everything(0)
    whole = fit(build_model("digits_cnn", _SMALL), few, replace(_PINNED, epochs=1), objective=cross_entropy)
    seed_everything(0)
    halved = fit(build_model("digits_cnn", _SMALL), few, replace(_PINNED, epochs=1), objective=half)
    assert halved.records[0].loss < 0.6 * whole.records[0].loss


def _zero(network: torch.nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    loss, logits = cross_entropy(network, images, labels)
    return 0 * loss, logits


def test_an_objective_is_not_resumed(few: Dataset, tmp_path: Path) -> None:
    options = replace(_PINNED, epochs=1, checkpoint=tmp_path / "checkpoint.safetensors", resume=True)
    with pytest.raises(PicobnnError) as caught:
        fit(build_model("digits_cnn", _SMALL), few, options, objective=_zero)
    assert caught.value.error_id is ErrorId.CONFIG_VALUE
    assert not options.checkpoint.exists()


def test_resume_refuses_another_run(few: Dataset, tmp_path: Path) -> None:
    options = replace(_PINNED, epochs=1, checkpoint=tmp_path / "checkpoint.safetensors")
    _train(few, options)
    for other in (replace(options, resume=True, learning_rate=0.5), replace(options, resume=True, epochs=2)):
        with pytest.raises(PicobnnError) as caught:
            _train(few, other)
        assert caught.value.error_id is ErrorId.CHECKPOINT
    with pytest.raises(PicobnnError) as caught:
        fit(build_model("digits_cnn"), few, replace(options, resume=True))
    assert caught.value.error_id is ErrorId.CHECKPOINT


def test_resume_refuses_a_checkpoint_that_no_run_wrote(few: Dataset, tmp_path: Path) -> None:
    options = replace(_PINNED, epochs=1, checkpoint=tmp_path / "checkpoint.safetensors", resume=True)
    model = build_model("digits_cnn", _SMALL)
    assert options.checkpoint is not None
    write_checkpoint(checkpoint_of(model), options.checkpoint)
    with pytest.raises(PicobnnError) as caught:
        fit(model, few, options)
    assert caught.value.error_id is ErrorId.CHECKPOINT


def test_finished_run_resumes_to_itself(few: Dataset, tmp_path: Path) -> None:
    options = replace(_PINNED, epochs=1, checkpoint=tmp_path / "checkpoint.safetensors", resume=True)
    first, result = _train(few, options)
    second, again = _train(few, options)
    assert _same(first.state_dict(), second.state_dict())
    assert again.records == result.records


def test_metrics_are_json_lines(few: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    result = fit(build_model("digits_cnn", _SMALL), few, replace(_PINNED, epochs=2), on_epoch=[metrics_writer(path)])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [EpochRecord(**line) for line in lines] == list(result.records)
    assert lines[1]["epoch"] == 2


def test_plain_lines_when_not_on_a_terminal(few: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    fit(build_model("digits_cnn", _SMALL), few, replace(_PINNED, epochs=1, show_progress=True))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("epoch 1/1  loss ")


def test_bar_on_a_terminal(few: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    fit(build_model("digits_cnn", _SMALL), few, replace(_PINNED, epochs=1, show_progress=True))
    assert "epoch 1/1" in capsys.readouterr().err


def test_predictions_do_not_depend_on_the_batch(few: Dataset) -> None:
    model, _ = _train(few, replace(_PINNED, epochs=1))
    model.train()
    logits = predict(model, few.test.images)
    assert logits.dtype is torch.int32
    assert torch.equal(logits, predict(model, few.test.images, batch_size=7))
    assert model.training, "the mode is kept"


def test_ties_go_to_the_lower_index(few: Dataset) -> None:
    model = build_model("digits_cnn", _SMALL)
    with torch.no_grad():
        model.layers.logits.norm.weight.zero_()
    zeros = few.test.labels == 0
    assert evaluate(model, few.test.images[zeros], few.test.labels[zeros]) == 1.0


def test_timing_leaves_the_network_and_the_random_state(few: Dataset) -> None:
    torch.manual_seed(5)
    model = build_model("digits_cnn", _SMALL)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.get_rng_state()
    images, labels = images_tensor(few.train.images)[:32], torch.from_numpy(few.train.labels)[:32]
    rates = images_per_second(model, images, labels)
    assert set(rates) == set(EXECUTIONS)
    assert min(rates.values()) > 0
    assert _same(model.state_dict(), before)
    assert torch.equal(torch.get_rng_state(), random)
    only = choose_execution(model, images, labels, precision=Precision.FLOAT32)
    assert only.precision is Precision.FLOAT32


def test_of_two_equally_fast_executions_the_plainer_is_taken() -> None:
    plain, low = (Execution(precision, MemoryFormat.CHANNELS_LAST) for precision in Precision)
    assert near_best({plain: 98.0, low: 100.0}) == plain
    assert near_best({plain: 96.0, low: 100.0}) == low
    assert near_best({low: 100.0}) == low


@pytest.mark.parametrize("total", [1, 2, 7, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.15, 0.9])
def test_schedule(total: int, warmup: float) -> None:
    rates = [learning_rate_at(step, total, 2.0, warmup) for step in range(total)]
    assert all(0 < rate <= 2.0 for rate in rates)
    top = max(0, int(warmup * total) - 1)
    assert rates[top] == 2.0
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[: top + 1] == sorted(rates[: top + 1])


@pytest.mark.parametrize(
    "change", [{"epochs": -1}, {"batch_size": 1}, {"learning_rate": 0.0}, {"warmup": 1.0}, {"threads": 0}]
)
def test_bad_options(change: dict[str, float]) -> None:
    with pytest.raises(PicobnnError) as caught:
        replace(_PINNED, **change)
    assert caught.value.error_id is ErrorId.CONFIG_VALUE


def test_data_of_another_shape_and_absent_device(few: Dataset) -> None:
    with pytest.raises(PicobnnError) as caught:
        fit(build_model("fmnist_cnn"), few, _PINNED)
    assert caught.value.error_id is ErrorId.BAD_INPUT
    with pytest.raises(PicobnnError) as caught:
        fit(build_model("digits_cnn"), few, replace(_PINNED, device="tpu"))
    assert caught.value.error_id is ErrorId.CONFIG_VALUE
