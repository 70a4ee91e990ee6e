# SPDX-License-Identifier: Apache-2.0
"""The one configuration file, ``picobnn.toml``: strict option records, units, overrides and the resolved form.

An unknown key is an error that names the nearest known one; a quantity carries its unit in the key or as a suffix
("32 KiB"). Every verb gets a :class:`Config`; the resolved configuration is written beside every result.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from picobnn.errors import ErrorId, PicobnnError

_BYTE_UNITS = {"": 1, "b": 1, "kib": 1024, "mib": 1024 * 1024, "kb": 1000, "mb": 1000 * 1000}
_QUANTITY = re.compile(r"\s*(\d+)\s*([A-Za-z]*)\s*\Z")


def parse_bytes(value: object) -> object:
    """``4096`` or ``"32 KiB"`` -> bytes; anything else is left to the type check."""
    if isinstance(value, str):
        match = _QUANTITY.match(value)
        if match is None or match.group(2).lower() not in _BYTE_UNITS:
            raise ValueError("give bytes as a whole number with B, KiB, MiB, kB or MB, for example '32 KiB'")
        return int(match.group(1)) * _BYTE_UNITS[match.group(2).lower()]
    return value


Bytes = Annotated[int, BeforeValidator(parse_bytes), Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ModelSection(_Section):
    """The network. ``widths``: filters per convolution, empty for the network's own."""

    name: str = "digits_cnn"
    widths: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = ()


class DataSection(_Section):
    """The data set and, when it is not where its package puts it, the folder of its files."""

    name: str = "digits"
    root: str = ""


