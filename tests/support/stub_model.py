# SPDX-License-Identifier: Apache-2.0
"""A hand-written model with the generated C API: two steps whose results Python computes in one line each.

Step 0 writes one bit per pixel of an 8x8 image (1 channel): pixel >= 128. Step 1 writes four int32 logits: logit k is
the number of set bits in rows 2k and 2k + 1, times 100, plus k. The harness's tests want a model whose every byte is
known without the compiler.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from picobnn.codegen.emit import SourceFile
from picobnn.codegen.plan import Layout
from picobnn.codegen.project import ProjectFacts, TensorFacts
from picobnn.codegen.vocabulary import ElementKind, Shape

PREFIX = "stub"
IMAGE_BYTES = 64
MODEL_HASH = hashlib.sha256(b"stub model").digest()
FACTS = ProjectFacts(
    name="stub",
    image=TensorFacts("image", ElementKind.UINT8, Layout.HWC_BYTES, Shape(8, 8, 1), IMAGE_BYTES, 0),
    steps=(
        TensorFacts("sign", ElementKind.BIT, Layout.CHANNEL_WORDS, Shape(8, 8, 1), 256, 64),
        TensorFacts("rows", ElementKind.INT32, Layout.HWC_INT32, Shape(1, 1, 4), 16, 256),
    ),
)

_HEADER = f"""#ifndef STUB_H
#define STUB_H
#include "picobnn_runtime.h"
#define STUB_ARENA_BYTES 336
#define STUB_ARENA_ALIGN 4
#define STUB_INPUT_BYTES {IMAGE_BYTES}
#define STUB_STEP_COUNT 2
#define STUB_MODEL_HASH_BYTES 32
extern const uint8_t stub_model_hash[32];
picobnn_status stub_run(void *arena, size_t arena_bytes, const uint8_t *input);
int picobnn_layer_hook(uint32_t step, const void *output, uint32_t output_bytes);
#endif
"""

_SOURCE = """#include "stub.h"
const uint8_t stub_model_hash[32] = {@HASH@};
picobnn_status stub_run(void *arena, size_t arena_bytes, const uint8_t *input) {
    uint32_t *bits = (uint32_t *)arena + 16;
    int32_t *logits = (int32_t *)arena + 80;
    uint32_t i;
    if (arena_bytes < STUB_ARENA_BYTES) {
        return PICOBNN_ERROR_ARENA;
    }
    for (i = 0; i < 64u; i++) {
        bits[i] = @TEST@;
    }
    if (picobnn_layer_hook(0, bits, 256) != 0) {
        return PICOBNN_STOPPED;
    }
    for (i = 0; i < 4u; i++) {
        logits[i] = (int32_t)i;
    }
    for (i = 0; i < 64u; i++) {
        logits[i / 16u] += (int32_t)(bits[i] * 100u);
    }
    return picobnn_layer_hook(1, logits, 16) != 0 ? PICOBNN_STOPPED : PICOBNN_OK;
}
"""

_CRASH = "(input[i] == 77u ? (__builtin_trap(), 0u) : (uint32_t)(input[i] >= 128u))"


def stub_files(*, wrong_pixel: int | None = None, crashing: bool = False) -> tuple[SourceFile, ...]:
    """The model's sources and the runtime header. ``wrong_pixel`` plants a wrong bit at that index of step 0;
    ``crashing`` executes an undefined instruction where a pixel is 77."""
    test = _CRASH if crashing else "input[i] >= 128u"
    if wrong_pixel is not None:
        test = f"(uint32_t)({test}) ^ (uint32_t)(i == {wrong_pixel}u)"
    source = _SOURCE.replace("@HASH@", ", ".join(f"{byte}u" for byte in MODEL_HASH)).replace("@TEST@", test)
    runtime = Path(__file__).parents[2] / "firmware_templates" / "runtime" / "picobnn_runtime.h"
    return (
        SourceFile("picobnn_runtime.h", runtime.read_text(encoding="utf-8")),
        SourceFile("stub.c", source),
        SourceFile("stub.h", _HEADER),
    )


def stub_steps(image: bytes) -> tuple[bytes, bytes]:
    """What both steps store for an image of 64 bytes."""
    bits = (np.frombuffer(image, dtype=np.uint8) >= 128).astype("<u4")
    logits = (bits.reshape(4, 16).sum(axis=1) * 100 + np.arange(4)).astype("<i4")
    return bits.tobytes(), logits.tobytes()


def stub_images(count: int, seed: int = 1) -> npt.NDArray[np.uint8]:
    """uint8 (count, 8, 8, 1), reproducible; no pixel is 77."""
    images = np.random.default_rng(seed).integers(0, 256, size=(count, 8, 8, 1), dtype=np.uint8)
    images[images == 77] = 78
    return images
