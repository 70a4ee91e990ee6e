# SPDX-License-Identifier: Apache-2.0
"""Splitting a strided map into phases touches no word behind them.

Whole 16 or 32 bits were merged where a row ends earlier, which read and wrote the word behind the last phase: what it
held stayed, unless an interrupt changed it in between.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.firmware import needs_compiler

RUNTIME = Path(__file__).parents[2] / "firmware_templates" / "runtime"
SOURCES = [str(RUNTIME / f"picobnn_planes_{part}.c") for part in ("block", "core", "gather")]
MAIN = """
#include <stdlib.h>
#include "picobnn_planes_map.h"

static void split(uint32_t height, uint32_t width, uint32_t stride_y, uint32_t stride_x)
{
    const uint32_t rows = (height + stride_y - 1u) / stride_y, columns = (width + stride_x - 1u) / stride_x;
    const uint32_t in_words = 3u * ((height * width + 31u) / 32u);
    const uint32_t phase_words = 3u * ((rows * columns + 31u) / 32u);
    uint32_t *input = malloc(4u * in_words), *scratch = malloc(4u * phase_words * stride_y * stride_x);
    picobnn_conv2d_shape shape = {0};

    shape.in_height = (uint16_t)height;
    shape.in_width = (uint16_t)width;
    shape.in_channels = 3u;
    shape.stride_y = (uint16_t)stride_y;
    shape.stride_x = (uint16_t)stride_x;
    for (uint32_t i = 0u; i < in_words; ++i) {
        input[i] = 0xFFFFFFFFu;
    }
    (void)picobnn_planes_split_phases(&shape, input, scratch);
    free(scratch);
    free(input);
}

int main(void)
{
    for (uint32_t width = 1u; width <= 66u; ++width) {
        for (uint32_t height = 1u; height <= 17u; ++height) {
            split(height, width, 1u, 2u);
            split(height, width, 2u, 1u);
            split(height, width, 2u, 2u);
        }
    }
    return 0;
}
"""


@needs_compiler
def test_no_word_behind_the_phases_is_touched(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(MAIN, encoding="utf-8")
    flags = ["-std=c99", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{RUNTIME}"]
    subprocess.run(["gcc", *flags, "main.c", *SOURCES, "-o", "phases"], check=True, cwd=tmp_path)
    result = subprocess.run([str(tmp_path / "phases")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[:1000]
