# SPDX-License-Identifier: Apache-2.0
"""The figures of the whole chain, row by row, each with its bar: what the README's table says.

    python bench/chain.py --json                            # everything, about 15 minutes on two idle cores
    python bench/chain.py --only demo,memory
    python bench/chain.py --json --write bench/results/chain.json

Rows: demo, fmnist (train and prune), equality (10,000 images on executors 1 to 4, 200 on every emulated board),
simulator, training, memory, warnings, tests. Runs lie under --runs; rows that need the Fashion-MNIST run train it when
it is not there. Timings want an idle machine.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from picobnn.config import Config, load_config
from picobnn.flow.analyze import analyze
from picobnn.flow.chain import demo, demo_config
from picobnn.flow.export import export, export_program, load_network
from picobnn.flow.image import build_outcome, golden_vectors, load_program, make_image
from picobnn.flow.prune import prune
from picobnn.flow.run_directory import RunDirectory, create_run
from picobnn.flow.state import export_is_done, prune_is_done, read_result, train_is_done
from picobnn.flow.train import load_data, train
from picobnn.flow.verify import VerifyRequest, request_of, verify

ROOT = Path(__file__).resolve().parents[1]
FMNIST_BOARDS = (
    "mps2-an385", "mps2-an385-v6m", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547", "netduinoplus2",
)  # fmt: skip
WARNING_CORES = ("m0", "m3", "m4", "m7", "m33", "m55")
WARNING_FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")

Row = dict[str, Any]


def fmnist_config() -> Config:
    """The configuration that ``examples/fmnist.toml`` gives a user, on two CPU threads."""
    return load_config(ROOT / "examples" / "fmnist.toml", ["train.threads=2"])


def row_demo(runs: Path) -> Row:
    """`make demo` after downloads: the same function in this process, from nothing."""
    config = demo_config(Config())
    with tempfile.TemporaryDirectory(dir=runs) as folder:
        result = demo(config, create_run(config, path=Path(folder) / "demo"))
    row = result.as_dict()
    row.pop("run")
    row["met"] = result.seconds <= 120 and not any(result.mismatches.values()) and result.vectors["emulator"] >= 100
    return row


def fmnist_run(runs: Path) -> RunDirectory:
    """The Fashion-MNIST run, trained and pruned once."""
    config, run = fmnist_config(), RunDirectory(runs / "fmnist")
    if not run.config.is_file():
        create_run(config, path=run.path)
    if not train_is_done(run):
        train(config, run)
    if not prune_is_done(run):
        prune(config, run)
    if not export_is_done(run):
        export(config, run)
    return run


def row_fmnist(runs: Path) -> Row:
    """Dense and pruned accuracy and the wall time of both, two CPU threads."""
    run = fmnist_run(runs)
    trained, pruned = read_result(run.train_result), read_result(run.prune_result)
    assert trained is not None
    assert pruned is not None
    return {
        "dense_accuracy": trained["test_accuracy"],
        "dense_seconds": trained["seconds"],
        "pruned_accuracy": pruned["test_accuracy"],
        "filters_removed": pruned["filters_removed"],
        "pruned_seconds": pruned["seconds"],
        "method": pruned["method"],
        "execution": trained["execution"],
        "met": trained["test_accuracy"] >= 0.90
        and trained["seconds"] <= 240
        and pruned["test_accuracy"] >= 0.885
        and pruned["filters_removed"] >= 0.35
        and pruned["seconds"] <= 480,
    }


def row_equality(runs: Path) -> Row:
    """PyTorch = reference = Cython = host C on all test images; the emulated boards on 200 each."""
    config, run = fmnist_config(), fmnist_run(runs)
    request = VerifyRequest(config.verify.on, FMNIST_BOARDS, 0, 200, explicit=True)
    results = list(verify(config, request, run=run).results)
    with tempfile.TemporaryDirectory(dir=runs) as folder:
        digits = demo_config(load_config(None, ["verify.boards=['microbit']"]))
        demo_run = create_run(digits, path=Path(folder) / "digits")
        demo(digits, demo_run)
        request = VerifyRequest(request_of(digits, ["emulator"]).executors, ("microbit",), 0, 200, explicit=True)
        results += verify(digits, request, run=demo_run).results
    return {
        "vectors": {result.executor: result.vectors for result in results},
        "mismatches": {result.executor: result.mismatches for result in results},
        "met": not any(result.mismatches for result in results) and all(result.vectors >= 200 for result in results),
    }


def row_simulator(_runs: Path) -> Row:
    """Cython executor beside PyTorch eval, images/s, two threads."""
    result = _script("simulator.py", "--json")
    ratio = result["ratio_to_pytorch"]
    result["met"] = ratio["portable"] >= 5 and ratio.get("avx2", 0) >= 10 and result["images_different"] == 0
    return result


def row_training(_runs: Path) -> Row:
    """What the automatic choice of dtype and memory format reaches of the best of the four."""
    result = _script("training.py", "--json", "--seeds")
    throughput: Row = result["throughput"]
    return {**throughput, "met": throughput["share_of_best"] >= 0.95}


def row_memory(runs: Path) -> Row:
    """The dense network with packed weights on M4: the map file against the bars and against `analyze`."""
    config, run = fmnist_config(), fmnist_run(runs)
    images = load_data(config).test.images[:8]
    program, logits = export_program(load_network(run.dense_checkpoint), config.model.name, images)
    with tempfile.TemporaryDirectory(dir=runs) as name:
        folder = Path(name)
        from picobnn.codegen.bnn_file import write_bnn
        from picobnn.flow.vectors import Vectors, write_vectors

        write_bnn(program, folder / "model.bnn")
        write_vectors(folder / "golden.npz", Vectors(images, load_data(config).test.labels[:8], logits))
        image = make_image(program, folder / "fw", "mps2-an386", config, golden_vectors(folder / "golden.npz"))
        sizes = build_outcome(image)
        told = analyze(config, folder / "model.bnn", folder / "golden.npz", ["mps2-an386"], with_cycles=False).boards[0]
    weight_bits = sum(step.weights.size for step in program.steps)
    buffers = {buffer.tensor: buffer.size_bytes for buffer in image.manifest.buffers}
    largest = max(buffers[step.input] + buffers[step.output] for step in image.manifest.steps)
    flash_bar, ram_bar = int(1.1 * weight_bits / 8) + 8192, int(1.25 * largest) + 512
    return {
        "packed_weight_bytes": weight_bits // 8,
        "weight_bytes": sizes.weight_bytes,
        "flash_bytes": sizes.flash_bytes,
        "flash_bar_bytes": flash_bar,
        "ram_bytes": sizes.ram_bytes,
        "ram_bar_bytes": ram_bar,
        "analyze": {"weight": told.table_bytes, "flash": told.flash_bytes, "ram": told.ram_bytes},
        "met": sizes.flash_bytes <= flash_bar
        and sizes.ram_bytes <= ram_bar
        and (told.table_bytes, told.flash_bytes, told.ram_bytes)
        == (sizes.weight_bytes, sizes.flash_bytes, sizes.ram_bytes),
    }


def row_warnings(runs: Path) -> Row:
    """Every emitted model file under the strict flags: host compiler, and the Arm compiler for every core."""
    from picobnn.codegen.targets import find_core

    config, run = fmnist_config(), fmnist_run(runs)
    program = load_program(run.program)
    failed: list[str] = []
    compiled = 0
    with tempfile.TemporaryDirectory(dir=runs) as name:
        folder = Path(name)
        from picobnn.flow.image import generate

        generate(program, folder / "fw", "mps2-an386", config, golden_vectors(run.golden))
        sources = sorted(path for path in (folder / "fw").glob("*.c") if path.name != "main.c")
        commands = {"host": ["cc"]}
        commands |= {core: ["arm-none-eabi-gcc", *find_core(core).compiler_flags] for core in WARNING_CORES}
        for target, command in commands.items():
            for source in sources:
                output = folder / "out.o"
                done = subprocess.run(
                    [*command, *WARNING_FLAGS, "-O2", "-c", str(source), "-o", str(output)],
                    capture_output=True, text=True, check=False,
                )  # fmt: skip
                compiled += 1
                if done.returncode or done.stderr:
                    failed.append(f"{target}: {source.name}")
    return {"compiled": compiled, "with_warnings": failed, "met": compiled > 0 and not failed}


def row_tests(_runs: Path) -> Row:
    """The default test suite with line coverage of picobnn, codegen, sim and harness."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--numprocesses=auto", "--dist=loadfile", "--cov", "--cov-report="],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    parts = ",".join(f"{room}/*" for room in ("picobnn", "codegen", "sim", "harness"))
    told = subprocess.run(
        [sys.executable, "-m", "coverage", "report", f"--include={parts}", "--format=total"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    coverage = int(told.stdout.strip() or 0)
    return {
        "summary": re.sub(r" in [\d.]+s.*", "", done.stdout.strip().splitlines()[-1].strip("= ")),
        "seconds": round(seconds, 1),
        "coverage_percent": coverage,
        "met": done.returncode == 0 and seconds <= 300 and coverage >= 90,
    }


ROWS: dict[str, Callable[[Path], Row]] = {
    "demo": row_demo,
    "fmnist": row_fmnist,
    "equality": row_equality,
    "simulator": row_simulator,
    "training": row_training,
    "memory": row_memory,
    "warnings": row_warnings,
    "tests": row_tests,
}


def _script(name: str, *arguments: str) -> Row:
    """The JSON of another benchmark, in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / name), *arguments], capture_output=True, text=True, check=True
    )
    result: Row = json.loads(done.stdout)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description="The figures of the whole chain with their bars.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", default=",".join(ROWS), help="rows, comma-separated")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "bench", help="folder of the runs")
    parser.add_argument("--write", type=Path, help="also write the JSON there, keeping rows that were not run")
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    results: dict[str, Row] = {}
    for name in options.only.split(","):
        print(f"{name} ...", file=sys.stderr, flush=True)
        began = time.perf_counter()
        results[name] = ROWS[name](options.runs)
        took = time.perf_counter() - began
        print(f"{name}: {'met' if results[name]['met'] else 'NOT met'} ({took:.0f} s)", file=sys.stderr, flush=True)
    if options.write is not None:
        kept = json.loads(options.write.read_text()) if options.write.is_file() else {}
        options.write.write_text(json.dumps({**kept, **results}, indent=2, sort_keys=True) + "\n")
    if options.json:
        print(json.dumps(results, sort_keys=True))
    else:
        for name, row in results.items():
            print(f"\n{name}: {'met' if row['met'] else 'NOT met'}")
            for key, value in row.items():
                print(f"  {key}: {value}")
    return 0 if all(row["met"] for row in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
