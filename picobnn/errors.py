# SPDX-License-Identifier: Apache-2.0
"""The one error tree of picobnn.

Every failure a user can cause or meet is a :class:`PicobnnError` with a stable id, what happened, where, and
what to do next. The command line prints it without a traceback, ``--json`` prints :meth:`PicobnnError.as_dict`.
Anything else that escapes is a bug in picobnn and ends with exit code 70.

This module is the bottom of the house: it imports nothing of picobnn.
"""

from __future__ import annotations

from enum import Enum
from typing import TypedDict

EXIT_OK = 0
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class ErrorId(Enum):
    """Stable error ids, each with the exit code of the process it ends.

    Exit codes: 1 a check, gate or comparison failed; 2 usage, configuration or bad file; 3 tool or device absent;
    4 to 14 device harness (4 ambiguous, 5 busy, 6 permission, 7 no answer, 8 noise, 9 protocol, 10 model mismatch,
    11 flashing, 12 read-back, 13 device fault, 14 disconnected).
    """

    # 1: a check failed
    MISMATCH = ("E_MISMATCH", 1)
    BUDGET_EXCEEDED = ("E_BUDGET_EXCEEDED", 1)
    # 2: usage, configuration, bad file
    USAGE = ("E_USAGE", 2)
    CONFIG_FILE = ("E_CONFIG_FILE", 2)
    CONFIG_UNKNOWN_KEY = ("E_CONFIG_UNKNOWN_KEY", 2)
    CONFIG_VALUE = ("E_CONFIG_VALUE", 2)
    FILE_MISSING = ("E_FILE_MISSING", 2)
    FILE_UNWRITABLE = ("E_FILE_UNWRITABLE", 2)
    BNN_FORMAT = ("E_BNN_FORMAT", 2)
    BNN_VERSION = ("E_BNN_VERSION", 2)
    BNN_CHECKSUM = ("E_BNN_CHECKSUM", 2)
    MANIFEST = ("E_MANIFEST", 2)
    CHECKPOINT = ("E_CHECKPOINT", 2)
    DATA_FORMAT = ("E_DATA_FORMAT", 2)
    DATA_MISSING = ("E_DATA_MISSING", 2)
    DATA_CHECKSUM = ("E_DATA_CHECKSUM", 2)
    GRAPH_INVALID = ("E_GRAPH_INVALID", 2)
    PROGRAM_INVALID = ("E_PROGRAM_INVALID", 2)
    PLAN_INVALID = ("E_PLAN_INVALID", 2)
    UNSUPPORTED_LAYER = ("E_UNSUPPORTED_LAYER", 2)
    UNSUPPORTED_FEATURE = ("E_UNSUPPORTED_FEATURE", 2)
    NO_STRATEGY = ("E_NO_STRATEGY", 2)
    NOT_MONOTONE = ("E_NOT_MONOTONE", 2)
    UNKNOWN_BOARD = ("E_UNKNOWN_BOARD", 2)
    UNKNOWN_CORE = ("E_UNKNOWN_CORE", 2)
    DOES_NOT_FIT = ("E_DOES_NOT_FIT", 2)
    PRUNING = ("E_PRUNING", 2)
    BAD_INPUT = ("E_BAD_INPUT", 2)
    # 3: tool or device absent
    TOOL_MISSING = ("E_TOOL_MISSING", 3)
    TOOL_FAILED = ("E_TOOL_FAILED", 3)
    EXTRA_MISSING = ("E_EXTRA_MISSING", 3)
    PORT_MISSING = ("E_PORT_MISSING", 3)
    EMULATOR_FAILED = ("E_EMULATOR_FAILED", 3)
    # 4 to 14: the device harness
    DEVICE_AMBIGUOUS = ("E_DEVICE_AMBIGUOUS", 4)
    PORT_BUSY = ("E_PORT_BUSY", 5)
    PORT_PERMISSION = ("E_PORT_PERMISSION", 6)
    NO_ANSWER = ("E_NO_ANSWER", 7)
    LINK_NOISY = ("E_LINK_NOISY", 8)
    PROTOCOL = ("E_PROTOCOL", 9)
    MODEL_MISMATCH = ("E_MODEL_MISMATCH", 10)
    FLASH_FAILED = ("E_FLASH_FAILED", 11)
    FLASH_VERIFY = ("E_FLASH_VERIFY", 12)
    DEVICE_FAULT = ("E_DEVICE_FAULT", 13)
    DISCONNECTED = ("E_DISCONNECTED", 14)

    @property
    def code(self) -> str:
        """The id as printed and put into JSON, e.g. ``E_PORT_BUSY``."""
        return self.value[0]

    @property
    def exit_code(self) -> int:
        return self.value[1]


class ErrorDict(TypedDict):
    """JSON form of an error."""

    id: str
    what: str
    where: str
    remedy: str
    exit_code: int


class PicobnnError(Exception):
    """A failure with a stable id, what happened, where (file, layer, port) and what to do next."""

    def __init__(self, error_id: ErrorId, what: str, *, where: str, remedy: str) -> None:
        super().__init__(f"{where}: {what} {remedy}")
        self.error_id = error_id
        self.what = what
        self.where = where
        self.remedy = remedy

    @property
    def exit_code(self) -> int:
        return self.error_id.exit_code

    def as_dict(self) -> ErrorDict:
        return {
            "id": self.error_id.code,
            "what": self.what,
            "where": self.where,
            "remedy": self.remedy,
            "exit_code": self.exit_code,
        }
