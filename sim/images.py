# SPDX-License-Identifier: Apache-2.0
"""The one check of what goes into a program: a batch of uint8 images of the program's input shape.

Called by every executor of this room before it touches a batch, so that all of them refuse the same things.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import Program
from picobnn.errors import ErrorId, PicobnnError

Images = npt.NDArray[np.uint8]


def check_images(program: Program, images: object) -> Images:
    """``images`` as a C-contiguous uint8 array (N, H, W, C), N >= 0.

    Raises:
        PicobnnError: ``BAD_INPUT`` for anything but a uint8 array whose last three axes are the input's shape.
    """
    shape = program.input.shape
    if not isinstance(images, np.ndarray):
        raise _bad_input(program, f"images are a {type(images).__name__}, not an array.")
    if images.dtype != np.uint8:
        raise _bad_input(program, f"images are {images.dtype}, not uint8.")
    if images.ndim != 4 or images.shape[1:] != (shape.height, shape.width, shape.channels):
        extent = "x".join(str(size) for size in images.shape)
        raise _bad_input(program, f"images have shape {extent}, the program wants Nx{shape}.")
    return np.ascontiguousarray(images, np.uint8)


def _bad_input(program: Program, what: str) -> PicobnnError:
    remedy = f"Pass a uint8 array of shape (N, {program.input.shape.height}, {program.input.shape.width}, "
    remedy += f"{program.input.shape.channels}) with values 0 to 255."
    return PicobnnError(ErrorId.BAD_INPUT, what, where=program.name, remedy=remedy)
