# SPDX-License-Identifier: Apache-2.0
"""Finding and running tools: absent, failing and hanging ones end in one error that says what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from picobnn.errors import ErrorId, PicobnnError
from picobnn.toolchain import APT_PACKAGES, build_firmware, compiler_version, find_tool, read_build_id, run_tool


def test_a_tool_on_path_is_found_and_run() -> None:
    assert find_tool("sh").name == "sh"
    result = run_tool(["sh", "-c", "echo $WORD"], where="test", environment={"WORD": "hello"})
    assert result.stdout == "hello\n"


@pytest.mark.parametrize("tool", ["arm-none-eabi-gcc", "qemu-system-arm", "make"])
def test_an_absent_tool_names_its_package(tool: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PicobnnError, match=f"apt-get install {APT_PACKAGES[tool]}") as error:
        find_tool(tool)
    assert error.value.error_id is ErrorId.TOOL_MISSING
    assert error.value.exit_code == 3


def test_building_without_a_compiler_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PicobnnError) as error:
        build_firmware(tmp_path)
    assert error.value.error_id is ErrorId.TOOL_MISSING
    assert not (tmp_path / "build").exists()


def test_a_tool_that_cannot_start_is_named(tmp_path: Path) -> None:
    with pytest.raises(PicobnnError, match="cannot be started") as error:
        run_tool([tmp_path / "absent"], where="test")
    assert error.value.error_id is ErrorId.TOOL_MISSING


def test_a_failing_tool_says_its_last_lines() -> None:
    script = "import sys; print(*range(100), sep='\\n', file=sys.stderr); sys.exit(3)"
    with pytest.raises(PicobnnError) as error:
        run_tool([sys.executable, "-c", script], where="test")
    assert error.value.error_id is ErrorId.TOOL_FAILED
    assert "code 3" in error.value.what
    assert "99" in error.value.what
    assert "\n50\n" not in error.value.what
    assert run_tool([sys.executable, "-c", script], where="test", check=False).returncode == 3


def test_a_hanging_tool_is_stopped() -> None:
    with pytest.raises(PicobnnError, match=r"did not end within 0\.2 s") as error:
        run_tool(["sleep", "20"], where="test", timeout_s=0.2)
    assert error.value.error_id is ErrorId.TOOL_FAILED


def test_the_version_is_one_line() -> None:
    assert "Python" in compiler_version(sys.executable)


def test_build_ids_come_from_elf_files_only(tmp_path: Path) -> None:
    with pytest.raises(PicobnnError) as error:
        read_build_id(tmp_path / "absent.elf")
    assert error.value.error_id is ErrorId.FILE_MISSING
    (tmp_path / "text.elf").write_text("no ELF")
    with pytest.raises(PicobnnError) as error:
        read_build_id(tmp_path / "text.elf")
    assert error.value.error_id is ErrorId.FLASH_FAILED
