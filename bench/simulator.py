# SPDX-License-Identifier: Apache-2.0
"""Images per second of the bit-sliced executor beside PyTorch eval in float32, on one network, in one run.

The network is random: 28x28x1 -> conv 3x3 (32) -> pool -> conv 3x3 (64) -> pool -> conv 3x3 (128) -> dense (10), with
batch norm and sign between. The PyTorch side is made as fast as plain PyTorch goes: weights are stored as -1 and +1,
padding is the convolution's own, images are float32 before the clock starts. Both sides' logits are compared.
Rounds are interleaved, so that a busy machine slows all of them; figures are medians of the rounds.

    python bench/simulator.py [--json] [--threads 2] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Tensor, verify_program
from picobnn.codegen.vocabulary import ElementKind, PadMode, Pool, PoolStage, Scale, Shape, Threshold, Window
from picobnn.sim.executor import CythonExecutor, Simd

BATCHES = (64, 128, 256, 512)  # PyTorch's own best is found first
IMAGES_CYTHON = 8192
IMAGES_TORCH = 2048


def bench_program(seed: int = 0) -> Program:
    """The network with random weights and thresholds near the middle, so that no bit is constant."""
    rng = np.random.default_rng(seed)
    same, halve = Window(3, 3, 1, 1, 1, 1, 1, 1), Pool(Window(2, 2, 2, 2), PoolStage.ACC)

    def bits(*shape: int) -> npt.NDArray[np.uint8]:
        return rng.integers(0, 2, shape, dtype=np.uint8)

    def threshold(channels: int, spread: float) -> Threshold:
        middle = rng.normal(0.0, spread, channels).round().astype(np.int32)
        return Threshold(middle, bits(channels))

    scale = Scale(rng.integers(100, 500, 10).astype(np.int32), rng.integers(-1000, 1000, 10).astype(np.int32))
    tensors = (
        Tensor("image", Shape(28, 28, 1), ElementKind.UINT8),
        Tensor("bits1", Shape(14, 14, 32), ElementKind.BIT),
        Tensor("bits2", Shape(7, 7, 64), ElementKind.BIT),
        Tensor("bits3", Shape(7, 7, 128), ElementKind.BIT),
        Tensor("logits", Shape(1, 1, 10), ElementKind.INT32),
    )
    zero = PadMode.ZERO
    program = Program(
        "bench",
        0,
        tensors,
        (
            InputConv2dStep("conv1", "conv1", 0, 1, bits(32, 3, 3, 1), same, halve, threshold(32, 200.0)),
            BinaryConv2dStep("conv2", "conv2", 1, 2, bits(64, 3, 3, 32), same, zero, halve, threshold(64, 15.0)),
            BinaryConv2dStep("conv3", "conv3", 2, 3, bits(128, 3, 3, 64), same, zero, None, threshold(128, 20.0)),
            BinaryDenseStep("dense", "dense", 3, 4, bits(10, 7, 7, 128), scale),
        ),
    )
    verify_program(program)
    return program


class Sign(nn.Module):
    """Never sees 0: thresholds lie between integers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sign(x)


def torch_network(program: Program) -> nn.Sequential:
    """The same network as plain float modules in eval mode; exact, since all its numbers stay below 2**24."""
    modules: list[nn.Module] = []
    for step in program.steps:
        weights = torch.from_numpy(step.weights.astype(np.float32) * 2 - 1).permute(0, 3, 1, 2).contiguous()
        outputs = len(weights)
        norm: nn.BatchNorm1d | nn.BatchNorm2d
        if isinstance(step, BinaryDenseStep):
            dense = nn.Linear(weights[0].numel(), outputs, bias=False)
            dense.weight = nn.Parameter(weights.reshape(outputs, -1))
            norm = nn.BatchNorm1d(outputs, eps=0.0)
            modules += [nn.Flatten(), dense, norm]
        else:
            convolution = nn.Conv2d(weights.shape[1], outputs, 3, padding=1, bias=False)
            convolution.weight = nn.Parameter(weights)
            norm = nn.BatchNorm2d(outputs, eps=0.0)
            modules += [convolution, *([nn.MaxPool2d(2)] if step.pool else []), norm, Sign()]
        assert norm.running_mean is not None
        if isinstance(step.epilogue, Scale):
            norm.weight = nn.Parameter(torch.from_numpy(step.epilogue.multiplier.astype(np.float32)))
            norm.bias = nn.Parameter(torch.from_numpy(step.epilogue.bias.astype(np.float32)))
        else:
            norm.running_mean.copy_(torch.from_numpy(step.epilogue.thresholds - 0.5))
            norm.weight = nn.Parameter(torch.from_numpy(1.0 - 2.0 * step.epilogue.flip.astype(np.float32)))
    return nn.Sequential(*modules).eval()


