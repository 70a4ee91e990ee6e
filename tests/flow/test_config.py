# SPDX-License-Identifier: Apache-2.0
"""The configuration: strict keys, units, overrides, and a resolved form that reads back to the same object."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picobnn.config import Config, config_toml, load_config, parse_bytes
from picobnn.errors import ErrorId, PicobnnError

ROOT = Path(__file__).resolve().parents[2]


def refusal(*overrides: str, path: Path | None = None) -> PicobnnError:
    with pytest.raises(PicobnnError) as caught:
        load_config(path, overrides)
    return caught.value


def test_defaults_read_back_from_the_resolved_form(tmp_path: Path) -> None:
    config = load_config(None, ["train.epochs=3", "budget.max_flash=32 KiB", "verify.boards=['microbit']"])
    (tmp_path / "picobnn.toml").write_text(config_toml(config))
    assert load_config(tmp_path / "picobnn.toml") == config
    assert config.budget.max_flash == 32768


@pytest.mark.parametrize(
    ("override", "error_id", "part"),
    [
        ("train.epoch=3", ErrorId.CONFIG_UNKNOWN_KEY, "epochs"),
        ("trian.epochs=3", ErrorId.CONFIG_UNKNOWN_KEY, "train"),
        ("train.epochs=0", ErrorId.CONFIG_VALUE, "epochs"),
        ("train.epochs='many'", ErrorId.CONFIG_VALUE, "epochs"),
        ("prune.method=magic", ErrorId.CONFIG_VALUE, "sensitivity"),
        ("budget.max_flash=3 furlongs", ErrorId.CONFIG_VALUE, "KiB"),
        ("epochs", ErrorId.CONFIG_VALUE, "section.key=value"),
    ],
)
def test_a_wrong_key_or_value_names_itself_and_the_way_out(override: str, error_id: ErrorId, part: str) -> None:
    error = refusal(override)
    assert error.error_id is error_id
    assert error.exit_code == 2
    assert part in str(error)


def test_an_unknown_key_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "picobnn.toml"
    path.write_text("[train]\nlearning_rat = 0.1\n")
    error = refusal(path=path)
    assert error.error_id is ErrorId.CONFIG_UNKNOWN_KEY
    assert str(path) in error.where
    assert "learning_rate" in error.remedy


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    assert refusal(path=tmp_path / "none.toml").error_id is ErrorId.FILE_MISSING
    broken = tmp_path / "broken.toml"
    broken.write_text("[train\n")
    assert refusal(path=broken).error_id is ErrorId.CONFIG_FILE
    broken.write_bytes(b"\xff\xfe")
    assert refusal(path=broken).error_id is ErrorId.CONFIG_FILE


@given(st.integers(1, 10**9), st.sampled_from([("B", 1), ("KiB", 1024), ("MiB", 1024**2), ("kB", 1000), ("", 1)]))
def test_byte_quantities(value: int, unit: tuple[str, int]) -> None:
    assert parse_bytes(f"{value} {unit[0]}") == value * unit[1]
    assert parse_bytes(f"{value}{unit[0]}") == value * unit[1]


@given(st.text(max_size=12))
def test_no_override_ends_in_anything_but_a_configuration_error(text: str) -> None:
    with contextlib.suppress(PicobnnError):  # anything else fails the test
        load_config(None, [text, f"train.{text}", f"train.epochs={text}"])


def test_the_page_lists_every_key() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    for section, field in Config.model_fields.items():
        for key in field.annotation.model_fields:
            assert f"`{section}.{key}`" in page
