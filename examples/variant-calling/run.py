"""The main job of Batchyard: variant calling on a fresh service, from reads to a judged VCF. `make demo` runs it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import random
import secrets
import subprocess
import sys
import time
import typing

import environment
import rich.console
from variant_calling import (
    collection,
    comparison,
    display,
    endpoint,
    genome,
    interpreter,
    reckoning,
    sample,
    service,
    staging,
    submission,
    watch,
    workflow,
)

from batchyard.compute.local.containers import sockets

FEWEST_SHARDS = 4
MOST_SHARDS = 8
WITHIN_S = 600.0
PIPE_WIDTH = 132
"""Columns where the output goes to a file or a pipe."""
PLOT = "results/variants.png"


class WorkflowFailed(Exception):
    """Jobs of the workflow failed before there was anything to judge; the message says which, why, and their last words."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run came to."""

    run: submission.Run
    environment: environment.Environment
    folder: pathlib.Path
    comparison: dict[str, typing.Any]
    variants: list[str]
    """The calls that passed, as POS:REF>ALT: the same for the same seed, whatever happened on the way."""
    records: list[reckoning.Record]
    log_keys: list[str]
    reclaimed: str | None
    took_s: float

    @property
    def shard_came_back(self) -> bool:
        """Whether the shard that was to lose its Spot instance lost one, and succeeded in a later attempt."""
        label = f"align[{self.run.held_shard}]"
        return any(r.label == label and any(a.reason.startswith("Host EC2") for a in r.attempts[:-1]) for r in self.records)

    @property
    def problems(self) -> list[str]:
        """Why the demo has failed; empty when it has not."""
        found = [f"{r.label} is {r.status}: {r.reason}" for r in self.records if r.status != "SUCCEEDED"]
        if self.comparison["precision"] != 1.0 or self.comparison["recall"] != 1.0 or self.comparison["found"] < 200:
            found.append(f"precision {self.comparison['precision']:.4f}, recall {self.comparison['recall']:.4f}")
        if self.run.held_shard >= 0 and not self.shard_came_back:
            found.append(f"align[{self.run.held_shard}] did not come back from the loss of a Spot instance")
        return found


def run_demo(
    data_dir: pathlib.Path,
    seed: int,
    *,
    out: pathlib.Path,
    reclaim: bool = True,
    shards: int | None = None,
    regions: int | None = None,
    console: rich.console.Console | None = None,
    name: str | None = None,
    python: interpreter.Interpreter | None = None,
) -> Result:
    """Run the workflow on the service whose state is in `data_dir`, which may be killed and started again meanwhile.

    Finds the environment that `batchyard up` has made, makes the reads for the seed, submits all jobs at once, reclaims the
    Spot instance under one shard, waits, and collects everything in `out`. WorkflowFailed when there is no VCF to judge.
    """
    began = time.monotonic()
    console = console or rich.console.Console(quiet=True)
    clients = endpoint.connect(endpoint.read_endpoint(data_dir))
    place = environment.find(clients)
    cores = os.cpu_count() or 1
    width = min(MOST_SHARDS, max(FEWEST_SHARDS, cores))
    held = random.Random(seed).randrange(shards or width) if reclaim else -1
    run = submission.Run(name or f"seed-{seed}-{secrets.token_hex(3)}", place.results_bucket, shards or width, regions or width, held)
    shelf = staging.Bucket(clients.s3, place.results_bucket, run.prefix)
    for key, path in workflow.write_inputs(out / "inputs", seed).items():
        shelf.store(path, key)
    console.print(f"reads of seed {seed} are in {run.url}  [bright_black]{time.monotonic() - began:.1f} s[/]")
    job_ids = submission.submit(clients, run, place.default_queue, place.high_priority_queue, python)
    reclaimer = watch.Reclaim(clients, data_dir, f"{job_ids['align']}:{held}") if reclaim else None
    with display.Progress(console, run.steps) as progress:
        watch.until_ended(clients, job_ids, reclaim=reclaimer, show=progress.show, within_s=WITHIN_S)
    records = collection.records(clients, run, job_ids, data_dir)
    log_keys = collection.archive_logs(clients, run, records, place.log_bucket, out / "logs")
    report, variants = _fetch_results(clients, run, records, shelf, out, seed)
    return Result(
        run=run,
        environment=place,
        folder=out,
        comparison=report,
        variants=variants,
        records=records,
        log_keys=log_keys,
        reclaimed=reclaimer.instance if reclaimer else None,
        took_s=time.monotonic() - began,
    )