def torch_runner(
    program: Program, images: npt.NDArray[np.uint8], memory_format: torch.memory_format, batch: int
) -> Callable[[], npt.NDArray[np.int32]]:
    """Logits of all images, batch by batch."""
    network = torch_network(program).to(memory_format=memory_format)  # type: ignore[call-overload]
    floats = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32)
    batches = [part.contiguous(memory_format=memory_format) for part in torch.split(floats, batch)]

    def run() -> npt.NDArray[np.int32]:
        with torch.inference_mode():
            return torch.cat([network(part) for part in batches]).numpy().astype(np.int32)

    return run


def seconds_of(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(threads: int, rounds: int) -> dict[str, object]:
    """Images per second of every contender, the ratios, and the machine."""
    torch.set_num_threads(threads)
    program = bench_program()
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (IMAGES_CYTHON, 28, 28, 1), dtype=np.uint8)
    few = images[:IMAGES_TORCH]
    formats = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
    runners: dict[str, tuple[int, Callable[[], npt.NDArray[np.int32]]]] = {}
    for name, memory_format in formats.items():
        candidates = [torch_runner(program, few, memory_format, batch) for batch in BATCHES]
        best = min(candidates, key=lambda run: min(seconds_of(run) for _ in range(3)))
        runners[f"pytorch_{name}"] = (len(few), best)
    for simd in (Simd.PORTABLE, Simd.AUTO):
        executor = CythonExecutor(program, threads, simd)
        runners[f"cython_{executor.simd.value}"] = (len(images), partial(executor.run, images))
    logits = {name: run()[: len(few)] for name, (_, run) in runners.items()}
    expected = logits["pytorch_nchw"]
    differences = sum(int((expected != found).any(axis=1).sum()) for found in logits.values())
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, (_, run) in runners.items():
            seconds[name].append(seconds_of(run))
    rates = {name: count / statistics.median(seconds[name]) for name, (count, _) in runners.items()}
    fastest = max(rates["pytorch_nchw"], rates["pytorch_channels_last"])
    return {
        "images_per_second": {name: round(rate) for name, rate in rates.items()},
        "ratio_to_pytorch": {
            name.removeprefix("cython_"): round(rate / fastest, 2)
            for name, rate in rates.items()
            if name.startswith("cython")
        },
        "images_compared": len(few),
        "images_different": differences,
        "threads": threads,
        "rounds": rounds,
        "machine": machine(),
    }


def machine() -> dict[str, str]:
    """What the figures depend on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": str(len(names)),
        "python": platform.python_version(),
        "pytorch": torch.__version__,
        "numpy": np.__version__,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Bit-sliced executor beside PyTorch eval, images per second.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    result = measure(options.threads, options.rounds)
    if options.json:
        print(json.dumps(result, indent=2))
        return 0
    rates, ratios = result["images_per_second"], result["ratio_to_pytorch"]
    assert isinstance(rates, dict)
    assert isinstance(ratios, dict)
    print(f"{'executor':<24}{'images/s':>12}{'x PyTorch':>12}")
    for name, rate in rates.items():
        ratio = ratios.get(name.removeprefix("cython_"), "")
        print(f"{name:<24}{rate:>12,}{ratio:>12}")
    print(f"{result['threads']} threads, median of {result['rounds']} rounds, interleaved; {result['machine']}")
    print(f"logits differ on {result['images_different']} of {result['images_compared']} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
