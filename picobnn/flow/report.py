# SPDX-License-Identifier: Apache-2.0
"""One report of a run from the result files of its steps: accuracy, equality, size and cost, with honest labels.

Nothing is computed or measured here; a step that did not run is said to be absent.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from picobnn.config import Config
from picobnn.errors import ErrorId, PicobnnError
from picobnn.files import write_json, write_text
from picobnn.flow.budget import budget_failure
from picobnn.flow.run_directory import RunDirectory
from picobnn.flow.state import exported_hash, prune_is_done, read_result, train_is_done


@dataclass(frozen=True, slots=True)
class Report:
    """The collected results of one run. ``absent`` names the steps without a result, ``stale`` the results that were
    made from another network than the one that lies there; those are left out."""

    run: str
    model_hash: str
    train: dict[str, Any] | None
    prune: dict[str, Any] | None
    verify: dict[str, Any] | None
    profiles: tuple[dict[str, Any], ...]
    absent: tuple[str, ...]
    stale: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def failure(self, config: Config) -> PicobnnError | None:
        """A stored difference between executors, else what the configured budgets say."""
        if self.verify is not None and self.verify["mismatches"]:
            first = next((r["first"] for r in self.verify["results"] if r["first"] is not None), None)
            return PicobnnError(
                ErrorId.MISMATCH,
                f"executors differ: {first}.",
                where=self.run,
                remedy="Run 'picobnn verify' to see the first difference.",
            )
        limited = any(limit is not None for limit in config.budget.model_dump().values())
        if limited and not self.profiles:
            return budget_failure(config.budget, {}, self.run)
        for profile in self.profiles:
            found = budget_failure(config.budget, {**profile["build"], "cycles": profile["cycles"]}, profile["board"])
            if found is not None:
                return found
        return None


def report(run: RunDirectory) -> Report:
    """Collect the run's results and write ``report.json`` and ``report.txt``.

    Raises E_FILE_MISSING for a run without results, E_DATA_FORMAT for a damaged one.
    """
    model_hash = exported_hash(run)
    train = read_result(run.train_result) if train_is_done(run) else None
    prune = read_result(run.prune_result) if prune_is_done(run) else None
    verify, stale = _of_this_model(run.verify_result, model_hash)
    profiles: list[dict[str, Any]] = []
    for path in sorted(run.path.glob("profile-*.json")):
        profile, old = _of_this_model(path, model_hash)
        profiles += [] if profile is None else [profile]
        stale += old
    for path, result_there in ((run.train_result, train), (run.prune_result, prune)):
        stale += [path.name] if path.is_file() and result_there is None else []
    steps = {"train": train, "prune": prune, "verify": verify, "profile": profiles or None}
    absent = tuple(name for name, value in steps.items() if value is None)
    if len(absent) == len(steps):
        raise PicobnnError(
            ErrorId.FILE_MISSING,
            "the run has no results to report.",
            where=str(run.path),
            remedy="Run 'picobnn run' or single steps first.",
        )
    result = Report(str(run.path), model_hash, train, prune, verify, tuple(profiles), absent, tuple(stale))
    write_json(run.report_json, result.as_dict())
    write_text(run.report_text, report_text(result))
    return result


def _of_this_model(path: Path, model_hash: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The result, if it is of this program; its name, if it is of another one."""
    found = read_result(path)
    if found is None:
        return None, []
    return (found, []) if found.get("model_hash") == model_hash else (None, [path.name])


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
    if result.stale:
        lines += [f"of another network, left out: {', '.join(result.stale)}"]
    return "\n".join(lines) + "\n"


def profile_lines(profile: dict[str, Any]) -> list[str]:
    """One board: size from the map file, counted instructions, modelled cycles with their band."""
    build, band = profile["build"], profile["error_band_percent"]
    label = "no cycle model" if profile["cycles"] is None else f"{profile['cycles']:,} cycles modelled"
    if profile["cycles"] is not None:
        label += f" ({'without a band' if band is None else f'+-{band:g} %'}, zero wait states)"
    if profile["wait_states"] and profile["cycles_up_to"] is not None:
        label += f", up to {profile['cycles_up_to']:,} with the {profile['wait_states']} of the flash"
    sizes = ", ".join(f"{name} {build[f'{name}_bytes']:,} B" for name in ("flash", "ram", "weight"))
    lines = [
        f"{profile['board']} ({profile['core']}): {sizes}, {profile['instructions']:,} instructions counted, {label}"
    ]
    lines += [
        f"  {layer['name']:<12} {layer['strategy']:<8} {layer['macs']:>11,} MACs {layer['flash_bytes']:>8,} B flash "
        f"{layer['ram_bytes']:>7,} B RAM {layer['instructions']:>11,} instructions "
        f"{'-' if layer['cycles'] is None else format(layer['cycles'], ','):>11} cycles"
        for layer in profile["layers"]
    ]
    return lines