def _fetch_results(
    clients: endpoint.Clients,
    run: submission.Run,
    records: list[reckoning.Record],
    shelf: staging.Shelf,
    out: pathlib.Path,
    seed: int,
) -> tuple[dict[str, typing.Any], list[str]]:
    """Download the results and draw the picture: the judge's report and the calls that passed."""
    judge = records[-1]
    failed = [record for record in records if record.status != "SUCCEEDED" and record is not judge]
    broken = [record for record in failed if record.attempts] or failed  # the others only waited for them
    if broken or not judge.attempts:
        raise WorkflowFailed("\n".join(_last_words(clients, record) for record in broken or [judge]))
    results = out / "results"
    results.mkdir(parents=True, exist_ok=True)
    local = {}
    for key in (workflow.COMPARISON, workflow.VCF, f"{workflow.VCF}.tbi", workflow.DEPTH, workflow.BAM, f"{workflow.BAM}.bai"):
        local[key] = results / pathlib.PurePosixPath(key).name
        try:
            shelf.fetch(key, local[key])
        except FileNotFoundError as missing:
            raise WorkflowFailed(f"{missing} is not there\n{_last_words(clients, judge)}") from missing
    report: dict[str, typing.Any] = json.loads(local[workflow.COMPARISON].read_text(encoding="ascii"))
    reference = out / "inputs" / pathlib.PurePosixPath(workflow.REFERENCE).name
    called = comparison.read_variants(local[workflow.VCF], reference)
    planted = comparison.read_variants(out / "inputs" / pathlib.PurePosixPath(workflow.TRUTH).name, reference)
    _draw(results / pathlib.PurePosixPath(PLOT).name, local[workflow.DEPTH], planted, called, report, seed)
    shelf.store(results / pathlib.PurePosixPath(PLOT).name, PLOT)
    return report, [str(variant) for variant in sorted(called)]


def _draw(
    path: pathlib.Path,
    depth: pathlib.Path,
    planted: set[sample.Variant],
    called: set[sample.Variant],
    report: dict[str, typing.Any],
    seed: int,
) -> None:
    from variant_calling import alignment, plot

    promised = report["found"] + len(report["missed"])
    plot.draw(
        path,
        depth=alignment.read_depth(depth),
        planted=planted,
        called=called,
        doubtful=genome.doubtful_regions(genome.read_reference().bases),
        title="Variants planted in phage lambda, and called by Batch jobs",
        subtitle=f"seed {seed}   ·   precision {report['precision']:.3f}, recall {report['recall']:.3f} on {promised} promised variants",
    )


def _last_words(clients: endpoint.Clients, record: reckoning.Record) -> str:
    """Why a job failed, with the end of its log."""
    said = collection.log_lines(clients, record.attempts[-1].stream) if record.attempts and record.attempts[-1].stream else []
    reasons = [record.reason, *(attempt.reason for attempt in record.attempts)]
    return "\n".join([f"{record.label} is {record.status}: {'; '.join(r for r in reasons if r)}", *(f"    {line}" for line in said[-12:])])


def report(result: Result, console: rich.console.Console, service_folder: pathlib.Path) -> None:
    """Print the table of jobs, the verdict, and where everything lies."""
    console.print()
    console.print(display.table_of_jobs(result.records))
    score = result.comparison
    kinds = ", ".join(f"{count} {kind}s" for kind, count in score["found_by_kind"].items())
    promised = score["found"] + len(score["missed"])
    style = "red" if result.problems else "green"
    console.print(
        f"\n[bold {style}]precision {score['precision']:.4f}   recall {score['recall']:.4f}[/]"
        f"   {score['found']} of {promised} promised variants found ({kinds}), {len(score['invented'])} invented"
        f"; of {score['hard_planted']} in places where nothing is promised, {score['hard_found']}\n"
    )
    results = f"s3://{result.environment.results_bucket}/{result.run.prefix}/results/"
    streams = sum(len(record.attempts) for record in result.records)
    console.print(
        display.table_of_places(
            [
                ("results", results),
                ("", f"{_shown(result.folder / 'results')}/"),
                ("picture", _shown(result.folder / "results" / "variants.png")),
                ("logs", f"log group {collection.LOG_GROUP}: {streams} streams, one per attempt"),
                ("", f"s3://{result.environment.log_bucket}/jobs/{result.run.name}/"),
                ("", f"{_shown(result.folder / 'logs')}/"),
                ("service", _shown(service_folder)),
            ]
        )
    )
    for problem in result.problems:
        console.print(f"[bold red]{problem}[/]", highlight=False)