class TrainSection(_Section):
    """Training of the dense network. ``threads = 0`` takes every core."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 40
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 64
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.015
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.15
    seed: Annotated[int, Field(ge=0)] = 1
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    device: str = "auto"


_CYCLES_GOAL = re.compile(r"\s*([A-Za-z][\w.+-]*)\s*=\s*(\d[\d_]*)\s*\Z")


def parse_cycles_goal(text: str) -> tuple[str, int]:
    """``"m4=120000"`` -> the core as written and its cycles. ValueError for anything else."""
    match = _CYCLES_GOAL.match(text)
    if match is None or int(match.group(2)) == 0:
        raise ValueError("give a core and its cycles, for example 'm4=120000'")
    return match.group(1), int(match.group(2))


def _check_cycles_goal(text: str) -> str:
    parse_cycles_goal(text)
    return text


class PruneMethod(str, Enum):
    """What decides: a ranking of filters, or a method that trains (``picobnn/flow/prune_methods.py``)."""

    SENSITIVITY = "sensitivity"
    SCALE = "scale"
    RANDOM = "random"
    GATES = "gates"
    MSF_LAYERWISE = "msf-layerwise"
    MSF_CASCADE = "msf-cascade"
    ISING = "ising"
    EDROPOUT = "edropout"
    DOMAIN = "domain"
    BINARY_L2 = "binary-l2"


class PruneSection(_Section):
    """Pruning: ``rate`` is the share to remove, of all filters or, with ``domain``, of the ones among the weight bits
    (at least 0.5). Rankings cut in ``rounds`` with retraining after each; the others train as they go.
    ``whole_words``: layers keep whole words of filters, which is what kernels are fast on; the rate is met roughly.
    ``distillation``: weight of the distance from the dense network's logits while the pruned one trains; 0: off.

    At most one target replaces the rate: a share to remove, bytes of flash on ``target.board``, or estimated cycles of
    one core ("m4=120000"). How much to prune is then found so that the result meets it within 5 %.
    """

    method: PruneMethod = PruneMethod.SENSITIVITY
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.35
    target_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    target_flash: Bytes | None = None
    target_cycles: Annotated[str, AfterValidator(_check_cycles_goal)] | None = None
    whole_words: bool = False
    distillation: Annotated[float, Field(ge=0, le=100)] = 0.0
    rounds: Annotated[int, Field(ge=1, le=100)] = 1
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 60
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.01
    seed: Annotated[int, Field(ge=0)] = 1

    @model_validator(mode="after")
    def _one_target(self) -> PruneSection:
        given = [name for name in PRUNE_TARGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give only one of {' and '.join(given)}")
        return self


PRUNE_TARGETS = ("target_rate", "target_flash", "target_cycles")


class TargetSection(_Section):
    """Where the firmware runs. ``prefix`` starts every C symbol of the model; empty: the program's name. ``hot_code``
    and ``rows_weights``: whether the inner loops and the weights of ``rows`` are copied to RAM; ``board``: as the board
    has it."""

    board: str = "mps2-an386"
    kernels: Literal["xnor", "auto"] = "xnor"
    optimize: Literal["size", "balanced", "speed"] = "balanced"
    prefix: str = ""
    hot_code: Literal["board", "flash", "ram"] = "board"
    rows_weights: Literal["board", "flash", "ram"] = "board"


class BudgetSection(_Section):
    """Limits that decide the exit code of ``analyze`` and ``report``; absent means no limit."""

    max_flash: Bytes | None = None
    max_ram: Bytes | None = None
    max_cycles: Annotated[int, Field(gt=0)] | None = None


class ExecutorName(str, Enum):
    """The executors of the equality chain. ``device`` is firmware behind a serial port, any pyserial URL."""

    TORCH = "torch"
    REFERENCE = "reference"
    CYTHON = "cython"
    HOST = "host"
    EMULATOR = "emulator"
    DEVICE = "device"


WITHOUT_A_BOARD = tuple(name for name in ExecutorName if name is not ExecutorName.DEVICE)


class VerifySection(_Section):
    """What is compared. ``vectors = 0``: every held-out image; the emulator takes the first ``emulator_vectors``."""

    on: tuple[ExecutorName, ...] = WITHOUT_A_BOARD
    vectors: Annotated[int, Field(ge=0)] = 0
    emulator_vectors: Annotated[int, Field(ge=1)] = 100
    boards: tuple[str, ...] = ()


class Config(_Section):
    """A resolved configuration."""

    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    train: TrainSection = TrainSection()
    prune: PruneSection = PruneSection()
    target: TargetSection = TargetSection()
    budget: BudgetSection = BudgetSection()
    verify: VerifySection = VerifySection()


def load_config(path: Path | None, overrides: Sequence[str] = (), *, base: Path | None = None) -> Config:
    """Read ``base`` (a run's own configuration), lay ``path`` over it, then ``section.key=value`` overrides (values in
    TOML syntax, bare words taken as strings); what is absent takes its default.

    Raises E_FILE_MISSING, E_CONFIG_FILE, E_CONFIG_UNKNOWN_KEY or E_CONFIG_VALUE.
    """
    where = str(path or base or "configuration")
    document: dict[str, Any] = {}
    for layer in (base, path):
        if layer is not None:
            _lay_over(document, read_toml(layer))
    for override in overrides:
        _apply_override(document, override)
    return parse_config(document, where)


def parse_config(document: dict[str, Any], where: str) -> Config:
    """Check a parsed document. Raises E_CONFIG_UNKNOWN_KEY or E_CONFIG_VALUE."""
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        raise _config_error(error, where) from None


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a document. Raises E_FILE_MISSING or E_CONFIG_FILE."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PicobnnError(
            ErrorId.FILE_MISSING,
            f"the configuration cannot be read ({error.strerror}).",
            where=str(path),
            remedy="Give the path of an existing picobnn.toml with -c.",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PicobnnError(
            ErrorId.CONFIG_FILE, f"not valid TOML: {error}.", where=str(path), remedy="Correct the named line."
        ) from None


def config_toml(config: Config) -> str:
    """The resolved configuration as TOML text that :func:`load_config` reads back to an equal object."""
    lines: list[str] = []
    for section, values in config.model_dump(mode="json", exclude_none=True).items():
        lines.append(f"[{section}]")
        # A JSON string, number, bool or list of these is also a TOML value; the models hold nothing else.
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
        lines.append("")
    return "\n".join(lines)


def _lay_over(document: dict[str, Any], upper: dict[str, Any]) -> None:
    for section, values in upper.items():
        if isinstance(values, dict) and isinstance(document.get(section), dict):
            document[section] |= values
        else:
            document[section] = values


def _apply_override(document: dict[str, Any], override: str) -> None:
    name, separator, text = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (separator and dot and section and key):
        raise PicobnnError(
            ErrorId.CONFIG_VALUE,
            f"'{override}' is not of the form section.key=value.",
            where="--set",
            remedy="For example: --set train.epochs=10",
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table = document.setdefault(section, {})
    if not isinstance(table, dict):
        raise PicobnnError(
            ErrorId.CONFIG_VALUE, f"'{section}' is not a section.", where="--set", remedy="Use [section]."
        )
    table[key] = value


def _config_error(error: ValidationError, where: str) -> PicobnnError:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    place = f"{where}: {'.'.join(path)}"
    if first["type"] == "extra_forbidden":
        known = list(Config.model_fields) if len(path) == 1 else _section_keys(path[0])
        close = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.4)
        hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(known)}."
        return PicobnnError(ErrorId.CONFIG_UNKNOWN_KEY, f"unknown key '{path[-1]}'.", where=place, remedy=hint)
    message = first["msg"].removeprefix("Value error, ")
    got = "" if isinstance(first["input"], dict) else f" (got {first['input']!r})"
    return PicobnnError(
        ErrorId.CONFIG_VALUE,
        f"{message}{got}.",
        where=place,
        remedy="Correct the value; docs/configuration.md lists the keys and their units.",
    )


def _section_keys(section: str) -> list[str]:
    annotation = Config.model_fields[section].annotation if section in Config.model_fields else None
    return list(annotation.model_fields) if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []
