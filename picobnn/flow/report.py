# SPDX-License-Identifier: Apache-2.0
"""One report of a run from the result files of its steps: accuracy, equality, size and cost, with honest labels.

Nothing is computed or measured here; a step that did not run is said to be absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from picobnn.config import Config
from picobnn.errors import ErrorId, PicobnnError
from picobnn.files import write_json, write_text
from picobnn.flow.run_directory import RunDirectory
from picobnn.flow.train import read_result


@dataclass(frozen=True, slots=True)
class Report:
    """The collected results of one run; ``absent`` names the steps without one."""

    run: str
    train: dict[str, Any] | None
    prune: dict[str, Any] | None
    verify: dict[str, Any] | None
    builds: tuple[dict[str, Any], ...]
    profiles: tuple[dict[str, Any], ...]
    absent: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "train": self.train,
            "prune": self.prune,
            "verify": self.verify,
            "builds": list(self.builds),
            "profiles": list(self.profiles),
            "absent": list(self.absent),
        }


def report(run: RunDirectory) -> Report:
    """Collect the run's results, write ``report.json`` and ``report.txt``. Raises E_FILE_MISSING for an empty run."""
    train, prune = read_result(run.train_result), read_result(run.prune_result)
    verify = read_result(run.verify_result)
    profiles = tuple(_results(run, "profile-*.json"))
    builds = tuple(profile["build"] for profile in profiles)
    steps = {"train": train, "prune": prune, "verify": verify, "profile": profiles or None}
    absent = tuple(name for name, value in steps.items() if value is None)
    if len(absent) == len(steps):
        raise PicobnnError(
            ErrorId.FILE_MISSING,
            "the run has no results to report.",
            where=str(run.path),
            remedy="Run 'picobnn run' or single steps first.",
        )
    result = Report(str(run.path), train, prune, verify, builds, profiles, absent)
    write_json(run.report_json, result.as_dict())
    write_text(run.report_text, report_text(result))
    return result


def report_text(result: Report) -> str:
    """The report as plain text."""
    lines = [f"run {result.run}", ""]
    if result.train is not None:
        t = result.train
        lines.append(
            f"dense   {t['network']} on {t['dataset']}: test accuracy {t['test_accuracy']:.4f} on {t['test_images']:,} "
            f"images, {t['epochs']} epochs, seed {t['seed']}, {t['seconds']:.1f} s"
        )
    if result.prune is not None:
        p = result.prune
        kept = ", ".join(f"{layer['name']} {layer['kept']}/{layer['total']}" for layer in p["layers"])
        lines.append(
            f"pruned  by {p['method']}: {p['filters_removed']:.1%} of filters and {p['macs_removed']:.1%} of MACs "
            f"removed; test accuracy {p['test_accuracy']:.4f}; kept {kept}"
        )
    if result.verify is not None:
        lines += ["", f"equality with the reference, model {result.verify['model_hash'][:16]}"]
        for r in result.verify["results"]:
            lines.append(
                f"  {r['executor']:<28} equal on {r['vectors'] - r['mismatches']:,} of {r['vectors']:,} vectors"
            )
        lines += [f"  {name} skipped: {why}" for name, why in result.verify["skipped"].items()]
    for profile in result.profiles:
        lines += ["", *profile_lines(profile)]
    if result.absent:
        lines += ["", f"not run: {', '.join(result.absent)}"]
    return "\n".join(lines) + "\n"


def profile_lines(profile: dict[str, Any]) -> list[str]:
    """One board: size from the map file, counted instructions, modelled cycles with their band."""
    build, band = profile["build"], profile["error_band_percent"]
    label = "no cycle model" if profile["cycles"] is None else f"{profile['cycles']:,} cycles modelled"
    if band is not None:
        label += f" (+-{band:g} %, zero wait states)"
    sizes = ", ".join(f"{name} {build[f'{name}_bytes']:,} B" for name in ("flash", "ram", "weight"))
    lines = [
        f"{profile['board']} ({profile['core']}): {sizes}, {profile['instructions']:,} instructions counted, {label}"
    ]
    lines += [
        f"  {layer['name']:<16} {layer['macs']:>12,} MACs {layer['instructions']:>12,} instructions "
        f"{'-' if layer['cycles'] is None else format(layer['cycles'], ','):>12} cycles"
        for layer in profile["layers"]
    ]
    return lines


def require_budget(result: Report, config: Config) -> None:
    """Raise E_BUDGET_EXCEEDED when a profiled image is above a configured limit."""
    limits = {
        "flash_bytes": config.budget.max_flash,
        "ram_bytes": config.budget.max_ram,
        "cycles": config.budget.max_cycles,
    }
    for profile in result.profiles:
        found = {**profile["build"], "cycles": profile["cycles"]}
        for name, limit in limits.items():
            if limit is not None and found[name] is not None and found[name] > limit:
                raise PicobnnError(
                    ErrorId.BUDGET_EXCEEDED,
                    f"{name} is {found[name]:,}, the limit is {limit:,}.",
                    where=profile["board"],
                    remedy="Raise prune.rate, choose smaller model.widths, or raise the budget.",
                )


def _results(run: RunDirectory, pattern: str) -> list[dict[str, Any]]:
    found = [read_result(path) for path in sorted(run.path.glob(pattern))]
    return [result for result in found if result is not None]