def _shown(path: pathlib.Path) -> str:
    """The path as it is shortest to type from here."""
    return str(path.relative_to(pathlib.Path.cwd())) if path.is_relative_to(pathlib.Path.cwd()) else str(path)


def main(arguments: list[str] | None = None) -> int:
    """Start a service, run the demo on it, report, take the service down: the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="makes variants, reads and errors; random when not given")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("demo-out"), help="every run makes a folder in it")
    parser.add_argument("--no-reclaim", action="store_true", help="leave the Spot instances alone")
    parser.add_argument("--keep", action="store_true", default=os.environ.get("KEEP") == "1", help="leave the service running (KEEP=1)")
    parser.add_argument("--runtime", choices=("process", "container"), default="process", help="how jobs run")
    parser.add_argument("--socket", help="the Docker or Podman daemon's socket, for containers  [the first that answers]")
    options = parser.parse_args(arguments)
    console = rich.console.Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    began = datetime.datetime.now(datetime.UTC)
    out = _fresh_folder(options.out, f"{began:%Y%m%d-%H%M%S}-seed-{seed}")
    for name in service.CONFUSING:
        os.environ.pop(name, None)
    console.print(f"[bold]variant calling on phage lambda[/], seed {seed}   [bright_black](again with: make demo SEED={seed})[/]")
    yard = service.Service(out / "yard")
    python, serving = None, ["--runtime", options.runtime]
    try:
        if options.runtime == "container":
            python = interpreter.IN_IMAGE
            socket = _daemon(options.socket)
            serving += ["--container-socket", socket]
            console.print(f"the image {python.image} is made, or taken from the cache ...")
            interpreter.make_image(socket)
        with _taken_down(yard, console, keep=options.keep):
            url = yard.start(*serving)
            took_s = (datetime.datetime.now(datetime.UTC) - began).total_seconds()
            console.print(f"batchyard up: service at {url}, stack {environment.STACK} with the six things  [bright_black]{took_s:.1f} s[/]")
            result = run_demo(yard.folder, seed, out=out, reclaim=not options.no_reclaim, console=console, python=python)
            report(result, console, yard.folder)
    except (WorkflowFailed, service.ServiceError, TimeoutError, subprocess.CalledProcessError, sockets.NoDaemon) as problem:
        console.print(f"[bold red]failed:[/] {problem}", markup=True)
        return 1
    took_s = (datetime.datetime.now(datetime.UTC) - began).total_seconds()
    console.print(f"\n{'failed' if result.problems else 'done'} in {took_s:.0f} s, seed {seed}")
    return 1 if result.problems else 0


def _daemon(given: str | None) -> str:
    """The socket of the daemon that runs the containers. NoDaemon when none answers."""
    daemon = sockets.choose("container", given).daemon
    assert daemon is not None  # or NoDaemon was raised
    return daemon.socket


@contextlib.contextmanager
def _taken_down(yard: service.Service, console: rich.console.Console, *, keep: bool) -> typing.Iterator[None]:
    """Take the service down at the end, whatever happened; with `keep` say how to use it instead."""
    try:
        yield
    finally:
        if yard.is_running:
            if keep:
                folder = _shown(yard.folder)
                console.print(f'\nthe service stays: eval "$(batchyard env --data {folder})"')
                console.print(f"end it with: batchyard down --data {folder}")
            else:
                yard.stop()


def _fresh_folder(parent: pathlib.Path, name: str) -> pathlib.Path:
    """A new folder below the parent, to which `latest` points from then on."""
    folder = parent.resolve() / name
    folder.mkdir(parents=True)
    latest = folder.with_name("latest")
    with contextlib.suppress(FileNotFoundError):
        latest.unlink()
    latest.symlink_to(folder.name)
    return folder


if __name__ == "__main__":
    sys.exit(main())
