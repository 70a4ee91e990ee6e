# SPDX-License-Identifier: Apache-2.0
"""Each pass on its own: what it rewrites, what it refuses. That meaning is kept is tested in test_lower.py."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.codegen.bounds import WeightValues, reach_of_binary_conv, reach_of_dense, reach_of_input_conv
from picobnn.codegen.ir import (
    BinaryConv2d,
    BinaryDense,
    Flatten,
    Graph,
    InputConv2d,
    InputImage,
    MaxPool2d,
    Node,
    PadMode,
    PoolStage,
    Scale,
    ScaleLogits,
    Shape,
    Sign,
    Threshold,
    WeightDomain,
    Window,
)
from picobnn.codegen.passes import PIPELINE, run_pipeline
from picobnn.codegen.passes.canonical_thresholds import canonical_threshold, canonical_thresholds
from picobnn.codegen.passes.drop_identity import drop_identity
from picobnn.codegen.passes.fold_flatten import fold_flatten
from picobnn.codegen.passes.fuse_epilogue import fuse_epilogue, merge_windows
from picobnn.codegen.passes.reduce_domains import reduce_domains
from picobnn.errors import ErrorId, PicobnnError
from tests.support.random_graphs import bits, domains, graphs, masks, thresholds

RNG = np.random.default_rng(5)
HALF = Window(2, 2, 2, 2)
UNIT = Window(1, 1)
SCALE = Scale(np.ones(3, np.int32), np.zeros(3, np.int32))


def threshold(count: int, flips: int = 0) -> Threshold:
    """``flips`` channels have a flip."""
    return Threshold(np.zeros(count, np.int32), (np.arange(count) < flips).astype(np.uint8))


def conv(name: str = "conv", outputs: int = 3) -> InputConv2d:
    return InputConv2d(name, f"m.{name}", "", bits(RNG, outputs, 3, 3, 1), Window(3, 3))


def sign(name: str = "sign", count: int = 3, flips: int = 0) -> Sign:
    return Sign(name, f"m.{name}", "", threshold(count, flips))


def pool(name: str = "pool", window: Window = HALF) -> MaxPool2d:
    return MaxPool2d(name, f"m.{name}", "", window)


def chain(*nodes: Any) -> Graph:
    """A 10x10 image, then ``nodes``, each reading the one in front of it."""
    linked: list[Node] = [InputImage("image", Shape(10, 10, 1), 0)]
    for node in nodes:
        names = {field: getattr(node, field) for field in node.__dataclass_fields__}
        linked.append(type(node)(**(names | {"input": linked[-1].name})))
    return Graph("g", tuple(linked))


def names_of(graph: Graph) -> list[tuple[str, str]]:
    return [(node.name, node.input) for node in graph.nodes if not isinstance(node, InputImage)]


def refusal(graph: Graph) -> PicobnnError:
    with pytest.raises(PicobnnError) as caught:
        run_pipeline(graph)
    assert caught.value.error_id is ErrorId.UNSUPPORTED_FEATURE
    assert caught.value.remedy
    return caught.value


def test_pipeline_order() -> None:
    assert (drop_identity, fold_flatten, fuse_epilogue, reduce_domains, canonical_thresholds) == PIPELINE


def test_drop_identity_rewires_readers() -> None:
    graph = chain(conv(), pool("p1", UNIT), pool("p2", UNIT), sign(), pool("p3", UNIT))
    assert names_of(drop_identity(graph)) == [("conv", "image"), ("sign", "conv")]


@pytest.mark.parametrize("window", [Window(1, 1, 2, 1), Window(2, 1), Window(2, 2, 1, 1, 1, 1)])
def test_drop_identity_keeps_other_pools(window: Window) -> None:
    graph = chain(conv(), pool("pool", window), sign())
    assert names_of(drop_identity(graph)) == names_of(graph)


def test_drop_identity_drops_flattens_of_one_pixel() -> None:
    dense = BinaryDense("dense", "", "", bits(RNG, 3, 1, 1, 3))
    whole = InputConv2d("conv", "", "", bits(RNG, 3, 10, 10, 1), Window(10, 10))
    logits = ScaleLogits("logits", "", "", SCALE)
    graph = chain(whole, sign(), Flatten("f1", "", ""), dense, logits, Flatten("f2", "", ""))
    assert [name for name, _ in names_of(drop_identity(graph))] == ["conv", "sign", "dense", "logits"]


def test_fold_flatten_gives_the_dense_layer_the_map() -> None:
    dense = BinaryDense("dense", "", "", bits(RNG, 2, 1, 1, 8 * 8 * 3))
    folded = fold_flatten(chain(conv(), sign(), Flatten("flat", "", ""), dense))
    assert names_of(folded) == [("conv", "image"), ("sign", "conv"), ("dense", "sign")]
    last = folded.nodes[-1]
    assert isinstance(last, BinaryDense)
    assert last.weights.shape == (2, 8, 8, 3)
    y, x, c = 5, 2, 1
    np.testing.assert_array_equal(last.weights[:, y, x, c], dense.weights[:, 0, 0, (y * 8 + x) * 3 + c])


@pytest.mark.parametrize("tail", [(), (sign("flat_sign", 8 * 8 * 3),)])
def test_fold_flatten_refuses_other_readers(tail: tuple[Node, ...]) -> None:
    error = refusal(chain(conv(), *([] if tail else [sign()]), Flatten("flat", "", ""), *tail))
    assert error.where == "flat"


def fused_conv(*nodes: Any) -> InputConv2d:
    graph = fuse_epilogue(chain(conv(), *nodes))
    assert len(graph.nodes) == 2
    layer = graph.nodes[1]
    assert isinstance(layer, InputConv2d)
    assert layer.name == "conv"
    return layer


def test_fuse_sign() -> None:
    layer = fused_conv(sign())
    assert (layer.source, layer.pool) == ("m.sign", None)
    assert isinstance(layer.epilogue, Threshold)


def test_fuse_pool_in_front_of_the_sign() -> None:
    layer = fused_conv(pool(), sign())
    assert layer.source == "m.sign"
    assert layer.pool is not None
    assert (layer.pool.stage, layer.pool.window) == (PoolStage.ACC, HALF)


def test_fuse_pool_behind_the_sign() -> None:
    layer = fused_conv(sign(), pool())
    assert layer.source == "m.pool"
    assert layer.pool is not None
    assert (layer.pool.stage, layer.pool.window) == (PoolStage.BIT, HALF)


def test_fuse_two_pools_on_one_side() -> None:
    layer = fused_conv(sign(flips=2), pool("p1"), pool("p2", Window(2, 3)))
    assert layer.pool is not None
    assert (layer.pool.stage, layer.pool.window) == (PoolStage.BIT, Window(4, 6, 2, 2))


def test_fuse_pools_on_both_sides_of_rising_signs() -> None:
    layer = fused_conv(pool("p1"), sign(), pool("p2"))
    assert layer.pool is not None
    assert (layer.pool.stage, layer.pool.window) == (PoolStage.ACC, Window(4, 4, 4, 4))


def test_fuse_scale_and_raw_result() -> None:
    assert fused_conv(ScaleLogits("logits", "m.logits", "", SCALE)).epilogue is SCALE
    raw = fused_conv()
    assert raw.source == "m.conv"
    assert isinstance(raw.epilogue, Scale)
    assert raw.epilogue.multiplier.tolist() == [1, 1, 1]


def test_fuse_rewires_following_layers() -> None:
    second = BinaryConv2d("second", "", "", bits(RNG, 2, 2, 2, 3), Window(2, 2), PadMode.ZERO)
    graph = fuse_epilogue(chain(conv(), sign(), pool(), second, sign("sign2", 2)))
    assert names_of(graph) == [("conv", "image"), ("second", "conv")]


@pytest.mark.parametrize(
    ("nodes", "where", "said"),
    [
        ((pool("p1"), sign(flips=1), pool("p2")), "p2", "falls in some channels"),
        ((sign(), pool("p1"), pool("p2", Window(2, 2, 1, 1, 1))), "p2", "not one"),
        ((sign(), pool("p1", Window(1, 1, 2, 2)), pool("p2", Window(2, 2))), "p2", "not one"),
        ((pool(), ScaleLogits("logits", "", "", SCALE)), "pool", "in front of scaled logits"),
        ((pool(),), "pool", "accumulators that 0 nodes read"),
    ],
)
def test_fuse_refuses(nodes: tuple[Node, ...], where: str, said: str) -> None:
    error = refusal(chain(conv(), *nodes))
    assert error.where == where
    assert said in error.what


def test_fuse_refuses_pools_of_dense_layers() -> None:
    dense = BinaryDense("dense", "", "", bits(RNG, 2, 1, 1, 8 * 8 * 3))
    wide = pool("wide", Window(2, 2, 1, 1, 1, 1, 1, 1))
    error = refusal(chain(conv(), sign(), Flatten("flat", "", ""), dense, sign("s2", 2), wide))
    assert error.where == "wide"


def test_fuse_refuses_layers_on_accumulators() -> None:
    """A flatten of accumulators reaches fuse_epilogue only when it is run alone."""
    graph = chain(conv(), Flatten("flat", "", ""), sign("s2", 8 * 8 * 3))
    with pytest.raises(PicobnnError) as caught:
        fuse_epilogue(graph)
    assert caught.value.where == "flat"


axes = st.tuples(st.integers(1, 4), st.integers(1, 3))


@settings(deadline=None, max_examples=200)
@given(axes, axes, st.integers(0, 3), st.integers(0, 3), st.integers(1, 16), st.integers(0, 2**32 - 1))
def test_merged_window_equals_two_pools(
    first: tuple[int, int], second: tuple[int, int], top: int, bottom: int, extent: int, seed: int
) -> None:
    size, stride = first
    one = Window(size, 1, stride, 1, min(top, size - 1), 0, min(bottom, size - 1), 0)
    two = Window(second[0], 1, second[1], 1)
    merged = merge_windows(one, two)
    assert (merged is None) == (stride > size and second[0] > 1)
    values = np.random.default_rng(seed).integers(-9, 10, extent)

    def slide(source: Any, window: Window) -> list[int]:
        rows, _ = window.output_size(len(source), 1)
        starts = [row * window.stride_y - window.pad_top for row in range(max(rows, 0))]
        return [max(source[max(start, 0) : start + window.height]) for start in starts]

    if merged is not None:
        assert slide(values, merged) == slide(slide(values, one), two)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["image", "minus_one", "zero", "dense"]))
def test_canonical_threshold_is_the_least_of_its_function(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    outputs = 4
    window = Window(*rng.integers(1, 4, 2).tolist(), *rng.integers(1, 3, 2).tolist(), *rng.integers(0, 2, 4).tolist())
    weights = bits(rng, outputs, window.height, window.width, 2)
    largest = 1
    if kind == "image":
        reach = reach_of_input_conv(weights, window, 4, 4, int(rng.choice([0, 3, 255])))
    else:
        values = WeightValues(weights, masks(rng, weights), domains(rng))
        largest = max(abs(value) for value in values.domain.values)
        reach = reach_of_dense(values) if kind == "dense" else reach_of_binary_conv(values, window, 4, 4, PadMode(kind))
    before = thresholds(rng, outputs, weights[0].size, largest)
    after = canonical_threshold(before, reach)
    again = canonical_threshold(after, reach)
    assert after.thresholds.dtype == np.int32
    for o in range(outputs):
        reachable = sorted(
            {
                v
                for low, high, stride in zip(reach.low[:, o], reach.high[:, o], reach.stride[:, o], strict=True)
                for v in range(low, high + 1, stride)
            }
        )
        old = [(v >= before.thresholds[o]) ^ bool(before.flip[o]) for v in reachable]
        new = [(v >= after.thresholds[o]) ^ bool(after.flip[o]) for v in reachable]
        assert old == new
        if all(old) or not any(old):
            assert (after.thresholds[o], after.flip[o]) == (reachable[0], 0 if old[0] else 1)
        else:
            change = next(high for low, high in pairwise(range(len(old))) if old[low] != old[high])
            assert after.thresholds[o] == reachable[change]
        assert (again.thresholds[o], again.flip[o]) == (after.thresholds[o], after.flip[o])


@settings(deadline=None, max_examples=40)
@given(graphs())
def test_pipeline_leaves_only_fused_layers(graph: Graph) -> None:
    result = run_pipeline(graph)
    for node in result.nodes[1:]:
        assert isinstance(node, InputConv2d | BinaryConv2d | BinaryDense)
        assert node.epilogue is not None


@given(st.integers(0, 12), st.integers(-4096, 4096), st.integers(-(2**31), 2**31 - 1), st.integers(0, 1))
def test_reduced_domains_give_the_same_bits(shift: int, ratio: int, limit: int, flip: int) -> None:
    """For every pair of sums of six inputs: (acc >= T) xor flip before and after."""
    epilogue = Threshold(np.array([limit], np.int32), np.array([flip], np.uint8))
    domain = WeightDomain(shift, ratio)
    node = BinaryDense("d", "d", "x", bits(RNG, 1, 1, 1, 6), domain, epilogue)
    reduced = reduce_domains(Graph("g", (InputImage("x", Shape(1, 1, 6), 0), node))).nodes[1]
    assert isinstance(reduced, BinaryDense)
    assert isinstance(reduced.epilogue, Threshold)
    after = reduced.domain
    assert after.shift == 0 or after.ratio % 2
    for chosen in range(-6, 7):
        for every in range(-6, 7):
            before_bit = (2**shift * chosen + ratio * every >= limit) ^ flip
            acc = 2**after.shift * chosen + after.ratio * every
            assert before_bit == (acc >= int(reduced.epilogue.thresholds[0])) ^ int(reduced.epilogue.flip[0])


def test_a_scale_keeps_its_domain() -> None:
    node = BinaryDense("d", "d", "x", bits(RNG, 3, 1, 1, 6), WeightDomain(4, -8), SCALE)
    graph = Graph("g", (InputImage("x", Shape(1, 1, 6), 0), node))
    assert reduce_domains(graph).nodes[1] is node
