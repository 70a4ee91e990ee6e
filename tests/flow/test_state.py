# SPDX-License-Identifier: Apache-2.0
"""What a run remembers: nothing stale is kept, a failure is not a result, options are never dropped silently."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from picobnn.codegen.bnn_file import read_bnn
from picobnn.errors import ErrorId, PicobnnError
from picobnn.flow.chain import demo_config, run_chain
from picobnn.flow.export import export
from picobnn.flow.image import generate, golden_vectors
from picobnn.flow.prune import prune
from picobnn.flow.report import report
from picobnn.flow.run_directory import RunDirectory
from picobnn.flow.state import export_is_done, prune_is_done, train_is_done, verify_is_done
from picobnn.flow.steps import ChainStep
from picobnn.flow.train import train
from picobnn.flow.vectors import Vectors, read_vectors, write_vectors
from tests.support.small_run import make_small_run, small_config

HOST_ONLY = "verify.on=['torch','cython']"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_small_run(tmp_path_factory.mktemp("state") / "small")


@pytest.fixture
def run(small: RunDirectory, tmp_path: Path) -> RunDirectory:
    shutil.copytree(small.path, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def test_a_difference_is_not_a_finished_verification(run: RunDirectory) -> None:
    """The planted difference fails the chain again and again, and the report."""
    config = small_config(HOST_ONLY)
    result = json.loads(run.export_result.read_text())
    first = run_chain(config, run, until=ChainStep.VERIFY)
    assert first.done == ("build", "verify")
    found = json.loads(run.verify_result.read_text())
    found["mismatches"] = found["results"][0]["mismatches"] = 3
    run.verify_result.write_text(json.dumps(found))
    assert not verify_is_done(run, config, ("mps2-an386",))
    failure = report(run).failure(config)
    assert failure is not None
    assert failure.error_id is ErrorId.MISMATCH
    assert "verify" in run_chain(config, run, until=ChainStep.VERIFY).done
    assert report(run).failure(config) is None
    assert json.loads(run.export_result.read_text()) == result


def test_pruning_again_makes_everything_behind_it_again(run: RunDirectory) -> None:
    config = small_config(HOST_ONLY, "prune.rate=0.6")
    run_chain(small_config(HOST_ONLY), run, until=ChainStep.VERIFY)
    before = run.program.read_bytes()
    prune(config, run)
    assert not run.program.exists()
    assert not run.verify_result.exists()
    outcome = run_chain(config, run, until=ChainStep.VERIFY)
    assert outcome.kept == ("train", "prune")
    assert run.program.read_bytes() != before
    kept = [layer["kept"] for layer in json.loads(run.prune_result.read_text())["layers"]]
    assert [len(step.weights) for step in read_bnn(run.program).steps[:-1]] == kept


def test_a_smaller_verification_does_not_count_for_the_configured_one(run: RunDirectory) -> None:
    run_chain(small_config("verify.on=['cython']", "verify.vectors=10"), run, until=ChainStep.VERIFY)
    assert verify_is_done(run, small_config("verify.on=['cython']", "verify.vectors=10"), ())
    assert not verify_is_done(run, small_config("verify.on=['cython']", "verify.vectors=40"), ())
    assert not verify_is_done(run, small_config(HOST_ONLY, "verify.vectors=10"), ())


def test_every_result_is_bound_to_its_files(run: RunDirectory) -> None:
    assert train_is_done(run)
    assert prune_is_done(run)
    assert export_is_done(run)
    with run.pruned_checkpoint.open("ab") as file:
        file.write(b"x")
    assert train_is_done(run)
    assert not prune_is_done(run)
    assert not export_is_done(run)
    with run.dense_checkpoint.open("ab") as file:
        file.write(b"x")
    assert not train_is_done(run)
    assert "prune.json" in report_stale(run)


def report_stale(run: RunDirectory) -> tuple[str, ...]:
    exported = json.loads(run.export_result.read_text())
    found = {"model_hash": exported["model_hash"], "mismatches": 0, "results": [], "skipped": {}}
    run.verify_result.write_text(json.dumps(found))
    return report(run).stale


def test_a_finished_training_is_kept_with_its_time(run: RunDirectory) -> None:
    before = json.loads(run.train_result.read_text())
    assert train(small_config(), run).as_dict() == before
    assert before["seconds"] > 0.05
    assert before["summary"]["weight_bits"] == sum(layer["weight_bits"] for layer in before["summary"]["layers"])
    again = run_chain(small_config(HOST_ONLY), run, start=ChainStep.TRAIN, until=ChainStep.TRAIN)
    assert again.done == ("train",)
    assert not run.program.exists()


def test_a_setting_that_contradicts_the_run_is_refused(run: RunDirectory) -> None:
    with pytest.raises(PicobnnError) as caught:
        train(small_config("train.epochs=5"), run)
    assert caught.value.error_id is ErrorId.CONFIG_VALUE
    assert "train.epochs" in caught.value.what
    with pytest.raises(PicobnnError):
        prune(small_config("model.widths=[4, 4, 4]"), run)
    prune(small_config("prune.rate=0.5", "data.root="), run)


def test_a_damaged_result_is_an_error(run: RunDirectory) -> None:
    run.train_result.write_text('{"network":')
    with pytest.raises(PicobnnError) as caught:
        report(run)
    assert caught.value.error_id is ErrorId.DATA_FORMAT
    run.train_result.write_text("[]")
    with pytest.raises(PicobnnError):
        train_is_done(run)


def test_generate_restores_what_was_changed_behind_the_manifest(run: RunDirectory, tmp_path: Path) -> None:
    program, vectors, folder = read_bnn(run.program), golden_vectors(run.golden), tmp_path / "fw"
    generate(program, folder, "mps2-an386", small_config(), vectors)
    weights = folder / "digits_cnn_weights.c"
    text = weights.read_bytes()
    weights.write_bytes(text + b"/* edited */")
    (folder / "digits_cnn.c").unlink()
    (folder / "manifest.json").write_bytes(b"\xff\xfe")
    generate(program, folder, "mps2-an386", small_config(), vectors)
    assert weights.read_bytes() == text
    assert (folder / "digits_cnn.c").is_file()


def test_the_prefix_is_the_programs_own_name(run: RunDirectory, tmp_path: Path) -> None:
    from dataclasses import replace

    program = replace(read_bnn(run.program), name="7 segments!")
    generate(program, tmp_path / "fw", "mps2-an386", small_config(), None)
    assert (tmp_path / "fw" / "model_7_segments_.h").is_file()


def test_export_of_the_same_checkpoint_keeps_its_verification(run: RunDirectory) -> None:
    config = small_config(HOST_ONLY)
    run_chain(config, run, until=ChainStep.VERIFY)
    export(config, run)
    assert run.verify_result.is_file()
    export(config, run, run.dense_checkpoint)
    assert not run.verify_result.is_file()


def test_the_demo_is_the_demo_whatever_lies_in_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from picobnn.cli.common import Invocation

    monkeypatch.chdir(tmp_path)
    Path("picobnn.toml").write_text("[model]\nname = 'fmnist_cnn'\n")
    call = Invocation(None, ("prune.rate=0.4",), json=False, quiet=True)
    assert call.config.model.name == "fmnist_cnn"
    assert demo_config(call.config_over(None)).model.name == "digits_cnn"
    assert demo_config(call.config_over(None)).prune.rate == 0.4


def test_vectors_of_a_program_are_stored_as_equal_bytes(run: RunDirectory, tmp_path: Path) -> None:
    vectors = read_vectors(run.golden)
    write_vectors(tmp_path / "again.npz", vectors)
    assert (tmp_path / "again.npz").read_bytes() == run.golden.read_bytes()
    wrong = Vectors(vectors.images, vectors.labels[:-1], vectors.logits)
    write_vectors(tmp_path / "wrong.npz", wrong)
    with pytest.raises(PicobnnError) as caught:
        read_vectors(tmp_path / "wrong.npz")
    assert caught.value.error_id is ErrorId.DATA_FORMAT
