# SPDX-License-Identifier: Apache-2.0
"""Pruning: quotas, scores, rounds and reports; and that a pruned, retrained digits network still works."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.checkpoint import checkpoint_of, read_checkpoint, restore_model, write_checkpoint
from picobnn.trainer.data import load_dataset
from picobnn.trainer.estimators import sign_ste
from picobnn.trainer.evaluate import evaluate, predict
from picobnn.trainer.fit import FitOptions, fit, seed_everything
from picobnn.trainer.layers import BinaryLinear
from picobnn.trainer.models import build_model
from picobnn.trainer.pruning import (
    BinaryL2,
    FilterScale,
    Gates,
    LossSensitivity,
    PruningSettings,
    Quota,
    RandomFilters,
    Scope,
    Training,
    apply,
    check_together,
    choose_kept,
    find_filters,
    make_quota,
    prune,
    retrain_with,
    set_masks,
    training_batches,
    training_on,
)
from tests.support.random_networks import random_images, random_network

METHODS = [LossSensitivity, FilterScale, RandomFilters]
TO_THE_RATE = [scope for scope in Scope if scope is not Scope.WORDS]


def _training(seed: int = 0, count: int = 2) -> Training:
    return Training(_batches(seed, count))


def _batches(seed: int = 0, count: int = 2):
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randint(0, 256, (16, 1, 8, 8), generator=generator, dtype=torch.uint8),
            torch.randint(0, 10, (16,), generator=generator),
        )
        for _ in range(count)
    ]


def _digits(seed: int = 0):
    torch.manual_seed(seed)
    return build_model("digits_cnn", {"widths": [16, 32, 32]}).eval()


def _state(model: nn.Module):
    return {key: value.clone() for key, value in model.state_dict().items()}


@given(
    widths=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    rate=st.floats(0, 0.6),
    scope=st.sampled_from(TO_THE_RATE),
    seed=st.integers(0, 9999),
)
@settings(deadline=None, max_examples=60)
def test_quota_is_met_and_no_layer_is_emptied(widths, rate, scope, seed):
    filters = {f"layer{number}": width for number, width in enumerate(widths)}
    generator = torch.Generator().manual_seed(seed)
    scores = {name: torch.rand(width, generator=generator) for name, width in filters.items()}
    try:
        quota = make_quota(filters, filters, rate, scope, 1)
    except PicobnnError:  # layers of one filter each, say
        assert min(widths) < 3
        return
    kept = choose_kept(scores, quota)
    removed = sum(widths) - sum(int(mask.sum()) for mask in kept.values())
    slack = len(widths) if scope is Scope.LAYER else 1
    assert rate * sum(widths) - 1e-6 <= removed < rate * sum(widths) + slack
    for name, mask in kept.items():
        assert int(mask.sum()) >= 1
        if not bool(mask.all()):
            assert scores[name][~mask].max() <= scores[name][mask].min()


@pytest.mark.parametrize(
    ("rate", "kept"), [(0, (32, 64, 128, 5)), (0.35, (24, 32, 96, 5)), (0.5, (16, 32, 64, 5)), (0.99, (8, 8, 8, 5))]
)
def test_quota_in_words_keeps_whole_words(rate, kept):
    filters = dict(zip("abcd", (32, 64, 128, 5), strict=True))
    quota = make_quota(filters, filters, rate, Scope.WORDS, 1)
    assert quota.remove == {name: filters[name] - count for name, count in zip("abcd", kept, strict=True)}


@given(count=st.integers(1, 300), gone=st.integers(0, 299), rate=st.floats(0, 0.99), floor=st.integers(1, 80))
@settings(deadline=None)
def test_quota_in_words_is_the_nearest(count, gone, rate, floor):
    """To what the whole layer should keep, whatever went before; never below the floor."""
    left = max(1, count - gone)
    kept = left - make_quota({"a": count}, {"a": left}, rate, Scope.WORDS, floor).remove["a"]
    whole = [n for n in range(1, count + 1) if (n % 32 == 0 or (n < 32 and n % 8 == 0) or n == count) and n >= floor]
    nearest = min(whole or [count], key=lambda n: (abs(n - (1 - rate) * count), -n))
    assert kept == min(left, nearest)


def test_quota_counts_what_earlier_rounds_removed():
    quota = make_quota({"a": 20, "b": 40}, {"a": 16, "b": 33}, 0.35, Scope.LAYER, 1)
    assert quota.remove == {"a": 3, "b": 7}
    assert make_quota({"a": 20, "b": 40}, {"a": 16, "b": 33}, 0.35, Scope.GLOBAL, 1).remove == 21 - 11


def test_global_ranking_compares_scores_relative_to_their_layer():
    scores = {"a": torch.tensor([1.0, 9.0, 9.0, 9.0]), "b": torch.tensor([100.0, 900.0, 901.0, 902.0])}
    kept = choose_kept(scores, Quota(2))
    assert kept["a"].tolist() == [False, True, True, True]
    assert kept["b"].tolist() == [False, True, True, True]


def test_global_ranking_respects_the_floor():
    scores = {"a": torch.zeros(4), "b": torch.ones(6)}
    kept = choose_kept(scores, Quota(4, floor=3))
    assert int(kept["a"].sum()) == 3
    assert int(kept["b"].sum()) == 3


@pytest.mark.parametrize(
    "options",
    [{"rate": 1.0}, {"rate": -0.1}, {"rate": 0.3, "rounds": 0}, {"rate": 0.3, "floor": 0}, {"rate": 0.9, "floor": 16}],
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(PicobnnError) as caught:
        prune(_digits(), RandomFilters(), PruningSettings(**options), _training())
    assert caught.value.error_id is ErrorId.PRUNING


def test_no_images_are_refused():
    with pytest.raises(PicobnnError) as caught:
        prune(_digits(), RandomFilters(), PruningSettings(0.3), Training([]))
    assert caught.value.error_id is ErrorId.PRUNING


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scope", TO_THE_RATE)
def test_every_method_meets_the_rate_and_leaves_its_input_alone(method, scope):
    model = _digits()
    before = _state(model)
    small, report = prune(model, method(), PruningSettings(0.35, scope=scope), _training())
    for key, value in before.items():
        assert torch.equal(model.state_dict()[key], value)
    total = sum(layer.total for layer in report.layers)
    kept = sum(layer.kept for layer in report.layers)
    assert total == 80
    assert report.filters_removed == 1 - kept / total
    assert 0.35 <= report.filters_removed < 0.40
    assert [layer.kept for layer in report.layers] == list(small.config.widths)
    assert report.macs_before == 64 * 9 * 16 + 16 * 9 * 16 * 32 + 16 * 9 * 32 * 32 + 512 * 10
    assert 0.3 < report.macs_removed < 0.8
    assert report.as_dict()["filters_removed"] == report.filters_removed
    assert small.layers.dense.out_features == 10


@pytest.mark.parametrize("method", METHODS)
def test_run_masks_exactly_what_finish_removes(method):
    model = _digits(3)
    images = torch.randint(0, 256, (32, 1, 8, 8), dtype=torch.uint8)
    pruner = method()
    filters = {group.name: group.filters for group in find_filters(model)}
    pruner.prepare(model)
    pruner.run(model, make_quota(filters, filters, 0.4, Scope.LAYER, 1), _training())
    small, _ = pruner.finish(model)
    with torch.no_grad():
        assert torch.equal(model(images), small(images))


def test_rounds_reach_the_same_rate_and_retrain_between():
    rounds = []

    def retrain(model, number):
        rounds.append((number, model.config.widths))
        return model

    small, report = prune(_digits(), FilterScale(), PruningSettings(0.35, rounds=3), _training(), retrain)
    assert [number for number, _ in rounds] == [1, 2, 3]
    assert rounds[0][1] > rounds[1][1] > rounds[2][1] == small.config.widths
    assert [layer.total for layer in report.layers] == [16, 32, 32]
    assert 0.35 <= report.filters_removed < 0.40
    once, _ = prune(_digits(), FilterScale(), PruningSettings(0.35), _training())
    assert once.config.widths == small.config.widths


def test_random_filters_follow_their_seed():
    def removed(seed):
        model = _digits()
        RandomFilters(seed).run(model, Quota(20), _training())
        return torch.cat([group.kept() for group in find_filters(model)])

    assert torch.equal(removed(1), removed(1))
    assert not torch.equal(removed(1), removed(2))


def test_scale_removes_the_filters_with_small_weights():
    model = _digits()
    small_filters = [1, 4, 9]
    with torch.no_grad():
        model.layers.conv2.weight[small_filters] *= 0.01
    FilterScale().run(model, Quota({"layers.conv2": 3}), _training())
    assert (~find_filters(model)[1].kept()).nonzero().flatten().tolist() == small_filters


def test_sensitivity_is_the_gradient_of_a_mask_per_image():
    model = _digits(4)
    batches = _batches(5)
    scores = LossSensitivity().scores(model, find_filters(model), batches)
    wanted = {name: torch.zeros_like(score) for name, score in scores.items()}
    masks = [torch.ones(16, group.filters, 1, 1, requires_grad=True) for group in find_filters(model)]
    for group, mask in zip(find_filters(model), masks, strict=True):
        group.signs[0].forward = lambda x, mask=mask: sign_ste(x) * mask
    model.train()
    for images, labels in batches:
        loss = nn.functional.cross_entropy(model(images), labels, reduction="sum")
        for name, gradient in zip(wanted, torch.autograd.grad(loss, masks), strict=True):
            wanted[name] += gradient.abs().sum(0).flatten()
    for name, score in scores.items():
        torch.testing.assert_close(score, wanted[name], rtol=1e-3, atol=1e-4)


def test_hidden_dense_units_are_filters():
    net = next(
        candidate
        for candidate in (random_network(seed) for seed in range(100))
        if any(isinstance(group.layer, BinaryLinear) and group.filters > 4 for group in find_filters(candidate.model))
    )
    images = torch.from_numpy(random_images(1, net.input_shape, 4).transpose(0, 3, 1, 2).copy())
    small, report = prune(net.model, RandomFilters(), PruningSettings(0.3), Training([(images, torch.zeros(4))]))
    hidden = report.layers[-1]
    assert hidden.kept < hidden.total
    with torch.no_grad():
        assert small(images).shape == net.model(images).shape


def test_masked_training_steps_keep_masked_channels_zero():
    model = _digits()
    kept = torch.ones(16, dtype=torch.bool)
    kept[3:9] = False
    set_masks(model, {"layers.conv1": kept})
    seen = []
    model.layers.sign1.register_forward_hook(lambda _m, _i, output: seen.append(output.detach()))
    for images, _ in _batches():
        model.train()(images)
        model.eval()(images)
    for output in seen:
        assert not output[:, 3:9].any()
        assert output[:, kept].abs().eq(1).all()


def test_digits_survive_pruning_and_a_checkpoint(tmp_path):
    """35 % of the filters go; a few seconds of retraining keep at least 95 % on the test split."""
    dataset = load_dataset("digits")
    seed_everything(0)
    model = build_model("digits_cnn", {"widths": [16, 32, 32]})
    fit(model, dataset, FitOptions(epochs=20, batch_size=64, seed=0, threads=1))
    small, report = prune(
        model,
        LossSensitivity(),
        PruningSettings(0.35),
        training_on(dataset, FitOptions(batch_size=64)),
        retrain_with(dataset, FitOptions(epochs=20, batch_size=64, seed=0, threads=1)),
    )
    assert report.filters_removed >= 0.35
    assert evaluate(small, dataset.test.images, dataset.test.labels) >= 0.95
    path = tmp_path / "pruned.safetensors"
    write_checkpoint(checkpoint_of(small), path)
    again = restore_model(read_checkpoint(path), str(path))
    assert torch.equal(predict(again, dataset.test.images), predict(small, dataset.test.images))


def test_only_networks_are_retrained_with_fit():
    with pytest.raises(PicobnnError) as caught:
        retrain_with(load_dataset("digits"), FitOptions(epochs=1))(nn.Identity(), 1)
    assert caught.value.error_id is ErrorId.PRUNING


def test_a_method_that_trains_needs_a_data_set():
    for training, model in (
        (_training(), _digits()),
        (training_on(load_dataset("digits"), FitOptions()), nn.Identity()),
    ):
        with pytest.raises(PicobnnError) as caught:
            training.fit(model)
        assert caught.value.error_id is ErrorId.PRUNING


def test_the_training_of_a_method_is_not_resumed(tmp_path):
    options = FitOptions(epochs=1, checkpoint=tmp_path / "checkpoint.safetensors", resume=True)
    for method, goal in ((BinaryL2(), None), (Gates(), Quota({}))):
        with pytest.raises(PicobnnError) as caught:
            apply(_digits(), method, goal, training_on(load_dataset("digits"), options))
        assert caught.value.error_id is ErrorId.PRUNING
    assert not options.checkpoint.exists()


def test_methods_combine_by_applying_one_after_the_other():
    once, first = apply(_digits(), FilterScale(), Quota(10), _training())
    twice, second = apply(once, RandomFilters(), Quota(10), _training())
    assert sum(twice.config.widths) == sum(once.config.widths) - 10 == 60
    assert first.then(second).filters_removed == 20 / 80


class _Live(nn.Identity):
    pruning_method = "gates"


class _Ising(FilterScale):
    name = "ising"


def test_gates_and_a_state_search_are_refused_with_a_reason():
    model = _digits()
    model.layers.norm1.live = _Live()
    for act in (
        lambda: apply(model, _Ising(), Quota(10), _training()),
        lambda: check_together(["domain", "edropout", "gates"]),
    ):
        with pytest.raises(PicobnnError) as caught:
            act()
        assert caught.value.error_id is ErrorId.PRUNING
        assert "frozen" in str(caught.value)
    apply(model, FilterScale(), Quota(10), _training())
    check_together(["gates", "domain"])


def test_training_batches_are_training_images():
    dataset = load_dataset("digits")
    batches = training_batches(dataset, images=100, batch_size=64, seed=3)
    assert [len(labels) for _, labels in batches] == [64, 36]
    train = {image.tobytes() for image in dataset.train.images}
    assert all(image.numpy().tobytes() in train for images, _ in batches for image in images)
