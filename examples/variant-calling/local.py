"""The same steps one after the other on this machine, without any service: the science on its own, for many seeds."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pathlib
import shutil
import sys
import tempfile
import time
import typing

import steps
from variant_calling import staging, workflow

SHARDS = 4
REGIONS = 4


def run_locally(seed: int, folder: pathlib.Path, *, shards: int = SHARDS, regions: int = REGIONS) -> dict[str, typing.Any]:
    """Run the workflow for a seed with `folder` as its bucket: the comparison report. RuntimeError when a step fails."""
    shelf = staging.Folder(folder)
    for key, path in workflow.write_inputs(folder / "sequencer", seed).items():
        shelf.store(path, key)
    for step in workflow.steps(shards, regions):
        for child in range(step.size or 1):
            exit_code = _run_apart(step.name, child, folder, shards, regions)
            if exit_code != 0 and step.name != "compare":
                raise RuntimeError(f"step {step.name} {child} of seed {seed} ended with status {exit_code}")
    report: dict[str, typing.Any] = json.loads((folder / workflow.COMPARISON).read_text(encoding="ascii"))
    return report


def _run_apart(name: str, child: int, folder: pathlib.Path, shards: int, regions: int) -> int:
    """One step in a process of its own, as a job is; its exit status."""
    arguments = [name, "--at", folder.as_uri(), "--shards", str(shards), "--regions", str(regions)]
    process = multiprocessing.get_context("fork").Process(target=_as_job, args=(arguments, child, folder / "job.log"))
    process.start()
    process.join()
    return process.exitcode or 0


def _as_job(arguments: list[str], child: int, log: pathlib.Path) -> None:
    """The job's process: array index in the environment, output in the log."""
    os.environ["AWS_BATCH_JOB_ARRAY_INDEX"] = str(child)
    os.chdir(log.parent)
    output = os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "w", encoding="utf-8", buffering=1)
    for descriptor in (1, 2):  # the tools are C programs at heart: they write to the descriptors
        os.dup2(output.fileno(), descriptor)
    sys.stdout = sys.stderr = output
    steps.main(arguments)


def main() -> None:
    """Run one seed, or many; exit status 1 when any of them is not perfect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, one after the other")
    parser.add_argument("--keep", type=pathlib.Path, help="keep the files of every run in this folder")
    options = parser.parse_args()
    failures = 0
    for seed in range(options.seed, options.seed + options.seeds):
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"seed-{seed}-", dir=options.keep)).resolve()
        began = time.monotonic()
        report = run_locally(seed, folder)
        perfect = report["precision"] == 1.0 and report["recall"] == 1.0
        failures += not perfect
        print(
            f"seed {seed}: precision {report['precision']:.4f} recall {report['recall']:.4f} "
            f"found {report['found']} missed {report['missed']} invented {report['invented']} "
            f"hard {report['hard_found']}/{report['hard_planted']} in {time.monotonic() - began:.1f} s",
            flush=True,
        )
        if not options.keep:
            shutil.rmtree(folder)
    print(f"{options.seeds - failures} of {options.seeds} seeds perfect")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
