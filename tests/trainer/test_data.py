# SPDX-License-Identifier: Apache-2.0
"""Readers refuse damaged files; data sets have fixed splits that share no image. No test touches the network."""

from __future__ import annotations

import contextlib
import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.data import (
    DATASETS,
    Dataset,
    Split,
    dataset_folder,
    dataset_info,
    fetch_dataset,
    fmnist,
    load_dataset,
    read_idx,
    read_npz,
)


def _idx(array: npt.NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def _fails(error: ErrorId) -> pytest.RaisesExc[PicobnnError]:
    return pytest.raises(PicobnnError, check=lambda caught: caught.error_id is error)


@pytest.mark.parametrize("shape", [(7,), (3, 4, 5), (2, 3, 4, 1), (0, 28, 28)])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_round_trip(tmp_path: Path, shape: tuple[int, ...], packed: bool) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / ("a.gz" if packed else "a")
    path.write_bytes(gzip.compress(_idx(array)) if packed else _idx(array))
    found = read_idx(path)
    assert found.dtype == np.uint8
    assert np.array_equal(found, array)
    assert found.flags.writeable


_GOOD = _idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0",
        b"PK\3\4" + _GOOD,
        _GOOD[:10],
        _GOOD[:-1],
        _GOOD + b"x",
        b"\0\0\x0d\1" + _GOOD[4:],
        b"\0\0\x08\0",
        b"\0\0\x08\x03" + b"\xff" * 12,
    ],
)
def test_damaged_idx(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    with _fails(ErrorId.DATA_FORMAT):
        read_idx(path)


def test_damaged_gzip(tmp_path: Path) -> None:
    packed = gzip.compress(_GOOD)
    path = tmp_path / "a.gz"
    for data in (_GOOD, packed[:-9], packed[:12] + b"\xff\xff\xff" + packed[15:]):
        path.write_bytes(data)
        with _fails(ErrorId.DATA_FORMAT):
            read_idx(path)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=60))
def test_any_bytes_give_an_array_or_our_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    with contextlib.suppress(PicobnnError):  # anything else would fail the test
        read_idx(path)


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(3))
    assert read_npz(path, ("x",))[0].tolist() == [0, 1, 2]
    with _fails(ErrorId.DATA_FORMAT):
        read_npz(path, ("y",))
    path.write_bytes(path.read_bytes()[:40])
    with _fails(ErrorId.DATA_FORMAT):
        read_npz(path, ("x",))
    np.savez(path, x=np.array([object()]))
    with _fails(ErrorId.DATA_FORMAT):
        read_npz(path, ("x",))
    with _fails(ErrorId.FILE_MISSING):
        read_npz(tmp_path / "b.npz", ("x",))


def test_digits_split_is_whole_disjoint_and_stratified() -> None:
    dataset = load_dataset("digits")
    assert [len(split) for split in (dataset.train, dataset.val, dataset.test)] == [1257, 185, 355]
    everything = np.concatenate([dataset.train.images, dataset.val.images, dataset.test.images])
    assert len(everything) == 1797
    unique = {image.tobytes() for image in everything}
    assert len(unique) == len({image.tobytes() for image in np.unique(everything, axis=0)})
    assert min(np.bincount(dataset.test.labels)) >= 34
    assert everything.max() == 255
    assert dataset.licence == "CC BY 4.0"
    assert dataset.classes == tuple("0123456789")


def test_fashion_mnist_from_a_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    for name, count in (("train", 5_010), ("t10k", 7)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(_idx(images))
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_idx(labels)))
    for root in (tmp_path, folder):
        assert dataset_folder("fmnist", root) == folder
        dataset = load_dataset("fmnist", root)
        assert [len(split) for split in (dataset.train, dataset.val, dataset.test)] == [10, 5_000, 7]
        assert np.array_equal(dataset.test.images[..., 0], images)
        assert np.array_equal(dataset.test.labels, labels)
    assert fetch_dataset("fmnist", folder) == folder


def test_missing_fashion_mnist_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(PicobnnError) as caught:
        load_dataset("fmnist", tmp_path)
    assert caught.value.error_id is ErrorId.DATA_MISSING
    assert "apt-get install dataset-fashion-mnist" in caught.value.remedy


@pytest.mark.skipif(not fmnist.DEBIAN_FOLDER.is_dir(), reason="needs the Debian package dataset-fashion-mnist")
def test_fashion_mnist_of_debian() -> None:
    dataset = fmnist.load(fmnist.DEBIAN_FOLDER)
    assert [len(split) for split in (dataset.train, dataset.val, dataset.test)] == [55_000, 5_000, 10_000]
    assert np.bincount(dataset.test.labels).tolist() == [1000] * 10


def test_a_fetched_file_must_have_its_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    for name in fmnist.FILES:
        (origin / f"{name}.gz").write_bytes(gzip.compress(b"not the data"))
    monkeypatch.setattr(fmnist, "URL", f"{origin.as_uri()}/")
    target = tmp_path / "target"
    with _fails(ErrorId.DATA_CHECKSUM):
        fetch_dataset("fmnist", target)
    assert list(target.iterdir()) == []
    (origin / "train-images-idx3-ubyte.gz").unlink()
    with _fails(ErrorId.DATA_MISSING):
        fetch_dataset("fmnist", target)


def test_names() -> None:
    assert DATASETS == ("digits", "fmnist")
    assert dataset_info("fmnist").licence == "MIT"
    assert dataset_folder("digits") == fetch_dataset("digits")
    with _fails(ErrorId.CONFIG_VALUE):
        load_dataset("mnits")


def test_a_data_set_checks_its_splits() -> None:
    info = dataset_info("digits")
    good = Split(np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 9]))
    Dataset(info, good, good, good)
    for bad in (
        Split(np.zeros((2, 8, 8), np.uint8), np.array([0, 9])),
        Split(np.zeros((2, 8, 8, 1), np.float32), np.array([0, 9])),  # type: ignore[arg-type]
        Split(np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 10])),
        Split(np.zeros((2, 8, 8, 1), np.uint8), np.array([0])),
    ):
        with _fails(ErrorId.DATA_FORMAT):
            Dataset(info, good, good, bad)
